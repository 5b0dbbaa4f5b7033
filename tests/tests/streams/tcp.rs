//! Plain TCP from a client to an endpoint.

use std::io::ErrorKind;

use portcullis_tests::{Peer, TestGateway, Upstream, free_port, listener, within};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::to;

#[tokio::test]
async fn bytes_pass_both_ways_and_each_side_may_end_first() {
    let upstream = Upstream::bind().await;
    let gateway = TestGateway::start(to(upstream.addr(), "")).await;
    let mut client = Peer::connect(gateway.listener("db")).await;
    client.send("hello").await;
    let mut server = upstream.accept().await;
    assert_eq!(server.exactly(5).await, b"hello");
    client.finish().await;
    assert_eq!(server.rest().await, b"");
    // The client has ended its direction; the other one goes on.
    server.send("and goodbye").await;
    assert_eq!(client.exactly(11).await, b"and goodbye");
    server.finish().await;
    assert_eq!(client.rest().await, b"");
    let ended = gateway.stream_ended().await;
    assert_eq!((ended.bytes_in, ended.bytes_out), (5, 11));
    assert_eq!(
        (ended.route.as_deref(), ended.upstream.as_deref()),
        (Some("db"), Some("db"))
    );
    assert_eq!(
        ended.endpoint.as_deref(),
        Some(&*upstream.addr().to_string())
    );
    assert!(!ended.aborted && ended.reason.is_empty(), "{ended:?}");
    let labels = "{protocol=\"tcp\",route=\"db\"}";
    let series = |name: &str| format!("portcullis_streams_{name}{labels}");
    assert_eq!(gateway.metric(&series("received_bytes_total")).await, 5);
    assert_eq!(gateway.metric(&series("sent_bytes_total")).await, 11);
    assert_eq!(gateway.metric(&series("open")).await, 0);
}

#[tokio::test]
async fn a_server_that_speaks_first_is_not_waited_for() {
    let upstream = Upstream::bind().await;
    let yaml =
        to(upstream.addr(), "").replace("protocol: tcp", "protocol: tcp, timeouts: { detect: 1h }");
    let gateway = TestGateway::start(yaml).await;
    let mut client = Peer::connect(gateway.listener("db")).await;
    let mut server = upstream.accept().await;
    server.send("220 ready\r\n").await;
    assert_eq!(client.line().await, "220 ready");
}

#[tokio::test]
async fn many_bytes_pass_a_reader_that_is_slow() {
    const BYTES: usize = 8 << 20;
    let upstream = Upstream::bind().await;
    let gateway = TestGateway::start(to(upstream.addr(), "")).await;
    let mut client = Peer::connect(gateway.listener("db")).await;
    let mut server = upstream.accept().await;
    let sending = tokio::spawn(async move {
        server.send_zeroes(BYTES).await.unwrap();
        server.finish().await;
        server
    });
    client.swallow(BYTES).await;
    assert_eq!(client.rest().await, b"");
    let _server = within("sending", sending).await.unwrap();
    client.finish().await;
    drop(client);
    assert_eq!(gateway.stream_ended().await.bytes_out, BYTES as u64);
}

#[tokio::test]
async fn an_endpoint_that_refuses_is_left_for_another() {
    let upstream = Upstream::bind().await;
    let (dead, alive) = (free_port(), upstream.addr());
    let yaml = to(alive, "").replace(
        &format!("endpoints: ['{alive}']"),
        &format!("endpoints: ['{dead}', '{alive}'], balance: {{ type: round-robin }}"),
    );
    let gateway = TestGateway::start(yaml).await;
    let mut attempts = 0;
    for _ in 0..2 {
        let mut client = Peer::connect(gateway.listener("db")).await;
        let mut server = upstream.accept().await;
        client.send("x").await;
        assert_eq!(server.exactly(1).await, b"x");
        drop((client, server));
        attempts += gateway.stream_ended().await.attempts;
    }
    assert_eq!(
        attempts, 3,
        "one of both clients met the dead endpoint first"
    );
}

#[tokio::test]
async fn nobody_there_is_a_reset_and_a_reason() {
    let gateway = TestGateway::start(to(free_port(), "")).await;
    // The reset may be there before the client has seen that it is connected.
    let ending = within("the end", async {
        let mut client = TcpStream::connect(gateway.listener("db")).await?;
        client.read(&mut [0; 1]).await
    })
    .await;
    assert_eq!(ending.unwrap_err().kind(), ErrorKind::ConnectionReset);
    let ended = gateway.stream_ended().await;
    assert_eq!(
        (ended.reason.as_str(), ended.attempts),
        ("upstream_connect_failed", 3)
    );
    let outcome = "{outcome=\"upstream_connect_failed\",protocol=\"tcp\",route=\"db\"}";
    assert_eq!(
        gateway
            .metric(&format!("portcullis_streams_total{outcome}"))
            .await,
        1
    );
}

