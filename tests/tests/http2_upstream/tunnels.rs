//! Upgrades to HTTP/2 endpoints by extended CONNECT (RFC 8441).

use std::time::Duration;

use portcullis_tests::{FramePeer, kind};

use super::gateway_and_listener;

const ASKING: &str = "GET /chat HTTP/1.1\r\nhost: test\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
     sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const ENABLE_CONNECT: (u16, u32) = (8, 1);

#[tokio::test]
async fn the_settings_of_a_new_connection_are_waited_for() {
    let (gateway, listener) = gateway_and_listener("", "").await;
    let mut client = gateway.client().await;
    client.send(ASKING).await;
    let mut peer = FramePeer::accept(&listener).await;
    // All that comes before the endpoint has said what it can: no request.
    let mut early = Vec::new();
    while early.last() != Some(&kind::PING) {
        early.push(peer.frame().await.unwrap().kind);
    }
    assert!(!early.contains(&kind::HEADERS), "{early:?}");
    peer.settings(&[ENABLE_CONNECT]).await;
    let stream = peer.request().await;
    peer.headers(stream, &[(":status", "200")], false).await;
    let head = client.head().await;
    assert_eq!(
        (head.status(), head.header("sec-websocket-accept")),
        (101, Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="))
    );
    client.send("ping").await;
    assert_eq!(peer.next(kind::DATA).await.payload, b"ping");
    peer.data(stream, b"pong", false).await;
    assert_eq!(client.exactly(4).await, b"pong");
}

#[tokio::test]
async fn an_endpoint_that_offers_none_is_found_out_at_once() {
    let (gateway, listener) = gateway_and_listener("timeouts: { per_try: 10s }", "").await;
    let mut client = gateway.client().await;
    client.send(ASKING).await;
    let mut peer = FramePeer::serve(&listener, &[]).await;
    // The answer to the PING that came with the preface says that the settings are complete.
    let started = tokio::time::Instant::now();
    let answering = tokio::spawn(async move {
        peer.next(kind::PING).await;
        peer
    });
    assert_eq!(client.response().await.status(), 502);
    assert_eq!(gateway.ended().await.reason, "upstream_no_upgrade");
    assert!(started.elapsed() < Duration::from_secs(4));
    drop(answering.await.unwrap());
}

/// An open tunnel.
async fn open(
    route: &str,
) -> (
    portcullis_tests::TestGateway,
    portcullis_tests::Peer,
    FramePeer,
) {
    let (gateway, listener) = gateway_and_listener(route, "").await;
    let mut client = gateway.client().await;
    client.send(ASKING).await;
    let mut peer = FramePeer::serve(&listener, &[ENABLE_CONNECT]).await;
    let stream = peer.request().await;
    assert_eq!(stream, 1);
    peer.headers(stream, &[(":status", "200")], false).await;
    assert_eq!(client.head().await.status(), 101);
    (gateway, client, peer)
}

#[tokio::test]
async fn a_half_closed_tunnel_still_carries_the_other_direction() {
    let (gateway, mut client, mut peer) = open("").await;
    client.send("last words").await;
    client.finish().await;
    let mut said = Vec::new();
    loop {
        let frame = peer.next(kind::DATA).await;
        said.extend_from_slice(&frame.payload);
        if frame.flags & 1 != 0 {
            break;
        }
    }
    assert_eq!(said, b"last words");
    peer.data(1, b"an answer", true).await;
    assert_eq!(client.exactly(9).await, b"an answer");
    client.closed().await;
    assert!(!gateway.ended().await.aborted);
}

#[tokio::test]
async fn an_endpoint_that_has_said_everything_still_listens() {
    let (gateway, mut client, mut peer) = open("").await;
    peer.data(1, b"an answer", true).await;
    assert_eq!(client.exactly(9).await, b"an answer");
    client.send("last words").await;
    assert_eq!(peer.next(kind::DATA).await.payload, b"last words");
    client.finish().await;
    while peer.next(kind::DATA).await.flags & 1 == 0 {}
    assert!(!gateway.ended().await.aborted);
    // One that then resets its stream does not.
    let (_gateway, mut client, mut peer) = open("").await;
    peer.data(1, b"an answer", true).await;
    assert_eq!(client.exactly(9).await, b"an answer");
    peer.reset(1, h2::Reason::CANCEL).await;
    client.closed().await;
}

#[tokio::test]
async fn a_client_that_breaks_the_tunnel_resets_its_stream() {
    let (_gateway, client, mut peer) = open("").await;
    client.reset();
    let reset = peer.next(kind::RST_STREAM).await;
    assert_eq!((reset.stream, reset.reason()), (1, h2::Reason::CANCEL));
}

#[tokio::test]
async fn a_tunnel_that_the_endpoint_resets_is_cut() {
    let (gateway, mut client, mut peer) = open("").await;
    peer.reset(1, h2::Reason::INTERNAL_ERROR).await;
    client.closed().await;
    let ended = gateway.ended().await;
    assert_eq!(
        (ended.aborted, ended.reason.as_str()),
        (true, "upstream_reset")
    );
}

#[tokio::test]
async fn a_tunnel_without_a_word_ends_with_the_idle_timeout() {
    let (_gateway, mut client, mut peer) = open("timeouts: { idle: 300ms }").await;
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    for _ in 0..6 {
        // One direction is enough to keep it open.
        ticks.tick().await;
        client.send("x").await;
        peer.next(kind::DATA).await;
    }
    client.closed().await;
    assert_eq!(
        peer.next(kind::RST_STREAM).await.reason(),
        h2::Reason::CANCEL
    );
}

#[tokio::test]
async fn a_refusal_is_an_ordinary_reply() {
    let (gateway, listener) = gateway_and_listener("", "").await;
    let mut client = gateway.client().await;
    client.send(ASKING).await;
    let mut peer = FramePeer::serve(&listener, &[ENABLE_CONNECT]).await;
    let stream = peer.request().await;
    peer.headers(
        stream,
        &[(":status", "403"), ("content-length", "2")],
        false,
    )
    .await;
    peer.data(stream, b"no", true).await;
    let reply = client.response().await;
    assert_eq!((reply.status(), reply.text().as_str()), (403, "no"));
    // The client's connection goes on with HTTP, and so does the endpoint's.
    client
        .send("GET /next HTTP/1.1\r\nhost: test\r\n\r\n")
        .await;
    let stream = peer.request().await;
    peer.headers(stream, &[(":status", "204")], true).await;
    assert_eq!(client.response().await.status(), 204);
}
