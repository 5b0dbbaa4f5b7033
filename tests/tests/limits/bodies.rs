//! Clients that take their time with the body of a request.

use std::time::Duration;

use portcullis_tests::{TestGateway, Upstream, listener, route_to, within};

use crate::limited;

const POST: &str = "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 1000000\r\n\r\n";
const CHUNKED: &str = "POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n";
/// Between two drops: far less than any deadline.
const PAUSE: Duration = Duration::from_millis(20);

/// A client drips into a body that began with `begin`, and is told that it is too slow.
async fn assert_given_up(gateway: &TestGateway, upstream: &Upstream, begin: &str, drops: &str) {
    let mut client = gateway.client().await;
    client.send(begin).await;
    let mut peer = upstream.accept().await;
    peer.head().await;
    client.drip(drops, PAUSE).await;
    let reply = client.response().await;
    assert_eq!(
        (reply.status(), reply.header("connection")),
        (408, Some("close"))
    );
    client.closed().await;
    peer.rest().await;
    assert_eq!(gateway.ended().await.reason, "request_timeout");
    gateway.settles("up", 0, 0).await;
}

#[tokio::test]
async fn a_body_that_drips_is_given_up_when_its_time_is_over() {
    let upstream = Upstream::bind().await;
    let gateway = limited(upstream.addr(), "timeouts: { body: 300ms }").await;
    assert_given_up(&gateway, &upstream, POST, "x").await;
    assert_given_up(&gateway, &upstream, CHUNKED, "1\r\nx\r\n").await;
    // Not even one byte of body.
    assert_given_up(&gateway, &upstream, CHUNKED, "00000000000000").await;
}

#[tokio::test]
async fn a_body_below_the_least_rate_is_given_up() {
    let upstream = Upstream::bind().await;
    let settings = "limits: { min_body_rate: 10KiB }, timeouts: { body_idle: 300ms }";
    let gateway = limited(upstream.addr(), settings).await;
    assert_given_up(&gateway, &upstream, POST, "x").await;
    assert_given_up(&gateway, &upstream, CHUNKED, "1\r\nx\r\n").await;
}

#[tokio::test]
async fn a_body_above_the_least_rate_may_take_long() {
    let upstream = Upstream::bind().await;
    let settings = "limits: { min_body_rate: 10 }, timeouts: { body: 200ms }";
    let gateway = limited(upstream.addr(), settings).await;
    let mut client = gateway.client().await;
    client
        .send("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 20\r\n\r\n")
        .await;
    let mut peer = upstream.accept().await;
    peer.head().await;
    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    for _ in 0..20 {
        ticks.tick().await;
        client.send("x").await;
        peer.exactly(1).await;
    }
    peer.send(crate::OK).await;
    assert_eq!(client.response().await.status(), 200);
}

#[tokio::test]
async fn time_in_which_the_upstream_takes_nothing_is_not_the_clients() {
    // Unix sockets, whose buffers do not grow.
    let folder = tempfile::tempdir().unwrap();
    let back = folder.path().join("back.sock");
    let upstream = tokio::net::UnixListener::bind(&back).unwrap();
    let yaml = route_to(format!("unix:{}", back.display()), "", "").replace(
        &listener(""),
        &listener("timeouts: { body: 300ms, body_idle: 200ms }"),
    );
    let gateway = TestGateway::start(yaml).await;
    const LENGTH: usize = 8 << 20;
    let mut client = gateway.client().await;
    client
        .send(format!(
            "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: {LENGTH}\r\n\r\n"
        ))
        .await;
    let (stream, _) = within("a connection", upstream.accept()).await.unwrap();
    let mut peer = portcullis_tests::Peer::new(stream);
    peer.head().await;
    // Nothing moves for longer than either deadline: the client is blocked by the upstream.
    let sent = client.send_until_blocked(LENGTH).await;
    assert!(sent < LENGTH);
    let sending = tokio::spawn(async move {
        client.send_zeroes(LENGTH - sent).await.unwrap();
        client
    });
    peer.swallow(LENGTH).await;
    peer.send(crate::OK).await;
    let mut client = within("the upload", sending).await.unwrap();
    assert_eq!(client.response().await.status(), 200);
}
