//! HTTP/2 on both sides: detection, multiplexing, drains, gRPC.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops where something unexpected happens"
)]

mod grpc;

use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Request, Response};
use portcullis_tests::{
    H2Client, Peer, TestGateway, Upstream, frame, free_port, h2_upstream, http2_client, kind,
    listener, next_frame, route_to, within,
};
use tokio::net::TcpListener;

fn over_http2(address: SocketAddr) -> String {
    route_to(address, "", "protocol: http2")
}

/// An HTTP/2 upstream that answers with the path, and says over which connection.
async fn paths() -> (SocketAddr, std::sync::Arc<std::sync::atomic::AtomicUsize>) {
    h2_upstream(|request, mut respond| async move {
        let text = format!("{} {}", request.method(), request.uri());
        let mut send = respond.send_response(Response::new(()), false).unwrap();
        send.send_data(text.into(), true).unwrap();
    })
    .await
}

#[tokio::test]
async fn both_versions_are_spoken_on_one_port() {
    let gateway = TestGateway::to(Upstream::mirror().await).await;
    let client = H2Client::connect(gateway.addr()).await;
    let reply = client
        .ask(Request::post("http://test/two").body("hi").unwrap())
        .await;
    let text = String::from_utf8(reply.body).unwrap();
    assert!(
        text.starts_with("POST /two HTTP/1.1\n") && text.ends_with("\n\nhi"),
        "{text}"
    );
    assert!(
        text.contains("\ncontent-length: 2\n") || text.contains("\ntransfer-encoding: chunked\n"),
        "{text}"
    );
    assert!(
        gateway
            .get("/one")
            .await
            .text()
            .starts_with("GET /one HTTP/1.1\n")
    );
}

#[tokio::test]
async fn a_preface_that_dribbles_in_is_recognised() {
    let gateway = TestGateway::to(Upstream::mirror().await).await;
    let mut client = gateway.client().await;
    for byte in b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" {
        client.send([*byte]).await;
    }
    // An empty SETTINGS frame; the gateway's own comes back.
    client.send([0, 0, 0, 4, 0, 0, 0, 0, 0]).await;
    assert_eq!(client.exactly(9).await[3], 4);
}

#[tokio::test]
async fn what_is_no_host_is_refused_as_over_http1() {
    const END_STREAM: u8 = 1;
    const END_HEADERS: u8 = 4;
    /// `:status` 200 and 400, as the static table has them.
    const STATUS: [u8; 2] = [0x88, 0x8c];
    // `:method` GET, `:scheme` http, `:path` /, then the name of the host: `:authority`, or `host`.
    let request = |name: &[u8], host: &str| {
        let length = [u8::try_from(host.len()).unwrap()];
        [b"\x82\x86\x84", name, &length, host.as_bytes()].concat()
    };
    let gateway = TestGateway::to(Upstream::mirror().await).await;
    let mut client = http2_client(&gateway).await;
    let mut stream = 1;
    for (host, status) in [
        ("test:80", STATUS[0]),
        ("[::1]:80", STATUS[0]),
        ("[::1]80", STATUS[1]),
        ("test:65536", STATUS[1]),
        ("te%73t", STATUS[1]),
        ("a,b", STATUS[1]),
    ] {
        for name in [&b"\x41"[..], b"\x40\x04host"] {
            let fields = request(name, host);
            let flags = END_STREAM | END_HEADERS;
            client
                .send(frame(kind::HEADERS, flags, stream, &fields))
                .await;
            let answer = loop {
                let next = next_frame(&mut client).await;
                if next.stream == stream {
                    break next;
                }
            };
            // What no authority may hold ends the stream already.
            let refused = answer.kind == kind::RST_STREAM && status == STATUS[1];
            assert!(refused || answer.payload[0] == status, "{host}: {answer:?}");
            stream += 2;
        }
    }
}

#[tokio::test]
async fn a_client_that_says_nothing_is_closed() {
    let yaml = route_to(free_port(), "", "")
        .replace(&listener(""), &listener("timeouts: { detect: 200ms }"));
    let gateway = TestGateway::start(yaml).await;
    gateway.client().await.closed().await;
    let mut client = gateway.client().await;
    client.send("PRI * HTT").await;
    client.closed().await;
}

