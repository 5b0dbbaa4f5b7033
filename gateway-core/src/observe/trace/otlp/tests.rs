use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, UNIX_EPOCH};

use http::HeaderMap;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use prost::Message as _;

use super::{OtlpError, OtlpExporter};
use crate::observe::config::OtlpConfig;
use crate::observe::metrics::Metrics;
use crate::observe::trace::{Propagation, SpanKind, SpanRecord, SpanSink, Tracer};

const PATIENCE: Duration = Duration::from_secs(60);
const NO_PAUSES: [Duration; 3] = [Duration::ZERO; 3];

fn collector() -> (TcpListener, OtlpConfig) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = OtlpConfig {
        endpoint: format!("http://{}", listener.local_addr().unwrap()).into(),
        service_name: "edge".into(),
    };
    (listener, config)
}

/// Takes one request and answers with `status`.
fn take(listener: &TcpListener, status: &str) -> (String, Vec<u8>) {
    let (mut stream, _) = listener.accept().unwrap();
    let (head, body) = read(&mut stream);
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\nok");
    stream.write_all(answer.as_bytes()).unwrap();
    (head, body)
}

fn read(stream: &mut TcpStream) -> (String, Vec<u8>) {
    let mut bytes = Vec::new();
    let mut space = [0; 1024];
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map_or(0, |length| length.parse::<usize>().unwrap());
            if bytes.len() >= end + 4 + length {
                return (head, bytes.split_off(end + 4));
            }
        }
        let read = stream.read(&mut space).unwrap();
        assert_ne!(read, 0, "the exporter hung up");
        bytes.extend_from_slice(&space[..read]);
    }
}

fn record(name: &'static str) -> SpanRecord {
    let mut headers = HeaderMap::new();
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    headers.insert("traceparent", parent.parse().unwrap());
    headers.insert("tracestate", "foo=1".parse().unwrap());
    let context = Tracer::new(Propagation::W3c, 1.0).start(&headers);
    let start = UNIX_EPOCH + Duration::from_nanos(1_000_000_001);
    SpanRecord::new(
        name,
        SpanKind::Server,
        context,
        start,
        start + Duration::from_nanos(5),
    )
}

fn attribute<'a>(attributes: &'a [KeyValue], name: &str) -> Option<&'a Value> {
    let found = attributes.iter().find(|pair| pair.key == name)?;
    found.value.as_ref()?.value.as_ref()
}

#[test]
fn a_collector_gets_the_span_as_it_was() {
    let (listener, config) = collector();
    let metrics = Metrics::new(1, 10);
    let exporter = OtlpExporter::start(&config, &metrics).unwrap();
    let span = record("GET orders")
        .attribute("http.response.status_code", 503_u16)
        .attribute("http.request.method", "GET")
        .attribute("portcullis.retried", true)
        .attribute("portcullis.load", 0.5)
        .failed("no endpoint");
    let context = span.context.clone();
    exporter.submit(span);
    let collector = std::thread::spawn(move || take(&listener, "200 OK"));
    assert!(exporter.flush(PATIENCE));
    let (head, body) = collector.join().unwrap();
    assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
    assert!(
        head.contains("content-type: application/x-protobuf"),
        "{head}"
    );

    let request = ExportTraceServiceRequest::decode(&*body).unwrap();
    let [resource] = &request.resource_spans[..] else {
        panic!("{request:?}")
    };
    let about = &resource.resource.as_ref().unwrap().attributes;
    let service = Value::StringValue("edge".into());
    assert_eq!(attribute(about, "service.name"), Some(&service));
    let [span] = &resource.scope_spans[0].spans[..] else {
        panic!("{request:?}")
    };
    assert_eq!(span.trace_id, context.trace_id);
    assert_eq!(span.span_id, context.span_id);
    assert_eq!(span.parent_span_id, context.parent.unwrap());
    assert_eq!(span.trace_state, "foo=1");
    assert_eq!((&*span.name, span.kind), ("GET orders", 2));
    assert_eq!(span.start_time_unix_nano, 1_000_000_001);
    assert_eq!(span.end_time_unix_nano, 1_000_000_006);
    for (name, value) in [
        ("http.response.status_code", Value::IntValue(503)),
        ("http.request.method", Value::StringValue("GET".into())),
        ("portcullis.retried", Value::BoolValue(true)),
        ("portcullis.load", Value::DoubleValue(0.5)),
    ] {
        assert_eq!(attribute(&span.attributes, name), Some(&value));
    }
    let status = span.status.as_ref().unwrap();
    assert_eq!((&*status.message, status.code), ("no endpoint", 2));
    assert!(exporter.shutdown(PATIENCE));
    assert!(
        metrics
            .render()
            .contains("portcullis_otlp_spans_exported_total 1\n")
    );
}

#[test]
fn a_full_batch_goes_without_being_asked() {
    let (listener, config) = collector();
    let exporter = OtlpExporter::start(&config, &Metrics::new(1, 10)).unwrap();
    (0..512).for_each(|_| exporter.submit(record("x")));
    let mut spans = 0;
    while spans < 512 {
        let (_, body) = take(&listener, "200 OK");
        let request = ExportTraceServiceRequest::decode(&*body).unwrap();
        spans += request.resource_spans[0].scope_spans[0].spans.len();
    }
    assert_eq!(spans, 512);
}

#[test]
fn an_overloaded_collector_is_tried_again() {
    let (listener, config) = collector();
    let metrics = Metrics::new(1, 10);
    let exporter = OtlpExporter::with_pauses(&config, &metrics, NO_PAUSES).unwrap();
    exporter.submit(record("x"));
    let collector = std::thread::spawn(move || {
        let first = take(&listener, "503 Service Unavailable").1;
        let second = take(&listener, "200 OK").1;
        (first, second)
    });
    assert!(exporter.flush(PATIENCE));
    let (first, second) = collector.join().unwrap();
    assert_eq!(first, second);
    assert!(
        metrics
            .render()
            .contains("portcullis_otlp_spans_exported_total 1\n")
    );
}

#[test]
fn spans_nobody_takes_are_counted_and_dropped() {
    // Refused by the collector.
    let (listener, config) = collector();
    let metrics = Metrics::new(1, 10);
    let exporter = OtlpExporter::with_pauses(&config, &metrics, NO_PAUSES).unwrap();
    exporter.submit(record("x"));
    let collector = std::thread::spawn(move || take(&listener, "400 Bad Request"));
    assert!(exporter.flush(PATIENCE));
    collector.join().unwrap();
    // Nobody listens any more.
    exporter.submit(record("y"));
    assert!(exporter.flush(PATIENCE));
    // After the end.
    assert!(exporter.shutdown(PATIENCE));
    assert!(exporter.shutdown(PATIENCE));
    exporter.submit(record("z"));
    let text = metrics.render();
    for (reason, count) in [("export_failed", 2), ("queue_full", 1)] {
        let line = format!("portcullis_otlp_spans_dropped_total{{reason=\"{reason}\"}} {count}\n");
        assert!(text.contains(&line), "{text}");
    }
}

#[test]
fn an_endpoint_over_tls_is_refused() {
    let config = OtlpConfig {
        endpoint: "https://127.0.0.1:4318".to_owned().into(),
        service_name: "edge".into(),
    };
    let error = OtlpExporter::start(&config, &Metrics::new(1, 10)).unwrap_err();
    assert!(matches!(error, OtlpError::Https { .. }), "{error}");
}
