//! What a compiled route is at run time.

use std::sync::Arc;

use crate::error::GatewayError;
use crate::filter::{Chain, Stage};
use crate::forward::Forward;
use crate::gateway::RouteMetrics;
use crate::handler::{BoxFuture, Handler, Request, Response};

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
    answer: Answer,
    /// Whether it or one of its backends has filters.
    pub(crate) filtered: bool,
    /// Metric handles, resolved when the route was compiled.
    pub(crate) metrics: RouteMetrics,
}

/// What answers the requests of a route.
#[derive(Debug)]
enum Answer {
    /// In place, because most routes have no filters.
    Forward(Forward),
    Chain(Chain),
}

impl RouteEntry {
    pub(crate) fn new(
        name: Arc<str>,
        filters: Vec<Stage>,
        forward: Forward,
        metrics: RouteMetrics,
    ) -> Self {
        Self {
            name,
            filtered: !filters.is_empty() || forward.has_chains(),
            answer: if filters.is_empty() {
                Answer::Forward(forward)
            } else {
                Answer::Chain(Chain::builder().stages(filters).build(forward))
            },
            metrics,
        }
    }

    /// Answers a request that was found to belong to the route: through its filters, to its backends.
    ///
    /// # Errors
    /// What its filters and backends fail with.
    pub fn call(&self, request: Request) -> BoxFuture<'_, Result<Response, GatewayError>> {
        match &self.answer {
            // A box here keeps everything around it small, which is moved several times before it rests.
            Answer::Forward(forward) => Box::pin(forward.handle(request)),
            Answer::Chain(chain) => chain.service().call(request),
        }
    }
}
