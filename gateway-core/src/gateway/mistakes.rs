//! What is wrong with the plugins of a configuration that is refused for something else already.

use super::process::Process;
use crate::config::raw::RawConfig;
use crate::config::{Diagnostics, PluginSpec};
use crate::filter::BuildCx;
use crate::registry::Registry;

/// Reports every plugin that is not registered or whose settings are wrong, so that one look at a
/// configuration finds all that is wrong with it.
pub(super) fn of_plugins(
    raw: &RawConfig,
    registry: &Registry,
    process: &Process,
    problems: &mut Diagnostics,
) {
    let filters = |specs: &[PluginSpec], cx: &BuildCx<'_>, problems: &mut Diagnostics| {
        for spec in specs {
            registry.filter(spec, cx, problems);
        }
    };
    for listener in &raw.listeners {
        let owner = format!("listener {}", &*listener.name);
        filters(
            &listener.filters,
            &BuildCx::new(&owner, process.store()),
            problems,
        );
    }
    for route in &raw.routes {
        let owner = format!("route {}", &*route.name);
        let cx = BuildCx::new(&owner, process.store());
        filters(&route.filters, &cx, problems);
        for backend in &route.backends {
            filters(&backend.filters, &cx, problems);
        }
        for spec in route.matches.iter().flat_map(|matches| &matches.custom) {
            registry.matcher(spec, &cx, problems);
        }
    }
    for upstream in &raw.upstreams {
        let owner = format!("upstream {}", &*upstream.name);
        let cx = BuildCx::new(&owner, process.store());
        if let Some(spec) = &upstream.balance {
            registry.balancer(spec, &cx, problems);
        }
        if let Some(spec) = &upstream.discovery {
            registry.discovery(spec, &cx, problems);
        }
        if let Some(spec) = &upstream.connector {
            registry.connector(spec, &cx, problems);
        }
    }
}
