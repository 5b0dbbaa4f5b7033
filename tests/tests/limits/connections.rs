//! More connections than there is room for.

use std::net::{IpAddr, SocketAddr};

use portcullis::tls::testing::{CertificateSpec, TestCa};
use portcullis_tests::{H2Client, Peer, TestGateway, Upstream, free_port, within};
use tokio::net::TcpSocket;

use crate::{GET, OK, configuration, limited, metric};

/// A connection from another address of the loopback network.
async fn client_at(from: &str, to: SocketAddr) -> Peer {
    let socket = TcpSocket::new_v4().unwrap();
    let from: IpAddr = from.parse().unwrap();
    socket.bind(SocketAddr::new(from, 0)).unwrap();
    Peer::tcp(within("connecting", socket.connect(to)).await.unwrap())
}

/// Asks, and is told that there is no room.
async fn assert_refused(mut client: Peer) {
    let reply = client.ask(GET).await;
    assert_eq!(
        (reply.status(), reply.header("retry-after")),
        (503, Some("1"))
    );
    assert_eq!(reply.header("connection"), Some("close"));
    assert!(reply.header("date").is_some());
    client.closed().await;
}

/// Asks until there is room: a connection that was closed is noticed a moment later.
async fn assert_gets_room(from: &str, to: SocketAddr) -> Peer {
    within("room", async {
        loop {
            let mut client = client_at(from, to).await;
            if client.ask(GET).await.status() == 200 {
                return client;
            }
        }
    })
    .await
}

#[tokio::test]
async fn an_address_has_so_many_connections_at_a_time() {
    let upstream = Upstream::fixed(OK).await;
    let gateway = limited(upstream, "limits: { max_connections_per_address: 2 }").await;
    let mut first = gateway.client().await;
    let mut second = gateway.client().await;
    assert_eq!(first.ask(GET).await.text(), "ok");
    assert_eq!(second.ask(GET).await.text(), "ok");
    assert_refused(gateway.client().await).await;
    // One that says nothing holds nobody up.
    let mut silent = gateway.client().await;
    let mut other = client_at("127.0.0.2", gateway.addr()).await;
    assert_eq!(other.ask(GET).await.text(), "ok");
    silent.closed().await;
    let series = r#"portcullis_connections_refused_total{listener="web",reason="max_connections_per_address"}"#;
    assert_eq!(metric(&gateway, series).await, 2.0);
    // Those that are open go on, and one that is closed makes room for another.
    assert_eq!(first.ask(GET).await.text(), "ok");
    drop(first);
    assert_gets_room("127.0.0.1", gateway.addr()).await;
    assert_eq!(second.ask(GET).await.text(), "ok");
}

#[tokio::test]
async fn many_that_are_refused_are_closed_without_words() {
    let upstream = Upstream::fixed(OK).await;
    let gateway = limited(upstream, "limits: { max_connections_per_address: 1 }").await;
    let mut first = gateway.client().await;
    assert_eq!(first.ask(GET).await.text(), "ok");
    let mut refused = Vec::new();
    for _ in 0..100 {
        refused.push(gateway.client().await);
    }
    for client in &mut refused {
        client.closed().await;
    }
    let mut other = client_at("127.0.0.2", gateway.addr()).await;
    assert_eq!(other.ask(GET).await.text(), "ok");
    assert_eq!(first.ask(GET).await.text(), "ok");
}

#[tokio::test]
async fn connections_of_trusted_proxies_are_not_counted() {
    let settings = "limits: { max_connections_per_address: 1 }, trusted_proxies: [127.0.0.1]";
    let gateway = limited(Upstream::fixed(OK).await, settings).await;
    let mut clients = Vec::new();
    for _ in 0..5 {
        let mut client = gateway.client().await;
        assert_eq!(client.ask(GET).await.text(), "ok");
        clients.push(client);
    }
    let mut stranger = client_at("127.0.0.2", gateway.addr()).await;
    assert_eq!(stranger.ask(GET).await.text(), "ok");
    assert_refused(client_at("127.0.0.2", gateway.addr()).await).await;
}

