//! Routes below HTTP across reloads: kept while nothing they are made of changes.

use std::collections::HashMap;
use std::sync::Arc;

use super::process::Process;
use super::upstreams::LiveUpstreams;
use crate::config::raw::TcpTls;
use crate::config::{Diagnostics, ir};
use crate::error::chain;
use crate::forward::UpstreamClient;
use crate::l4::udp::{DatagramDrops, UdpRoute, UdpService};
use crate::l4::{Entry, Https, Layer4, Shares, StreamMetrics, TcpRoute, TcpTable, Tls};
use crate::tls::ServerTls;

/// A route of the live configuration.
#[derive(Debug)]
struct Live<R> {
    fingerprint: u64,
    clients: Vec<Arc<UpstreamClient>>,
    route: Arc<R>,
}

impl<R> Live<R> {
    /// The route that was there before, if nothing it is made of has changed; else what `make` makes of it, which
    /// may take over some of it.
    fn renew(
        old: Option<&Self>,
        fingerprint: u64,
        clients: Vec<Arc<UpstreamClient>>,
        make: impl FnOnce(Option<&R>, &[Arc<UpstreamClient>]) -> R,
    ) -> Self {
        let same =
            old.filter(|old| old.fingerprint == fingerprint && are_same(&old.clients, &clients));
        let route = match same {
            Some(same) => same.route.clone(),
            None => Arc::new(make(old.map(|old| &*old.route), &clients)),
        };
        Self {
            fingerprint,
            clients,
            route,
        }
    }
}

/// The routes below HTTP of the live configuration, by name.
#[derive(Debug, Default)]
pub(crate) struct LiveStreams {
    tcp: HashMap<Arc<str>, Live<TcpRoute>>,
    udp: HashMap<Arc<str>, Live<UdpRoute>>,
}

/// Compiles what changed and keeps the rest. Cannot fail: upstreams that could not be built were reported.
pub(super) fn build(
    config: &ir::Config,
    upstreams: &LiveUpstreams,
    before: &LiveStreams,
    process: &Process,
) -> LiveStreams {
    let mut built = LiveStreams::default();
    for plan in &config.tcp_routes {
        let Some(clients) = clients(&plan.backends, config, upstreams) else {
            continue;
        };
        let old = before.tcp.get(&plan.name);
        let live = Live::renew(old, plan.fingerprint, clients, |old, clients| TcpRoute {
            name: plan.name.clone(),
            idle: plan.idle,
            connect_attempts: plan.connect_attempts,
            backends: Shares::new(shares(&plan.backends, clients)),
            // Connections that were there before count on.
            room: old.map(|old| old.room.clone()).unwrap_or_default(),
            metrics: StreamMetrics::new(process.metrics(), "tcp", &plan.name),
        });
        built.tcp.insert(plan.name.clone(), live);
    }
    for plan in &config.udp_routes {
        let Some(clients) = clients(&plan.backends, config, upstreams) else {
            continue;
        };
        let old = before.udp.get(&plan.name);
        let live = Live::renew(old, plan.fingerprint, clients, |old, clients| UdpRoute {
            name: plan.name.clone(),
            idle: plan.idle,
            max_datagram: plan.max_datagram,
            backends: Shares::new(shares(&plan.backends, clients)),
            room: old.map(|old| old.room.clone()).unwrap_or_default(),
            metrics: StreamMetrics::new(process.metrics(), "udp", &plan.name),
        });
        built.udp.insert(plan.name.clone(), live);
    }
    built
}

impl LiveStreams {
    /// Applies the limits of a configuration that goes live.
    pub(super) fn limit(&self, config: &ir::Config) {
        for plan in &config.tcp_routes {
            if let Some(live) = self.tcp.get(&plan.name) {
                live.route.room.set_limit(plan.max_connections);
            }
        }
        for plan in &config.udp_routes {
            if let Some(live) = self.udp.get(&plan.name) {
                live.route.room.set_limit(Some(plan.max_sessions));
            }
        }
    }
}

fn clients(
    backends: &[ir::StreamBackend],
    config: &ir::Config,
    upstreams: &LiveUpstreams,
) -> Option<Vec<Arc<UpstreamClient>>> {
    let clients = backends.iter().map(|backend| {
        let upstream = config.upstreams.get(backend.upstream)?;
        Some(upstreams.get(&upstream.name)?.client.clone())
    });
    clients.collect()
}

