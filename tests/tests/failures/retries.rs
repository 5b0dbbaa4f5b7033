//! Trying again: when it is safe, and not more often than allowed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use portcullis_tests::{TestGateway, Upstream, free_port, listener, route_to};

const GET: &str = "GET / HTTP/1.1\r\nhost: test\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 5\r\n\r\nhello";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const BUSY: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\nbusy";

/// An upstream that answers 503 so many times and says OK, with the body it got, afterwards.
async fn busy_for(times: usize) -> (std::net::SocketAddr, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let (address, _) = Upstream::answering(move |request| {
        if counter.fetch_add(1, Ordering::SeqCst) < times {
            BUSY.to_owned()
        } else {
            format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{}",
                request.body.len(),
                request.text()
            )
        }
    })
    .await;
    (address, asked)
}

#[tokio::test]
async fn a_second_endpoint_takes_over_when_the_first_is_down() {
    let up = Upstream::fixed(OK).await;
    let yaml = route_to(
        "A",
        "retry: { attempts: 1, budget: { percent: 100 } }",
        "balance: { type: round-robin }",
    )
    .replace("\"A\"", &format!("\"{}\", \"{up}\"", free_port()));
    let gateway = TestGateway::start(yaml).await;
    let mut client = gateway.client().await;
    let mut retried = 0;
    for number in 0..6 {
        // Nothing was sent: even a POST may go again.
        let reply = client.ask(if number % 2 == 0 { GET } else { POST }).await;
        assert_eq!(reply.status(), 200);
        let ended = gateway.ended().await;
        assert_eq!(
            (ended.status, ended.reason.as_str()),
            (200, ""),
            "{ended:?}"
        );
        retried += u32::from(ended.retried);
        assert_eq!(ended.attempts, 1 + u32::from(ended.retried));
    }
    assert!(retried > 0);
    gateway.settles("up", 1, 1).await;
}

