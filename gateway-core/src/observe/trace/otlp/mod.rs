//! Sends finished spans to an OpenTelemetry collector: OTLP over HTTP with protobuf bodies.
//!
//! [`OtlpExporter`] is a [`SpanSink`](super::SpanSink). A worker only puts the span in a bounded queue; a
//! thread with a small runtime of its own gathers up to 512 spans or one second of them into a batch and
//! posts it to `/v1/traces`. A collector that is away or overloaded (429, 502, 503, 504) is tried again
//! with growing pauses; what cannot be sent, or finds the queue of 4096 full, is dropped and counted:
//!
//! - `portcullis_otlp_spans_exported_total`
//! - `portcullis_otlp_spans_dropped_total{reason="queue_full"|"export_failed"}`
//!
//! Only `http://` endpoints can be used; put a local collector or agent in between for others.

mod encode;
mod endpoint;
mod exporter;
mod post;

pub use endpoint::OtlpError;
pub use exporter::OtlpExporter;

#[cfg(test)]
mod tests;
