//! Limits: of listeners, of upstreams, of connections.

use portcullis_tests::{Peer, TestGateway, Upstream, listener, route_to};

const GET: &str = "GET / HTTP/1.1\r\nhost: test\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[tokio::test]
async fn a_request_waits_for_a_connection_and_gets_it() {
    let upstream = Upstream::bind().await;
    let gateway = TestGateway::start(route_to(
        upstream.addr(),
        "",
        "limits: { max_connections: 1 }",
    ))
    .await;
    let (mut first, mut second) = (gateway.client().await, gateway.client().await);
    first.send(GET).await;
    let mut peer = upstream.accept().await;
    peer.request().await;
    second
        .send("GET /second HTTP/1.1\r\nhost: test\r\n\r\n")
        .await;
    peer.send(OK).await;
    assert_eq!(first.response().await.text(), "ok");
    // The same connection serves the one that waited.
    assert_eq!(peer.request().await.target(), "/second");
    peer.send(OK).await;
    assert_eq!(second.response().await.text(), "ok");
    gateway.settles("up", 1, 1).await;
}

#[tokio::test]
async fn a_waiting_request_gets_the_place_of_a_connection_that_broke() {
    let upstream = Upstream::bind().await;
    let gateway = TestGateway::start(route_to(
        upstream.addr(),
        "",
        "limits: { max_connections: 1 }",
    ))
    .await;
    let (mut first, mut second) = (gateway.client().await, gateway.client().await);
    first.send(GET).await;
    let mut peer = upstream.accept().await;
    peer.request().await;
    second.send(GET).await;
    peer.reset();
    assert_eq!(first.response().await.status(), 502);
    let mut peer = upstream.accept().await;
    peer.request().await;
    peer.send(OK).await;
    assert_eq!(second.response().await.text(), "ok");
}

#[tokio::test]
async fn more_than_may_wait_are_turned_away() {
    let upstream = Upstream::bind().await;
    let settings = "limits: { max_connections: 1, max_pending: 1 }, timeouts: { connect: 10s }";
    let gateway = TestGateway::start(route_to(upstream.addr(), "", settings)).await;
    let mut first = gateway.client().await;
    first.send(GET).await;
    let mut peer = upstream.accept().await;
    peer.request().await;
    // Two more: one waits, whichever comes first; the other is turned away.
    let (mut second, mut third) = (gateway.client().await, gateway.client().await);
    second.send(GET).await;
    third.send(GET).await;
    let (refused, waiting) = tokio::select! {
        reply = second.response() => (reply, &mut third),
        reply = third.response() => (reply, &mut second),
    };
    assert_eq!(
        (refused.status(), refused.header("retry-after")),
        (503, Some("1"))
    );
    assert_eq!(gateway.ended().await.reason, "upstream_max_connections");
    peer.send(OK).await;
    assert_eq!(first.response().await.text(), "ok");
    peer.request().await;
    peer.send(OK).await;
    assert_eq!(waiting.response().await.text(), "ok");
}

#[tokio::test]
async fn waiting_for_a_connection_takes_no_longer_than_connecting_may() {
    let upstream = Upstream::bind().await;
    let settings = "limits: { max_connections: 1 }, timeouts: { connect: 150ms }";
    let gateway = TestGateway::start(route_to(upstream.addr(), "", settings)).await;
    let mut first = gateway.client().await;
    first.send(GET).await;
    let mut peer = upstream.accept().await;
    peer.request().await;
    let refused = gateway.ask(GET).await;
    assert_eq!(
        (refused.status(), refused.header("retry-after")),
        (503, Some("1"))
    );
    peer.send(OK).await;
    assert_eq!(first.response().await.text(), "ok");
}

