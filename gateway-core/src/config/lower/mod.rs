//! Lowering: from what was written to what is meant.
//!
//! Pure: nothing is read, resolved or bound. All mistakes are collected, each with the place it was written
//! at; parts with mistakes are left out, so that the rest is still looked at.
//!
//! What is lowered may be what is left of documents with mistakes: then what only follows from those is not
//! reported, such as a reference to an object that could not be read.
//!
//! Relative paths of PEM files begin at the folder of the file they are written in, so that a configuration
//! can be moved as a whole; those of a program begin at the working directory.

mod affinity;
mod findings;
mod fingerprint;
mod l4;
mod limits;
mod listener;
mod matching;
mod names;
mod pem;
mod place;
mod retry;
mod route;
mod telemetry;
mod tls;
mod upstream;

#[cfg(test)]
mod tests;

use findings::Findings;

use super::{
    damage::Damage,
    diagnostic::{Diagnostics, Severity},
    ir::{Admin, Config, Limits},
    raw::RawConfig,
    units::ByteSize,
};

/// Validates a configuration. What is wrong goes to `problems`, warnings included; `None` when there were
/// errors.
///
/// Lowering looks at one configuration by itself: whether plugins exist, files can be read and addresses can
/// be bound shows later.
pub fn lower(raw: &RawConfig, problems: &mut Diagnostics) -> Option<Config> {
    let before = problems.len();
    let config = lower_rest(raw, &Damage::default(), problems);
    let mut found = problems.iter().skip(before);
    let usable = found.all(|problem| problem.severity != Severity::Error);
    usable.then_some(config)
}

/// As [`lower`], of a configuration that lacks something.
///
/// Only without errors, of anybody, is what it gives to be used; with errors it is for looking for more.
pub(crate) fn lower_rest(raw: &RawConfig, damage: &Damage, problems: &mut Diagnostics) -> Config {
    let mut findings = Findings::new(damage);
    let config = whole(raw, &mut findings);
    problems.extend(findings.list);
    config
}

fn whole(raw: &RawConfig, problems: &mut Findings<'_>) -> Config {
    let names = names::Names::of(raw, problems);
    listener::check_binds(raw, problems);
    let listeners = raw
        .listeners
        .iter()
        .map(|listener| listener::lower(listener, problems))
        .collect();
    let upstreams: Vec<_> = raw
        .upstreams
        .iter()
        .map(|upstream| upstream::lower(upstream, raw.zone.as_deref(), problems))
        .collect();
    let prints: Vec<u64> = upstreams
        .iter()
        .map(|upstream| upstream.fingerprint)
        .collect();
    let defaults = route::Defaults::of(&raw.defaults, problems);
    let scope = route::Scope {
        names: &names,
        defaults: &defaults,
        upstreams: &prints,
    };
    let routes = raw
        .routes
        .iter()
        .map(|route| {
            l4::check_http(route, raw, &scope, problems);
            let lowered = route::lower(route, &scope, problems);
            route::check_hedge(&lowered, &route.name, &upstreams, problems);
            lowered
        })
        .collect();
    let tcp_routes: Vec<_> = raw
        .tcp_routes
        .iter()
        .map(|route| l4::tcp(route, raw, &scope, problems))
        .collect();
    let udp_routes: Vec<_> = raw
        .udp_routes
        .iter()
        .map(|route| l4::udp(route, raw, &scope, problems))
        .collect();
    l4::check_one_udp_route(raw, &udp_routes, problems);
    l4::check_used(raw, &tcp_routes, &udp_routes, problems);
    listener::check_used(raw, &names, problems);
    telemetry::check(raw, problems);
    Config {
        listeners,
        routes,
        tcp_routes,
        udp_routes,
        upstreams,
        admin: raw.admin.enabled.then(|| Admin {
            bind: raw.admin.bind.value.clone(),
            at: raw.admin.bind.at.clone(),
        }),
        access_log: raw.access_log.clone(),
        tracing: raw.tracing.clone(),
        metrics: raw.metrics.clone(),
        limits: Limits {
            max_connections: limits::count(raw.limits.max_connections),
            max_requests_in_flight: limits::count(raw.limits.max_requests_in_flight),
        },
        memory: raw.limits.memory.map(ByteSize::get),
        drain: raw.limits.drain.get(),
    }
}
