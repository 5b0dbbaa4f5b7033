//! The same over HTTP/2, where a client has more ways to take its time.

use std::time::Duration;

use bytes::Bytes;
use h2::SendStream;
use http::Request;
use portcullis_tests::{
    Frame, H2Client, H2Reply, Peer, TestGateway, Upstream, farewell, frame, free_port,
    http2_client, next_frame, within,
};
use tokio::time::Instant;

use crate::{OK, limited};

const HEADERS: u8 = 1;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ENHANCE_YOUR_CALM: u8 = 11;

/// `:method` GET, `:scheme` http, `:path` / and `:authority` test.
const GET: &[u8] = b"\x82\x86\x84\x41\x04test";
const PAUSE: Duration = Duration::from_millis(20);

/// An upload that drips until the gateway has had enough of it; the reply.
async fn drip(client: &H2Client, content_type: &str) -> H2Reply {
    let request = Request::post("http://test/").header("content-type", content_type);
    let (response, mut send) = client.open(request.body(()).unwrap(), false).await;
    let dripping = async move {
        let mut ticks = tokio::time::interval(PAUSE);
        loop {
            ticks.tick().await;
            if send.send_data("x".into(), false).is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    let response = tokio::select! {
        response = within("a reply", response) => response.unwrap(),
        () = dripping => unreachable!(),
    };
    H2Client::read(response).await.unwrap()
}

#[tokio::test]
async fn a_body_that_drips_is_given_up_and_the_connection_goes_on() {
    for settings in [
        "timeouts: { body: 300ms }",
        "limits: { min_body_rate: 10KiB }, timeouts: { body_idle: 300ms }",
    ] {
        let gateway = limited(Upstream::mirror().await, settings).await;
        let client = H2Client::connect(gateway.addr()).await;
        let began = Instant::now();
        assert_eq!(drip(&client, "text/plain").await.status(), 408);
        assert!(began.elapsed() >= Duration::from_millis(280));
        assert_eq!(gateway.ended().await.reason, "request_timeout");
        let request = Request::get("http://test/").body("").unwrap();
        assert_eq!(client.ask(request).await.status(), 200);
    }
}

#[tokio::test]
async fn a_total_time_holds_for_calls_too_until_they_are_answered() {
    let gateway = limited(Upstream::mirror().await, "timeouts: { body: 300ms }").await;
    let client = H2Client::connect(gateway.addr()).await;
    let reply = drip(&client, "application/grpc").await;
    // The gRPC form of 408.
    assert_eq!(
        (reply.status(), reply.header("grpc-status")),
        (200, Some("4"))
    );
    assert_eq!(gateway.ended().await.reason, "request_timeout");
}

fn put(stream: &mut SendStream<Bytes>, data: &'static str, end: bool) {
    stream.send_data(data.into(), end).unwrap();
}

#[tokio::test]
async fn bodies_and_targets_have_the_limits_of_the_listener() {
    let settings = "limits: { max_body_bytes: 10, max_uri_bytes: 100 }";
    let gateway = limited(Upstream::mirror().await, settings).await;
    let client = H2Client::connect(gateway.addr()).await;
    let post = || Request::post("http://test/");

    let announced = post().header("content-length", "11").body(()).unwrap();
    let (response, _open) = client.open(announced, false).await;
    let response = within("a reply", response).await.unwrap();
    assert_eq!(response.status(), 413);
    let ended = gateway.ended().await;
    assert_eq!(
        (ended.reason.as_str(), ended.attempts),
        ("body_too_large", 0)
    );

    let (response, mut send) = client.open(post().body(()).unwrap(), false).await;
    put(&mut send, "0123456789", false);
    put(&mut send, "x", false);
    let response = within("a reply", response).await.unwrap();
    assert_eq!(response.status(), 413);
    assert_eq!(gateway.ended().await.reason, "body_too_large");
    gateway.settles("up", 0, 0).await;

    let (response, mut send) = client.open(post().body(()).unwrap(), false).await;
    put(&mut send, "0123456789", true);
    let response = within("a reply", response).await.unwrap();
    let reply = H2Client::read(response).await.unwrap();
    assert!(reply.body.ends_with(b"\n\n0123456789"));
    assert_eq!(gateway.ended().await.reason, "");

    for (length, status) in [(100, 200), (101, 414)] {
        let target = format!("http://test/{}", "x".repeat(length - 1));
        let request = Request::get(target).body("").unwrap();
        assert_eq!(client.ask(request).await.status(), status);
    }
}

#[tokio::test]
async fn fields_beyond_the_limit_are_answered_with_431() {
    let gateway = limited(free_port(), "limits: { max_head_bytes: 2KiB }").await;
    let mut client = http2_client(&gateway).await;
    let mut block = GET.to_vec();
    // A literal field `x` of 3000 bytes.
    block.extend_from_slice(b"\x00\x01x\x7f\xb9\x16");
    block.extend_from_slice(&[b'y'; 3000]);
    client
        .send(frame(HEADERS, END_STREAM | END_HEADERS, 1, &block))
        .await;
    loop {
        let Frame {
            kind,
            stream,
            payload,
            ..
        } = next_frame(&mut client).await;
        if (kind, stream) == (HEADERS, 1) {
            // `:status` 431, the name indexed and the digits in Huffman's code.
            assert_eq!(payload, b"\x48\x83\x69\x90\xff");
            break;
        }
    }
}

#[tokio::test]
async fn fields_that_do_not_end_end_the_connection() {
    let upstream = Upstream::bind().await;
    let gateway = limited(upstream.addr(), "timeouts: { head: 300ms }").await;
    let half = frame(HEADERS, END_STREAM | END_HEADERS, 3, GET);
    for (begin, drops) in [
        // The fields in part, and no more of them.
        (frame(HEADERS, END_STREAM, 3, GET), None),
        (half[..half.len() - 3].to_vec(), None),
        (half[..5].to_vec(), None),
        // More of them, but never all.
        (
            [
                frame(HEADERS, END_STREAM, 3, GET),
                frame(CONTINUATION, 0, 3, &[0; 200])[..9].to_vec(),
            ]
            .concat(),
            Some("x"),
        ),
    ] {
        let mut client = http2_client(&gateway).await;
        // A request that goes on meanwhile does not help.
        let busy = frame(HEADERS, END_STREAM | END_HEADERS, 1, GET);
        client.send(busy).await;
        let mut peer = upstream.accept().await;
        peer.request().await;
        let began = Instant::now();
        client.send(begin).await;
        if let Some(drops) = drops {
            client.drip(drops, PAUSE).await;
        }
        assert_eq!(farewell(&mut client).await, ENHANCE_YOUR_CALM);
        let took = began.elapsed();
        assert!(
            took >= Duration::from_millis(280) && took < Duration::from_secs(5),
            "{took:?}"
        );
        peer.closed().await;
    }
}

#[tokio::test]
async fn fields_in_pieces_are_fields_in_time() {
    let gateway = limited(Upstream::fixed(OK).await, "timeouts: { head: 400ms }").await;
    let mut client = http2_client(&gateway).await;
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    // Longer than the deadline in sum, and never between two requests.
    let mut bytes = Vec::new();
    for stream in [1, 3, 5, 7, 9, 11] {
        bytes.extend(frame(HEADERS, END_STREAM | END_HEADERS, stream, GET));
    }
    let piece = bytes.len() / 6;
    client.send(&bytes[..3]).await;
    for piece in bytes[3..].chunks(piece) {
        ticks.tick().await;
        client.send(piece).await;
    }
    let mut answered = 0;
    while answered < 6 {
        let kind = next_frame(&mut client).await.kind;
        assert_ne!(kind, GOAWAY);
        answered += u32::from(kind == HEADERS);
    }
}

#[tokio::test]
async fn a_connection_without_streams_is_closed_whatever_else_it_sends() {
    let gateway = limited(Upstream::fixed(OK).await, "timeouts: { idle: 300ms }").await;
    for pings in [false, true] {
        let mut client = http2_client(&gateway).await;
        client
            .send(frame(HEADERS, END_STREAM | END_HEADERS, 1, GET))
            .await;
        let began = Instant::now();
        let ending = async {
            loop {
                let Frame { kind, payload, .. } = next_frame(&mut client).await;
                if kind == GOAWAY {
                    return payload[7];
                }
                if pings {
                    tokio::time::sleep(PAUSE).await;
                    client.send(frame(PING, 0, 0, &[0; 8])).await;
                }
            }
        };
        assert_eq!(within("the farewell", ending).await, 0);
        assert!(began.elapsed() >= Duration::from_millis(280));
        // One that does not answer the farewell is not waited for much longer.
        within("the end", client.rest()).await;
    }
}

#[tokio::test]
async fn the_limits_of_frames_are_settings() {
    let settings = "http2: { frame_burst: 100, frame_rate: 1 }";
    let gateway = limited(free_port(), settings).await;
    let mut client = http2_client(&gateway).await;
    client.send(frame(PING, 0, 0, &[0; 8]).repeat(90)).await;
    for _ in 0..90 {
        while next_frame(&mut client).await.kind != PING {}
    }
    client.send(frame(PING, 0, 0, &[0; 8]).repeat(20)).await;
    assert_eq!(farewell(&mut client).await, ENHANCE_YOUR_CALM);
}

#[tokio::test]
async fn windows_are_settings() {
    let upstream = Upstream::bind().await;
    let settings = "http2: { stream_window: 100KiB, connection_window: 150KiB }";
    let gateway = limited(upstream.addr(), settings).await;
    let client = H2Client::connect(gateway.addr()).await;
    let (mut sends, mut peers) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        let request = Request::post("http://test/").body(()).unwrap();
        let (response, mut send) = client.open(request, false).await;
        // The requests have to be on their way before anything can be granted to them.
        peers.push(upstream.accept().await);
        send.reserve_capacity(1 << 20);
        sends.push((response, send));
    }
    let granted = |send: &mut SendStream<Bytes>| send.capacity();
    within("the windows", async {
        while sends
            .iter_mut()
            .map(|(_, send)| granted(send))
            .sum::<usize>()
            != 150 * 1024
        {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(granted(&mut sends[0].1), 100 * 1024);
}

#[tokio::test]
async fn an_upstream_that_does_not_read_holds_an_http2_client_back() {
    const LONG: usize = 32 << 20;
    // Unix sockets, whose buffers do not grow.
    let folder = tempfile::tempdir().unwrap();
    let back = folder.path().join("back.sock");
    let upstream = tokio::net::UnixListener::bind(&back).unwrap();
    let yaml = portcullis_tests::route_to(format!("unix:{}", back.display()), "", "");
    let gateway = TestGateway::start(yaml).await;
    let client = H2Client::connect(gateway.addr()).await;
    let request = Request::post("http://test/").body(()).unwrap();
    let (response, mut send) = client.open(request, false).await;
    let (stream, _) = within("a connection", upstream.accept()).await.unwrap();
    let mut peer = Peer::new(stream);
    peer.head().await;
    let mut sent = 0;
    loop {
        send.reserve_capacity(64 << 10);
        let room = std::future::poll_fn(|task| send.poll_capacity(task));
        let Ok(room) = tokio::time::timeout(Duration::from_millis(300), room).await else {
            break;
        };
        let part = room.unwrap().unwrap();
        send.send_data(vec![b'x'; part].into(), false).unwrap();
        sent += part;
        assert!(sent < LONG, "an upstream that reads nothing took it all");
    }
    assert!(
        sent < 2 << 20,
        "{sent} bytes for an upstream that reads nothing"
    );
    // It goes on when the upstream does.
    let finishing = tokio::spawn(async move {
        let mut left = LONG - sent;
        while left > 0 {
            send.reserve_capacity(left.min(64 << 10));
            let room = std::future::poll_fn(|task| send.poll_capacity(task)).await;
            let part = room.unwrap().unwrap().min(left);
            left -= part;
            let data = vec![b'x'; part].into();
            send.send_data(data, left == 0).unwrap();
        }
    });
    let mut got = 0;
    while let Some(chunk) = peer.chunk().await {
        got += chunk.len();
    }
    assert_eq!(got, LONG);
    within("the upload", finishing).await.unwrap();
    peer.send(OK).await;
    let response = within("a reply", response).await.unwrap();
    assert_eq!(response.status(), 200);
}
