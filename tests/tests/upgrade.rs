//! Connections that stop speaking HTTP: WebSockets over HTTP/1 and HTTP/2, and requests for that which are refused.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops where something unexpected happens"
)]

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::Request;
use portcullis_tests::{H2Client, TestGateway, Upstream, h2_upstream, listener, route_to, within};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;

/// A server that sends every message back.
async fn echo_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else {
                    return;
                };
                while let Some(Ok(message)) = socket.next().await {
                    if message.is_close() {
                        break;
                    }
                    if socket.send(message).await.is_err() {
                        return;
                    }
                }
                let _ = socket.close(None).await;
            });
        }
    });
    address
}

const ASKING: &str = "GET /chat HTTP/1.1\r\nhost: test\r\nconnection: keep-alive, Upgrade\r\nupgrade: websocket\r\n\
     sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
     sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

#[tokio::test]
async fn a_websocket_echoes_through_the_gateway() {
    let gateway = TestGateway::to(echo_server().await).await;
    let stream = TcpStream::connect(gateway.addr()).await.unwrap();
    let (mut socket, response) = within(
        "the handshake",
        tokio_tungstenite::client_async("ws://test/chat", stream),
    )
    .await
    .unwrap();
    assert_eq!(response.status(), 101);
    for message in [
        Message::text("hello"),
        Message::binary(vec![7u8; 300_000]),
        Message::text(String::new()),
    ] {
        within("sending", socket.send(message.clone()))
            .await
            .unwrap();
        assert_eq!(
            within("the echo", socket.next()).await.unwrap().unwrap(),
            message
        );
    }
    within("closing", socket.close(None)).await.unwrap();
    while let Some(Ok(_)) = within("the end", socket.next()).await {}
    // The server has ended its direction; the tunnel lasts until the client ends its own.
    drop(socket);
    let ended = gateway.ended().await;
    assert_eq!((ended.status, ended.aborted), (101, false), "{ended:?}");
    assert!(
        ended.bytes_in > 300_000 && ended.bytes_out > 300_000,
        "{ended:?}"
    );
    gateway.settles("up", 0, 0).await;
}

#[tokio::test]
async fn the_handshake_reaches_the_upstream_whole() {
    let upstream = Upstream::bind().await;
    let gateway = TestGateway::to(upstream.addr()).await;
    let mut client = gateway.client().await;
    // The first bytes of the tunnel may come with the handshake.
    client.send(format!("{ASKING}early")).await;
    let mut peer = upstream.accept().await;
    let request = peer.request().await;
    assert_eq!(request.header("upgrade"), Some("websocket"));
    assert!(
        request
            .header("connection")
            .is_some_and(|value| value.eq_ignore_ascii_case("upgrade"))
    );
    assert_eq!(
        request.header("sec-websocket-key"),
        Some("dGhlIHNhbXBsZSBub25jZQ==")
    );
    assert_eq!(
        (
            request.header("content-length"),
            request.header("transfer-encoding")
        ),
        (None, None)
    );
    peer.send(format!("{SWITCHED}soon")).await;
    let reply = client.head().await;
    assert_eq!(
        (reply.status(), reply.header("upgrade")),
        (101, Some("websocket"))
    );
    assert!(
        reply
            .header("connection")
            .is_some_and(|value| value.eq_ignore_ascii_case("upgrade"))
    );
    assert_eq!(client.exactly(4).await, b"soon");
    assert_eq!(peer.exactly(5).await, b"early");
    // Both ways at a time, in any order.
    peer.send("a").await;
    assert_eq!(client.exactly(1).await, b"a");
    client.send("b").await;
    assert_eq!(peer.exactly(1).await, b"b");
}

#[tokio::test]
async fn a_half_closed_tunnel_still_carries_the_other_direction() {
    let upstream = Upstream::bind().await;
    let gateway = TestGateway::to(upstream.addr()).await;
    let mut client = gateway.client().await;
    client.send(ASKING).await;
    let mut peer = upstream.accept().await;
    peer.request().await;
    peer.send(SWITCHED).await;
    client.head().await;
    client.send("last words").await;
    client.finish().await;
    assert_eq!(peer.rest().await, b"last words");
    peer.send("an answer").await;
    assert_eq!(client.exactly(9).await, b"an answer");
    drop(peer);
    client.closed().await;
    assert!(!gateway.ended().await.aborted);
    gateway.settles("up", 0, 0).await;
}

