//! Upstreams.

use std::{collections::HashSet, sync::Arc};

use http::{HeaderValue, uri::PathAndQuery};

use super::{
    affinity,
    findings::Findings,
    fingerprint,
    limits::{NEVER, count, tcp_keepalive, timeout},
    listener,
    names::called,
    place::Place,
    tls,
};
use crate::{
    balance::{combine_hashes, stable_hash},
    config::{
        ir::{NamedEndpoint, Upstream},
        raw::{RawActiveHealth, RawAdaptiveLimit, RawPassiveHealth, RawSlowStart, RawUpstream},
        units::TimeSpan,
        values::{EndpointAddress as RawAddress, HostRewrite},
    },
    forward::{AdaptiveLimit, HostPolicy, UpstreamSettings},
    pool::PoolLimits,
    upstream::{
        ActiveHealth, EndpointAddress, EndpointSpec, OutlierConfig, PanicPolicy, SlowStart,
    },
};

pub(super) fn lower(
    raw: &RawUpstream,
    zone: Option<&str>,
    problems: &mut Findings<'_>,
) -> Upstream {
    let (endpoints, names) = endpoints(raw, problems);
    let tls = raw
        .tls
        .as_ref()
        .map(|tls| tls::upstream(tls, raw, problems));
    let written = fingerprint::written(raw);
    let fingerprint = tls.as_ref().map_or(written, |tls| {
        tls.sources().fold(written, fingerprint::with_pem)
    });
    let zone = zone.filter(|_| !raw.ignore_zones);
    let fingerprint = zone.map_or(fingerprint, |zone| {
        combine_hashes(fingerprint, stable_hash(zone.as_bytes()))
    });
    Upstream {
        name: raw.name.as_str().into(),
        endpoints,
        names,
        discovery: raw.discovery.clone(),
        balance: raw.balance.clone(),
        connector: raw.connector.clone(),
        settings: settings(raw, problems),
        tls,
        panic: panic(raw, problems),
        zone: zone.map(Arc::from),
        slow_start: raw
            .slow_start
            .as_ref()
            .map(|slow| slow_start(slow, raw, problems)),
        active: raw
            .health
            .active
            .as_ref()
            .map(|active| lower_active(active, raw, problems)),
        outlier: raw
            .health
            .passive
            .as_ref()
            .map(|passive| lower_passive(passive, raw, problems)),
        fingerprint,
        place: raw.name.with(()),
    }
}

