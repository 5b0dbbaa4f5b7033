use std::fs;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use super::{AccessLog, AccessRecord};
use crate::observe::config::{AccessLogConfig, LogFormat, LogTarget};
use crate::observe::event::{Event, Observer};
use crate::observe::metrics::Metrics;
use crate::worker;

const PATIENCE: Duration = Duration::from_secs(60);

/// Takes what is written, once its gate is open.
#[derive(Clone, Default)]
struct Sink(Arc<(Mutex<State>, Condvar)>);

#[derive(Default)]
struct State {
    closed: bool,
    fails: bool,
    calls: usize,
    bytes: Vec<u8>,
}

impl Sink {
    fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.0.lock().unwrap());
        self.0.1.notify_all();
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.0.lock().unwrap().bytes.clone()).unwrap()
    }

    fn lines(&self) -> usize {
        self.text().lines().count()
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let state = self.0.0.lock().unwrap();
        let mut state = self.0.1.wait_while(state, |state| state.closed).unwrap();
        if state.fails {
            return Err(io::ErrorKind::StorageFull.into());
        }
        state.calls += 1;
        state.bytes.extend_from_slice(bytes);
        self.0.1.notify_all();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn config(format: LogFormat, query: bool) -> AccessLogConfig {
    AccessLogConfig {
        format,
        query,
        ..AccessLogConfig::default()
    }
}

fn full_record() -> AccessRecord<'static> {
    let time = UNIX_EPOCH + Duration::from_millis(1_767_323_045_678);
    AccessRecord {
        listener: "web",
        client: Some("192.0.2.7".parse().unwrap()),
        peer: Some("[2001:db8::1]:4711".parse().unwrap()),
        principal: Some("alice"),
        method: "GET",
        scheme: "https",
        host: "shop.example",
        path: "/orders",
        query: Some("token=s"),
        version: http::Version::HTTP_2,
        status: 200,
        reason: "ok",
        route: Some("orders"),
        upstream: Some("orders-v1"),
        endpoint: Some("10.0.0.1:8080"),
        attempts: 2,
        bytes_in: 3,
        bytes_out: 512,
        duration: Duration::from_micros(1_204),
        upstream_first_byte: Some(Duration::from_micros(900)),
        upstream_duration: Some(Duration::from_millis(1_001)),
        request_id: Some("r1"),
        trace_id: Some([0x4b; 16]),
        user_agent: Some(b"curl/8"),
        sni: Some("shop.example"),
        tls_version: Some("TLSv1.3"),
        retried: true,
        ..AccessRecord::new(time)
    }
}

/// The line that a log of this kind writes.
fn line(record: &AccessRecord<'_>, config: &AccessLogConfig) -> String {
    let sink = Sink::default();
    let log = AccessLog::with_writer(sink.clone(), config, 1, &Metrics::new(1, 10)).unwrap();
    log.log(record);
    assert!(log.shutdown(PATIENCE));
    sink.text()
}

#[test]
fn a_full_record_as_json() {
    let line = line(&full_record(), &config(LogFormat::Json, false));
    assert_eq!(
        line,
        concat!(
            r#"{"time":"2026-01-02T03:04:05.678Z","listener":"web","client":"192.0.2.7","#,
            r#""peer":"[2001:db8::1]:4711","principal":"alice","method":"GET","scheme":"https","#,
            r#""host":"shop.example","path":"/orders","protocol":"HTTP/2.0","status":200,"#,
            r#""reason":"ok","route":"orders","upstream":"orders-v1","endpoint":"10.0.0.1:8080","#,
            r#""attempts":2,"bytes_in":3,"bytes_out":512,"duration":0.001204,"#,
            r#""upstream_first_byte":0.000900,"#,
            r#""upstream_duration":1.001000,"request_id":"r1","#,
            r#""trace_id":"4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b","user_agent":"curl/8","#,
            r#""sni":"shop.example","tls_version":"TLSv1.3","retried":true}"#,
            "\n"
        )
    );
}