#[tokio::test]
async fn a_client_that_is_idle_is_closed() {
    let upstream = Upstream::fixed("HTTP/1.1 204 No Content\r\n\r\n").await;
    let yaml = route_to(upstream, "", "").replace(
        &listener(""),
        &listener("timeouts: { idle: 200ms, head: 300ms }"),
    );
    let gateway = TestGateway::start(yaml).await;
    let mut client = gateway.client().await;
    client.ask("GET / HTTP/1.1\r\nhost: test\r\n\r\n").await;
    client.closed().await;
    // A head that does not end is answered.
    let mut client = gateway.client().await;
    client.send("GET / HTTP/1.1\r\n").await;
    assert_eq!(client.response().await.status(), 408);
    client.closed().await;
    let stream = tokio::net::TcpStream::connect(gateway.addr())
        .await
        .unwrap();
    let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let (response, _) = sender
        .send_request(Request::get("http://test/").body(()).unwrap(), true)
        .unwrap();
    assert_eq!(within("a response", response).await.unwrap().status(), 204);
    within("the end", connection).await.unwrap().unwrap();
}

#[tokio::test]
async fn cookies_are_joined_for_an_http1_upstream() {
    let gateway = TestGateway::to(Upstream::mirror().await).await;
    let client = H2Client::connect(gateway.addr()).await;
    let request = Request::get("http://test/")
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .header("x-a", "1")
        .header("x-a", "2")
        .body("")
        .unwrap();
    let text = String::from_utf8(client.ask(request).await.body).unwrap();
    assert!(text.contains("\ncookie: a=1; b=2\n"), "{text}");
    assert!(
        text.contains("\nx-a: 1\n") && text.contains("\nx-a: 2\n"),
        "{text}"
    );
}

#[tokio::test]
async fn many_streams_share_one_upstream_connection() {
    let (address, connections) = paths().await;
    let gateway = TestGateway::start(over_http2(address)).await;
    let client = H2Client::connect(gateway.addr()).await;
    let asking = (0..50).map(|number| {
        let client = client.clone();
        async move {
            let reply = client
                .ask(
                    Request::get(format!("http://test/{number}"))
                        .body("")
                        .unwrap(),
                )
                .await;
            assert_eq!(reply.body, format!("GET http://test/{number}").as_bytes());
        }
    });
    join_all(asking).await;
    assert_eq!(connections.load(Ordering::SeqCst), 1);
    gateway.settles("up", 1, 0).await;
}

#[tokio::test]
async fn http1_clients_share_the_http2_connection_too() {
    let (address, connections) = paths().await;
    let gateway = TestGateway::start(route_to(
        address,
        "",
        "protocol: http2, limits: { max_connections: 1 }",
    ))
    .await;
    join_all(
        (0..20)
            .map(|_| async { assert_eq!(gateway.get("/a?b").await.text(), "GET http://test/a?b") }),
    )
    .await;
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_unused_http2_connection_is_closed() {
    let (address, connections) = paths().await;
    let yaml = route_to(
        address,
        "",
        "protocol: http2, limits: { idle_timeout: 100ms }",
    );
    let gateway = TestGateway::start(yaml).await;
    assert_eq!(gateway.get("/").await.status(), 200);
    gateway.settles("up", 0, 0).await;
    assert_eq!(gateway.get("/").await.status(), 200);
    assert_eq!(connections.load(Ordering::SeqCst), 2);
}

/// An HTTP/2 server whose connections the test drives.
async fn h2_accept(listener: &TcpListener) -> h2::server::Connection<tokio::net::TcpStream, Bytes> {
    let (stream, _) = within("a connection", listener.accept()).await.unwrap();
    within("the handshake", h2::server::handshake(stream))
        .await
        .unwrap()
}

#[tokio::test]
async fn an_upstream_that_goes_away_finishes_what_it_has_and_gets_no_more() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gateway = TestGateway::start(over_http2(listener.local_addr().unwrap())).await;
    let client = H2Client::connect(gateway.addr()).await;
    let (first, _) = client
        .open(Request::get("http://test/1").body(()).unwrap(), true)
        .await;
    let mut old = h2_accept(&listener).await;
    let (_, mut respond) = within("a stream", old.accept()).await.unwrap().unwrap();
    old.graceful_shutdown();
    let old = tokio::spawn(async move {
        // Streams that come before the farewell has arrived are still served here.
        while let Some(Ok((_, mut respond))) = old.accept().await {
            respond.send_response(Response::new(()), true).unwrap();
        }
    });
    let serving = tokio::spawn(async move {
        let mut new = h2_accept(&listener).await;
        while let Some(Ok((_, mut respond))) = new.accept().await {
            respond
                .send_response(Response::builder().status(202).body(()).unwrap(), true)
                .unwrap();
        }
    });
    // The farewell takes its time; whichever connection a request meets, it is answered.
    loop {
        let reply = client
            .ask(Request::get("http://test/2").body("").unwrap())
            .await;
        match reply.status() {
            200 => {}
            status => {
                assert_eq!(status, 202);
                break;
            }
        }
    }
    respond
        .send_response(Response::builder().status(201).body(()).unwrap(), true)
        .unwrap();
    assert_eq!(within("a response", first).await.unwrap().status(), 201);
    within("the end of the old connection", old).await.unwrap();
    gateway.settles("up", 1, 0).await;
    serving.abort();
}