#[tokio::test]
async fn an_upstream_that_ends_its_direction_still_gets_the_other_one() {
    let upstream = Upstream::bind().await;
    let gateway = TestGateway::to(upstream.addr()).await;
    let mut client = gateway.client().await;
    client.send(ASKING).await;
    let mut peer = upstream.accept().await;
    peer.request().await;
    peer.send(format!("{SWITCHED}last words")).await;
    peer.finish().await;
    client.head().await;
    assert_eq!(client.rest().await, b"last words");
    for word in ["one", "two"] {
        client.send(word).await;
        assert_eq!(peer.exactly(3).await, word.as_bytes());
    }
    gateway.settles("up", 1, 0).await;
    client.finish().await;
    peer.closed().await;
    let ended = gateway.ended().await;
    assert_eq!(
        (ended.aborted, ended.bytes_in, ended.bytes_out),
        (false, 6, 10)
    );
    gateway.settles("up", 0, 0).await;
}

#[tokio::test]
async fn half_a_tunnel_ends_with_the_idle_timeout() {
    let upstream = Upstream::bind().await;
    let gateway =
        TestGateway::start(route_to(upstream.addr(), "timeouts: { idle: 300ms }", "")).await;
    let mut client = gateway.client().await;
    client.send(ASKING).await;
    let mut peer = upstream.accept().await;
    peer.request().await;
    peer.send(SWITCHED).await;
    client.head().await;
    peer.finish().await;
    client.closed().await;
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    for _ in 0..6 {
        ticks.tick().await;
        client.send("x").await;
        peer.exactly(1).await;
    }
    peer.closed().await;
    assert_eq!(gateway.ended().await.bytes_in, 6);
    gateway.settles("up", 0, 0).await;
}

#[tokio::test]
async fn a_broken_half_tunnel_is_over() {
    for upstream_breaks in [true, false] {
        let upstream = Upstream::bind().await;
        let gateway = TestGateway::to(upstream.addr()).await;
        let mut client = gateway.client().await;
        client.send(ASKING).await;
        let mut peer = upstream.accept().await;
        peer.request().await;
        peer.send(SWITCHED).await;
        client.head().await;
        peer.finish().await;
        client.closed().await;
        if upstream_breaks {
            peer.reset();
            // Only a write finds out.
            while client.try_send("x").await.is_ok() && gateway.connections("up").await.0 > 0 {}
        } else {
            client.reset();
            peer.closed().await;
        }
        gateway.ended().await;
        gateway.settles("up", 0, 0).await;
    }
}

#[tokio::test]
async fn each_direction_of_a_tunnel_over_http2_ends_by_itself() {
    let upstream = Upstream::bind().await;
    let gateway = TestGateway::to(upstream.addr()).await;
    let client = H2Client::connect(gateway.addr()).await;
    let page = Request::get("http://test/").body("").unwrap();
    let (_, mut peer) = tokio::join!(client.ask(page), async {
        let mut peer = upstream.accept().await;
        peer.request().await;
        peer.send("HTTP/1.1 204 No Content\r\n\r\n").await;
        peer
    });
    gateway.ended().await;
    let (response, mut send) = client.open(extended(), false).await;
    peer.request().await;
    peer.send(SWITCHED).await;
    let mut body = within("a response", response).await.unwrap().into_body();
    peer.finish().await;
    while let Some(data) = within("the end", body.data()).await {
        assert!(data.unwrap().is_empty());
    }
    send.send_data(Bytes::from_static(b"late"), true).unwrap();
    assert_eq!(peer.rest().await, b"late");
    let ended = gateway.ended().await;
    assert_eq!((ended.aborted, ended.bytes_in), (false, 4), "{ended:?}");
    gateway.settles("up", 0, 0).await;
}

#[tokio::test]
async fn a_client_that_breaks_the_tunnel_breaks_it_upstream() {
    let upstream = Upstream::bind().await;
    let gateway = TestGateway::to(upstream.addr()).await;
    let mut client = gateway.client().await;
    client.send(ASKING).await;
    let mut peer = upstream.accept().await;
    peer.request().await;
    peer.send(SWITCHED).await;
    client.head().await;
    client.reset();
    peer.closed().await;
    drop(peer);
    gateway.settles("up", 0, 0).await;
}

