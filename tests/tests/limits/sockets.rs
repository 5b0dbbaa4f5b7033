//! Other ends of connections that are gone without a word.

use std::net::SocketAddr;
use std::time::Duration;

use portcullis_tests::{TestGateway, Upstream, listener, route_to};
use tokio::time::Instant;

use crate::{GET, OK, configuration};

/// The timer of the socket with these ends, as `/proc/net/tcp` tells it: whether it is that of keep-alive probes, and when
/// it fires, in seconds.
fn timer(local: SocketAddr, remote: SocketAddr) -> (bool, f64) {
    let written = |address: SocketAddr| {
        let SocketAddr::V4(address) = address else {
            panic!("not of IPv4: {address}")
        };
        let octets = u32::from_ne_bytes(address.ip().octets());
        format!("{octets:08X}:{:04X}", address.port())
    };
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let ends = format!(" {} {} ", written(local), written(remote));
    let line = table.lines().find(|line| line.contains(&ends));
    let line = line.unwrap_or_else(|| panic!("no socket {local} {remote} in {table}"));
    // Number, local, remote, state, queues, timer:jiffies.
    let timer = line.split_whitespace().nth(5).unwrap();
    let (kind, ticks) = timer.split_once(':').unwrap();
    // The kernel tells hundredths here, however fast it ticks.
    let ticks = u32::from_str_radix(ticks, 16).unwrap();
    (kind == "02", f64::from(ticks) / 100.0)
}

/// One request through a gateway; the timers of its sockets to the client and to the upstream.
async fn timers(gateway: &TestGateway, upstream: &Upstream) -> [(bool, f64); 2] {
    let stream = tokio::net::TcpStream::connect(gateway.addr())
        .await
        .unwrap();
    let client_at = stream.local_addr().unwrap();
    let mut client = portcullis_tests::Peer::tcp(stream);
    client.send(GET).await;
    let (mut peer, gateway_at) = upstream.accept_from().await;
    peer.request().await;
    peer.send(OK).await;
    assert_eq!(client.response().await.text(), "ok");
    let found = [
        timer(gateway.addr(), client_at),
        timer(gateway_at, upstream.addr()),
    ];
    drop((client, peer));
    found
}

/// Within the last moments of a time that began with the connection.
fn assert_about(found: (bool, f64), seconds: f64) {
    assert!(
        found.0 && found.1 <= seconds && found.1 > seconds - 10.0,
        "{found:?}, not {seconds}"
    );
}

#[tokio::test]
async fn silent_ends_of_connections_are_probed() {
    let upstream = Upstream::bind().await;
    let gateway = TestGateway::start(configuration(upstream.addr(), "")).await;
    for found in timers(&gateway, &upstream).await {
        assert_about(found, 60.0);
    }
    let yaml = route_to(upstream.addr(), "", "tcp_keepalive: { idle: 50s }")
        .replace(&listener(""), &listener("tcp_keepalive: { idle: 40s }"));
    let gateway = TestGateway::start(yaml).await;
    let [client, endpoint] = timers(&gateway, &upstream).await;
    assert_about(client, 40.0);
    assert_about(endpoint, 50.0);
}

#[tokio::test]
async fn probes_are_off_where_they_are_switched_off() {
    let upstream = Upstream::bind().await;
    let yaml = route_to(upstream.addr(), "", "tcp_keepalive: { idle: 0s }")
        .replace(&listener(""), &listener("tcp_keepalive: { idle: 0s }"));
    let gateway = TestGateway::start(yaml).await;
    for (probed, _) in timers(&gateway, &upstream).await {
        assert!(!probed);
    }
}

