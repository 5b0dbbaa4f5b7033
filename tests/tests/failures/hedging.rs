//! A second attempt beside a slow one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use portcullis_tests::{Peer, TestGateway, Upstream, route_to, within};

const GET: &str = "GET / HTTP/1.1\r\nhost: test\r\n\r\n";
const FAST: &str = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfast";
const SLOW: &str = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nslow";
const BAD: &str = "HTTP/1.1 502 Bad Gateway\r\ncontent-length: 3\r\n\r\nbad";

/// A gateway in front of two endpoints, which take turns, and the first endpoint's name.
async fn gateway(route: &str, first: &Upstream, second: &Upstream) -> TestGateway {
    let yaml = route_to("A", route, "balance: { type: round-robin }").replace(
        "\"A\"",
        &format!("\"{}\", \"{}\"", first.addr(), second.addr()),
    );
    TestGateway::start(yaml).await
}

/// The two attempts of the client's request in the order in which they began.
async fn attempts(one: &Upstream, other: &Upstream) -> [(Peer, String); 2] {
    let accept = async |upstream: &Upstream| {
        let mut peer = upstream.accept().await;
        peer.request().await;
        (peer, upstream.addr().to_string())
    };
    within("two attempts", async {
        tokio::select! {
            first = accept(one) => [first, accept(other).await],
            first = accept(other) => [first, accept(one).await],
        }
    })
    .await
}

#[tokio::test]
async fn the_second_attempt_goes_elsewhere_and_its_reply_counts() {
    let (one, other) = (Upstream::bind().await, Upstream::bind().await);
    let gateway = gateway("hedge: { delay: 50ms }", &one, &other).await;
    let mut client = gateway.client().await;
    client.send(GET).await;
    let [(mut slow, _), (mut fast, winner)] = attempts(&one, &other).await;
    fast.send(FAST).await;
    assert_eq!(client.response().await.text(), "fast");
    slow.closed().await;
    let ended = gateway.ended().await;
    assert_eq!(
        (ended.status, ended.attempts, ended.reason.as_str()),
        (200, 2, "")
    );
    assert_eq!(ended.endpoint, Some(winner));
}

#[tokio::test]
async fn the_first_attempt_may_still_win() {
    let (one, other) = (Upstream::bind().await, Upstream::bind().await);
    let gateway = gateway("hedge: { delay: 50ms }", &one, &other).await;
    let mut client = gateway.client().await;
    client.send(GET).await;
    let [(mut slow, winner), (mut late, _)] = attempts(&one, &other).await;
    slow.send(SLOW).await;
    assert_eq!(client.response().await.text(), "slow");
    late.closed().await;
    assert_eq!(gateway.ended().await.endpoint, Some(winner));
}

#[tokio::test]
async fn a_bad_reply_does_not_win_over_one_that_may_come() {
    let (one, other) = (Upstream::bind().await, Upstream::bind().await);
    let gateway = gateway("hedge: { delay: 50ms }", &one, &other).await;
    for last_is_good in [true, false] {
        let mut client = gateway.client().await;
        client.send(GET).await;
        let [(mut slow, _), (mut fast, _)] = attempts(&one, &other).await;
        fast.send(BAD).await;
        fast.finish().await;
        assert!(client.is_quiet().await);
        if last_is_good {
            slow.send(SLOW).await;
            assert_eq!(client.response().await.text(), "slow");
        } else {
            slow.reset();
            assert_eq!(client.response().await.status(), 502);
        }
        assert_eq!(gateway.ended().await.attempts, 2);
    }
}

#[tokio::test]
async fn only_what_may_be_done_twice_and_has_no_body_is_sent_twice() {
    let upstream = Upstream::bind().await;
    let yaml = route_to(upstream.addr(), "hedge: { delay: 1ms }", "");
    let gateway = TestGateway::start(yaml).await;
    for request in [
        "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 0\r\n\r\n",
        "PUT / HTTP/1.1\r\nhost: test\r\ncontent-length: 1\r\n\r\nx",
    ] {
        let mut client = gateway.client().await;
        client.send(request).await;
        let mut peer = upstream.accept().await;
        peer.request().await;
        assert!(peer.is_quiet().await);
        peer.send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
            .await;
        assert_eq!(client.response().await.status(), 200);
        assert_eq!(gateway.ended().await.attempts, 1);
    }
}

#[tokio::test]
async fn there_are_no_more_second_attempts_than_the_budget_has() {
    let arrived = Arc::new(AtomicUsize::new(0));
    let counter = arrived.clone();
    let (address, _) = Upstream::answering(move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
        FAST
    })
    .await;
    let route = "hedge: { delay: 0s, budget: { percent: 10, min_per_second: 0 } }";
    let gateway = TestGateway::start(route_to(address, route, "")).await;
    let mut client = gateway.client().await;
    let mut attempts = 0;
    for _ in 0..60 {
        assert_eq!(client.ask(GET).await.text(), "fast");
        attempts += gateway.ended().await.attempts as usize;
    }
    assert_eq!(attempts, 66);
    assert!(arrived.load(Ordering::SeqCst) <= attempts);
}
