//! Trace context: reading it from a request, passing it on, deciding what is sampled.
//!
//! A [`Tracer`] is made from the configuration. For each request [`Tracer::start`] reads the caller's
//! context from the headers, or begins a trace, and [`Tracer::inject`] writes the gateway's own context
//! for the upstream. A request that is not sampled pays for the identifiers and for one header (in the
//! formats that are one header), nothing else.
//!
//! | format | headers | source |
//! |---|---|---|
//! | [`Propagation::W3c`] | `traceparent`, `tracestate` | W3C Trace Context (level 1 recommendation) |
//! | [`Propagation::B3`] | `b3` | openzipkin/b3-propagation, single header |
//! | [`Propagation::B3Multi`] | `x-b3-traceid`, `-spanid`, `-parentspanid`, `-sampled`, `-flags` | the same, several headers |
//! | [`Propagation::Both`] | `traceparent` and `b3` | |
//!
//! A header that breaks its format is ignored, as the specifications demand: the request then begins a
//! new trace. Sampling is parent-based: the caller's decision holds; without one the trace id decides by
//! ratio, the same way in every service that uses the OpenTelemetry rule.
//!
//! Finished spans are [`SpanRecord`]s handed to a [`SpanSink`]; with the feature `otlp` the module
//! `otlp` sends them to a collector.

mod b3;
mod context;
mod hex;
mod ids;
#[cfg(feature = "otlp")]
pub mod otlp;
mod span;
mod tracer;
mod w3c;

pub use context::TraceContext;
pub use span::{SpanAttribute, SpanKind, SpanRecord, SpanSink, SpanStatus};
pub use tracer::{Propagation, Tracer};

pub(in crate::observe) use hex::write_hex;

#[cfg(test)]
mod tests;
