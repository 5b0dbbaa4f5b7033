//! Listeners.

use std::{net::SocketAddr, num::NonZeroU64};

use super::{
    findings::Findings,
    fingerprint, l4,
    limits::{count, tcp_keepalive, timeout, timeout_or_never},
    names::{Names, called, elsewhere},
    place::Place,
    tls,
};
use crate::{
    config::{
        capture::Located,
        ir::{Limits, Listener, ServerTlsPlan},
        raw::{Forwarded, ListenerProtocol, Protocol as RawProtocol, RawConfig, RawListener},
        units::ByteSize,
        values::BindAddress,
    },
    http1::HeadLimits,
    hygiene::{ForwardedPolicy, HygieneLayer, PathPolicy, TrustedProxies},
    settings::{BodyLimits, ConnTimeouts, Http2Settings, HttpSettings, Protocol},
};

/// Less does not hold the head of a browser's request.
const LEAST_HEAD_BYTES: usize = 1024;

pub(super) fn lower(raw: &RawListener, problems: &mut Findings<'_>) -> Listener {
    let tls = raw.tls.as_ref().map(|tls| tls::server(tls, raw, problems));
    if let Some(handler) = &raw.handler
        && !raw.filters.is_empty()
    {
        problems.push(
            handler
                .error(format!(
                    "{} has a connection handler and filters",
                    called("listener", &raw.name)
                ))
                .hint("filters see HTTP requests, which this listener does not serve: leave one of both out"),
        );
    }
    l4::check_listener(raw, problems);
    Listener {
        kind: l4::kind(raw.protocol),
        proxy_protocol: l4::proxy_protocol(raw, problems),
        name: raw.name.as_str().into(),
        bind: raw.bind.clone(),
        http: http(raw, problems),
        hygiene: HygieneLayer {
            trusted: TrustedProxies::new(
                raw.trusted_proxies
                    .iter()
                    .map(|range| range.get())
                    .collect(),
            ),
            forwarded: forwarded(raw.forwarded),
            path: PathPolicy {
                merge_slashes: raw.merge_slashes,
            },
            tracer: None,
            late: false,
        },
        fingerprint: print(raw, tls.as_ref()),
        tls,
        filters: raw.filters.clone(),
        handler: raw.handler.clone(),
        limits: Limits {
            max_connections: count(raw.limits.max_connections),
            max_requests_in_flight: count(raw.limits.max_requests_in_flight),
        },
        max_connections_per_address: count(raw.limits.max_connections_per_address),
        when_full: raw.limits.when_full,
        // Nobody may be given up for taking nothing before `write_idle` is over. A longer time is no use: Linux would
        // then wait as long for answers to probes.
        tcp_keepalive: tcp_keepalive(&raw.tcp_keepalive, |keepalive| {
            let write_idle = timeout(raw.timeouts.write_idle)?;
            keepalive
                .patience()
                .filter(|patience| *patience >= write_idle)
        }),
        reuse_port: raw.reuse_port && matches!(raw.bind.value, BindAddress::Tcp(_)),
        place: raw.name.with(()),
    }
}

pub(super) fn protocol(raw: RawProtocol) -> Protocol {
    match raw {
        RawProtocol::Auto => Protocol::Auto,
        RawProtocol::Http1 => Protocol::Http1,
        RawProtocol::Http2 => Protocol::Http2,
    }
}

fn http(raw: &RawListener, problems: &mut Findings<'_>) -> HttpSettings {
    let (limits, timeouts) = (&raw.limits, &raw.timeouts);
    let max_head_bytes = limits.max_head_bytes.as_len();
    if max_head_bytes < LEAST_HEAD_BYTES {
        let problem = format!("expected at least 1KiB, found {}", limits.max_head_bytes);
        problems.push(Place::of(&raw.name).error(&["limits", "max_head_bytes"], problem));
    }
    HttpSettings {
        limits: HeadLimits {
            max_head_bytes,
            max_uri_bytes: limits.max_uri_bytes.as_len(),
            max_headers: usize::try_from(limits.max_headers.get()).unwrap_or(usize::MAX),
            ..HeadLimits::default()
        },
        timeouts: ConnTimeouts {
            detect: timeout_or_never(timeouts.detect),
            head: timeout_or_never(timeouts.head),
            idle: timeout_or_never(timeouts.idle),
            body_idle: timeout_or_never(timeouts.body_idle),
            write_idle: timeout_or_never(timeouts.write_idle),
        },
        body: BodyLimits {
            max_bytes: limits.max_body_bytes.map_or(u64::MAX, ByteSize::get),
            total: timeout(timeouts.body),
            min_rate: limits
                .min_body_rate
                .and_then(|rate| NonZeroU64::new(rate.get())),
        },
        http2: http2(raw),
        protocol: raw.protocol.http().map_or(Protocol::Auto, protocol),
    }
}