fn endpoints(
    raw: &RawUpstream,
    problems: &mut Findings<'_>,
) -> (Vec<EndpointSpec>, Vec<NamedEndpoint>) {
    let place = Place::of(&raw.name);
    let upstream = || called("upstream", &raw.name);
    let lost = problems.lost_any(&raw.name, &["endpoints", "discovery"]);
    if raw.endpoints.is_empty() && raw.discovery.is_none() && !lost {
        let problem = place.error(
            &["endpoints"],
            format!("{} has neither endpoints nor a discovery", upstream()),
        );
        problems.push(problem.hint("write `endpoints: [\"10.0.0.1:8080\"]`"));
    }
    let idle = raw.endpoints.iter().all(|endpoint| endpoint.weight == 0);
    if idle && !raw.endpoints.is_empty() && raw.discovery.is_none() && !lost {
        problems.push(place.warning(
            &["endpoints"],
            format!("every endpoint of {} has the weight 0", upstream()),
        ));
    }
    let (mut specs, mut named, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
    for endpoint in &raw.endpoints {
        if !seen.insert(&endpoint.address) {
            problems.push(endpoint.warning(format!(
                "{} is listed twice, which counts once",
                endpoint.address
            )));
            continue;
        }
        let zone: Option<Arc<str>> = endpoint.zone.as_deref().map(Arc::from);
        let address = match &endpoint.address {
            RawAddress::Tcp(address) => EndpointAddress::Socket(*address),
            RawAddress::Unix(path) => EndpointAddress::Unix(path.clone()),
            RawAddress::Name(host, port) => {
                let (host, port) = (host.as_str().into(), *port);
                named.push(NamedEndpoint {
                    host,
                    port,
                    weight: endpoint.weight,
                    priority: endpoint.priority,
                    zone,
                });
                continue;
            }
        };
        specs.push(EndpointSpec {
            weight: endpoint.weight,
            priority: endpoint.priority,
            zone,
            ..EndpointSpec::new(address)
        });
    }
    (specs, named)
}

fn settings(raw: &RawUpstream, problems: &mut Findings<'_>) -> UpstreamSettings {
    let limits = &raw.limits;
    let connect = raw.timeouts.connect;
    positive(connect, &["timeouts", "connect"], raw, problems);
    UpstreamSettings {
        protocol: listener::protocol(raw.protocol),
        pool: PoolLimits {
            max_connections: count(limits.max_connections),
            max_pending: usize::try_from(limits.max_pending).unwrap_or(usize::MAX),
            max_idle: usize::try_from(limits.max_idle_connections).unwrap_or(usize::MAX),
            idle_timeout: limits.idle_timeout.get().min(NEVER),
        },
        max_requests: limits
            .max_requests
            .map(|limit| u32::try_from(limit.get()).unwrap_or(u32::MAX)),
        adaptive: limits
            .adaptive
            .as_ref()
            .map(|limit| adaptive(limit, problems)),
        connect_timeout: connect.get().min(NEVER),
        tls_timeout: raw.timeouts.tls.and_then(timeout),
        host: host(raw, problems),
        hash: affinity::hash(raw, problems),
        sticky: raw
            .sticky
            .as_ref()
            .and_then(|sticky| affinity::sticky(sticky, &raw.name, problems)),
        tcp_keepalive: tcp_keepalive(&raw.tcp_keepalive, |_| None),
        proxy_protocol: raw.proxy_protocol.as_ref().map(|version| version.value),
        ..UpstreamSettings::default()
    }
}

fn adaptive(raw: &RawAdaptiveLimit, problems: &mut Findings<'_>) -> AdaptiveLimit {
    let (min, max) = (raw.min.value, raw.max);
    if min > max {
        problems.push(
            raw.min
                .error(format!("`min` ({min}) is above `max` ({max})")),
        );
    }
    let tolerance = raw.tolerance.value;
    if !(tolerance >= 1.0 && tolerance.is_finite()) {
        let problem = format!("expected a factor of at least 1, found {tolerance}");
        problems.push(raw.tolerance.error(problem));
    }
    AdaptiveLimit {
        initial: raw.initial.get(),
        min: min.get().min(max.get()),
        max: max.get(),
        tolerance: tolerance.max(1.0),
        window: raw.window.get(),
    }
}

fn host(raw: &RawUpstream, problems: &mut Findings<'_>) -> HostPolicy {
    match &raw.host {
        HostRewrite::Preserve => HostPolicy::Preserve,
        HostRewrite::Endpoint => HostPolicy::Endpoint,
        HostRewrite::Fixed(name) => match HeaderValue::from_str(name) {
            Ok(value) => HostPolicy::Fixed(value),
            Err(_) => {
                problems
                    .push(Place::of(&raw.name).error(&["host"], format!("`{name}` is not a host")));
                HostPolicy::Preserve
            }
        },
    }
}

fn panic(raw: &RawUpstream, problems: &mut Findings<'_>) -> PanicPolicy {
    match &raw.panic_threshold {
        None => PanicPolicy::default(),
        Some(threshold) => match threshold.value {
            0 => PanicPolicy::Never,
            percent => {
                if percent > 100 {
                    problems.push(threshold.error(format!("expected 0 to 100, found {percent}")));
                }
                PanicPolicy::BelowPercent(percent.min(100))
            }
        },
    }
}

fn slow_start(
    raw: &RawSlowStart,
    upstream: &RawUpstream,
    problems: &mut Findings<'_>,
) -> SlowStart {
    positive(raw.window, &["slow_start", "window"], upstream, problems);
    let mut range = |key: &str, fits: bool, expected: &str| {
        if !fits {
            let problem = format!("expected {expected}");
            problems.push(Place::of(&upstream.name).error(&["slow_start", key], problem));
        }
    };
    range(
        "aggression",
        (0.1..=100.0).contains(&raw.aggression),
        "0.1 to 100",
    );
    range(
        "min_percent",
        (1..=100).contains(&raw.min_percent),
        "1 to 100",
    );
    SlowStart {
        window: raw.window.get().min(NEVER),
        aggression: raw.aggression,
        min_percent: raw.min_percent,
    }
}

fn lower_active(
    raw: &RawActiveHealth,
    upstream: &RawUpstream,
    problems: &mut Findings<'_>,
) -> ActiveHealth {
    let path = &raw.path;
    if !path.starts_with('/') || path.parse::<PathAndQuery>().is_err() {
        problems.push(path.error(format!(
            "expected a path such as /healthz, found {:?}",
            path.value
        )));
    }
    positive(
        raw.interval,
        &["health", "active", "interval"],
        upstream,
        problems,
    );
    positive(
        raw.timeout,
        &["health", "active", "timeout"],
        upstream,
        problems,
    );
    let keys = ["health", "active", "expect"];
    if raw.expect.is_empty() && !problems.lost(&upstream.name, &keys) {
        let problem = "no answer would be a good one";
        problems.push(Place::of(&upstream.name).error(&keys, problem));
    }
    ActiveHealth {
        path: path.value.clone(),
        expected_statuses: raw
            .expect
            .iter()
            .map(|range| range.bounds().0..=range.bounds().1)
            .collect(),
        interval: raw.interval.get().min(NEVER),
        timeout: raw.timeout.get().min(NEVER),
        healthy_threshold: raw.healthy.get(),
        unhealthy_threshold: raw.unhealthy.get(),
        ..ActiveHealth::default()
    }
}

fn lower_passive(
    raw: &RawPassiveHealth,
    upstream: &RawUpstream,
    problems: &mut Findings<'_>,
) -> OutlierConfig {
    positive(
        raw.eject_for,
        &["health", "passive", "eject_for"],
        upstream,
        problems,
    );
    let base_ejection = raw.eject_for.get().min(NEVER);
    let usual = OutlierConfig::default();
    OutlierConfig {
        consecutive_failures: raw.consecutive_failures.get(),
        base_ejection,
        max_ejection: usual.max_ejection.max(base_ejection),
        ..usual
    }
}

fn positive(span: TimeSpan, keys: &[&str], upstream: &RawUpstream, problems: &mut Findings<'_>) {
    if span.get().is_zero() {
        problems.push(Place::of(&upstream.name).error(keys, "expected more than 0s"));
    }
}
