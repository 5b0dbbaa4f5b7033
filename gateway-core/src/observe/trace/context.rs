//! The context of one request.

use http::HeaderValue;

use super::ids;

/// Where a request stands in its trace.
///
/// `span_id` is the gateway's own span for the request; the caller's span is its `parent`.
#[derive(Clone, Debug)]
pub struct TraceContext {
    /// The trace; never all zero.
    pub trace_id: [u8; 16],
    /// The gateway's span; never all zero.
    pub span_id: [u8; 8],
    /// The caller's span; `None` when the trace begins here.
    pub parent: Option<[u8; 8]>,
    /// The request is recorded.
    pub sampled: bool,
    /// The caller's `tracestate`. Set only for a sampled request with one such header: otherwise the
    /// header just stays in the request.
    pub state: Option<HeaderValue>,
    /// B3's debug flag, which implies `sampled`.
    pub(super) debug: bool,
    /// What must leave the headers before the request goes on.
    pub(super) stale: Stale,
}

/// Headers of the caller that would contradict ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stale {
    /// `tracestate` without a valid `traceparent`, or broken itself.
    pub(super) state: bool,
    /// `x-b3-*` headers that a single `b3` header of ours replaces, or that belong to no trace.
    pub(super) b3_multi: bool,
}

/// What the caller said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Incoming {
    /// Trace and the caller's span.
    pub(super) ids: Option<([u8; 16], [u8; 8])>,
    /// `None` leaves the decision to us.
    pub(super) sampled: Option<bool>,
    pub(super) debug: bool,
}

impl TraceContext {
    /// Goes on from what the caller said; `decide` is asked when the caller left the decision to us.
    pub(super) fn from_incoming(incoming: Incoming, decide: impl Fn(&[u8; 16]) -> bool) -> Self {
        let (trace_id, parent) = match incoming.ids {
            Some((trace_id, parent)) => (trace_id, Some(parent)),
            None => (ids::trace_id(), None),
        };
        Self {
            trace_id,
            span_id: ids::span_id(),
            parent,
            sampled: incoming.sampled.unwrap_or_else(|| decide(&trace_id)),
            state: None,
            debug: incoming.debug,
            stale: Stale::default(),
        }
    }

    /// The context of a span below this one, such as one attempt of the request.
    #[must_use]
    pub fn child(&self) -> Self {
        Self {
            span_id: ids::span_id(),
            parent: Some(self.span_id),
            ..self.clone()
        }
    }
}
