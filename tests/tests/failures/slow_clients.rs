//! Clients that do not read what they asked for.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Request;
use portcullis::Gateway;
use portcullis::observe::{Event, Observer};
use portcullis_tests::{H2Client, Peer, TestGateway, Upstream, listener, route_to, within};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

const LONG: usize = 64 * 1024 * 1024;
const GET: &str = "GET / HTTP/1.1\r\nhost: test\r\n\r\n";

fn impatient(address: SocketAddr) -> String {
    route_to(address, "", "").replace(&listener(""), &listener("timeouts: { write_idle: 300ms }"))
}

/// Answers on `peer` with a long body, for as long as the gateway takes it.
async fn say_much(mut peer: Peer) {
    peer.request().await;
    peer.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {LONG}\r\n\r\n"))
        .await;
    // Nobody takes so much.
    assert!(within("the end", peer.send_zeroes(LONG)).await.is_err());
}

#[tokio::test]
async fn a_client_that_stops_reading_is_cut_off() {
    let upstream = Upstream::bind().await;
    let gateway = TestGateway::start(impatient(upstream.addr())).await;
    let mut client = gateway.client().await;
    client.send(GET).await;
    let saying = upstream.script(say_much);
    assert_eq!(client.head().await.status(), 200);
    saying.await.unwrap();
    let ended = gateway.ended().await;
    assert_eq!((ended.status, ended.aborted), (200, true), "{ended:?}");
    assert_eq!(ended.reason, "client_write_timeout");
    assert!(client.ending().await.1, "the connection was not reset");
    gateway.settles("up", 0, 0).await;
}

#[tokio::test]
async fn a_client_that_reads_slowly_gets_it_all() {
    let folder = tempfile::tempdir().unwrap();
    let front = folder.path().join("front.sock");
    let upstream = Upstream::bind().await;
    // A Unix socket, whose buffers do not grow: the kernel does not read ahead for the client.
    let yaml = route_to(upstream.addr(), "", "").replace(
        &listener(""),
        &listener("timeouts: { write_idle: 1s }")
            .replace("127.0.0.1:0", &format!("unix:{}", front.display())),
    );
    let gateway = TestGateway::start(yaml).await;
    let mut client = Peer::unix(&front).await;
    client.send(GET).await;
    let length = 4 * 1024 * 1024;
    let saying = upstream.script(move |mut peer| async move {
        peer.request().await;
        peer.send(format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n"
        ))
        .await;
        peer.send_zeroes(length).await.unwrap();
        peer
    });
    assert_eq!(client.head().await.status(), 200);
    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    let began = tokio::time::Instant::now();
    for _ in 0..64 {
        ticks.tick().await;
        client.swallow(length / 64).await;
    }
    assert!(began.elapsed() > Duration::from_secs(3));
    let _open = within("the upstream", saying).await.unwrap();
    assert!(!gateway.ended().await.aborted);
}

#[tokio::test]
async fn a_client_that_stops_reading_a_tunnel_is_cut_off() {
    let upstream = Upstream::bind().await;
    let gateway = TestGateway::start(impatient(upstream.addr())).await;
    let mut client = gateway.client().await;
    client
        .send("GET / HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: talk\r\n\r\n")
        .await;
    let mut peer = upstream.accept().await;
    peer.request().await;
    peer.send("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: talk\r\n\r\n")
        .await;
    assert_eq!(client.head().await.status(), 101);
    assert!(within("the end", peer.send_zeroes(LONG)).await.is_err());
    assert_eq!(gateway.ended().await.reason, "client_write_timeout");
    gateway.settles("up", 0, 0).await;
}

#[tokio::test]
async fn an_http2_stream_that_is_not_read_is_reset_alone() {
    let upstream = Upstream::bind().await;
    let gateway = TestGateway::start(impatient(upstream.addr())).await;
    let client = H2Client::connect(gateway.addr()).await;
    let request = || Request::get("http://test/").body(()).unwrap();
    let (response, _send) = client.open(request(), true).await;
    let saying = upstream.script(say_much);
    // Its window is never opened again.
    let mut body = within("a response", response).await.unwrap().into_body();
    saying.await.unwrap();
    let ended = gateway.ended().await;
    assert_eq!(
        (ended.reason.as_str(), ended.aborted),
        ("client_write_timeout", true)
    );
    let error = loop {
        match within("the reset", body.data()).await.unwrap() {
            Ok(data) => body.flow_control().release_capacity(data.len()).unwrap(),
            Err(error) => break error,
        }
    };
    assert_eq!(error.reason(), Some(h2::Reason::CANCEL));
    gateway.settles("up", 0, 0).await;
    // The connection goes on; it is the upstream that has gone meanwhile.
    let again = Request::get("http://test/").body("").unwrap();
    assert_eq!(client.ask(again).await.status(), 502);
}

/// A stream whose reading side can be blocked.
struct Gated {
    io: TcpStream,
    blocked: Arc<AtomicBool>,
}

impl AsyncRead for Gated {
    fn poll_read(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if self.blocked.load(Ordering::SeqCst) {
            return Poll::Pending;
        }
        Pin::new(&mut self.io).poll_read(task, buf)
    }
}

impl AsyncWrite for Gated {
    fn poll_write(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(task, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(task)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(task)
    }
}

/// Says which requests and connections ended.
struct Ends(UnboundedSender<Option<String>>);

impl Observer for Ends {
    fn on_event(&self, event: &Event<'_>) {
        let told = match event {
            Event::RequestEnd(record) => Some(record.reason.to_owned()),
            Event::ConnectionClosed { .. } => None,
            _ => return,
        };
        let _ = self.0.send(told);
    }
}

#[tokio::test]
async fn an_http2_connection_that_is_not_read_is_closed() {
    // In the first case each reply fits into the buffers of its stream, and none of them has a deadline.
    for (streams, length, reasons) in [
        (100, 200_000, ["", ""]),
        (1, LONG, ["client_write_timeout"; 2]),
    ] {
        let (address, _) = Upstream::answering(move |_| {
            let mut reply =
                format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n").into_bytes();
            reply.resize(reply.len() + length, b'x');
            reply
        })
        .await;
        let (sender, mut ends) = unbounded_channel();
        let gateway = Gateway::builder(portcullis::registry().build().unwrap())
            .yaml(impatient(address))
            .workers(1)
            .without_admin()
            .observer(Ends(sender))
            .build()
            .unwrap();
        let gateway = gateway.start().await.unwrap();
        let address = gateway.local_addr("web").unwrap();
        let blocked = Arc::new(AtomicBool::new(false));
        let io = Gated {
            io: TcpStream::connect(address).await.unwrap(),
            blocked: blocked.clone(),
        };
        let mut builder = h2::client::Builder::new();
        builder
            .initial_window_size(1 << 30)
            .initial_connection_window_size(1 << 30);
        let (mut client, connection) = builder.handshake::<_, bytes::Bytes>(io).await.unwrap();
        tokio::spawn(connection);
        let mut responses = Vec::new();
        blocked.store(true, Ordering::SeqCst);
        for _ in 0..streams {
            client = within("room", client.ready()).await.unwrap();
            let request = Request::get("http://test/").body(()).unwrap();
            responses.push(client.send_request(request, true).unwrap());
        }
        let mut seen = Vec::new();
        while let Some(reason) = within("the end of the connection", ends.recv())
            .await
            .unwrap()
        {
            seen.push(reason);
        }
        for reason in &seen {
            assert!(
                reasons.contains(&reason.as_str()) || reason == "client_write_timeout",
                "{seen:?}"
            );
        }
        gateway.shutdown().await;
    }
}