#[test]
fn a_full_record_as_text() {
    let line = line(&full_record(), &config(LogFormat::Text, true));
    assert_eq!(
        line,
        concat!(
            r#"192.0.2.7 - alice [02/Jan/2026:03:04:05 +0000] "GET /orders?token=s HTTP/2.0" 200 512 "-" "curl/8""#,
            r#" listener="web" scheme="https" host="shop.example" reason="ok" route="orders" upstream="orders-v1""#,
            r#" endpoint="10.0.0.1:8080" attempts=2 bytes_in=3 duration=0.001204"#,
            r#" upstream_first_byte=0.000900 upstream_duration=1.001000 request_id="r1""#,
            r#" trace_id="4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b4b" sni="shop.example" tls_version="TLSv1.3" retried"#,
            "\n"
        )
    );
}

#[test]
fn a_request_cut_off_before_anything_was_known() {
    let mut record = AccessRecord::new(UNIX_EPOCH);
    record.aborted = true;
    assert_eq!(
        line(&record, &config(LogFormat::Json, true)),
        concat!(
            r#"{"time":"1970-01-01T00:00:00.000Z","protocol":"HTTP/1.1","status":0,"attempts":0,"#,
            r#""bytes_in":0,"bytes_out":0,"duration":0.000000,"aborted":true}"#,
            "\n"
        )
    );
    assert_eq!(
        line(&record, &config(LogFormat::Text, true)),
        concat!(
            r#"- - - [01/Jan/1970:00:00:00 +0000] "- - HTTP/1.1" 0 0 "-" "-" attempts=0 bytes_in=0"#,
            " duration=0.000000 aborted\n"
        )
    );
}

#[test]
fn no_field_that_a_client_fills_can_forge_a_line() {
    let evil = "x\"\n{\"status\":200} [\u{1b}[2J\u{85}\u{202e}";
    let mut record = full_record();
    (record.method, record.host, record.path) = (evil, evil, evil);
    (record.query, record.principal) = (Some(evil), Some(evil));
    (record.sni, record.request_id) = (Some(evil), Some(evil));
    record.user_agent = Some(b"\xff\n\"evil\"");
    for format in [LogFormat::Json, LogFormat::Text] {
        let line = line(&record, &config(format, true));
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        let text = line.trim_end_matches('\n');
        assert!(
            !text.chars().any(|c| c.is_control() || c == '\u{202e}'),
            "{line}"
        );
        if format == LogFormat::Json {
            let value: serde_json::Value = serde_json::from_str(text).unwrap();
            assert_eq!(value["path"], evil);
            assert_eq!(value["status"], 200);
            assert_eq!(value["user_agent"], "\u{fffd}\n\"evil\"");
        }
    }
}

#[test]
fn lines_of_a_worker_stay_in_order_and_none_is_lost() {
    const WORKERS: usize = 3;
    const LINES: usize = 3_000;
    let sink = Sink::default();
    let metrics = Metrics::new(4, 10);
    let log =
        AccessLog::with_writer(sink.clone(), &config(LogFormat::Json, false), 4, &metrics).unwrap();
    std::thread::scope(|scope| {
        for index in 0..WORKERS {
            let log = &log;
            scope.spawn(move || {
                worker::enter(index);
                for number in 0..LINES {
                    let host = format!("{index} {number}");
                    let mut record = full_record();
                    record.host = &host;
                    log.log(&record);
                    if number % 1_000 == 500 {
                        assert!(log.flush(PATIENCE));
                    }
                }
            });
        }
    });
    assert!(log.shutdown(PATIENCE));
    let mut next = [0; WORKERS];
    for line in sink.text().lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        let (index, number) = value["host"].as_str().unwrap().split_once(' ').unwrap();
        let next = &mut next[index.parse::<usize>().unwrap()];
        assert_eq!(number.parse::<usize>().unwrap(), *next);
        *next += 1;
    }
    assert_eq!(next, [LINES; WORKERS]);
    let calls = sink.0.0.lock().unwrap().calls;
    assert!(
        calls < WORKERS * LINES / 10,
        "whole buffers are written: {calls}"
    );
}

