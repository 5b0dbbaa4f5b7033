//! What else is wrong with a configuration that is refused already.
//!
//! Looks at everything that later stages would look at, so that one run finds all that is wrong: plugins,
//! certificates and keys, filters that do not go with their route, tables that are too large, log files. Nothing
//! is bound, created, started or kept: what plugins would share between configurations goes to a store that is
//! thrown away.

use super::compile::State;
use super::{listeners, routes, upstreams};
use crate::config::{Diagnostics, ir};
use crate::filter::{BuildCx, StateStore};
use crate::registry::Registry;

/// Reports it. What `config` lacks was reported before.
pub(super) fn find(
    config: &ir::Config,
    live: &State,
    registry: &Registry,
    problems: &mut Diagnostics,
) {
    let store = StateStore::default();
    for upstream in &config.upstreams {
        let old = live.upstreams.get(&upstream.name);
        if old.is_some_and(|old| old.fingerprint == upstream.fingerprint) {
            continue;
        }
        let owner = upstreams::owner(upstream);
        let cx = BuildCx::new(&owner, &store);
        upstreams::parts(upstream, registry, &cx, problems);
    }
    for route in &config.routes {
        let old = live.routes.get(&route.name);
        if old.is_some_and(|old| old.fingerprint == route.fingerprint) {
            continue;
        }
        let owner = routes::owner(route);
        let cx = BuildCx::new(&owner, &store);
        routes::parts(route, &cx, registry, problems);
    }
    for (position, listener) in config.listeners.iter().enumerate() {
        let old = live.listeners.get(&listener.name);
        let live_tls = old.and_then(|old| old.tls.as_ref());
        listeners::parts(listener, live_tls, &store, registry, problems);
        let written = |route: &ir::Route| Some((route.matches.clone(), ()));
        listeners::table(config, position, written, problems);
    }
    live.sinks.check(config, problems);
}
