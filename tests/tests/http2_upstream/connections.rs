//! Connections to HTTP/2 endpoints: what they begin with, how many streams they take, how they end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use http::{Request, Response};
use portcullis_tests::{
    FramePeer, H2Client, TestGateway, h2_upstream_with, kind, route_to, within,
};
use tokio::sync::Semaphore;

use super::{GET, gateway_and_listener};

const MAX_CONCURRENT_STREAMS: u16 = 3;
const POST: &str = "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 2\r\n\r\nhi";

#[tokio::test]
async fn a_connection_begins_with_settings_and_one_write() {
    let (gateway, listener) = gateway_and_listener("", "").await;
    let mut client = gateway.client().await;
    client.send(GET).await;
    let mut peer = FramePeer::accept(&listener).await;
    let settings = peer.frame().await.unwrap();
    assert_eq!((settings.kind, settings.flags), (kind::SETTINGS, 0));
    let told: Vec<(u16, u32)> = settings
        .payload
        .chunks(6)
        .map(|pair| {
            (
                u16::from_be_bytes(pair[..2].try_into().unwrap()),
                u32::from_be_bytes(pair[2..].try_into().unwrap()),
            )
        })
        .collect();
    // No pushes, and windows of 1 MiB for each stream and 4 MiB for all.
    assert!(
        told.contains(&(2, 0)) && told.contains(&(4, 1 << 20)),
        "{told:?}"
    );
    let mut kinds = Vec::new();
    let mut window = 65_535;
    while kinds.last() != Some(&kind::HEADERS) {
        let frame = peer.frame().await.unwrap();
        if frame.kind == kind::WINDOW_UPDATE {
            assert_eq!(frame.stream, 0);
            window += frame.number();
        }
        kinds.push(frame.kind);
    }
    kinds.sort_unstable();
    assert_eq!(kinds, [kind::HEADERS, kind::PING, kind::WINDOW_UPDATE]);
    assert_eq!(window, 4 << 20);
}

/// An endpoint that permits one stream at a time and answers when `permits` has one.
async fn one_at_a_time() -> (
    std::net::SocketAddr,
    Arc<AtomicUsize>,
    Arc<Semaphore>,
    Arc<AtomicUsize>,
) {
    let permits = Arc::new(Semaphore::new(0));
    let seen = Arc::new(AtomicUsize::new(0));
    let (gate, counter) = (permits.clone(), seen.clone());
    let mut settings = h2::server::Builder::new();
    settings.max_concurrent_streams(1);
    let (address, connections) = h2_upstream_with(settings, move |_, mut respond| {
        let (gate, counter) = (gate.clone(), counter.clone());
        async move {
            counter.fetch_add(1, Ordering::SeqCst);
            gate.acquire().await.unwrap().forget();
            respond.send_response(Response::new(()), true).unwrap();
        }
    })
    .await;
    (address, connections, permits, seen)
}

