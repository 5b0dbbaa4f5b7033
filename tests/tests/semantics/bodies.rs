//! Bodies: long ones, slow ones, and those that nobody wants to the end.

use std::time::Duration;

use http::Request;
use portcullis_tests::{H2Client, TestGateway, Upstream, route_to, within};

const LONG: usize = 64 * 1024 * 1024;

/// Resident memory of this process in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<usize>()
        .unwrap()
        * 1024
}

#[tokio::test]
async fn a_long_upload_and_a_long_download_need_little_memory() {
    let upstream = Upstream::bind().await;
    let gateway = TestGateway::to(upstream.addr()).await;
    let mut client = gateway.client().await;
    let before = resident();
    let serving = upstream.script(|mut peer| async move {
        let head = peer.head().await;
        assert_eq!(
            head.header("content-length"),
            Some(LONG.to_string().as_str())
        );
        peer.swallow(LONG).await;
        peer.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {LONG}\r\n\r\n"))
            .await;
        peer.send_zeroes(LONG).await.unwrap();
        peer
    });
    client
        .send(format!(
            "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: {LONG}\r\n\r\n"
        ))
        .await;
    within("the upload", client.send_zeroes(LONG))
        .await
        .unwrap();
    assert_eq!(client.head().await.status(), 200);
    client.swallow(LONG).await;
    let peer = serving.await.unwrap();
    let grown = resident().saturating_sub(before);
    assert!(grown < 24 * 1024 * 1024, "{grown} bytes more than before");
    drop(peer);
    let ended = gateway.ended().await;
    assert_eq!(
        (ended.bytes_in, ended.bytes_out, ended.aborted),
        (LONG as u64, LONG as u64, false)
    );
}

#[tokio::test]
async fn a_slow_client_slows_the_upstream() {
    let upstream = Upstream::bind().await;
    let gateway = TestGateway::to(upstream.addr()).await;
    let mut client = gateway.client().await;
    client.small_buffers();
    client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n").await;
    let mut peer = upstream.accept().await;
    peer.small_buffers();
    peer.request().await;
    peer.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {LONG}\r\n\r\n"))
        .await;
    let taken = peer.send_until_blocked(LONG).await;
    assert!(
        taken < LONG / 2,
        "{taken} bytes were taken for a client that reads nothing"
    );
    assert_eq!(client.head().await.status(), 200);
    client.swallow(taken).await;
}

#[tokio::test]
async fn a_slow_upstream_slows_the_client() {
    let upstream = Upstream::bind().await;
    let gateway = TestGateway::to(upstream.addr()).await;
    let mut client = gateway.client().await;
    client.small_buffers();
    client
        .send(format!(
            "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: {LONG}\r\n\r\n"
        ))
        .await;
    let mut peer = upstream.accept().await;
    peer.small_buffers();
    peer.head().await;
    let taken = client.send_until_blocked(LONG).await;
    assert!(
        taken < LONG / 2,
        "{taken} bytes were taken for an upstream that reads nothing"
    );
    peer.swallow(taken).await;
}

