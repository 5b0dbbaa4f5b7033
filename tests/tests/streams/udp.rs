//! Datagrams, which are sessions between a client's address and an endpoint.

use std::net::SocketAddr;

use portcullis_tests::{TestGateway, within};
use tokio::net::UdpSocket;

/// A configuration with one UDP listener, `dns`, whose route has `more` and these endpoints.
fn to(endpoints: &[SocketAddr], more: &str) -> String {
    let endpoints: Vec<_> = endpoints.iter().map(|e| format!("'{e}'")).collect();
    format!(
        "listeners: [{{ name: dns, bind: '127.0.0.1:0', protocol: udp }}]\n\
         udp_routes: [{{ name: dns, backends: [{{ upstream: dns }}] {more} }}]\n\
         upstreams: [{{ name: dns, endpoints: [{}], balance: {{ type: round-robin }} }}]",
        endpoints.join(", ")
    )
}

async fn socket() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").await.unwrap()
}

async fn client(gateway: &TestGateway) -> UdpSocket {
    let socket = socket().await;
    socket.connect(gateway.listener("dns")).await.unwrap();
    socket
}

async fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut space = vec![0; 65_536];
    let received = within("a datagram", socket.recv_from(&mut space)).await;
    let (length, from) = received.unwrap();
    space.truncate(length);
    (space, from)
}

fn drops(reason: &str) -> String {
    format!("portcullis_datagrams_dropped_total{{listener=\"dns\",reason=\"{reason}\"}}")
}

#[tokio::test]
async fn a_session_keeps_its_endpoint_and_gets_its_answers() {
    let server = socket().await;
    let gateway = TestGateway::start(to(
        &[server.local_addr().unwrap()],
        ", timeouts: { idle: 200ms }",
    ))
    .await;
    let (one, two) = (client(&gateway).await, client(&gateway).await);
    one.send(b"first").await.unwrap();
    let (datagram, from_one) = receive(&server).await;
    assert_eq!(datagram, b"first");
    two.send(b"second").await.unwrap();
    let (_, from_two) = receive(&server).await;
    assert_ne!(from_one, from_two, "each session has a socket of its own");
    server.send_to(b"for two", from_two).await.unwrap();
    server.send_to(b"for one", from_one).await.unwrap();
    assert_eq!(receive(&one).await.0, b"for one");
    assert_eq!(receive(&two).await.0, b"for two");
    one.send(b"again").await.unwrap();
    assert_eq!(receive(&server).await, (b"again".to_vec(), from_one));
    let mut ended = [gateway.stream_ended().await, gateway.stream_ended().await];
    ended.sort_by_key(|ended| ended.bytes_in);
    assert_eq!((ended[0].bytes_in, ended[0].bytes_out), (6, 7));
    assert_eq!((ended[1].bytes_in, ended[1].bytes_out), (10, 7));
    assert!(
        ended
            .iter()
            .all(|ended| !ended.aborted && ended.route.as_deref() == Some("dns"))
    );
}

#[tokio::test]
async fn sessions_are_spread_over_endpoints_and_workers() {
    let servers = [socket().await, socket().await];
    let addresses = servers
        .each_ref()
        .map(|server| server.local_addr().unwrap());
    let gateway = TestGateway::workers(2, to(&addresses, "")).await;
    let mut clients = Vec::new();
    for _ in 0..8 {
        let client = client(&gateway).await;
        client.send(b"x").await.unwrap();
        clients.push(client);
    }
    for (server, name) in servers.iter().zip(["a", "b"]) {
        let (_, from) = receive(server).await;
        server.send_to(name.as_bytes(), from).await.unwrap();
    }
}

