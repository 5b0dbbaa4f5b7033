//! A gateway without sockets of its own, mounted in axum: upgrades go through it like everything else.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops where something unexpected happens"
)]

use std::net::SocketAddr;
use std::sync::Mutex;

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::Request;
use portcullis::observe::{Event, Observer};
use portcullis::{Gateway, GatewayHandle};
use portcullis_tests::{H2Client, Peer, Upstream, listener, route_to, within};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_tungstenite::tungstenite::Message;

/// What the log says of a request: status, reason, whether it was cut off, and bytes in and out.
type Line = (u16, String, bool, u64, u64);

struct Log(Mutex<UnboundedSender<Line>>);

impl Observer for Log {
    fn on_event(&self, event: &Event<'_>) {
        if let Event::RequestEnd(end) = event {
            let reason = end.reason.to_owned();
            let line = (end.status, reason, end.aborted, end.bytes_in, end.bytes_out);
            let _ = self.0.lock().unwrap().send(line);
        }
    }
}

/// An axum application with a page of its own and a gateway for the rest.
struct App {
    address: SocketAddr,
    log: UnboundedReceiver<Line>,
    _gateway: GatewayHandle,
}

impl App {
    async fn to(upstream: SocketAddr, route: &str) -> Self {
        Self::start(route_to(upstream, route, "")).await
    }