#[test]
fn a_destination_that_hangs_costs_lines_and_never_time() {
    let sink = Sink::default();
    sink.set(|state| state.closed = true);
    let metrics = Metrics::new(1, 10);
    let log =
        AccessLog::with_writer(sink.clone(), &config(LogFormat::Json, false), 1, &metrics).unwrap();
    let dropped = metrics.counter("portcullis_access_log_dropped_total", "", &[]);
    let path = "x".repeat(8 * 1024);
    let mut record = full_record();
    record.path = &path;
    let mut logged = 0;
    while dropped.value() == 0 {
        log.log(&record);
        logged += 1;
        assert!(logged < 10_000, "more is kept than the bound allows");
    }
    assert!(!log.flush(Duration::ZERO));
    sink.set(|state| state.closed = false);
    assert!(log.shutdown(PATIENCE));
    assert_eq!(sink.lines() as u64 + dropped.value(), logged);
    log.log(&record);
    assert_eq!(
        sink.lines() as u64 + dropped.value(),
        logged + 1,
        "counted after the end"
    );
}

#[test]
fn a_destination_that_fails_costs_lines_until_it_works_again() {
    let sink = Sink::default();
    sink.set(|state| state.fails = true);
    let metrics = Metrics::new(1, 10);
    let log =
        AccessLog::with_writer(sink.clone(), &config(LogFormat::Text, false), 1, &metrics).unwrap();
    let dropped = metrics.counter("portcullis_access_log_dropped_total", "", &[]);
    log.log(&full_record());
    log.log(&full_record());
    assert!(log.flush(PATIENCE));
    assert_eq!((dropped.value(), sink.lines()), (2, 0));
    sink.set(|state| state.fails = false);
    log.log(&full_record());
    assert!(log.flush(PATIENCE));
    assert_eq!((dropped.value(), sink.lines()), (2, 1));
}

#[test]
fn the_tick_writes_what_waits() {
    let sink = Sink::default();
    let metrics = Metrics::new(1, 10);
    let log =
        AccessLog::with_writer(sink.clone(), &config(LogFormat::Json, false), 1, &metrics).unwrap();
    log.log(&full_record());
    let state = sink.0.0.lock().unwrap();
    let unwritten = |state: &mut State| state.bytes.is_empty();
    let (state, waited) = sink
        .0
        .1
        .wait_timeout_while(state, PATIENCE, unwritten)
        .unwrap();
    assert!(!waited.timed_out());
    drop(state);
    assert_eq!(sink.lines(), 1);
}

#[test]
fn a_renamed_file_is_followed_after_reopen() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let config = AccessLogConfig {
        path: LogTarget::File(path.clone()).into(),
        ..AccessLogConfig::default()
    };
    fs::write(&path, "before\n").unwrap();
    let log = AccessLog::open(&config, 1, &Metrics::new(1, 10)).unwrap();
    log.on_event(&Event::RequestEnd(&full_record()));
    assert!(log.flush(PATIENCE));
    let rotated = folder.path().join("access.log.1");
    fs::rename(&path, &rotated).unwrap();
    log.reopen();
    log.log(&full_record());
    assert!(log.shutdown(PATIENCE));
    assert_eq!(fs::read_to_string(&rotated).unwrap().lines().count(), 2);
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 1);
}

#[test]
fn a_file_that_cannot_be_opened_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let config = AccessLogConfig {
        path: LogTarget::File(folder.path().join("missing/access.log")).into(),
        ..AccessLogConfig::default()
    };
    let error = AccessLog::open(&config, 1, &Metrics::new(1, 10)).unwrap_err();
    let foreseen = AccessLog::check(&config).unwrap_err();
    assert_eq!(error.to_string(), foreseen.to_string());
}

#[test]
fn a_check_creates_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let config = AccessLogConfig {
        path: LogTarget::File(path.clone()).into(),
        ..AccessLogConfig::default()
    };
    AccessLog::check(&config).unwrap();
    assert!(!path.exists());
    fs::create_dir(&path).unwrap();
    let error = AccessLog::open(&config, 1, &Metrics::new(1, 10)).unwrap_err();
    let foreseen = AccessLog::check(&config).unwrap_err();
    assert_eq!(error.to_string(), foreseen.to_string());
}
