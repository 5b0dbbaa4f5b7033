//! Frames of clients that cost work and move nothing, byte by byte.
#![allow(
    clippy::unwrap_used,
    reason = "a test stops where something unexpected happens"
)]

use portcullis_tests::{
    Frame, Peer, TestGateway, Upstream, farewell, frame, http2_client, next_frame, route_to,
};
use tokio::sync::oneshot;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const ENHANCE_YOUR_CALM: u8 = 11;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

/// `:method`, `:scheme` http, `:path` / and `:authority` test, without compression.
const GET: &[u8] = b"\x82\x86\x84\x41\x04test";
const POST: &[u8] = b"\x83\x86\x84\x41\x04test";

async fn flood(gateway: &TestGateway, unit: &[u8], times: usize) {
    let mut client = http2_client(gateway).await;
    let bytes = unit.repeat(100);
    for _ in 0..times / 100 {
        if client.try_send(&bytes).await.is_err() {
            // Closed already.
            break;
        }
    }
    assert_eq!(farewell(&mut client).await, ENHANCE_YOUR_CALM, "{unit:?}");
}

#[tokio::test]
async fn a_flood_of_frames_that_move_nothing_ends_the_connection() {
    let gateway = TestGateway::to(Upstream::mirror().await).await;
    for unit in [
        frame(PING, 0, 0, &[0; 8]),
        frame(SETTINGS, 0, 0, &[]),
        frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]),
        frame(PRIORITY, 0, 1, &[0; 5]),
        frame(0x77, 0, 0, b"unknown"),
    ] {
        flood(&gateway, &unit, 8000).await;
    }
    // Others are served as before.
    assert_eq!(gateway.get("/").await.status(), 200);
}

#[tokio::test]
async fn streams_that_are_given_up_at_once_end_the_connection() {
    // Nobody answers, so that every stream is given up before its reply.
    let upstream = Upstream::bind().await;
    let gateway = TestGateway::to(upstream.addr()).await;
    let mut client = http2_client(&gateway).await;
    for stream in (1..8000).step_by(2) {
        let mut pair = frame(HEADERS, END_HEADERS | END_STREAM, stream, GET);
        pair.extend(frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]));
        if client.try_send(pair).await.is_err() {
            break;
        }
    }
    assert_eq!(farewell(&mut client).await, ENHANCE_YOUR_CALM);
}

#[tokio::test]
async fn small_messages_that_wait_for_their_upstream_are_no_flood() {
    let upstream = Upstream::bind().await;
    // The first request has the only connection, so that the second one's body waits in the gateway.
    let yaml = route_to(upstream.addr(), "", "limits: { max_connections: 1 }");
    let gateway = TestGateway::start(yaml).await;
    let (go_on, wait) = oneshot::channel::<()>();
    let served = upstream.script(async move |mut peer: Peer| {
        let _ = peer.request().await;
        wait.await.unwrap();
        let reply = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        peer.send(reply).await;
        let request = peer.request().await;
        peer.send(reply).await;
        request.body.len()
    });
    let mut client = http2_client(&gateway).await;
    client
        .send(frame(HEADERS, END_HEADERS | END_STREAM, 1, GET))
        .await;
    client.send(frame(HEADERS, END_HEADERS, 3, POST)).await;
    client
        .send(frame(DATA, 0, 3, b"twenty bytes of text").repeat(5000))
        .await;
    client.send(frame(PING, 0, 0, b"in order")).await;
    let answer = Frame {
        kind: PING,
        flags: ACK,
        stream: 0,
        payload: b"in order".to_vec(),
    };
    while next_frame(&mut client).await != answer {}
    go_on.send(()).unwrap();
    client.send(frame(DATA, END_STREAM, 3, b"")).await;
    loop {
        let Frame {
            kind,
            stream,
            payload,
            ..
        } = next_frame(&mut client).await;
        assert_ne!(kind, GOAWAY);
        if (kind, stream) == (HEADERS, 3) {
            // `:status` 200 in the static table of HPACK.
            assert_eq!(payload[0], 0x88);
            break;
        }
    }
    assert_eq!(served.await.unwrap(), 100_000);
}
