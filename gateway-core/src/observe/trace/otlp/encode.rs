//! Spans as OTLP messages.

use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{
    ResourceSpans, ScopeSpans, Span, Status, span, status,
};
use prost::Message as _;

use crate::observe::trace::{SpanAttribute, SpanKind, SpanRecord, SpanStatus};

/// One export request with all of `spans`, which are used up.
pub(super) fn encode(service_name: &str, spans: &mut Vec<SpanRecord>) -> Vec<u8> {
    let request = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource {
                attributes: vec![
                    key_value("service.name", Value::StringValue(service_name.into())),
                    key_value("service.version", version()),
                ],
                ..Resource::default()
            }),
            scope_spans: vec![ScopeSpans {
                scope: Some(InstrumentationScope {
                    name: "portcullis".into(),
                    version: env!("CARGO_PKG_VERSION").into(),
                    ..InstrumentationScope::default()
                }),
                spans: spans.drain(..).map(message).collect(),
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    };
    request.encode_to_vec()
}

fn version() -> Value {
    Value::StringValue(env!("CARGO_PKG_VERSION").into())
}

fn message(record: SpanRecord) -> Span {
    let context = record.context;
    let kind = match record.kind {
        SpanKind::Client => span::SpanKind::Client,
        SpanKind::Internal => span::SpanKind::Internal,
        SpanKind::Server => span::SpanKind::Server,
    };
    let (code, message) = match record.status {
        SpanStatus::Error(reason) => (status::StatusCode::Error, reason.into_owned()),
        SpanStatus::Unset => (status::StatusCode::Unset, String::new()),
    };
    let state = context.state.as_ref().and_then(|state| state.to_str().ok());
    Span {
        trace_id: context.trace_id.into(),
        span_id: context.span_id.into(),
        parent_span_id: context.parent.map(Vec::from).unwrap_or_default(),
        trace_state: state.unwrap_or_default().into(),
        flags: u32::from(context.sampled),
        name: record.name.into_owned(),
        kind: kind.into(),
        start_time_unix_nano: nanos(record.start),
        end_time_unix_nano: nanos(record.end),
        attributes: record
            .attributes
            .into_iter()
            .map(|(name, value)| key_value(name, attribute(value)))
            .collect(),
        status: Some(Status {
            message,
            code: code.into(),
        }),
        ..Span::default()
    }
}

fn attribute(value: SpanAttribute) -> Value {
    match value {
        SpanAttribute::Bool(value) => Value::BoolValue(value),
        SpanAttribute::Float(value) => Value::DoubleValue(value),
        SpanAttribute::Int(value) => Value::IntValue(value),
        SpanAttribute::Text(value) => Value::StringValue(value.into_owned()),
    }
}

fn key_value(name: &str, value: Value) -> KeyValue {
    KeyValue {
        key: name.into(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

/// Nanoseconds since the epoch; 0 before it, the most after the year 2554.
fn nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