#[tokio::test]
async fn an_upstream_takes_so_many_requests_at_a_time() {
    let upstream = Upstream::bind().await;
    let gateway =
        TestGateway::start(route_to(upstream.addr(), "", "limits: { max_requests: 1 }")).await;
    let mut first = gateway.client().await;
    first.send(GET).await;
    let mut peer = upstream.accept().await;
    peer.request().await;
    let refused = gateway.ask(GET).await;
    assert_eq!(
        (refused.status(), refused.header("retry-after")),
        (503, Some("1"))
    );
    assert_eq!(gateway.ended().await.reason, "upstream_max_requests");
    peer.send(OK).await;
    assert_eq!(first.response().await.text(), "ok");
    first.send(GET).await;
    peer.request().await;
    peer.send(OK).await;
    assert_eq!(first.response().await.text(), "ok");
}

#[tokio::test]
async fn a_listener_takes_so_many_requests_at_a_time() {
    let upstream = Upstream::bind().await;
    let yaml = route_to(upstream.addr(), "", "").replace(
        &listener(""),
        &listener("limits: { max_requests_in_flight: 1 }"),
    );
    let gateway = TestGateway::start(yaml).await;
    let mut first = gateway.client().await;
    first.send(GET).await;
    let mut peer = upstream.accept().await;
    peer.request().await;
    let refused = gateway.ask(GET).await;
    assert_eq!(
        (refused.status(), refused.header("retry-after")),
        (503, Some("1"))
    );
    assert_eq!(gateway.ended().await.reason, "max_requests_in_flight");
    peer.send(OK).await;
    assert_eq!(first.response().await.text(), "ok");
    // One that is over counts no more, nor does one that was turned away.
    first.send(GET).await;
    peer.request().await;
    peer.send(OK).await;
    assert_eq!(first.response().await.text(), "ok");
}

#[tokio::test]
async fn a_listener_takes_so_many_connections_at_a_time() {
    let upstream = Upstream::fixed(OK).await;
    let yaml = route_to(upstream, "", "")
        .replace(&listener(""), &listener("limits: { max_connections: 1 }"));
    let gateway = TestGateway::start(yaml).await;
    let mut first = gateway.client().await;
    assert_eq!(first.ask(GET).await.text(), "ok");
    let mut second = gateway.client().await;
    second.send(GET).await;
    assert!(second.is_quiet().await, "it waits to be accepted");
    drop(first);
    assert_eq!(second.response().await.text(), "ok");
}

#[tokio::test]
async fn the_process_takes_so_many_requests_over_all_listeners() {
    let upstream = Upstream::bind().await;
    let yaml = route_to(upstream.addr(), "", "").replace(
        "listeners: [",
        "limits: { max_requests_in_flight: 1 }\nlisteners: [{ name: other, bind: \"127.0.0.1:0\" }, ",
    );
    let gateway = TestGateway::start(yaml).await;
    let mut first = gateway.client().await;
    first.send(GET).await;
    let mut peer = upstream.accept().await;
    peer.request().await;
    let mut second = Peer::connect(gateway.listener("other")).await;
    assert_eq!(second.ask(GET).await.status(), 503);
    peer.send(OK).await;
    assert_eq!(first.response().await.text(), "ok");
    second.send(GET).await;
    peer.request().await;
    peer.send(OK).await;
    assert_eq!(second.response().await.text(), "ok");
}

#[tokio::test]
async fn the_process_takes_so_many_connections_over_all_listeners() {
    let yaml = route_to(Upstream::fixed(OK).await, "", "").replace(
        "listeners: [",
        "limits: { max_connections: 1 }\nlisteners: [{ name: other, bind: \"127.0.0.1:0\" }, ",
    );
    let gateway = TestGateway::start(yaml).await;
    let mut first = gateway.client().await;
    assert_eq!(first.ask(GET).await.text(), "ok");
    let mut second = Peer::connect(gateway.listener("other")).await;
    second.send(GET).await;
    assert!(second.is_quiet().await, "it waits for its turn");
    // Operators are let in all the same.
    assert_eq!(gateway.admin("/livez").await.status(), 200);
    drop(first);
    assert_eq!(second.response().await.text(), "ok");
}

