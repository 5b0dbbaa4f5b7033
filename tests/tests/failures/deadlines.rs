//! How long a request may take, in all its parts, and how upstreams are told.

use std::time::Duration;

use portcullis_tests::{TestGateway, Upstream, route_to, within};

const GET: &str = "GET / HTTP/1.1\r\nhost: test\r\n\r\n";
const BUSY: &str =
    "HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

#[tokio::test]
async fn the_head_of_a_reply_may_be_wanted_sooner_than_the_rest() {
    let upstream = Upstream::bind().await;
    let route = "timeouts: { head: 200ms, idle: 10s }";
    let gateway = TestGateway::start(route_to(upstream.addr(), route, "")).await;
    let mut client = gateway.client().await;
    client.send(GET).await;
    let mut peer = upstream.accept().await;
    peer.request().await;
    peer.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no")
        .await;
    assert_eq!(client.head().await.status(), 200);
    let mut pause = tokio::time::interval(Duration::from_millis(400));
    pause.tick().await;
    pause.tick().await;
    peer.send("k").await;
    assert_eq!(client.exactly(2).await, b"ok");

    client.send(GET).await;
    peer.request().await;
    assert_eq!(client.response().await.status(), 504);
    peer.closed().await;
}

#[tokio::test]
async fn an_upload_that_goes_on_is_not_waiting_for_a_head() {
    let upstream = Upstream::bind().await;
    let route = "timeouts: { head: 300ms }";
    let gateway = TestGateway::start(route_to(upstream.addr(), route, "")).await;
    let mut client = gateway.client().await;
    client
        .send("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 8\r\n\r\n")
        .await;
    let mut peer = upstream.accept().await;
    peer.head().await;
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    for digit in '1'..='8' {
        ticks.tick().await;
        client.send(digit.to_string()).await;
    }
    assert_eq!(peer.exactly(8).await, b"12345678");
    peer.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        .await;
    assert_eq!(client.response().await.status(), 200);
}

#[tokio::test]
async fn a_tunnel_ends_when_it_has_lasted_long_enough_however_busy_it_is() {
    let upstream = Upstream::bind().await;
    let route = "timeouts: { stream: 500ms, total: 100ms }";
    let gateway = TestGateway::start(route_to(upstream.addr(), route, "")).await;
    let mut client = gateway.client().await;
    client
        .send("GET / HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n")
        .await;
    let mut peer = upstream.accept().await;
    peer.request().await;
    peer.send("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n")
        .await;
    assert_eq!(client.head().await.status(), 101);
    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    let mut said = 0;
    within("the end of the tunnel", async {
        while client.try_send("x").await.is_ok() {
            said += 1;
            ticks.tick().await;
        }
    })
    .await;
    // More than the total of ordinary requests would have let through.
    assert!(said > 4, "{said}");
    assert_eq!(gateway.ended().await.reason, "upstream_timeout");
}

#[tokio::test]
async fn upstreams_are_told_how_much_time_is_left_for_each_attempt() {
    let upstream = Upstream::bind().await;
    let route = "timeouts: { total: 20s, announce: [grpc-timeout, x-envoy-expected-rq-timeout-ms] }, \
                 retry: { attempts: 1, on: [\"503\"], backoff: { base: 20ms, max: 20ms } }";
    let gateway = TestGateway::start(route_to(upstream.addr(), route, "")).await;
    let mut client = gateway.client().await;
    client
        .send(
            "GET / HTTP/1.1\r\nhost: test\r\ncontent-type: application/grpc\r\n\
             grpc-timeout: 10S\r\nx-envoy-expected-rq-timeout-ms: 7\r\n\r\n",
        )
        .await;
    let mut left = Vec::new();
    for _ in 0..2 {
        let mut peer = upstream.accept().await;
        let request = peer.request().await;
        let [millis] = request.all("x-envoy-expected-rq-timeout-ms")[..] else {
            panic!("{request:?}");
        };
        left.push(millis.parse::<u64>().unwrap());
        let [timeout] = request.all("grpc-timeout")[..] else {
            panic!("{request:?}");
        };
        let micros: u64 = timeout.strip_suffix('u').unwrap().parse().unwrap();
        assert!(micros.abs_diff(left[left.len() - 1] * 1000) < 1_000_000);
        peer.send(BUSY).await;
    }
    assert!(
        left[1] < left[0] && left[0] <= 10_000 && left[1] > 5_000,
        "{left:?}"
    );
    client.response().await;
}

#[tokio::test]
async fn nothing_is_told_unless_asked_for() {
    let upstream = Upstream::bind().await;
    let route = "timeouts: { total: 20s }";
    let gateway = TestGateway::start(route_to(upstream.addr(), route, "")).await;
    let mut client = gateway.client().await;
    client.send(GET).await;
    let mut peer = upstream.accept().await;
    let request = peer.request().await;
    assert_eq!(request.header("x-envoy-expected-rq-timeout-ms"), None);
    assert_eq!(request.header("grpc-timeout"), None);
}

#[tokio::test]
async fn a_handshake_may_be_given_less_time_than_the_connection() {
    let upstream = Upstream::bind().await;
    let yaml = route_to(
        upstream.addr(),
        "",
        "tls: { insecure_skip_verify: true }, timeouts: { connect: 60s, tls: 100ms }",
    );
    let gateway = TestGateway::start(yaml).await;
    let mut client = gateway.client().await;
    client.send(GET).await;
    let mut peer = upstream.accept().await;
    assert_eq!(within("a reply", client.response()).await.status(), 502);
    assert_eq!(gateway.ended().await.reason, "upstream_tls_failed");
    peer.rest().await;
}

#[tokio::test]
async fn what_a_client_says_of_time_is_not_passed_on_where_the_gateway_says_it() {
    let upstream = Upstream::bind().await;
    let route = "timeouts: { announce: [x-envoy-expected-rq-timeout-ms] }";
    let gateway = TestGateway::start(route_to(upstream.addr(), route, "")).await;
    let mut client = gateway.client().await;
    client
        .send("GET / HTTP/1.1\r\nhost: test\r\nx-envoy-expected-rq-timeout-ms: 7\r\n\r\n")
        .await;
    let mut peer = upstream.accept().await;
    let request = peer.request().await;
    assert_eq!(request.header("x-envoy-expected-rq-timeout-ms"), None);
}
