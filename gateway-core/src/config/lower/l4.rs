//! TCP and UDP routes, and what listeners without HTTP may have.

use super::{
    findings::Findings,
    fingerprint,
    limits::{count, timeout},
    names::{called, elsewhere},
    place::Place,
    route::Scope,
};
use crate::{
    balance::combine_hashes,
    config::{
        capture::Located,
        ir::{ListenerKind, ProxyProtocol, StreamBackend, TcpMatch, TcpRoute, UdpRoute},
        raw::{
            ListenerProtocol, RawConfig, RawListener, RawRoute, RawStreamBackend, RawTcpRoute,
            RawUdpRoute, TcpTls,
        },
        values::BindAddress,
    },
    hygiene::TrustedProxies,
    route::HostPattern,
};

/// The most that a datagram of IPv4 carries.
const MAX_DATAGRAM: usize = 65_507;

pub(super) fn kind(protocol: ListenerProtocol) -> ListenerKind {
    match protocol {
        ListenerProtocol::Tcp => ListenerKind::Tcp,
        ListenerProtocol::Udp => ListenerKind::Udp,
        _ => ListenerKind::Http,
    }
}

pub(super) fn proxy_protocol(
    raw: &RawListener,
    problems: &mut Findings<'_>,
) -> Option<ProxyProtocol> {
    let proxy = raw.proxy_protocol.as_ref()?;
    if proxy.trusted.is_empty() && !problems.lost(&raw.name, &["proxy_protocol", "trusted"]) {
        let keys = ["proxy_protocol", "trusted"];
        let problem = Place::of(&raw.name).error(&keys, "nobody's header would be believed");
        problems
            .push(problem.hint("name the networks of the load balancers: `trusted: [10.0.0.0/8]`"));
    }
    Some(ProxyProtocol {
        trusted: TrustedProxies::new(proxy.trusted.iter().map(|range| range.get()).collect()),
        required: proxy.required,
    })
}

/// What a listener without HTTP has no use for.
pub(super) fn check_listener(raw: &RawListener, problems: &mut Findings<'_>) {
    let (udp, spoken) = match raw.protocol {
        ListenerProtocol::Tcp => (false, "TCP"),
        ListenerProtocol::Udp => (true, "UDP"),
        _ => return,
    };
    let mut useless = |has: bool, key: &str| {
        if has {
            let problem = Place::of(&raw.name).error(
                &[key],
                format!(
                    "{} serves {spoken} and has no use for `{key}`",
                    called("listener", &raw.name)
                ),
            );
            problems.push(problem);
        }
    };
    useless(!raw.filters.is_empty(), "filters");
    useless(raw.handler.is_some(), "handler");
    useless(udp && raw.tls.is_some(), "tls");
    useless(udp && raw.proxy_protocol.is_some(), "proxy_protocol");
    useless(
        udp && matches!(raw.bind.value, BindAddress::Unix(_)),
        "bind",
    );
}

pub(super) fn tcp(
    raw: &RawTcpRoute,
    config: &RawConfig,
    scope: &Scope<'_>,
    problems: &mut Findings<'_>,
) -> TcpRoute {
    let place = Place::of(&raw.name);
    let route = || called("TCP route", &raw.name);
    let tls_lost = problems.lost(&raw.name, &["tls"]);
    if raw.tls.is_none() && !tls_lost {
        let needs = [
            ("sni", !raw.matches.sni.is_empty()),
            ("alpn", !raw.matches.alpn.is_empty()),
        ];
        for (key, _) in needs.into_iter().filter(|(_, given)| *given) {
            let problem = place.error(
                &["match", key],
                format!("{} looks at `{key}`, which only TLS has", route()),
            );
            problems.push(problem.hint("write `tls: passthrough` or `tls: terminate`"));
        }
        if let Some(starttls) = &raw.starttls {
            let problem = starttls.error(format!("{} has `starttls` without `tls`", route()));
            problems.push(problem.hint("write `tls: passthrough` or `tls: terminate`"));
        }
    }
    let (backends, fingerprint) = backends(
        &raw.backends,
        &raw.name,
        "TCP route",
        fingerprint::written(raw),
        scope,
        problems,
    );
    let listeners = listeners(
        &raw.listeners,
        ListenerProtocol::Tcp,
        config,
        scope,
        problems,
    );
    if raw.tls == Some(TcpTls::Terminate) {
        for position in &listeners {
            let Some(listener) = config.listeners.get(*position) else {
                continue;
            };
            if listener.tls.is_none() && !problems.lost(&listener.name, &["tls"]) {
                let problem = place.error(
                    &["tls"],
                    format!(
                        "{} ends TLS, but {} has no certificates",
                        route(),
                        called("listener", &listener.name)
                    ),
                );
                problems.push(problem.hint("give the listener `tls`, or write `tls: passthrough`"));
            }
        }
    }
    TcpRoute {
        name: raw.name.as_str().into(),
        listeners,
        matches: TcpMatch {
            sni: raw
                .matches
                .sni
                .iter()
                .filter_map(|name| sni(name, problems))
                .collect(),
            alpn: raw
                .matches
                .alpn
                .iter()
                .filter_map(|name| alpn(name, problems))
                .collect(),
            client_ip: raw.matches.client_ip.iter().map(|net| net.get()).collect(),
            ports: raw.matches.ports.clone(),
        },
        priority: raw.priority.unwrap_or(0),
        tls: raw.tls,
        starttls: raw.starttls.as_ref().map(|starttls| starttls.value),
        idle: timeout(raw.timeouts.idle),
        max_connections: count(raw.limits.max_connections),
        connect_attempts: raw.connect_attempts.get(),
        backends,
        fingerprint,
        place: raw.name.with(()),
    }
}

