//! What a listener is put together from.

use std::sync::Arc;

use super::routes::stages;
use super::tls::{LiveTls, TlsCommit};
use crate::config::{Diagnostics, ir};
use crate::filter::{BuildCx, Stage, StateStore};
use crate::l4::ConnHandler;
use crate::registry::Registry;
use crate::route::{RouteIndex, RouteMatch, RouteSpec};

/// What a listener has beside its routes.
pub(super) struct Parts {
    pub(super) filters: Vec<Stage>,
    pub(super) handler: Option<Arc<dyn ConnHandler>>,
    pub(super) tls: Option<TlsCommit>,
}

/// Makes the parts of a listener, which changes nothing; `None` when one is wrong, every problem reported.
pub(super) fn parts(
    listener: &ir::Listener,
    live_tls: Option<&LiveTls>,
    store: &StateStore,
    registry: &Registry,
    problems: &mut Diagnostics,
) -> Option<Parts> {
    let owner = format!("listener {}", listener.name);
    let cx = BuildCx::new(&owner, store);
    let filters = stages(&listener.filters, &cx, registry, problems);
    let handler = match &listener.handler {
        None => Some(None),
        Some(spec) => registry.conn_handler(spec, &cx, problems).map(Some),
    };
    let tls = match &listener.tls {
        None => Some(None),
        Some(plan) => LiveTls::prepare(plan, live_tls, listener, problems).map(Some),
    };
    Some(Parts {
        filters: filters?,
        handler: handler?,
        tls: tls?,
    })
}

/// Compiles the routes of the listener at `position`; `parts` gives what a route asks of requests and what it
/// stands for, `None` when it could not be made.
///
/// A route that cannot be compiled is reported once, however many listeners it belongs to.
pub(super) fn table<T>(
    config: &ir::Config,
    position: usize,
    parts: impl Fn(&ir::Route) -> Option<(Vec<RouteMatch>, T)>,
    problems: &mut Diagnostics,
) -> Option<RouteIndex<T>> {
    let http = config
        .listeners
        .get(position)
        .is_none_or(|listener| listener.kind == ir::ListenerKind::Http);
    let routes = config
        .routes
        .iter()
        .filter(|route| http && route.is_on(position));
    let (places, specs): (Vec<_>, Vec<_>) = routes
        .filter_map(|route| {
            let (matches, value) = parts(route)?;
            let spec = RouteSpec {
                name: route.name.clone(),
                matches,
                priority: route.priority,
                value,
            };
            Some((&route.place, spec))
        })
        .unzip();
    RouteIndex::compile(specs)
        .map_err(|error| {
            for problem in error.problems() {
                let Some(place) = places.get(problem.position) else {
                    continue;
                };
                let told = place.error(format!("route `{}`: {}", problem.route, problem.kind));
                if !problems.iter().any(|known| *known == told) {
                    problems.push(told);
                }
            }
        })
        .ok()
}
