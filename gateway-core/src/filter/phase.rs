//! Where in a chain a filter usually stands.

/// The usual place of a filter. Phases give defaults and warnings; they never reorder a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// Marks and observes: request ids, tracing.
    Observe,
    /// Cross-origin answers, which must stand before authentication.
    Cors,
    /// Finds out who it is.
    Authenticate,
    /// Decides whether they may.
    Authorize,
    /// Quotas and rates.
    Limit,
    /// Checks sizes and shapes.
    Validate,
    /// Changes the request or the reply.
    Transform,
    /// Answers from a store.
    Cache,
    /// Credentials for the upstream; must see the request as it will be sent.
    UpstreamAuth,
}
