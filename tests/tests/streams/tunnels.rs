//! Tunnels that began as HTTP: as connections of TCP routes they outlast what they came through.

use portcullis_tests::{Peer, TestGateway, Upstream, route_to};

#[tokio::test]
async fn a_websocket_survives_reloads_even_of_its_route() {
    let upstream = Upstream::bind().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.yaml");
    let yaml = route_to(upstream.addr(), "", "");
    std::fs::write(&file, &yaml).unwrap();
    let gateway = TestGateway::files([file.clone()]).await;
    let mut client: Peer = gateway.client().await;
    client
        .send("GET / HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
        .await;
    let mut server = upstream.accept().await;
    server.head().await;
    server
        .send(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        )
        .await;
    assert_eq!(client.head().await.status(), 101);
    std::fs::write(&file, yaml.replace("name: all", "name: other")).unwrap();
    gateway.handle.reload().unwrap();
    client.send("still").await;
    assert_eq!(server.exactly(5).await, b"still");
    server.send("here").await;
    assert_eq!(client.exactly(4).await, b"here");
}
