//! What a compiled route is at run time.

use std::sync::Arc;

use crate::filter::Chain;
use crate::gateway::RouteMetrics;

/// The facts of a route that logs, metrics and filters see.
#[derive(Debug)]
#[non_exhaustive]
pub struct RouteFacts {
    /// The route's name.
    pub name: Arc<str>,
    /// Metric handles, resolved when the route was compiled.
    pub(crate) metrics: RouteMetrics,
}

/// A compiled route: its facts and its folded chain. Requests pin it, and nothing else, while they run.
#[derive(Debug)]
pub struct RouteEntry {
    pub(crate) facts: Arc<RouteFacts>,
    pub(crate) chain: Chain,
}

impl RouteEntry {
    /// The facts of the route.
    #[must_use]
    pub fn facts(&self) -> &Arc<RouteFacts> {
        &self.facts
    }

    /// The folded chain of the route.
    #[must_use]
    pub fn chain(&self) -> &Chain {
        &self.chain
    }
}