    async fn start(yaml: String) -> Self {
        let (sender, log) = unbounded_channel();
        let gateway = Gateway::builder(portcullis::registry().build().unwrap())
            .yaml(yaml)
            .observer(Log(Mutex::new(sender)))
            .build()
            .unwrap()
            .mount();
        let app = Router::new()
            .route("/about", get(|| async { "axum" }))
            .fallback_service(gateway.http_service("web").unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self {
            address,
            log,
            _gateway: gateway,
        }
    }

    async fn ended(&mut self) -> Line {
        within("the end of a request", self.log.recv())
            .await
            .unwrap()
    }
}

/// A WebSocket server that sends every message back.
async fn echo() -> SocketAddr {
    let upstream = Upstream::bind().await;
    let address = upstream.addr();
    tokio::spawn(async move {
        let io = upstream.accept().await.into_io();
        let mut socket = tokio_tungstenite::accept_async(io).await.unwrap();
        while let Some(Ok(message)) = socket.next().await {
            if message.is_close() {
                break;
            }
            socket.send(message).await.unwrap();
        }
        let _ = socket.close(None).await;
    });
    address
}

const ASKING: &str = "GET /chat HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
     sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
     sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// An extended CONNECT (RFC 8441), once the server's settings have come.
async fn extended(client: &H2Client) -> (h2::client::ResponseFuture, h2::SendStream<Bytes>) {
    let page = Request::get("http://test/about").body("").unwrap();
    assert_eq!(client.ask(page).await.body, b"axum");
    assert!(client.sender.is_extended_connect_protocol_enabled());
    let request = Request::builder()
        .method("CONNECT")
        .uri("http://test/chat")
        .header("sec-websocket-version", "13")
        .extension(h2::ext::Protocol::from_static("websocket"))
        .body(())
        .unwrap();
    client.open(request, false).await
}

#[tokio::test]
async fn a_websocket_echoes_through_axum_and_a_mounted_gateway() {
    let mut app = App::to(echo().await, "").await;
    let stream = TcpStream::connect(app.address).await.unwrap();
    let handshake = tokio_tungstenite::client_async("ws://test/chat", stream);
    let (mut socket, response) = within("the handshake", handshake).await.unwrap();
    assert_eq!(response.status(), 101);
    for message in [Message::text("hello"), Message::binary(vec![7u8; 300_000])] {
        within("sending", socket.send(message.clone()))
            .await
            .unwrap();
        let echoed = within("the echo", socket.next()).await.unwrap().unwrap();
        assert_eq!(echoed, message);
    }
    within("closing", socket.close(None)).await.unwrap();
    while let Some(Ok(_)) = within("the end", socket.next()).await {}
    // The server has ended its direction; the tunnel lasts until the client ends its own.
    drop(socket);
    let (status, reason, aborted, received, sent) = app.ended().await;
    assert_eq!((status, reason.as_str(), aborted), (101, "", false));
    assert!(received > 300_000 && sent > 300_000, "{received} {sent}");
}

#[tokio::test]
async fn each_direction_of_a_mounted_tunnel_ends_by_itself() {
    for client_first in [true, false] {
        let upstream = Upstream::bind().await;
        let mut app = App::to(upstream.addr(), "").await;
        let mut client = Peer::connect(app.address).await;
        // The first bytes of the tunnel may come with the handshake, on both sides.
        client.send(format!("{ASKING}early")).await;
        let mut peer = upstream.accept().await;
        assert_eq!(peer.request().await.header("upgrade"), Some("websocket"));
        peer.send(format!("{SWITCHED}soon")).await;
        let head = client.head().await;
        let connection = head.header("connection").unwrap().to_ascii_lowercase();
        assert_eq!((head.status(), connection.as_str()), (101, "upgrade"));
        assert_eq!(client.exactly(4).await, b"soon");
        assert_eq!(peer.exactly(5).await, b"early");
        let (first, second) = match client_first {
            true => (&mut client, &mut peer),
            false => (&mut peer, &mut client),
        };
        first.finish().await;
        second.closed().await;
        second.send("last words").await;
        second.finish().await;
        assert_eq!(first.rest().await, b"last words");
        let (status, reason, aborted, received, sent) = app.ended().await;
        assert_eq!((status, reason.as_str(), aborted), (101, "", false));
        let (more_in, more_out) = if client_first { (0, 10) } else { (10, 0) };
        assert_eq!((received, sent), (5 + more_in, 4 + more_out));
    }
}

#[tokio::test]
async fn a_refused_upgrade_of_a_mounted_gateway_is_an_ordinary_reply() {
    for route in ["", "upgrade: false"] {
        let refusal = "HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno";
        let mut app = App::to(Upstream::fixed(refusal).await, route).await;
        let mut client = Peer::connect(app.address).await;
        for _ in 0..2 {
            let reply = client.ask(ASKING).await;
            assert_eq!((reply.status(), reply.text().as_str()), (403, "no"));
            assert_eq!(app.ended().await.0, 403);
        }
    }
}

#[tokio::test]
async fn a_websocket_over_http2_goes_through_axum_too() {
    let upstream = Upstream::bind().await;
    let mut app = App::to(upstream.addr(), "").await;
    let client = H2Client::connect(app.address).await;
    let (response, mut send) = extended(&client).await;
    let mut peer = upstream.accept().await;
    let request = peer.request().await;
    assert_eq!(request.line, "GET /chat HTTP/1.1");
    assert_eq!(request.header("upgrade"), Some("websocket"));
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
    peer.finish().await;
    while let Some(data) = within("the end", body.data()).await {
        assert!(data.unwrap().is_empty());
    }
    assert_eq!(app.ended().await, (101, String::new(), false, 4, 4));
}

#[tokio::test]
async fn a_success_without_a_switch_does_not_pass_for_a_tunnel() {
    let success = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";
    let mut app = App::to(Upstream::fixed(success).await, "").await;
    let client = H2Client::connect(app.address).await;
    let (response, _send) = extended(&client).await;
    assert_eq!(within("a response", response).await.unwrap().status(), 502);
    assert_eq!(app.ended().await.1, "upstream_no_upgrade");
}

#[tokio::test]
async fn bodies_have_the_limit_of_the_listener() {
    let yaml = route_to(Upstream::mirror().await, "", "")
        .replace(&listener(""), &listener("limits: { max_body_bytes: 10 }"));
    let mut app = App::start(yaml).await;
    for (framing, body, status) in [
        ("content-length: 10", "0123456789", 200),
        ("content-length: 11", "0123456789x", 413),
        (
            "transfer-encoding: chunked",
            "a\r\n0123456789\r\n0\r\n\r\n",
            200,
        ),
        (
            "transfer-encoding: chunked",
            "b\r\n0123456789x\r\n0\r\n\r\n",
            413,
        ),
    ] {
        let mut client = Peer::connect(app.address).await;
        let request = format!("POST / HTTP/1.1\r\nhost: test\r\n{framing}\r\n\r\n{body}");
        assert_eq!(client.ask(request).await.status(), status, "{framing}");
        assert_eq!(app.ended().await.0, status);
    }
}