#[tokio::test]
async fn workers_count_addresses_together() {
    let upstream = Upstream::fixed(OK).await;
    let yaml = configuration(upstream, "limits: { max_connections_per_address: 4 }");
    let gateway = TestGateway::workers(2, yaml).await;
    let mut open = Vec::new();
    let mut refused = 0;
    // Connections are dealt to either worker.
    for _ in 0..20 {
        let mut client = gateway.client().await;
        match client.ask(GET).await.status() {
            200 => open.push(client),
            _ => refused += 1,
        }
    }
    assert_eq!((open.len(), refused), (4, 16));
}

#[tokio::test]
async fn a_reload_changes_the_limit_of_an_open_listener() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.yaml");
    let upstream = Upstream::fixed(OK).await;
    let yaml = |limit: &str| configuration(upstream, &format!("limits: {{ {limit} }}"));
    std::fs::write(&file, yaml("max_connections_per_address: 1")).unwrap();
    let gateway = TestGateway::files([file.clone()]).await;
    let mut first = gateway.client().await;
    assert_eq!(first.ask(GET).await.text(), "ok");
    assert_refused(gateway.client().await).await;
    std::fs::write(&file, yaml("")).unwrap();
    gateway.handle.reload().unwrap();
    let mut second = gateway.client().await;
    assert_eq!(second.ask(GET).await.text(), "ok");
    std::fs::write(&file, yaml("max_connections: 2, when_full: refuse")).unwrap();
    gateway.handle.reload().unwrap();
    assert_refused(gateway.client().await).await;
    assert_eq!(first.ask(GET).await.text(), "ok");
}

#[tokio::test]
async fn a_full_listener_refuses_if_it_is_not_to_wait() {
    let upstream = Upstream::fixed(OK).await;
    let settings = "limits: { max_connections: 1, when_full: refuse }";
    let gateway = limited(upstream, settings).await;
    let mut first = gateway.client().await;
    assert_eq!(first.ask(GET).await.text(), "ok");
    assert_refused(gateway.client().await).await;
    let series = r#"portcullis_connections_refused_total{listener="web",reason="max_connections"}"#;
    assert_eq!(metric(&gateway, series).await, 1.0);
    // Operators are let in all the same.
    assert_eq!(gateway.admin("/livez").await.status(), 200);
    drop(first);
    assert_gets_room("127.0.0.1", gateway.addr()).await;
}

#[tokio::test]
async fn a_full_process_refuses_at_listeners_that_are_not_to_wait() {
    let yaml = configuration(Upstream::fixed(OK).await, "limits: { when_full: refuse }");
    let gateway = TestGateway::start(format!("limits: {{ max_connections: 1 }}\n{yaml}")).await;
    let mut first = gateway.client().await;
    assert_eq!(first.ask(GET).await.text(), "ok");
    assert_refused(gateway.client().await).await;
}

#[tokio::test]
async fn who_speaks_no_http1_in_the_clear_is_just_closed() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = TestCa::new("ca").issue(CertificateSpec::server(["test"]));
    let (cert, key) = certificate.write_to(folder.path(), "server").unwrap();
    let tls = format!(
        "tls: {{ certificates: [{{ cert: \"{}\", key: \"{}\" }}] }}",
        cert.display(),
        key.display()
    );
    for kind in [tls.as_str(), "protocol: http2"] {
        let settings = format!("limits: {{ max_connections_per_address: 1 }}, {kind}");
        let gateway = limited(free_port(), &settings).await;
        let _first = gateway.client().await;
        let mut second = gateway.client().await;
        second.closed().await;
    }
    let settings = "limits: { max_connections_per_address: 1 }, protocol: http2";
    let gateway = limited(Upstream::fixed(OK).await, settings).await;
    let client = H2Client::connect(gateway.addr()).await;
    let request = http::Request::get("http://test/").body("").unwrap();
    assert_eq!(client.ask(request).await.status(), 200);
}