fn http2(raw: &RawListener) -> Http2Settings {
    // RFC 9113, section 6.9.2: windows begin with 65535 bytes, and have 31 bits.
    let window = |size: ByteSize| {
        let bytes = u32::try_from(size.get()).unwrap_or(u32::MAX);
        bytes.clamp(65_535, (1 << 31) - 1)
    };
    let http2 = &raw.http2;
    Http2Settings {
        max_concurrent_streams: raw.limits.max_streams.get(),
        stream_window: window(http2.stream_window),
        connection_window: window(http2.connection_window),
        max_send_buffer: http2.send_buffer.as_len().clamp(16 << 10, 1 << 31),
        frame_burst: http2.frame_burst.get(),
        frame_rate: http2.frame_rate.get(),
        max_refused_streams: usize::try_from(http2.max_refused_streams.get()).unwrap_or(usize::MAX),
    }
}

fn forwarded(raw: Forwarded) -> ForwardedPolicy {
    match raw {
        Forwarded::Off => ForwardedPolicy::Off,
        Forwarded::XForwarded => ForwardedPolicy::XForwarded,
        Forwarded::Rfc7239 => ForwardedPolicy::Rfc7239,
        Forwarded::Both => ForwardedPolicy::Both,
    }
}

fn print(raw: &RawListener, tls: Option<&ServerTlsPlan>) -> u64 {
    let written = fingerprint::written(raw);
    tls.map_or(written, |tls| {
        tls.sources().fold(written, fingerprint::with_pem)
    })
}

/// Two sockets at one address: an error when they are the same, a warning when one takes what the other
/// wants too, which only works with sockets that share.
pub(super) fn check_binds(raw: &RawConfig, problems: &mut Findings<'_>) {
    let written = raw.admin.bind.at.is_known();
    let known = !problems.lost_section("admin") && (written || !problems.lacks_documents());
    let admin = (raw.admin.enabled && known).then_some((
        &raw.admin.bind,
        "the admin listener".to_owned(),
        false,
    ));
    let listeners = raw.listeners.iter().map(|listener| {
        let owner = if listener.name.is_missing() {
            "another listener".to_owned()
        } else {
            called("listener", &listener.name)
        };
        let udp = listener.protocol == ListenerProtocol::Udp;
        (&listener.bind, owner, udp)
    });
    // Ports of TCP and of UDP have nothing to do with each other.
    let mut earlier: Vec<(&Located<BindAddress>, String, bool)> = Vec::new();
    let all = admin.into_iter().chain(listeners);
    for (bind, owner, udp) in all.filter(|(bind, ..)| !bind.is_missing()) {
        let mut same = earlier.iter().filter(|(_, _, other)| *other == udp);
        let clash = same.clone().find(|(other, ..)| clashes(bind, other));
        let shadow = same.find(|(other, ..)| overlaps(bind, other));
        if let Some((other, its_owner, _)) = clash {
            let problem = bind.error(format!("{its_owner} listens on {} too", bind.value));
            problems.push(elsewhere(problem, other));
        } else if let Some((other, its_owner, _)) = shadow {
            let problem = bind.warning(format!(
                "{its_owner} listens on {}, which overlaps with {}",
                other.value, bind.value
            ));
            problems
                .push(problem.hint("use another port, or addresses of which none is a wildcard"));
        }
        earlier.push((bind, owner, udp));
    }
}

fn clashes(a: &BindAddress, b: &BindAddress) -> bool {
    a == b && !matches!(a, BindAddress::Tcp(address) if address.port() == 0)
}

fn overlaps(a: &BindAddress, b: &BindAddress) -> bool {
    match (a, b) {
        (BindAddress::Tcp(a), BindAddress::Tcp(b)) => {
            a.port() == b.port() && a.port() != 0 && (covers(a, b) || covers(b, a))
        }
        _ => false,
    }
}

/// Whether a wildcard takes the address too. The two families do not take each other's.
fn covers(wildcard: &SocketAddr, other: &SocketAddr) -> bool {
    let same_family = wildcard.is_ipv4() == other.is_ipv4();
    same_family && wildcard.ip().is_unspecified()
}

/// Warns of listeners that can only answer 404.
pub(super) fn check_used(raw: &RawConfig, names: &Names<'_>, problems: &mut Findings<'_>) {
    let mut routes = raw.routes.iter();
    if routes.any(|route| route.listeners.is_empty() || problems.lost(&route.name, &["listeners"]))
        || problems.is_short("routes")
    {
        return;
    }
    let mut used = vec![false; raw.listeners.len()];
    for name in raw.routes.iter().flat_map(|route| &route.listeners) {
        match names.listeners.position(name) {
            Some(position) => used[position] = true,
            // Reported; it may be any listener that was meant.
            None => return,
        }
    }
    let unused = raw.listeners.iter().zip(&used).filter(|(_, used)| !**used);
    let serves = |listener: &RawListener| {
        listener.handler.is_none()
            && listener.protocol.http().is_some()
            && !listener.name.is_missing()
    };
    for (listener, _) in unused.filter(|(listener, _)| serves(listener)) {
        let problem = listener.name.warning(format!(
            "no route belongs to the listener `{}`",
            listener.name.value
        ));
        problems.push(problem.hint("every request to it is answered with 404"));
    }
}