#[tokio::test]
async fn a_reload_changes_the_limits_of_open_listeners() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.yaml");
    let upstream = Upstream::fixed(OK).await;
    let yaml = |limit: u32| {
        route_to(upstream, "", "").replace(
            &listener(""),
            &listener(&format!("limits: {{ max_connections: {limit} }}")),
        )
    };
    std::fs::write(&file, yaml(1)).unwrap();
    let gateway = TestGateway::files([file.clone()]).await;
    let mut first = gateway.client().await;
    assert_eq!(first.ask(GET).await.text(), "ok");
    let mut second = gateway.client().await;
    second.send(GET).await;
    assert!(second.is_quiet().await, "it waits for its turn");
    std::fs::write(&file, yaml(2)).unwrap();
    gateway.handle.reload().unwrap();
    assert_eq!(second.response().await.text(), "ok");
    assert_eq!(first.ask(GET).await.text(), "ok");
}

#[tokio::test]
async fn heads_that_are_too_long_are_refused() {
    let upstream = Upstream::fixed(OK).await;
    let yaml = route_to(upstream, "", "").replace(
        &listener(""),
        &listener("limits: { max_head_bytes: 2KiB, max_headers: 10 }"),
    );
    let gateway = TestGateway::start(yaml).await;
    let long = format!(
        "GET / HTTP/1.1\r\nhost: test\r\nx-long: {}\r\n\r\n",
        "y".repeat(3000)
    );
    assert_eq!(gateway.ask(long).await.status(), 431);
    let many = format!(
        "GET / HTTP/1.1\r\nhost: test\r\n{}\r\n",
        "x-many: y\r\n".repeat(20)
    );
    assert_eq!(gateway.ask(many).await.status(), 431);
    assert_eq!(gateway.ask(GET).await.status(), 200);
}

#[tokio::test]
async fn idle_upstream_connections_are_closed_in_time() {
    let upstream = Upstream::bind().await;
    let gateway = TestGateway::start(route_to(
        upstream.addr(),
        "",
        "limits: { idle_timeout: 100ms }",
    ))
    .await;
    let mut client = gateway.client().await;
    client.send(GET).await;
    let mut peer = upstream.accept().await;
    peer.request().await;
    peer.send(OK).await;
    assert_eq!(client.response().await.text(), "ok");
    peer.closed().await;
    gateway.settles("up", 0, 0).await;
}

#[tokio::test]
async fn workers_share_the_connections_at_the_limit() {
    let (upstream, connections) = Upstream::answering(|_| OK).await;
    let gateway =
        TestGateway::workers(2, route_to(upstream, "", "limits: { max_connections: 1 }")).await;
    // Connections are dealt to either worker.
    for _ in 0..30 {
        assert_eq!(gateway.ask(GET).await.text(), "ok");
    }
    assert!(connections.load(std::sync::atomic::Ordering::SeqCst) >= 1);
    gateway.settles("up", 1, 1).await;
}

#[tokio::test]
async fn an_adaptive_limit_turns_away_what_would_queue_and_grows_with_the_need() {
    let upstream = Upstream::bind().await;
    let settings = "limits: { adaptive: { initial: 1, min: 1, window: 1ms } }";
    let gateway = TestGateway::start(route_to(upstream.addr(), "", settings)).await;
    let mut first = gateway.client().await;
    first.send(GET).await;
    let mut peer = upstream.accept().await;
    peer.request().await;
    let reply = gateway.ask(GET).await;
    assert_eq!(
        (reply.status(), reply.header("retry-after")),
        (503, Some("1"))
    );
    assert_eq!(gateway.ended().await.reason, "upstream_adaptive_limit");
    peer.send(OK).await;
    assert_eq!(first.response().await.text(), "ok");
    // One at a time is all that was allowed, and it was used.
    for _ in 0..200 {
        first.send(GET).await;
        peer.request().await;
        peer.send(OK).await;
        assert_eq!(first.response().await.text(), "ok");
    }
    first.send(GET).await;
    peer.request().await;
    let mut second = gateway.client().await;
    second.send(GET).await;
    let mut other = upstream.accept().await;
    other.request().await;
    other.send(OK).await;
    assert_eq!(second.response().await.text(), "ok");
}
