//! Clients that take their time before a request is complete.

use std::time::Duration;

use portcullis::tls::testing::{CertificateSpec, TestCa};
use portcullis_tests::{Upstream, free_port, within};
use tokio::time::Instant;

use crate::{GET, OK, limited, metric};

const DEADLINES: &str = "timeouts: { detect: 300ms, head: 400ms, idle: 600ms }";
/// Between two drops: far less than any of them.
const PAUSE: Duration = Duration::from_millis(20);

/// Whether something took as long as it should, and not much longer for a busy machine.
fn assert_took(began: Instant, milliseconds: u64) {
    let took = began.elapsed();
    assert!(
        took >= Duration::from_millis(milliseconds - 20) && took < Duration::from_secs(6),
        "{took:?} instead of {milliseconds} ms"
    );
}

#[tokio::test]
async fn a_head_that_stops_is_answered_with_408() {
    let gateway = limited(free_port(), DEADLINES).await;
    // The first could be HTTP/2 as well, so the time of detection passes first.
    for (begin, milliseconds) in [("P", 700), ("GET / HTTP/1.1\r\nhost: t", 400)] {
        let began = Instant::now();
        let mut client = gateway.client().await;
        client.send(begin).await;
        let reply = client.response().await;
        assert_eq!(
            (reply.status(), reply.header("connection")),
            (408, Some("close"))
        );
        client.closed().await;
        assert_took(began, milliseconds);
        let ended = gateway.ended().await;
        assert_eq!(
            (ended.status, ended.reason.as_str()),
            (408, "request_timeout")
        );
    }
}

#[tokio::test]
async fn a_head_that_drips_is_answered_with_408() {
    let gateway = limited(Upstream::fixed(OK).await, DEADLINES).await;
    for (before, begin, drops) in [
        ("", "", "GET"),
        ("", "GET /", "x"),
        ("", "GET / HTTP/1.1\r\nhost: test\r\n", "x: y\r\n"),
        (GET, "GET /", "x"),
        (GET, "\r\n\r\nGET / HTTP/1.1\r\nhost: test\r\n", "x: y\r\n"),
    ] {
        let mut client = gateway.client().await;
        if !before.is_empty() {
            assert_eq!(client.ask(before).await.status(), 200);
        }
        let began = Instant::now();
        client.send(begin).await;
        client.drip(drops, PAUSE).await;
        assert_eq!(client.response().await.status(), 408, "{begin}{drops}");
        assert_took(began, 400);
    }
}

#[tokio::test]
async fn silence_ends_a_connection_without_a_word() {
    let gateway = limited(Upstream::fixed(OK).await, DEADLINES).await;
    let began = Instant::now();
    gateway.client().await.closed().await;
    assert_took(began, 300);
    let mut client = gateway.client().await;
    assert_eq!(client.ask(GET).await.status(), 200);
    let began = Instant::now();
    client.closed().await;
    assert_took(began, 600);
    let mut client = gateway.client().await;
    client.send("\r\n\r\n").await;
    client.closed().await;
}

#[tokio::test]
async fn listeners_of_one_version_are_not_waited_out_either() {
    for protocol in ["http1", "http2"] {
        let settings = format!("protocol: {protocol}, {DEADLINES}");
        let gateway = limited(free_port(), &settings).await;
        let mut silent = gateway.client().await;
        let mut slow = gateway.client().await;
        slow.send("PRI * HTTP/2.0\r\n\r\nSM\r").await;
        within("the end of silence", silent.rest()).await;
        within("the end of a slow preface", slow.rest()).await;
    }
}

#[tokio::test]
async fn a_handshake_that_stops_or_drips_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = TestCa::new("ca").issue(CertificateSpec::server(["test"]));
    let (cert, key) = certificate.write_to(folder.path(), "server").unwrap();
    let tls = format!(
        "tls: {{ certificates: [{{ cert: \"{}\", key: \"{}\" }}] }}, {DEADLINES}",
        cert.display(),
        key.display()
    );
    let gateway = limited(free_port(), &tls).await;
    // A record with a client's first message, of a length that never comes.
    let begin = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    for drips in [false, true] {
        let began = Instant::now();
        let mut client = gateway.client().await;
        client.send(begin).await;
        if drips {
            client.drip("x", PAUSE).await;
        }
        client.rest().await;
        assert_took(began, 300);
    }
    let began = Instant::now();
    gateway.client().await.closed().await;
    assert_took(began, 300);
    let series = r#"portcullis_tls_handshake_failures_total{listener="web"}"#;
    // They are counted a moment after they were closed.
    within("three failures", async {
        while metric(&gateway, series).await != 3.0 {}
    })
    .await;
}