pub(super) fn udp(
    raw: &RawUdpRoute,
    config: &RawConfig,
    scope: &Scope<'_>,
    problems: &mut Findings<'_>,
) -> UdpRoute {
    let place = Place::of(&raw.name);
    if raw.timeouts.idle.get().is_zero() {
        problems.push(place.error(&["timeouts", "idle"], "expected more than 0s"));
    }
    let max_datagram = raw.max_datagram_bytes.as_len();
    if !(1..=MAX_DATAGRAM).contains(&max_datagram) {
        problems.push(place.error(
            &["max_datagram_bytes"],
            format!(
                "expected 1 to {MAX_DATAGRAM} bytes, found {}",
                raw.max_datagram_bytes
            ),
        ));
    }
    let (backends, fingerprint) = backends(
        &raw.backends,
        &raw.name,
        "UDP route",
        fingerprint::written(raw),
        scope,
        problems,
    );
    UdpRoute {
        name: raw.name.as_str().into(),
        listeners: listeners(
            &raw.listeners,
            ListenerProtocol::Udp,
            config,
            scope,
            problems,
        ),
        idle: raw.timeouts.idle.get().min(super::limits::NEVER),
        max_sessions: count(Some(raw.max_sessions)).unwrap_or(usize::MAX),
        max_datagram: max_datagram.clamp(1, MAX_DATAGRAM),
        backends,
        fingerprint,
        place: raw.name.with(()),
    }
}

/// The positions of a route's listeners: those it names, else all of its own kind.
fn listeners(
    names: &[Located<String>],
    kind: ListenerProtocol,
    config: &RawConfig,
    scope: &Scope<'_>,
    problems: &mut Findings<'_>,
) -> Vec<usize> {
    if names.is_empty() {
        let all = config.listeners.iter().enumerate();
        return all
            .filter(|(_, listener)| listener.protocol == kind)
            .map(|(position, _)| position)
            .collect();
    }
    let mut positions = Vec::with_capacity(names.len());
    for name in names {
        let Some(position) = scope.names.listeners.find(name, problems) else {
            continue;
        };
        let spoken = config.listeners[position].protocol;
        let shared = kind == ListenerProtocol::Tcp && spoken == ListenerProtocol::Auto;
        let lost = problems.lost(&config.listeners[position].name, &["protocol"]);
        if spoken != kind && !shared && !lost {
            let (owned, hint) = match kind {
                ListenerProtocol::Udp => ("a UDP route", "`protocol: udp`"),
                _ => ("a TCP route", "`protocol: tcp` or `auto`"),
            };
            let problem = name.error(format!("the listener `{}` cannot have {owned}", name.value));
            problems.push(problem.hint(format!("give the listener {hint}")));
            continue;
        }
        positions.push(position);
    }
    positions.sort_unstable();
    positions.dedup();
    positions
}

fn backends(
    raw: &[RawStreamBackend],
    name: &Located<String>,
    kind: &str,
    print: u64,
    scope: &Scope<'_>,
    problems: &mut Findings<'_>,
) -> (Vec<StreamBackend>, u64) {
    let place = Place::of(name);
    let lost = problems.lost(name, &["backends"]);
    if raw.is_empty() && !lost {
        let problem = place.error(
            &["backends"],
            format!("{} has no backend", called(kind, name)),
        );
        problems.push(problem.hint("write `backends: [{ upstream: NAME }]`"));
    }
    if !raw.is_empty() && raw.iter().all(|backend| backend.weight == 0) && !lost {
        problems.push(place.warning(
            &["backends"],
            format!("every backend of {} has the weight 0", called(kind, name)),
        ));
    }
    let lowered: Vec<StreamBackend> = raw
        .iter()
        .filter_map(|backend| {
            Some(StreamBackend {
                upstream: scope.names.upstreams.find(&backend.upstream, problems)?,
                weight: backend.weight,
            })
        })
        .collect();
    let print = lowered.iter().fold(print, |print, backend| {
        let upstream = scope.upstreams.get(backend.upstream).copied();
        combine_hashes(print, upstream.unwrap_or_default())
    });
    (lowered, print)
}

