//! Frames of clients that cost work and move nothing, byte by byte.
#![allow(
    clippy::unwrap_used,
    reason = "a test stops where something unexpected happens"
)]

use portcullis_tests::{Peer, TestGateway, Upstream, route_to};
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

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap();
    let mut bytes = length.to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A connection on which both sides know the other's settings.
async fn connect(gateway: &TestGateway) -> Peer {
    let mut client = gateway.client().await;
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    client.send(frame(SETTINGS, 0, 0, &[])).await;
    while !matches!(next(&mut client).await, (SETTINGS, 0, ..)) {}
    client.send(frame(SETTINGS, ACK, 0, &[])).await;
    client
}

/// The next frame: kind, flags, stream, payload.
async fn next(client: &mut Peer) -> (u8, u8, u32, Vec<u8>) {
    let head = client.exactly(9).await;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
    let payload = client.exactly(usize::try_from(length).unwrap()).await;
    (head[3], head[4], stream, payload)
}

/// Reads up to the farewell. Returns the error code, then waits for the end.
async fn farewell(client: &mut Peer) -> u8 {
    loop {
        let (kind, _, _, payload) = next(client).await;
        if kind == GOAWAY {
            client.rest().await;
            return payload[7];
        }
    }
}

async fn flood(gateway: &TestGateway, unit: &[u8], times: usize) {
    let mut client = connect(gateway).await;
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
    let mut client = connect(&gateway).await;
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
    let mut client = connect(&gateway).await;
    client
        .send(frame(HEADERS, END_HEADERS | END_STREAM, 1, GET))
        .await;
    client.send(frame(HEADERS, END_HEADERS, 3, POST)).await;
    client
        .send(frame(DATA, 0, 3, b"twenty bytes of text").repeat(5000))
        .await;
    client.send(frame(PING, 0, 0, b"in order")).await;
    while next(&mut client).await != (PING, ACK, 0, b"in order".to_vec()) {}
    go_on.send(()).unwrap();
    client.send(frame(DATA, END_STREAM, 3, b"")).await;
    loop {
        let (kind, _, stream, payload) = next(&mut client).await;
        assert_ne!(kind, GOAWAY);
        if (kind, stream) == (HEADERS, 3) {
            // `:status` 200 in the static table of HPACK.
            assert_eq!(payload[0], 0x88);
            break;
        }
    }
    assert_eq!(served.await.unwrap(), 100_000);
}
