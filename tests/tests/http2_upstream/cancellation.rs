//! Requests that nobody waits for any longer.

use std::time::Duration;

use http::Request;
use portcullis_tests::{FramePeer, H2Client, kind, within};

use super::{GET, gateway_and_listener};

async fn cancelled(peer: &mut FramePeer, stream: u32) {
    let reset = peer.next(kind::RST_STREAM).await;
    assert_eq!((reset.stream, reset.reason()), (stream, h2::Reason::CANCEL));
}

#[tokio::test]
async fn a_client_that_leaves_before_the_head_cancels_its_stream() {
    let (gateway, listener) = gateway_and_listener("", "").await;
    let mut client = gateway.client().await;
    client.send(GET).await;
    let mut peer = FramePeer::serve(&listener, &[]).await;
    let stream = peer.request().await;
    drop(client);
    cancelled(&mut peer, stream).await;
    assert_eq!(gateway.ended().await.reason, "client_gone");
    // With a body that has gone through already.
    let mut client = gateway.client().await;
    client
        .send("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 2\r\n\r\nhi")
        .await;
    let stream = peer.request().await;
    assert_eq!(peer.next(kind::DATA).await.payload, b"hi");
    drop(client);
    cancelled(&mut peer, stream).await;
    assert_eq!(gateway.ended().await.reason, "client_gone");
    // And in the middle of one.
    let mut client = gateway.client().await;
    client
        .send("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 9\r\n\r\nhi")
        .await;
    let stream = peer.request().await;
    assert_eq!(peer.next(kind::DATA).await.payload, b"hi");
    drop(client);
    cancelled(&mut peer, stream).await;
    // The connection goes on.
    let mut client = gateway.client().await;
    client.send(GET).await;
    let stream = peer.request().await;
    peer.headers(stream, &[(":status", "204")], true).await;
    assert_eq!(client.response().await.status(), 204);
    gateway.settles("up", 1, 0).await;
}

#[tokio::test]
async fn a_client_that_leaves_within_the_body_cancels_its_stream() {
    let (gateway, listener) = gateway_and_listener("", "").await;
    let mut client = gateway.client().await;
    client.send(GET).await;
    let mut peer = FramePeer::serve(&listener, &[]).await;
    let stream = peer.request().await;
    peer.headers(stream, &[(":status", "200")], false).await;
    peer.data(stream, b"some", false).await;
    client.head().await;
    client.reset();
    cancelled(&mut peer, stream).await;
    let client = H2Client::connect(gateway.addr()).await;
    let (response, _) = client
        .open(Request::get("http://test/").body(()).unwrap(), true)
        .await;
    let stream = peer.request().await;
    peer.headers(stream, &[(":status", "200")], false).await;
    let response = within("the head", response).await.unwrap();
    drop(response);
    cancelled(&mut peer, stream).await;
}

#[tokio::test]
async fn an_http2_client_that_resets_its_request_cancels_it() {
    let (gateway, listener) = gateway_and_listener("", "").await;
    let client = H2Client::connect(gateway.addr()).await;
    let mut peer = None;
    for whole in [true, false] {
        let request = Request::post("http://test/").body(()).unwrap();
        let (response, mut send) = client.open(request, whole).await;
        if peer.is_none() {
            peer = Some(FramePeer::serve(&listener, &[]).await);
        }
        let peer = peer.as_mut().unwrap();
        let stream = peer.request().await;
        send.send_reset(h2::Reason::CANCEL);
        drop(response);
        cancelled(peer, stream).await;
    }
}

#[tokio::test]
async fn a_deadline_cancels_the_stream() {
    for answered in [false, true] {
        let (gateway, listener) = gateway_and_listener("timeouts: { total: 300ms }", "").await;
        let mut client = gateway.client().await;
        client.send(GET).await;
        let mut peer = FramePeer::serve(&listener, &[]).await;
        let stream = peer.request().await;
        if answered {
            peer.headers(stream, &[(":status", "200")], false).await;
            client.head().await;
            client.closed().await;
        } else {
            assert_eq!(client.response().await.status(), 504);
        }
        cancelled(&mut peer, stream).await;
        let ended = gateway.ended().await;
        assert_eq!(
            (ended.reason.as_str(), ended.aborted),
            ("upstream_timeout", answered)
        );
    }
}

#[tokio::test]
async fn silence_ends_a_request_and_movement_does_not() {
    let (gateway, listener) = gateway_and_listener("timeouts: { idle: 500ms }", "").await;
    let mut client = gateway.client().await;
    client.send(GET).await;
    let mut peer = FramePeer::serve(&listener, &[]).await;
    let stream = peer.request().await;
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    ticks.tick().await;
    for _ in 0..6 {
        ticks.tick().await;
        peer.headers(stream, &[(":status", "103")], false).await;
        assert_eq!(client.head().await.status(), 103);
    }
    peer.headers(stream, &[(":status", "200")], false).await;
    client.head().await;
    for _ in 0..7 {
        ticks.tick().await;
        peer.data(stream, b"z", false).await;
        client.exactly(6).await;
    }
    client.closed().await;
    cancelled(&mut peer, stream).await;
    assert_eq!(gateway.ended().await.reason, "upstream_timeout");
}