#[tokio::test]
async fn a_client_that_leaves_before_the_switch_cancels_it() {
    let upstream = Upstream::bind().await;
    let gateway = TestGateway::to(upstream.addr()).await;
    let mut client = gateway.client().await;
    client.send(ASKING).await;
    let mut peer = upstream.accept().await;
    peer.request().await;
    drop(client);
    peer.closed().await;
    assert_eq!(gateway.ended().await.reason, "client_gone");
    gateway.settles("up", 0, 0).await;
}

#[tokio::test]
async fn a_refused_upgrade_is_an_ordinary_reply() {
    for status in ["200 OK", "404 Not Found", "426 Upgrade Required"] {
        let upstream = Upstream::bind().await;
        let gateway = TestGateway::to(upstream.addr()).await;
        let mut client = gateway.client().await;
        client.send(ASKING).await;
        let mut peer = upstream.accept().await;
        peer.request().await;
        peer.send(format!(
            "HTTP/1.1 {status}\r\ncontent-length: 2\r\nupgrade: websocket\r\n\r\nno"
        ))
        .await;
        let reply = client.response().await;
        assert_eq!(
            (&reply.status().to_string()[..], reply.text().as_str()),
            (&status[..3], "no")
        );
        // Both connections go on with HTTP.
        client
            .send("GET /next HTTP/1.1\r\nhost: test\r\n\r\n")
            .await;
        assert_eq!(peer.request().await.target(), "/next");
        peer.send("HTTP/1.1 204 No Content\r\n\r\n").await;
        assert_eq!(client.response().await.status(), 204);
    }
}

#[tokio::test]
async fn a_route_that_does_not_upgrade_sends_an_ordinary_request() {
    let upstream = Upstream::bind().await;
    let gateway = TestGateway::start(route_to(upstream.addr(), "upgrade: false", "")).await;
    let mut client = gateway.client().await;
    client.send(ASKING).await;
    let mut peer = upstream.accept().await;
    let request = within("the whole request", peer.request()).await;
    for name in [
        "upgrade",
        "connection",
        "transfer-encoding",
        "content-length",
    ] {
        assert_eq!(request.header(name), None, "{name}");
    }
    peer.send("HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\nno")
        .await;
    let reply = client.response().await;
    assert_eq!((reply.status(), reply.text().as_str()), (400, "no"));
    client
        .send("GET /next HTTP/1.1\r\nhost: test\r\n\r\n")
        .await;
    assert_eq!(peer.request().await.target(), "/next");
}

#[tokio::test]
async fn a_switch_nobody_asked_for_is_an_upstream_fault() {
    let upstream = Upstream::fixed(SWITCHED).await;
    let gateway = TestGateway::to(upstream).await;
    assert_eq!(gateway.get("/").await.status(), 502);
    assert_eq!(gateway.ended().await.reason, "upstream_protocol_error");
}

#[tokio::test]
async fn an_upgrade_that_a_filter_answers_leaves_the_connection_usable() {
    let gateway = TestGateway::start(format!(
        "{}routes: [{{ name: no, filters: [{{ type: respond, status: 403 }}] }}]\n",
        listener("")
    ))
    .await;
    let mut client = gateway.client().await;
    for _ in 0..2 {
        assert_eq!(client.ask(ASKING).await.status(), 403);
    }
}

#[tokio::test]
async fn a_tunnel_without_a_word_ends_with_the_idle_timeout() {
    let upstream = Upstream::bind().await;
    let gateway =
        TestGateway::start(route_to(upstream.addr(), "timeouts: { idle: 300ms }", "")).await;
    let mut client = gateway.client().await;
    client.send(ASKING).await;
    let mut peer = upstream.accept().await;
    peer.request().await;
    peer.send(SWITCHED).await;
    client.head().await;
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    for _ in 0..6 {
        // One direction is enough to keep it open.
        ticks.tick().await;
        client.send("x").await;
        peer.exactly(1).await;
    }
    client.closed().await;
    peer.closed().await;
}

/// An extended CONNECT (RFC 8441).
fn extended() -> Request<()> {
    Request::builder()
        .method("CONNECT")
        .uri("http://test/chat")
        .header("sec-websocket-version", "13")
        .extension(h2::ext::Protocol::from_static("websocket"))
        .body(())
        .unwrap()
}