#[tokio::test]
async fn a_post_that_raced_with_a_going_away_is_sent_again() {
    // Whatever the instant, a request that was never taken moves to another connection.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let front = listener.local_addr().unwrap();
    tokio::spawn(async move {
        // Each connection serves one stream and leaves.
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut connection) = h2::server::handshake(stream).await else {
                continue;
            };
            tokio::spawn(async move {
                if let Some(Ok((_, mut respond))) = connection.accept().await {
                    connection.graceful_shutdown();
                    let _ = respond.send_response(Response::new(()), true);
                    while let Some(Ok((_, mut respond))) = connection.accept().await {
                        let _ = respond.send_response(Response::new(()), true);
                    }
                }
            });
        }
    });
    let gateway = TestGateway::start(over_http2(front)).await;
    let client = H2Client::connect(gateway.addr()).await;
    for number in 0..50 {
        let reply = client
            .ask(Request::post("http://test/").body("x").unwrap())
            .await;
        assert_eq!(reply.status(), 200, "request {number}");
    }
}

#[tokio::test]
async fn a_refused_stream_is_retried_by_default_policy() {
    let tries = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = tries.clone();
    let (address, _) = h2_upstream(move |_, mut respond| {
        let first = counter.fetch_add(1, Ordering::SeqCst) == 0;
        async move {
            if first {
                respond.send_reset(h2::Reason::REFUSED_STREAM);
            } else {
                respond.send_response(Response::new(()), true).unwrap();
            }
        }
    })
    .await;
    let gateway = TestGateway::start(route_to(
        address,
        "retry: { attempts: 1 }",
        "protocol: http2",
    ))
    .await;
    let reply = gateway
        .ask("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 2\r\n\r\nhi")
        .await;
    assert_eq!(reply.status(), 200);
    assert_eq!(tries.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_stream_that_an_upstream_resets_is_a_502() {
    let (address, _) =
        h2_upstream(|_, mut respond| async move { respond.send_reset(h2::Reason::INTERNAL_ERROR) })
            .await;
    let gateway = TestGateway::start(over_http2(address)).await;
    assert_eq!(gateway.get("/").await.status(), 502);
    let ended = gateway.ended().await;
    assert_eq!(
        (ended.reason.as_str(), ended.aborted),
        ("upstream_reset", false)
    );
}

#[tokio::test]
async fn an_upstream_that_does_not_speak_http2_is_a_502() {
    let upstream = Upstream::bind().await;
    let gateway = TestGateway::start(over_http2(upstream.addr())).await;
    let mut client = gateway.client().await;
    client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n").await;
    let mut peer = upstream.accept().await;
    peer.exactly(24).await;
    peer.send("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
        .await;
    assert_eq!(client.response().await.status(), 502);
    gateway.settles("up", 0, 0).await;
}

#[tokio::test]
async fn bodies_of_both_directions_flow_over_http2_upstreams() {
    const LONG: usize = 8 * 1024 * 1024;
    let (address, _) = h2_upstream(|request, mut respond| async move {
        let mut body = request.into_body();
        let mut send = respond.send_response(Response::new(()), false).unwrap();
        while let Some(Ok(data)) = body.data().await {
            let _ = body.flow_control().release_capacity(data.len());
            let mut data = data;
            while !data.is_empty() {
                send.reserve_capacity(data.len());
                let Some(Ok(room)) = std::future::poll_fn(|task| send.poll_capacity(task)).await
                else {
                    return;
                };
                let part = data.split_to(room.min(data.len()));
                if send.send_data(part, false).is_err() {
                    return;
                }
            }
        }
        let _ = send.send_data(Bytes::new(), true);
    })
    .await;
    let gateway = TestGateway::start(over_http2(address)).await;
    let client = gateway.client().await;
    let (mut reader, mut writer) = tokio::io::split(client.into_io());
    let sending = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        let head = format!("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: {LONG}\r\n\r\n");
        writer.write_all(head.as_bytes()).await.unwrap();
        for _ in 0..LONG / 65536 {
            writer.write_all(&[b'z'; 65536]).await.unwrap();
        }
        writer
    });
    let mut got = 0;
    let reading = async {
        use tokio::io::AsyncReadExt;
        let mut space = vec![0; 65536];
        while got < LONG {
            let read = reader.read(&mut space).await.unwrap();
            assert!(read > 0, "ended after {got} bytes");
            got += space[..read].iter().filter(|byte| **byte == b'z').count();
        }
    };
    within("the echo", reading).await;
    sending.await.unwrap();
}

#[tokio::test]
async fn a_draining_gateway_says_so_and_finishes_its_streams() {
    let upstream = Upstream::bind().await;
    let gateway = TestGateway::to(upstream.addr()).await;
    let client = H2Client::connect(gateway.addr()).await;
    let (response, _) = client
        .open(Request::get("http://test/").body(()).unwrap(), true)
        .await;
    let mut idle = gateway.client().await;
    let mut busy = gateway.client().await;
    let mut peer = upstream.accept().await;
    peer.request().await;
    busy.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n").await;
    let mut other: Peer = upstream.accept().await;
    other.request().await;
    let handle = gateway.handle.clone();
    let stopping = tokio::spawn(async move { handle.shutdown().await });
    idle.closed().await;
    peer.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        .await;
    let reply = H2Client::read(within("a response", response).await.unwrap())
        .await
        .unwrap();
    assert_eq!(reply.body, b"ok");
    other
        .send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        .await;
    let reply = busy.response().await;
    assert_eq!(
        (reply.text().as_str(), reply.header("connection")),
        ("ok", Some("close"))
    );
    busy.closed().await;
    within("the shutdown", stopping).await.unwrap();
}

#[tokio::test]
async fn an_upload_that_stops_is_given_up_but_a_conversation_is_not() {
    let yaml = route_to(Upstream::mirror().await, "", "")
        .replace(&listener(""), &listener("timeouts: { body_idle: 200ms }"));
    let gateway = TestGateway::start(yaml).await;
    let client = H2Client::connect(gateway.addr()).await;
    let post = |content: &str| {
        let request = Request::post("http://test/").header("content-type", content);
        request.body(()).unwrap()
    };
    let (call, mut messages) = client.open(post("application/grpc"), false).await;
    messages.send_data("one".into(), false).unwrap();
    let (upload, mut pieces) = client.open(post("text/plain"), false).await;
    pieces.send_data("one".into(), false).unwrap();
    // The call was silent for longer.
    let reply = H2Client::read(within("a reply", upload).await.unwrap()).await;
    assert_eq!(reply.unwrap().status(), 408);
    assert_eq!(gateway.ended().await.reason, "request_timeout");
    messages.send_data("two".into(), true).unwrap();
    let reply = H2Client::read(within("a reply", call).await.unwrap()).await;
    let text = String::from_utf8(reply.unwrap().body).unwrap();
    assert!(text.ends_with("\n\nonetwo"), "{text}");
}