async fn until(counter: &AtomicUsize, count: usize) {
    within("so many", async {
        while counter.load(Ordering::SeqCst) < count {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn requests_beyond_the_endpoints_limit_get_connections_of_their_own() {
    let (address, connections, permits, seen) = one_at_a_time().await;
    let gateway = TestGateway::start(route_to(address, "", "protocol: http2")).await;
    // All at once on a connection whose limit is not known yet.
    let asking = tokio::spawn({
        let client = H2Client::connect(gateway.addr()).await;
        async move {
            join_all((0..3).map(|_| client.ask(Request::get("http://test/").body("").unwrap())))
                .await
        }
    });
    until(&seen, 3).await;
    assert_eq!(connections.load(Ordering::SeqCst), 3);
    permits.add_permits(3);
    for reply in asking.await.unwrap() {
        assert_eq!(reply.status(), 200);
    }
}

#[tokio::test]
async fn requests_beyond_all_limits_wait_for_a_stream() {
    let (address, connections, permits, seen) = one_at_a_time().await;
    let limits = "protocol: http2, limits: { max_connections: 1, max_pending: 1 }, timeouts: { connect: 10s }";
    let gateway = TestGateway::start(route_to(address, "", limits)).await;
    let mut first = gateway.client().await;
    first.send(GET).await;
    until(&seen, 1).await;
    // Two more: one waits, whichever comes first; the other is turned away.
    let (mut second, mut third) = (gateway.client().await, gateway.client().await);
    second.send(GET).await;
    third.send(GET).await;
    let (refused, waiting) = tokio::select! {
        reply = second.response() => (reply, &mut third),
        reply = third.response() => (reply, &mut second),
    };
    assert_eq!(
        (refused.status(), refused.header("retry-after")),
        (503, Some("1"))
    );
    assert_eq!(gateway.ended().await.reason, "upstream_max_connections");
    assert_eq!(seen.load(Ordering::SeqCst), 1);
    permits.add_permits(1);
    assert_eq!(first.response().await.status(), 200);
    until(&seen, 2).await;
    permits.add_permits(1);
    assert_eq!(waiting.response().await.status(), 200);
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_stream_that_was_given_up_makes_room() {
    let (address, connections, permits, seen) = one_at_a_time().await;
    let limits = "protocol: http2, limits: { max_connections: 1 }, timeouts: { connect: 10s }";
    let gateway = TestGateway::start(route_to(address, "", limits)).await;
    let mut first = gateway.client().await;
    first.send(GET).await;
    until(&seen, 1).await;
    let mut second = gateway.client().await;
    second.send(GET).await;
    drop(first);
    until(&seen, 2).await;
    // The first one's task takes a permit as well.
    permits.add_permits(2);
    assert_eq!(second.response().await.status(), 200);
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_limit_that_sinks_is_kept() {
    let (gateway, listener) = gateway_and_listener("", "").await;
    let mut first = gateway.client().await;
    first.send(GET).await;
    let mut peer = FramePeer::serve(&listener, &[]).await;
    let stream = peer.request().await;
    peer.settings(&[(MAX_CONCURRENT_STREAMS, 1)]).await;
    peer.next(kind::SETTINGS).await;
    let mut second = gateway.client().await;
    second.send(GET).await;
    let mut other = FramePeer::serve(&listener, &[]).await;
    let elsewhere = other.request().await;
    peer.headers(stream, &[(":status", "204")], true).await;
    other.headers(elsewhere, &[(":status", "204")], true).await;
    assert_eq!(first.response().await.status(), 204);
    assert_eq!(second.response().await.status(), 204);
}

#[tokio::test]
async fn a_request_above_the_last_stream_moves_on_by_itself() {
    let (gateway, listener) = gateway_and_listener("", "").await;
    let mut client = gateway.client().await;
    client.send(GET).await;
    let mut old = FramePeer::serve(&listener, &[]).await;
    let first = old.request().await;
    old.headers(first, &[(":status", "204")], true).await;
    assert_eq!(client.response().await.status(), 204);
    // Not idempotent, no policy of retries, and still safe: it was not looked at.
    client
        .send("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 0\r\n\r\n")
        .await;
    let second = old.request().await;
    assert!(second > first);
    old.go_away(first, h2::Reason::NO_ERROR).await;
    let mut new = FramePeer::serve(&listener, &[]).await;
    let stream = new.request().await;
    new.headers(stream, &[(":status", "201")], true).await;
    assert_eq!(client.response().await.status(), 201);
    // The old connection gets nothing more and is closed.
    while let Some(frame) = old.frame().await {
        assert_ne!(frame.kind, kind::HEADERS);
    }
    gateway.settles("up", 1, 0).await;
}

#[tokio::test]
async fn a_body_above_the_last_stream_is_sent_again_by_policy() {
    let (gateway, listener) = gateway_and_listener("retry: { attempts: 1 }", "").await;
    let mut client = gateway.client().await;
    client.send(POST).await;
    let mut old = FramePeer::serve(&listener, &[]).await;
    old.request().await;
    old.next(kind::DATA).await;
    old.go_away(0, h2::Reason::NO_ERROR).await;
    let mut new = FramePeer::serve(&listener, &[]).await;
    let stream = new.request().await;
    assert_eq!(new.next(kind::DATA).await.payload, b"hi");
    new.headers(stream, &[(":status", "201")], true).await;
    assert_eq!(client.response().await.status(), 201);
    assert!(gateway.ended().await.retried);
}

#[tokio::test]
async fn a_request_that_may_have_been_looked_at_is_not_sent_again() {
    let (gateway, listener) =
        gateway_and_listener("retry: { attempts: 1, on: [refused-stream, reset] }", "").await;
    for reason in [h2::Reason::NO_ERROR, h2::Reason::INTERNAL_ERROR] {
        let mut client = gateway.client().await;
        client.send(POST).await;
        let mut peer = FramePeer::serve(&listener, &[]).await;
        let stream = peer.request().await;
        peer.next(kind::DATA).await;
        // Its number is among those that were looked at; then the connection ends.
        peer.go_away(stream, reason).await;
        drop(peer);
        assert_eq!(client.response().await.status(), 502);
        let ended = gateway.ended().await;
        assert_eq!(
            (ended.reason.as_str(), ended.attempts),
            ("upstream_reset", 1)
        );
    }
}

#[tokio::test]
async fn streams_below_the_last_one_are_finished() {
    let (gateway, listener) = gateway_and_listener("", "").await;
    let mut client = gateway.client().await;
    client.send(POST).await;
    let mut old = FramePeer::serve(&listener, &[]).await;
    let stream = old.request().await;
    old.go_away(stream, h2::Reason::NO_ERROR).await;
    old.headers(stream, &[(":status", "200")], false).await;
    client.head().await;
    // A new request goes elsewhere.
    let mut other = gateway.client().await;
    other.send(GET).await;
    let mut new = FramePeer::serve(&listener, &[]).await;
    let elsewhere = new.request().await;
    new.headers(elsewhere, &[(":status", "204")], true).await;
    assert_eq!(other.response().await.status(), 204);
    old.data(stream, b"done", true).await;
    assert_eq!(client.exactly(14).await, b"4\r\ndone\r\n0\r\n\r\n");
    while old.frame().await.is_some() {}
    gateway.settles("up", 1, 0).await;
}

#[tokio::test]
async fn a_refusal_moves_a_request_of_any_method_by_policy_only() {
    for (route, status) in [("retry: { attempts: 1 }", 204), ("", 502)] {
        let (gateway, listener) = gateway_and_listener(route, "").await;
        let mut client = gateway.client().await;
        client.send(GET).await;
        let mut peer = FramePeer::serve(&listener, &[]).await;
        let stream = peer.request().await;
        peer.headers(stream, &[(":status", "204")], true).await;
        client.response().await;
        client.send(POST).await;
        let stream = peer.request().await;
        peer.reset(stream, h2::Reason::REFUSED_STREAM).await;
        if status == 204 {
            let stream = peer.request().await;
            peer.headers(stream, &[(":status", "204")], true).await;
        }
        assert_eq!(client.response().await.status(), status, "{route}");
    }
}

#[tokio::test]
async fn an_idle_connection_that_turns_out_to_be_closed_is_replaced() {
    for (method, status) in [("GET", 204), ("POST", 502)] {
        let (gateway, listener) = gateway_and_listener("", "").await;
        let mut client = gateway.client().await;
        client.send(GET).await;
        let mut old = FramePeer::serve(&listener, &[]).await;
        let stream = old.request().await;
        old.headers(stream, &[(":status", "204")], true).await;
        assert_eq!(client.response().await.status(), 204);
        client
            .send(format!("{method} / HTTP/1.1\r\nhost: test\r\n\r\n"))
            .await;
        old.request().await;
        // It might have been closed a moment earlier.
        drop(old);
        if status == 204 {
            let mut new = FramePeer::serve(&listener, &[]).await;
            let stream = new.request().await;
            new.headers(stream, &[(":status", "204")], true).await;
        }
        assert_eq!(client.response().await.status(), status, "{method}");
    }
}
