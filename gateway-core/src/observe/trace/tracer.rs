//! Reads, decides, and writes: the part that requests meet.

use http::HeaderMap;

use super::context::{Incoming, TraceContext};
use super::{b3, w3c};
use crate::observe::config::{PropagationConfig, TracingConfig};

/// Which headers carry the trace, in and out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Propagation {
    /// `traceparent` and `tracestate`.
    #[default]
    W3c,
    /// One `b3` header; `x-b3-*` headers are read too, and replaced.
    B3,
    /// `x-b3-*` headers; a `b3` header is read too, and kept up to date when it came.
    B3Multi,
    /// `traceparent` and `b3`; read in that order, then `x-b3-*`.
    Both,
}

/// Starts and continues traces. Two words wide; copy it to where it is needed.
///
/// ```
/// use portcullis_core::observe::{Propagation, Tracer};
///
/// let tracer = Tracer::new(Propagation::W3c, 0.0);
/// let mut headers = http::HeaderMap::new();
/// let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
/// headers.insert("traceparent", parent.parse().unwrap());
///
/// let context = tracer.start(&headers);
/// assert!(context.sampled, "the caller decided");
/// tracer.inject(&context, &mut headers);
/// let ours = headers["traceparent"].to_str().unwrap();
/// assert!(ours.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-") && ours != parent);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Tracer {
    propagation: Propagation,
    /// A trace without a decision is sampled when the upper 63 bits of its id's lower half lie below.
    threshold: u64,
}

impl Tracer {
    /// Samples `ratio` (0 to 1, anything else is cut to that) of the traces without a decision.
    #[must_use]
    pub fn new(propagation: Propagation, ratio: f64) -> Self {
        // The cast cuts what lies outside, and maps a NaN to zero.
        let threshold = (ratio * (1_u64 << 63) as f64) as u64;
        Self {
            propagation,
            threshold: threshold.min(1 << 63),
        }
    }

    /// The context of a request with these headers: the caller's trace continued, or a new one.
    #[must_use]
    pub fn start(&self, headers: &HeaderMap) -> TraceContext {
        let (mut w3c_valid, mut from_multi) = (false, false);
        let mut incoming = None;
        if self.uses_w3c() {
            incoming = w3c::extract(headers);
            w3c_valid = incoming.is_some();
        }
        if incoming.is_none() && self.propagation != Propagation::W3c {
            incoming = b3::extract_single(headers);
            if incoming.is_none() {
                incoming = b3::extract_multi(headers);
                from_multi = incoming.is_some();
            }
        }
        let mut context = TraceContext::from_incoming(
            incoming.unwrap_or(Incoming {
                ids: None,
                sampled: None,
                debug: false,
            }),
            |trace_id| self.decide(trace_id),
        );
        context.stale.b3_multi = from_multi && self.propagation != Propagation::B3Multi;
        if w3c_valid {
            match w3c::state(headers) {
                w3c::State::One(state) if context.sampled => context.state = Some(state.clone()),
                w3c::State::Broken => context.stale.state = true,
                w3c::State::One(_) | w3c::State::Keep => {}
            }
        } else if self.uses_w3c() {
            context.stale.state = headers.contains_key(&w3c::TRACESTATE);
        }
        context
    }

    /// Writes `context` for the upstream, over what the caller sent.
    pub fn inject(&self, context: &TraceContext, headers: &mut HeaderMap) {
        if context.stale.state {
            headers.remove(&w3c::TRACESTATE);
        }
        if context.stale.b3_multi {
            b3::remove_multi(headers);
        }
        match self.propagation {
            Propagation::W3c => w3c::inject(context, headers),
            Propagation::B3 => b3::inject_single(context, headers),
            Propagation::B3Multi => {
                b3::inject_multi(context, headers);
                if headers.contains_key(&b3::SINGLE) {
                    b3::inject_single(context, headers);
                }
            }
            Propagation::Both => {
                w3c::inject(context, headers);
                b3::inject_single(context, headers);
            }
        }
    }

    fn uses_w3c(&self) -> bool {
        matches!(self.propagation, Propagation::W3c | Propagation::Both)
    }

    /// The ratio rule of OpenTelemetry's `TraceIdRatioBased` sampler as its SDKs agree on it: services
    /// with the same ratio decide the same way.
    fn decide(&self, trace_id: &[u8; 16]) -> bool {
        let low = u128::from_be_bytes(*trace_id) as u64;
        low >> 1 < self.threshold
    }
}

impl From<&TracingConfig> for Tracer {
    fn from(config: &TracingConfig) -> Self {
        Self::new(config.propagation.into(), config.sample_ratio)
    }
}

impl From<PropagationConfig> for Propagation {
    fn from(config: PropagationConfig) -> Self {
        match config {
            PropagationConfig::W3c => Self::W3c,
            PropagationConfig::B3 => Self::B3,
            PropagationConfig::B3Multi => Self::B3Multi,
            PropagationConfig::Both => Self::Both,
        }
    }
}