#[tokio::test]
async fn a_listed_status_is_retried_for_idempotent_requests_only() {
    let (address, asked) = busy_for(1).await;
    let gateway = TestGateway::start(route_to(
        address,
        "retry: { attempts: 2, on: [\"503\"] }",
        "",
    ))
    .await;
    assert_eq!(gateway.ask(GET).await.status(), 200);
    let ended = gateway.ended().await;
    assert_eq!((ended.attempts, ended.retried), (2, true));
    assert_eq!(asked.load(Ordering::SeqCst), 2);

    let (address, asked) = busy_for(1).await;
    let gateway = TestGateway::start(route_to(
        address,
        "retry: { attempts: 2, on: [\"503\"] }",
        "",
    ))
    .await;
    let reply = gateway.ask(POST).await;
    assert_eq!((reply.status(), reply.text().as_str()), (503, "busy"));
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_body_is_said_again_from_its_start() {
    let (address, asked) = busy_for(2).await;
    let route = "retry: { attempts: 2, on: [5xx], non_idempotent: true }";
    let gateway = TestGateway::start(route_to(address, route, "")).await;
    let reply = gateway.ask(POST).await;
    assert_eq!((reply.status(), reply.text().as_str()), (200, "hello"));
    let chunked = "PUT / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n";
    assert_eq!(gateway.ask(chunked).await.text(), "hello");
    assert_eq!(asked.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn a_body_that_is_too_long_to_keep_is_sent_once() {
    let (address, asked) = busy_for(9).await;
    let route = "retry: { attempts: 2, on: [5xx], non_idempotent: true, buffer: 4B }";
    let gateway = TestGateway::start(route_to(address, route, "")).await;
    assert_eq!(gateway.ask(POST).await.status(), 503);
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn attempts_end() {
    let (address, asked) = busy_for(usize::MAX).await;
    let gateway = TestGateway::start(route_to(
        address,
        "retry: { attempts: 2, on: [gateway-error] }",
        "",
    ))
    .await;
    let reply = gateway.ask(GET).await;
    assert_eq!((reply.status(), reply.text().as_str()), (503, "busy"));
    assert_eq!(asked.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn the_budget_ends_before_the_attempts() {
    let (address, asked) = busy_for(usize::MAX).await;
    let route = "retry: { attempts: 5, on: [\"503\"], budget: { percent: 0, min_per_second: 1 } }";
    let gateway = TestGateway::start(route_to(address, route, "")).await;
    let mut client = gateway.client().await;
    for _ in 0..20 {
        assert_eq!(client.ask(GET).await.status(), 503);
    }
    let asked = asked.load(Ordering::SeqCst);
    // 20 requests, and one retry for each second that this took.
    assert!((21..30).contains(&asked), "{asked}");
}

#[tokio::test]
async fn a_reset_is_retried_where_that_is_asked_for() {
    let upstream = Upstream::bind().await;
    let gateway = TestGateway::start(route_to(
        upstream.addr(),
        "retry: { attempts: 1, on: [reset] }",
        "",
    ))
    .await;
    for (request, status) in [(GET, 200), (POST, 502)] {
        let mut client = gateway.client().await;
        client.send(request).await;
        upstream.accept().await.request().await;
        if status == 200 {
            let mut peer = upstream.accept().await;
            peer.request().await;
            peer.send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
                .await;
        }
        assert_eq!(client.response().await.status(), status);
    }
}

#[tokio::test]
async fn an_attempt_that_takes_too_long_is_retried_within_the_total() {
    let upstream = Upstream::bind().await;
    let route = "retry: { attempts: 3, on: [timeout] }, timeouts: { per_try: 150ms, total: 5s }";
    let gateway = TestGateway::start(route_to(upstream.addr(), route, "")).await;
    let mut client = gateway.client().await;
    client.send(GET).await;
    let mut slow = upstream.accept().await;
    slow.request().await;
    let mut peer = upstream.accept().await;
    peer.request().await;
    peer.send(OK).await;
    assert_eq!(client.response().await.text(), "ok");
    slow.closed().await;
    gateway.settles("up", 1, 1).await;
}

#[tokio::test]
async fn a_stale_connection_is_replaced_without_the_client_noticing() {
    let upstream = Upstream::bind().await;
    // No retry is configured: this is not one.
    let gateway = TestGateway::to(upstream.addr()).await;
    let mut client = gateway.client().await;
    for round in 0..5 {
        client.send(GET).await;
        let mut peer = upstream.accept().await;
        peer.request().await;
        peer.send(OK).await;
        assert_eq!(client.response().await.text(), "ok", "round {round}");
        // Closed while idle, without a word; the next request may meet it or find out before.
        drop(peer);
    }
}

#[tokio::test]
async fn a_connection_that_dies_under_a_request_is_replaced_only_if_that_is_safe() {
    let upstream = Upstream::bind().await;
    let gateway = TestGateway::to(upstream.addr()).await;
    let mut client = gateway.client().await;
    let warm = async |client: &mut portcullis_tests::Peer| {
        client.send(GET).await;
        let mut peer = upstream.accept().await;
        peer.request().await;
        peer.send(OK).await;
        assert_eq!(client.response().await.text(), "ok");
        peer
    };
    // An idempotent request on a reused connection goes again.
    let mut peer = warm(&mut client).await;
    client.send(GET).await;
    peer.request().await;
    drop(peer);
    let mut peer = upstream.accept().await;
    peer.request().await;
    peer.send(OK).await;
    assert_eq!(client.response().await.text(), "ok");
    // Another one does not: it may have been carried out.
    client.send(POST).await;
    peer.request().await;
    drop(peer);
    assert_eq!(client.response().await.status(), 502);
}

#[tokio::test]
async fn a_backend_with_filters_is_retried_too() {
    let up = Upstream::fixed(OK).await;
    let yaml = format!(
        "{}routes: [{{ name: all, retry: {{ attempts: 1, budget: {{ percent: 100 }} }}, backends: [{{ upstream: a, filters: [{{ type: headers, \
         request: {{ set: {{ x-a: \"1\" }} }} }}] }}] }}]\n\
         upstreams: [{{ name: a, endpoints: [\"{}\", \"{up}\"], balance: {{ type: round-robin }} }}]\n",
        listener(""),
        free_port(),
    );
    let gateway = TestGateway::start(yaml).await;
    for _ in 0..4 {
        assert_eq!(gateway.ask(GET).await.status(), 200);
        // What went wrong on the way is not how it ended.
        assert_eq!(gateway.ended().await.reason, "");
    }
}

#[tokio::test]
async fn the_upstreams_wish_for_a_pause_is_granted_within_bounds() {
    const LATER: &str =
        "HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n";
    for (most, attempts) in [("1s", 2), ("500ms", 1)] {
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = asked.clone();
        let (address, _) = Upstream::answering(move |_| {
            let first = counter.fetch_add(1, Ordering::SeqCst) == 0;
            if first { LATER } else { OK }
        })
        .await;
        let route = format!(
            "retry: {{ attempts: 1, on: [\"503\"], backoff: {{ base: 1ms, max: 1ms, retry_after: {most} }} }}"
        );
        let gateway = TestGateway::start(route_to(address, &route, "")).await;
        let begun = tokio::time::Instant::now();
        let reply = gateway.ask(GET).await;
        assert_eq!(asked.load(Ordering::SeqCst), attempts, "{most}");
        if attempts == 2 {
            assert_eq!(reply.status(), 200);
            assert!(begun.elapsed().as_secs() >= 1);
        } else {
            assert_eq!(
                (reply.status(), reply.header("retry-after")),
                (503, Some("1"))
            );
        }
    }
}