#[tokio::test]
async fn a_connection_that_moves_nothing_is_cut() {
    let upstream = Upstream::bind().await;
    let yaml = to(upstream.addr(), ", timeouts: { idle: 50ms }");
    let gateway = TestGateway::start(yaml).await;
    let mut client = Peer::connect(gateway.listener("db")).await;
    let mut server = upstream.accept().await;
    client.closed().await;
    server.closed().await;
    assert_eq!(gateway.stream_ended().await.reason, "idle_timeout");
}

#[tokio::test]
async fn what_breaks_on_one_side_breaks_on_the_other() {
    let upstream = Upstream::bind().await;
    let gateway = TestGateway::start(to(upstream.addr(), "")).await;
    let mut client = Peer::connect(gateway.listener("db")).await;
    let mut server = upstream.accept().await;
    server.send("half of").await;
    assert_eq!(client.exactly(7).await, b"half of");
    server.reset();
    let (_, reset) = client.ending().await;
    assert!(reset, "a part must not be taken for the whole");
    assert_eq!(gateway.stream_ended().await.reason, "upstream_reset");
}

#[tokio::test]
async fn connections_survive_reloads_even_of_their_route() {
    let upstream = Upstream::bind().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.yaml");
    let with_route = to(upstream.addr(), "");
    std::fs::write(&file, &with_route).unwrap();
    let gateway = TestGateway::files([file.clone()]).await;
    let mut client = Peer::connect(gateway.listener("db")).await;
    let mut server = upstream.accept().await;
    std::fs::write(
        &file,
        with_route.replace("name: db, backends", "name: other, backends"),
    )
    .unwrap();
    gateway.handle.reload().unwrap();
    client.send("still").await;
    assert_eq!(server.exactly(5).await, b"still");
    std::fs::write(&file, "listeners: [{ name: web, bind: '127.0.0.1:0' }]").unwrap();
    gateway.handle.reload().unwrap();
    server.send("here").await;
    assert_eq!(client.exactly(4).await, b"here");
}

#[tokio::test]
async fn a_drain_waits_for_connections_until_its_deadline() {
    let upstream = Upstream::bind().await;
    let yaml = to(upstream.addr(), "") + "\nlimits: { drain: 100ms }";
    let gateway = TestGateway::start(yaml).await;
    let mut client = Peer::connect(gateway.listener("db")).await;
    let mut server = upstream.accept().await;
    let handle = gateway.handle.clone();
    let draining = tokio::spawn(async move { handle.shutdown().await });
    client.send("under way").await;
    assert_eq!(server.exactly(9).await, b"under way");
    within("the drain", draining).await.unwrap();
    client.closed().await;
    let ended = gateway.stream_ended().await;
    assert_eq!((ended.reason.as_str(), ended.bytes_in), ("shutdown", 9));
}

#[tokio::test]
async fn a_route_has_as_many_connections_as_it_may() {
    let upstream = Upstream::bind().await;
    let yaml = to(upstream.addr(), ", limits: { max_connections: 1 }");
    let gateway = TestGateway::start(yaml).await;
    let client = Peer::connect(gateway.listener("db")).await;
    let server = upstream.accept().await;
    let mut second = Peer::connect(gateway.listener("db")).await;
    second.closed().await;
    assert_eq!(gateway.stream_ended().await.reason, "max_connections");
    drop((client, server));
    gateway.stream_ended().await;
    let _third = Peer::connect(gateway.listener("db")).await;
    upstream.accept().await;
}

#[tokio::test]
async fn limits_of_listeners_hold_and_nobody_is_told_in_http() {
    let upstream = Upstream::bind().await;
    let limits = "protocol: tcp, limits: { max_connections_per_address: 1 }";
    let yaml = to(upstream.addr(), "").replace("protocol: tcp", limits);
    let gateway = TestGateway::start(yaml).await;
    let _client = Peer::connect(gateway.listener("db")).await;
    let _server = upstream.accept().await;
    let mut second = Peer::connect(gateway.listener("db")).await;
    let (answer, _) = second.ending().await;
    assert!(answer.is_empty());
    assert_eq!(gateway.refused().await, "max_connections_per_address");
}

#[tokio::test]
async fn an_http_listener_may_have_tcp_routes_for_some_clients() {
    let upstream = Upstream::bind().await;
    let http = Upstream::fixed("HTTP/1.1 204 No Content\r\n\r\n").await;
    let start = |network: &str| {
        let yaml = format!(
            "{}\
             routes: [{{ name: web, backends: [{{ upstream: web }}] }}]\n\
             tcp_routes: [{{ name: raw, listeners: [web], match: {{ client_ip: [{network}] }}, backends: [{{ upstream: raw }}] }}]\n\
             upstreams: [{{ name: web, endpoints: ['{http}'] }}, {{ name: raw, endpoints: ['{}'] }}]",
            listener(""),
            upstream.addr(),
        );
        TestGateway::start(yaml)
    };
    let gateway = start("192.0.2.0/24").await;
    assert_eq!(gateway.get("/").await.status(), 204);
    let gateway = start("127.0.0.0/8").await;
    let mut client = gateway.client().await;
    client.send("GET / HTTP/1.1\r\n").await;
    assert_eq!(upstream.accept().await.line().await, "GET / HTTP/1.1");
}
