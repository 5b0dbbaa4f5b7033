//! Lowering: from what was written to what is meant.
//!
//! Pure: nothing is read, resolved or bound. All mistakes are collected, each with the place it was written
//! at; objects with mistakes are left out, so that what refers to them is still looked at.
//!
//! Relative paths of PEM files begin at the folder of the file they are written in, so that a configuration
//! can be moved as a whole; those of a program begin at the working directory.

mod fingerprint;
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

use super::{
    diagnostic::Diagnostics,
    ir::{Admin, Config, Limits},
    raw::RawConfig,
};

/// Validates a configuration. What is wrong goes to `problems`, warnings included; `None` when there were
/// errors.
///
/// Lowering looks at one configuration by itself: whether plugins exist, files can be read and addresses can
/// be bound shows later.
pub fn lower(raw: &RawConfig, problems: &mut Diagnostics) -> Option<Config> {
    let mut found = Diagnostics::new();
    let config = whole(raw, &mut found);
    let usable = !found.has_errors();
    problems.extend(found);
    usable.then_some(config)
}

fn whole(raw: &RawConfig, problems: &mut Diagnostics) -> Config {
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
        .map(|upstream| upstream::lower(upstream, problems))
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
        .map(|route| route::lower(route, &scope, problems))
        .collect();
    listener::check_used(raw, &names, problems);
    telemetry::check(raw, problems);
    Config {
        listeners,
        routes,
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
        drain: raw.limits.drain.get(),
    }
}