fn shares(
    backends: &[ir::StreamBackend],
    clients: &[Arc<UpstreamClient>],
) -> Vec<(Arc<UpstreamClient>, u32)> {
    let weights = backends.iter().map(|backend| backend.weight);
    clients.iter().cloned().zip(weights).collect()
}

fn are_same(old: &[Arc<UpstreamClient>], new: &[Arc<UpstreamClient>]) -> bool {
    old.len() == new.len() && old.iter().zip(new).all(|(old, new)| Arc::ptr_eq(old, new))
}

/// What the listener at `position` does before HTTP; `None` when nothing. The outer `None`: something is wrong with
/// it, which was reported.
pub(super) fn layer4(
    config: &ir::Config,
    position: usize,
    live: &LiveStreams,
    tls: Option<&Arc<ServerTls>>,
    process: &Process,
    problems: &mut Diagnostics,
) -> Option<Option<Arc<Layer4>>> {
    let listener = config.listeners.get(position)?;
    if listener.kind == ir::ListenerKind::Udp {
        let mut plans = config.udp_routes.iter();
        let plan = plans.find(|plan| plan.listeners.binary_search(&position).is_ok());
        let route = plan.and_then(|plan| live.udp.get(&plan.name));
        let service = UdpService {
            route: route.map(|live| live.route.clone()),
            drops: DatagramDrops::new(process.metrics(), &listener.name),
        };
        return Some(Some(Arc::new(Layer4 {
            udp: Some(Arc::new(service)),
            ..Layer4::default()
        })));
    }
    let mut entries = Vec::new();
    for plan in &config.tcp_routes {
        if plan.listeners.binary_search(&position).is_err() {
            continue;
        }
        let Some(live) = live.tcp.get(&plan.name) else {
            continue;
        };
        entries.push(Entry {
            route: live.route.clone(),
            tls: treatment(plan, tls, problems)?,
            matches: plan.matches.clone(),
            priority: plan.priority,
            starttls: plan.starttls.is_some(),
        });
    }
    let speaks_http = listener.kind == ir::ListenerKind::Http;
    let table = (!entries.is_empty() || !speaks_http).then(|| {
        let https = (speaks_http && listener.tls.is_some()).then(|| https(config, position));
        TcpTable::new(entries, https, speaks_http && listener.tls.is_none())
    });
    let proxy = listener.proxy_protocol.clone();
    if table.is_none() && proxy.is_none() {
        return Some(None);
    }
    Some(Some(Arc::new(Layer4 {
        proxy,
        tcp: table,
        udp: None,
    })))
}

/// A connection that ends TLS for a route agrees on the protocols that the route looks at, and on none otherwise.
fn treatment(
    plan: &ir::TcpRoute,
    tls: Option<&Arc<ServerTls>>,
    problems: &mut Diagnostics,
) -> Option<Tls> {
    match (plan.tls, tls) {
        (Some(TcpTls::Terminate), Some(tls)) => {
            let alpn = plan.matches.alpn.iter().map(|name| name.to_vec());
            match tls.with_alpn(alpn.collect()) {
                Ok(tls) => Some(Tls::Terminate(Arc::new(tls))),
                Err(error) => {
                    let problem = format!("tcp route `{}`: {}", plan.name, chain(&error));
                    problems.push(plan.place.error(problem));
                    None
                }
            }
        }
        (Some(TcpTls::Passthrough), _) => Some(Tls::Passthrough),
        // Without certificates it is refused when the configuration is lowered.
        (Some(TcpTls::Terminate), None) | (None, _) => Some(Tls::None),
    }
}

fn https(config: &ir::Config, position: usize) -> Https {
    let mut https = Https::default();
    for route in config.routes.iter().filter(|route| route.is_on(position)) {
        https.any |= route.matches.is_empty();
        for alternative in &route.matches {
            https.any |= alternative.hosts.is_empty();
            for host in &alternative.hosts {
                if host.is_any() {
                    https.any = true;
                } else {
                    https.hosts.push(host.clone());
                }
            }
        }
    }
    https
}