fn sni(name: &Located<String>, problems: &mut Findings<'_>) -> Option<HostPattern> {
    match name.parse::<HostPattern>() {
        Ok(pattern) => Some(pattern),
        Err(error) => {
            let problem = name.error(error.to_string());
            problems.push(problem.hint("write a name such as db.example, *.db.example or *"));
            None
        }
    }
}

/// RFC 7301, section 3.1: 1 to 255 bytes.
fn alpn(name: &Located<String>, problems: &mut Findings<'_>) -> Option<Box<[u8]>> {
    if (1..=255).contains(&name.len()) {
        return Some(name.as_bytes().into());
    }
    problems.push(name.error("the name of a protocol has 1 to 255 bytes"));
    None
}

/// An HTTP route is for listeners that speak HTTP, and its upstreams are not told of clients by connection.
pub(super) fn check_http(
    raw: &RawRoute,
    config: &RawConfig,
    scope: &Scope<'_>,
    problems: &mut Findings<'_>,
) {
    for name in &raw.listeners {
        let Some(position) = scope.names.listeners.position(name) else {
            continue;
        };
        let protocol = config.listeners[position].protocol;
        if protocol.http().is_none() {
            let (spoken, list) = match protocol {
                ListenerProtocol::Udp => ("UDP", "udp_routes"),
                _ => ("TCP", "tcp_routes"),
            };
            let problem = name.error(format!(
                "the listener `{}` serves {spoken}, not HTTP",
                name.value
            ));
            problems.push(problem.hint(format!("write the route under `{list}`")));
        }
    }
    let backends = raw.backends.iter().map(|backend| &backend.upstream);
    let mirrors = raw.mirror.iter().map(|mirror| &mirror.upstream);
    for name in backends.chain(mirrors) {
        let Some(position) = scope.names.upstreams.position(name) else {
            continue;
        };
        let upstream = &config.upstreams[position];
        if let Some(proxy) = &upstream.proxy_protocol {
            let problem = name.error(format!(
                "the upstream `{}` has `proxy_protocol`, which HTTP routes cannot use: clients share connections",
                name.value
            ));
            let problem = elsewhere(problem, proxy);
            problems.push(
                problem
                    .hint("leave it out there; `forwarded` of listeners tells who the client is"),
            );
        }
    }
}

/// A UDP listener has one route: its datagrams have nothing to choose by.
pub(super) fn check_one_udp_route(
    config: &RawConfig,
    routes: &[UdpRoute],
    problems: &mut Findings<'_>,
) {
    let mut taken: Vec<Option<usize>> = vec![None; config.listeners.len()];
    for (index, route) in routes.iter().enumerate() {
        for position in &route.listeners {
            let Some(slot) = taken.get_mut(*position) else {
                continue;
            };
            match *slot {
                None => *slot = Some(index),
                Some(first) => {
                    let listener = &config.listeners[*position].name;
                    let problem = route.place.error(format!(
                        "the listener `{}` has the UDP route `{}` already",
                        listener.value, routes[first].name
                    ));
                    problems.push(problem.hint("give each route a listener of its own"));
                }
            }
        }
    }
}

/// Warns of listeners that can only close connections or drop datagrams.
pub(super) fn check_used(
    config: &RawConfig,
    tcp: &[TcpRoute],
    udp: &[UdpRoute],
    problems: &mut Findings<'_>,
) {
    for (position, listener) in config.listeners.iter().enumerate() {
        let (list, used) = match listener.protocol {
            ListenerProtocol::Tcp => (
                "tcp_routes",
                tcp.iter().any(|route| route.listeners.contains(&position)),
            ),
            ListenerProtocol::Udp => (
                "udp_routes",
                udp.iter().any(|route| route.listeners.contains(&position)),
            ),
            _ => continue,
        };
        if !used && !listener.name.is_missing() && !problems.is_short(list) {
            let problem = listener.name.warning(format!(
                "no route belongs to the listener `{}`",
                listener.name.value
            ));
            problems.push(problem.hint(format!("write one under `{list}`")));
        }
    }
}