#[tokio::test]
async fn an_oversized_datagram_is_dropped_and_counted_in_both_directions() {
    let server = socket().await;
    let yaml = to(&[server.local_addr().unwrap()], ", max_datagram_bytes: 512");
    let gateway = TestGateway::start(yaml).await;
    let client = client(&gateway).await;
    client.send(&[0; 513]).await.unwrap();
    client.send(&[1; 512]).await.unwrap();
    let (datagram, from) = receive(&server).await;
    assert_eq!(datagram, [1; 512]);
    client.send(&[0; 513]).await.unwrap();
    client.send(b"last").await.unwrap();
    assert_eq!(receive(&server).await.0, b"last");
    assert_eq!(gateway.metric(&drops("oversized")).await, 2);
    server.send_to(&[2; 513], from).await.unwrap();
    server.send_to(&[3; 512], from).await.unwrap();
    assert_eq!(receive(&client).await.0, [3; 512]);
    assert_eq!(gateway.metric(&drops("oversized")).await, 3);
}

#[tokio::test]
async fn the_largest_datagram_passes() {
    let server = socket().await;
    let gateway = TestGateway::start(to(&[server.local_addr().unwrap()], "")).await;
    let client = client(&gateway).await;
    client.send(&[7; 65_507]).await.unwrap();
    let (datagram, from) = receive(&server).await;
    assert_eq!(datagram.len(), 65_507);
    server.send_to(&datagram, from).await.unwrap();
    assert_eq!(receive(&client).await.0.len(), 65_507);
}

#[tokio::test]
async fn there_are_as_many_sessions_as_there_may_be() {
    let server = socket().await;
    let yaml = to(
        &[server.local_addr().unwrap()],
        ", max_sessions: 1, timeouts: { idle: 300ms }",
    );
    let gateway = TestGateway::start(yaml).await;
    let (one, two) = (client(&gateway).await, client(&gateway).await);
    one.send(b"one").await.unwrap();
    assert_eq!(receive(&server).await.0, b"one");
    two.send(b"lost").await.unwrap();
    one.send(b"again").await.unwrap();
    assert_eq!(receive(&server).await.0, b"again");
    assert_eq!(gateway.metric(&drops("max_sessions")).await, 1);
    assert_eq!(gateway.stream_ended().await.bytes_in, 8);
    two.send(b"two").await.unwrap();
    assert_eq!(receive(&server).await.0, b"two");
}

#[tokio::test]
async fn a_session_whose_endpoint_refuses_ends_and_the_next_one_goes_elsewhere() {
    let (server, dead) = (socket().await, socket().await);
    let addresses = [dead.local_addr().unwrap(), server.local_addr().unwrap()];
    drop(dead);
    let gateway = TestGateway::start(to(&addresses, "")).await;
    let refused = loop {
        let client = client(&gateway).await;
        client.send(b"to the dead one, in the end").await.unwrap();
        let ended = gateway.stream_ended();
        tokio::select! {
            ended = ended => break ended,
            _ = receive(&server) => {}
        }
    };
    assert_eq!(refused.reason, "upstream_connect_failed");
    assert_eq!(
        refused.endpoint.as_deref(),
        Some(&*addresses[0].to_string())
    );
}

#[tokio::test]
async fn sessions_survive_reloads() {
    let server = socket().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.yaml");
    let yaml = to(&[server.local_addr().unwrap()], "");
    std::fs::write(&file, &yaml).unwrap();
    let gateway = TestGateway::files([file.clone()]).await;
    let client = client(&gateway).await;
    client.send(b"before").await.unwrap();
    let (_, from) = receive(&server).await;
    std::fs::write(
        &file,
        yaml.replace("name: dns, backends", "name: other, backends"),
    )
    .unwrap();
    gateway.handle.reload().unwrap();
    client.send(b"after").await.unwrap();
    assert_eq!(receive(&server).await, (b"after".to_vec(), from));
    server.send_to(b"answer", from).await.unwrap();
    assert_eq!(receive(&client).await.0, b"answer");
}

#[tokio::test]
async fn a_listener_without_a_route_drops_what_comes() {
    let gateway =
        TestGateway::start("listeners: [{ name: dns, bind: '127.0.0.1:0', protocol: udp }]").await;
    let client = client(&gateway).await;
    client.send(b"lost").await.unwrap();
    let dropped = async { while gateway.metric(&drops("no_route")).await == 0 {} };
    within("the drop", dropped).await;
}
