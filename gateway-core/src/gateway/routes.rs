//! Routes across reloads: compiled once, reused while nothing they are made of changes.

use std::collections::HashMap;
use std::sync::Arc;

use super::process::Process;
use super::telemetry::RouteMetrics;
use super::upstreams::LiveUpstreams;
use crate::config::{Diagnostics, PluginSpec, ir};
use crate::filter::{BuildCx, Chain, Stage};
use crate::forward::{Backend, Forward, Mirror, SendOnce, Split, Sticky, UpstreamClient};
use crate::registry::Registry;
use crate::route::RouteMatch;
use crate::route_entry::RouteEntry;

/// A route of the live configuration.
#[derive(Clone, Debug)]
pub(crate) struct LiveRoute {
    pub(super) fingerprint: u64,
    /// Of its backends, and of its mirrors behind them.
    clients: Vec<Arc<UpstreamClient>>,
    matches: Vec<RouteMatch>,
    pub(crate) entry: Arc<RouteEntry>,
}

impl LiveRoute {
    /// What the route asks of a request, custom matchers included.
    pub(crate) fn matches(&self) -> &[RouteMatch] {
        &self.matches
    }
}

/// The routes of the live configuration, by name.
pub(crate) type LiveRoutes = HashMap<Arc<str>, LiveRoute>;

/// Compiles what changed and keeps the rest.
pub(crate) fn build(
    config: &ir::Config,
    upstreams: &LiveUpstreams,
    before: &LiveRoutes,
    registry: &Registry,
    process: &Process,
    problems: &mut Diagnostics,
) -> LiveRoutes {
    let mut built = LiveRoutes::with_capacity(config.routes.len());
    for route in &config.routes {
        let clients: Option<Vec<Arc<UpstreamClient>>> = route
            .backends
            .iter()
            .map(|backend| backend.upstream)
            .chain(route.mirrors.iter().map(|mirror| mirror.upstream))
            .map(|upstream| {
                let upstream = config.upstreams.get(upstream)?;
                upstreams
                    .get(&upstream.name)
                    .map(|live| live.client.clone())
            })
            .collect();
        let Some(clients) = clients else {
            // Reported where its upstream was built; the route may have mistakes of its own.
            let owner = owner(route);
            let cx = BuildCx::new(&owner, process.store());
            parts(route, &cx, registry, problems);
            continue;
        };
        let same = before.get(&route.name).filter(|old| {
            old.fingerprint == route.fingerprint
                && old.clients.len() == clients.len()
                && old
                    .clients
                    .iter()
                    .zip(&clients)
                    .all(|(old, new)| Arc::ptr_eq(old, new))
        });
        let live = match same {
            Some(same) => Some(same.clone()),
            None => build_one(route, clients, registry, process, problems),
        };
        if let Some(live) = live {
            built.insert(route.name.clone(), live);
        }
    }
    built
}

fn build_one(
    route: &ir::Route,
    clients: Vec<Arc<UpstreamClient>>,
    registry: &Registry,
    process: &Process,
    problems: &mut Diagnostics,
) -> Option<LiveRoute> {
    let owner = owner(route);
    let cx = BuildCx::new(&owner, process.store());
    let parts = parts(route, &cx, registry, problems)?;
    let mut backends = Vec::with_capacity(clients.len());
    for ((plan, client), filters) in route.backends.iter().zip(&clients).zip(parts.backends) {
        let mut backend = Backend::new(client.clone(), plan.weight);
        backend.priority = plan.priority;
        if !filters.is_empty() {
            let chain = Chain::builder().stages(filters).build(SendOnce {
                client: client.clone(),
            });
            backend.chain = Some(chain.service().clone());
        }
        backends.push(backend);
    }
    let copied = clients.iter().skip(route.backends.len());
    let mirrors = route.mirrors.iter().zip(copied).map(|(mirror, client)| {
        Arc::new(Mirror::new(
            client.clone(),
            mirror.share,
            (mirror.max_body, mirror.max_in_flight),
            (process.metrics(), &route.name),
        ))
    });
    let split = match &route.sticky {
        Some(sticky) => Split::sticky(backends, Sticky::clone(sticky)),
        None => Split::new(backends),
    };
    let forward = Forward::new(split)
        .timeouts(route.timeouts)
        .again(route.retry.clone(), route.hedge.clone())
        .upgrades(route.upgrade)
        .mirrors(mirrors.collect());
    Some(LiveRoute {
        fingerprint: route.fingerprint,
        clients,
        matches: parts.matches,
        entry: Arc::new(RouteEntry::new(
            route.name.clone(),
            parts.filters,
            forward,
            RouteMetrics::new(process.metrics(), &route.name),
        )),
    })
}

/// What a route is put together from.
pub(super) struct Parts {
    filters: Vec<Stage>,
    matches: Vec<RouteMatch>,
    /// The filters of each backend.
    backends: Vec<Vec<Stage>>,
}

/// Makes the parts of a route, which changes nothing; `None` when one is wrong, every problem reported.
pub(super) fn parts(
    route: &ir::Route,
    cx: &BuildCx<'_>,
    registry: &Registry,
    problems: &mut Diagnostics,
) -> Option<Parts> {
    let filters: Vec<Option<Stage>> = route
        .filters
        .iter()
        .map(|spec| filter(route, spec, cx, registry, problems))
        .collect();
    let matches = matches(route, cx, registry, problems);
    let backends = route.backends.iter();
    let backends: Vec<Option<Vec<Stage>>> = backends
        .map(|backend| stages(&backend.filters, cx, registry, problems))
        .collect();
    Some(Parts {
        filters: filters.into_iter().collect::<Option<_>>()?,
        matches: matches?,
        backends: backends.into_iter().collect::<Option<_>>()?,
    })
}

fn filter(
    route: &ir::Route,
    spec: &PluginSpec,
    cx: &BuildCx<'_>,
    registry: &Registry,
    problems: &mut Diagnostics,
) -> Option<Stage> {
    let stage = registry.filter(spec, cx, problems)?;
    if route.upgrade && stage.buffers() {
        let problem = spec.error(format!(
            "filter `{}` of route {} buffers bodies, which an upgraded connection does not end",
            stage.name(),
            route.name
        ));
        problems.push(problem.hint("set `upgrade: false` on the route, or leave the filter out"));
    }
    Some(stage)
}

/// How plugins and messages call a route.
pub(super) fn owner(route: &ir::Route) -> String {
    format!("route {}", route.name)
}

/// Builds all filters of a list; `None` when one could not be built, every problem reported.
pub(crate) fn stages(
    specs: &[PluginSpec],
    cx: &BuildCx<'_>,
    registry: &Registry,
    problems: &mut Diagnostics,
) -> Option<Vec<Stage>> {
    let built: Vec<Option<Stage>> = specs
        .iter()
        .map(|spec| registry.filter(spec, cx, problems))
        .collect();
    built.into_iter().collect()
}

fn matches(
    route: &ir::Route,
    cx: &BuildCx<'_>,
    registry: &Registry,
    problems: &mut Diagnostics,
) -> Option<Vec<RouteMatch>> {
    let custom: Vec<_> = route
        .matchers
        .iter()
        .map(|spec| registry.matcher(spec, cx, problems))
        .collect();
    let custom: Vec<_> = custom.into_iter().collect::<Option<_>>()?;
    let mut matches = route.matches.clone();
    if matches.is_empty() && !custom.is_empty() {
        matches.push(RouteMatch::default());
    }
    for alternative in &mut matches {
        alternative.custom.extend(custom.iter().cloned());
    }
    Some(matches)
}