#[tokio::test]
async fn a_reload_changes_the_probes_of_new_connections() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.yaml");
    let upstream = Upstream::bind().await;
    let yaml = |idle| {
        configuration(
            upstream.addr(),
            &format!("tcp_keepalive: {{ idle: {idle} }}"),
        )
    };
    std::fs::write(&file, yaml("60s")).unwrap();
    let gateway = TestGateway::files([file.clone()]).await;
    assert_about(timers(&gateway, &upstream).await[0], 60.0);
    std::fs::write(&file, yaml("30s")).unwrap();
    gateway.handle.reload().unwrap();
    assert_about(timers(&gateway, &upstream).await[0], 30.0);
}

/// A gateway that finds silent ends in two seconds, by probes alone: its deadlines are off.
async fn watchful(upstream: &Upstream, keepalive: &str) -> TestGateway {
    let keepalive = format!("tcp_keepalive: {{ {keepalive} }}");
    let yaml = route_to(upstream.addr(), "timeouts: { idle: 0s }", &keepalive).replace(
        &listener(""),
        &listener(&format!(
            "{keepalive}, timeouts: {{ idle: 0s, write_idle: 0s, body_idle: 0s }}"
        )),
    );
    TestGateway::start(yaml).await
}

const PROBES: &str = "idle: 1s, interval: 1s, probes: 1";

/// Not before the probes were due, and long before anything else would have happened.
fn assert_found_in_time(began: Instant) {
    let took = began.elapsed();
    assert!(
        took > Duration::from_millis(800) && took < Duration::from_secs(10),
        "{took:?}"
    );
}

#[tokio::test]
async fn a_client_that_vanished_is_found_and_its_request_cancelled() {
    let upstream = Upstream::bind().await;
    let gateway = watchful(&upstream, PROBES).await;
    let mut client = gateway.client().await;
    client.send(GET).await;
    let mut peer = upstream.accept().await;
    peer.request().await;
    client.vanish();
    let began = Instant::now();
    peer.closed().await;
    assert_found_in_time(began);
    let ended = gateway.ended().await;
    assert_eq!(
        (ended.reason.as_str(), ended.aborted),
        ("client_gone", true)
    );
    gateway.settles("up", 0, 0).await;
}

#[tokio::test]
async fn a_client_that_vanished_between_requests_is_found() {
    let upstream = Upstream::fixed(OK).await;
    let yaml = route_to(upstream, "", "").replace(
        &listener(""),
        &listener(&format!(
            "limits: {{ max_connections: 1 }}, tcp_keepalive: {{ {PROBES} }}"
        )),
    );
    let gateway = TestGateway::start(yaml).await;
    let mut client = gateway.client().await;
    assert_eq!(client.ask(GET).await.text(), "ok");
    client.vanish();
    let began = Instant::now();
    // Its place is given to the next.
    assert_eq!(gateway.ask(GET).await.text(), "ok");
    assert_found_in_time(began);
}

#[tokio::test]
async fn an_endpoint_that_vanished_is_found_and_its_request_answered() {
    let upstream = Upstream::bind().await;
    let gateway = watchful(&upstream, PROBES).await;
    let mut client = gateway.client().await;
    client.send(GET).await;
    let mut peer = upstream.accept().await;
    peer.request().await;
    peer.vanish();
    let began = Instant::now();
    assert_eq!(client.response().await.status(), 502);
    assert_found_in_time(began);
    assert_eq!(gateway.ended().await.reason, "upstream_reset");
}

#[tokio::test]
async fn a_client_that_vanished_within_its_reply_is_found() {
    let upstream = Upstream::bind().await;
    let gateway = watchful(&upstream, "idle: 0s, user_timeout: 1s").await;
    let mut client = gateway.client().await;
    client.send(GET).await;
    let mut peer = upstream.accept().await;
    peer.request().await;
    peer.send("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n")
        .await;
    client.head().await;
    client.vanish();
    let began = Instant::now();
    // The kernel takes it, and nobody ever acknowledges it.
    peer.send("some").await;
    peer.closed().await;
    assert_found_in_time(began);
    assert_eq!(gateway.ended().await.reason, "client_gone");
}
