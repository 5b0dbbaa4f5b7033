//! What a compiled route is at run time.

use std::sync::Arc;

use crate::filter::Chain;
use crate::gateway::RouteMetrics;

/// A compiled route: its name, its folded chain and its metrics. Requests pin it, and nothing else, while they run.
///
/// What a request touches of it stands together, in the order of its fields: among a hundred thousand routes each
/// piece in a place of its own is a wait for memory.
#[derive(Debug)]
#[non_exhaustive]
#[repr(C)]
pub struct RouteEntry {
    /// The route's name.
    pub name: Arc<str>,
    pub(crate) chain: Chain,
    /// Metric handles, resolved when the route was compiled.
    pub(crate) metrics: RouteMetrics,
}

impl RouteEntry {
    /// The folded chain of the route.
    #[must_use]
    pub fn chain(&self) -> &Chain {
        &self.chain
    }
}