#[tokio::test]
async fn a_websocket_over_http2_reaches_an_http1_upstream() {
    let upstream = Upstream::bind().await;
    let gateway = TestGateway::to(upstream.addr()).await;
    let client = H2Client::connect(gateway.addr()).await;
    // The server's settings come with the first round trip.
    assert_eq!(
        client
            .try_ask(
                Request::builder()
                    .method("CONNECT")
                    .uri("x:1")
                    .body("")
                    .unwrap()
            )
            .await
            .unwrap()
            .status(),
        405
    );
    assert!(client.sender.is_extended_connect_protocol_enabled());
    let (response, mut send) = client.open(extended(), false).await;
    let mut peer = upstream.accept().await;
    let request = peer.request().await;
    assert_eq!(request.line, "GET /chat HTTP/1.1");
    assert_eq!(
        (request.header("upgrade"), request.header("host")),
        (Some("websocket"), Some("test"))
    );
    assert_eq!(request.header("sec-websocket-key").map(str::len), Some(24));
    peer.send(SWITCHED).await;
    let response = within("a response", response).await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(!response.headers().contains_key("sec-websocket-accept"));
    send.send_data(Bytes::from_static(b"ping"), false).unwrap();
    assert_eq!(peer.exactly(4).await, b"ping");
    peer.send("pong").await;
    let mut body = response.into_body();
    assert_eq!(within("data", body.data()).await.unwrap().unwrap(), "pong");
    send.send_data(Bytes::new(), true).unwrap();
    assert_eq!(peer.rest().await, b"");
    drop(peer);
    while let Some(data) = within("the end", body.data()).await {
        assert!(data.unwrap().is_empty());
    }
    gateway.settles("up", 0, 0).await;
}

#[tokio::test]
async fn a_websocket_over_http2_that_is_refused_gets_the_refusal() {
    let upstream = Upstream::fixed("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno").await;
    for route in ["", "upgrade: false"] {
        let gateway = TestGateway::start(route_to(upstream, route, "")).await;
        let client = H2Client::connect(gateway.addr()).await;
        let _ = client
            .try_ask(Request::get("http://test/").body("").unwrap())
            .await;
        let (response, _send) = client.open(extended(), false).await;
        let reply = H2Client::read(within("a response", response).await.unwrap())
            .await
            .unwrap();
        assert_eq!(
            (reply.status(), reply.body.as_slice()),
            (403, &b"no"[..]),
            "{route}"
        );
    }
}

#[tokio::test]
async fn a_success_without_a_switch_does_not_pass_for_a_tunnel() {
    let upstream = Upstream::fixed("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await;
    let gateway = TestGateway::to(upstream).await;
    let client = H2Client::connect(gateway.addr()).await;
    let page = Request::get("http://test/").body("").unwrap();
    assert_eq!(client.ask(page).await.status(), 200);
    gateway.ended().await;
    let (response, _send) = client.open(extended(), false).await;
    assert_eq!(within("a response", response).await.unwrap().status(), 502);
    assert_eq!(gateway.ended().await.reason, "upstream_no_upgrade");
}

#[tokio::test]
async fn a_websocket_passes_an_http2_upstream() {
    // The inner gateway is the HTTP/2 endpoint that takes extended CONNECT.
    let inner = TestGateway::to(echo_server().await).await;
    let outer = TestGateway::start(route_to(inner.addr(), "", "protocol: http2")).await;
    let stream = TcpStream::connect(outer.addr()).await.unwrap();
    // The client checks the accept value, which the outer gateway has to make.
    let (mut socket, response) = within(
        "the handshake",
        tokio_tungstenite::client_async("ws://test/chat", stream),
    )
    .await
    .unwrap();
    assert_eq!(response.status(), 101);
    for message in [Message::text("hello"), Message::binary(vec![7u8; 300_000])] {
        within("sending", socket.send(message.clone()))
            .await
            .unwrap();
        assert_eq!(
            within("the echo", socket.next()).await.unwrap().unwrap(),
            message
        );
    }
    within("closing", socket.close(None)).await.unwrap();
    while let Some(Ok(_)) = within("the end", socket.next()).await {}
}

#[tokio::test]
async fn an_http2_upstream_without_extended_connect_refuses_upgrades() {
    let (address, _) = h2_upstream(|_, mut respond| async move {
        respond
            .send_response(http::Response::new(()), true)
            .unwrap();
    })
    .await;
    let gateway = TestGateway::start(route_to(address, "", "protocol: http2")).await;
    let mut client = gateway.client().await;
    assert_eq!(client.ask(ASKING).await.status(), 502);
    assert_eq!(gateway.ended().await.reason, "upstream_no_upgrade");
}