#[tokio::test]
async fn a_slow_http2_client_slows_the_upstream() {
    let upstream = Upstream::bind().await;
    let gateway = TestGateway::to(upstream.addr()).await;
    let client = H2Client::connect(gateway.addr()).await;
    let (response, _) = client
        .open(Request::get("http://test/").body(()).unwrap(), true)
        .await;
    let mut peer = upstream.accept().await;
    peer.small_buffers();
    peer.request().await;
    peer.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {LONG}\r\n\r\n"))
        .await;
    let response = within("a response", response).await.unwrap();
    let taken = peer.send_until_blocked(LONG).await;
    assert!(
        taken < LONG / 2,
        "{taken} bytes were taken for a client that reads nothing"
    );
    let sending = tokio::spawn(async move { peer.send_zeroes(LONG - taken).await.map(|()| peer) });
    assert_eq!(H2Client::read(response).await.unwrap().body.len(), LONG);
    sending.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_early_reply_does_not_wait_for_the_upload() {
    let upstream = Upstream::bind().await;
    let gateway = TestGateway::to(upstream.addr()).await;
    let mut client = gateway.client().await;
    client
        .send(format!(
            "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: {LONG}\r\n\r\nsome"
        ))
        .await;
    let mut peer = upstream.accept().await;
    peer.head().await;
    peer.exactly(4).await;
    peer.send("HTTP/1.1 413 Content Too Large\r\ncontent-length: 3\r\n\r\nbig")
        .await;
    let reply = client.response().await;
    assert_eq!((reply.status(), reply.text().as_str()), (413, "big"));
    client.closed().await;
    peer.closed().await;
    assert!(!gateway.ended().await.aborted);
    gateway.settles("up", 0, 0).await;
}

#[tokio::test]
async fn an_upload_goes_on_while_the_reply_is_read() {
    let upstream = Upstream::bind().await;
    let gateway = TestGateway::to(upstream.addr()).await;
    let mut client = gateway.client().await;
    client
        .send("POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n")
        .await;
    let mut peer = upstream.accept().await;
    peer.head().await;
    peer.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        .await;
    assert_eq!(client.head().await.status(), 200);
    for word in ["one", "two", "six"] {
        client.send(format!("3\r\n{word}\r\n")).await;
        assert_eq!(peer.chunk().await.unwrap(), word.as_bytes());
        peer.send(format!("3\r\n{word}\r\n")).await;
        assert_eq!(client.chunk().await.unwrap(), word.as_bytes());
    }
    client.send("0\r\n\r\n").await;
    assert_eq!(peer.chunk().await, None);
    assert_eq!(peer.line().await, "");
    peer.send("0\r\n\r\n").await;
    assert_eq!(client.chunk().await, None);
    assert_eq!(client.line().await, "");
    client
        .send("GET /next HTTP/1.1\r\nhost: test\r\n\r\n")
        .await;
    assert_eq!(peer.request().await.target(), "/next");
}

#[tokio::test]
async fn a_client_that_leaves_cancels_its_request() {
    let upstream = Upstream::bind().await;
    let gateway = TestGateway::to(upstream.addr()).await;
    let mut client = gateway.client().await;
    client
        .send("GET /slow HTTP/1.1\r\nhost: test\r\n\r\n")
        .await;
    let mut peer = upstream.accept().await;
    peer.request().await;
    drop(client);
    peer.closed().await;
    let ended = gateway.ended().await;
    assert_eq!(
        (ended.status, ended.reason.as_str(), ended.aborted),
        (0, "client_gone", true)
    );
    gateway.settles("up", 0, 0).await;
}

#[tokio::test]
async fn a_client_that_leaves_within_the_reply_cancels_it() {
    let upstream = Upstream::bind().await;
    let gateway = TestGateway::to(upstream.addr()).await;
    let mut client = gateway.client().await;
    client
        .send("GET /slow HTTP/1.1\r\nhost: test\r\n\r\n")
        .await;
    let mut peer = upstream.accept().await;
    peer.request().await;
    peer.send("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\npart")
        .await;
    client.head().await;
    client.exactly(4).await;
    client.reset();
    peer.closed().await;
    let ended = gateway.ended().await;
    assert_eq!(
        (ended.status, ended.reason.as_str(), ended.aborted),
        (200, "client_gone", true)
    );
    gateway.settles("up", 0, 0).await;
}

#[tokio::test]
async fn a_client_that_leaves_within_its_upload_is_noticed_upstream() {
    let upstream = Upstream::bind().await;
    let gateway = TestGateway::to(upstream.addr()).await;
    let mut client = gateway.client().await;
    client
        .send("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 100\r\n\r\npart")
        .await;
    let mut peer = upstream.accept().await;
    peer.head().await;
    peer.exactly(4).await;
    drop(client);
    peer.closed().await;
    let ended = gateway.ended().await;
    assert_eq!(
        (ended.reason.as_str(), ended.bytes_in),
        ("client_gone", 4),
        "{ended:?}"
    );
    gateway.settles("up", 0, 0).await;
}

#[tokio::test]
async fn an_http2_client_that_resets_its_stream_cancels_its_request() {
    let upstream = Upstream::bind().await;
    let gateway = TestGateway::to(upstream.addr()).await;
    let client = H2Client::connect(gateway.addr()).await;
    let (response, mut send) = client
        .open(Request::get("http://test/").body(()).unwrap(), true)
        .await;
    let mut peer = upstream.accept().await;
    peer.request().await;
    send.send_reset(h2::Reason::CANCEL);
    drop(response);
    peer.closed().await;
    let ended = gateway.ended().await;
    assert_eq!(
        (ended.reason.as_str(), ended.aborted),
        ("client_gone", true)
    );
    gateway.settles("up", 0, 0).await;
}

#[tokio::test]
async fn a_steady_upload_is_not_silence() {
    let upstream = Upstream::bind().await;
    let gateway =
        TestGateway::start(route_to(upstream.addr(), "timeouts: { idle: 300ms }", "")).await;
    let mut client = gateway.client().await;
    client
        .send("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 8\r\n\r\n")
        .await;
    let mut peer = upstream.accept().await;
    peer.head().await;
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    for _ in 0..8 {
        ticks.tick().await;
        client.send("x").await;
        peer.exactly(1).await;
    }
    peer.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        .await;
    assert_eq!(client.response().await.status(), 200);
}

#[tokio::test]
async fn a_client_that_stops_within_its_upload_is_told_so() {
    let upstream = Upstream::bind().await;
    let yaml = route_to(upstream.addr(), "", "").replace(
        &portcullis_tests::listener(""),
        &portcullis_tests::listener("timeouts: { body_idle: 200ms }"),
    );
    let gateway = TestGateway::start(yaml).await;
    let mut client = gateway.client().await;
    client
        .send("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 8\r\n\r\nhalf")
        .await;
    let mut peer = upstream.accept().await;
    peer.head().await;
    assert_eq!(client.response().await.status(), 408);
    client.closed().await;
    peer.exactly(4).await;
    peer.closed().await;
    assert_eq!(gateway.ended().await.reason, "request_timeout");
}
