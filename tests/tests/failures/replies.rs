//! What clients and logs are told of each kind of failure.

use std::time::Duration;

use portcullis_tests::{
    Ended, Message, Peer, TestGateway, Upstream, free_port, listener, route_to, within,
};

/// Asks, plays the upstream by `script`, and says what the client and the log were told.
async fn meet<F, S>(route: &str, upstream_settings: &str, script: F) -> (Message, Ended)
where
    F: FnOnce(Peer) -> S + Send + 'static,
    S: Future<Output = ()> + Send + 'static,
{
    let upstream = Upstream::bind().await;
    let gateway = TestGateway::start(route_to(upstream.addr(), route, upstream_settings)).await;
    let scripted = upstream.script(script);
    let reply = gateway.get("/x").await;
    let ended = gateway.ended().await;
    gateway.settles("up", 0, 0).await;
    scripted.await.unwrap();
    (reply, ended)
}

#[track_caller]
fn check(got: &(Message, Ended), status: u16, reason: &str) {
    let (reply, ended) = got;
    assert_eq!(
        (reply.status(), ended.reason.as_str()),
        (status, reason),
        "{reply:?} {ended:?}"
    );
    assert_eq!((ended.status, ended.aborted), (status, false), "{ended:?}");
    assert_eq!(ended.upstream.as_deref(), Some("up"));
    assert!(ended.endpoint.is_some());
}

#[tokio::test]
async fn nobody_listens() {
    let gateway = TestGateway::to(free_port()).await;
    let mut client = gateway.client().await;
    let reply = client
        .ask("GET /x HTTP/1.1\r\nhost: test\r\naccept: application/json\r\n\r\n")
        .await;
    check(
        &(reply.clone(), gateway.ended().await),
        502,
        "upstream_connect_failed",
    );
    let text: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(
        (&text["status"], &text["reason"]),
        (&502.into(), &"upstream_connect_failed".into())
    );
    gateway.settles("up", 0, 0).await;
    // The client's connection is fine.
    assert_eq!(
        client
            .ask("GET /x HTTP/1.1\r\nhost: test\r\n\r\n")
            .await
            .status(),
        502
    );
}

#[tokio::test]
async fn connecting_takes_too_long() {
    let yaml = route_to(
        free_port(),
        "",
        "connector: { type: stalling }, timeouts: { connect: 100ms }",
    );
    let gateway = TestGateway::with(yaml, super::stalling::register).await;
    let reply = gateway.get("/x").await;
    check(
        &(reply, gateway.ended().await),
        504,
        "upstream_connect_timeout",
    );
    gateway.settles("up", 0, 0).await;
}

#[tokio::test]
async fn an_upstream_has_no_usable_endpoint() {
    let yaml = route_to("127.0.0.1:1", "", "").replace(
        "[\"127.0.0.1:1\"]",
        "[{ address: \"127.0.0.1:1\", weight: 0 }]",
    );
    let gateway = TestGateway::start(yaml).await;
    assert_eq!(gateway.get("/x").await.status(), 503);
    assert_eq!(gateway.ended().await.reason, "no_healthy_endpoint");
}

#[tokio::test]
async fn no_route_matches() {
    let gateway = TestGateway::start(format!("{}routes: []\n", listener(""))).await;
    assert_eq!(gateway.get("/x").await.status(), 404);
    let ended = gateway.ended().await;
    assert_eq!((ended.reason.as_str(), ended.route), ("no_route", None));
}

#[tokio::test]
async fn the_upstream_says_nothing() {
    for timeouts in ["idle: 150ms", "per_try: 150ms", "total: 150ms"] {
        let got = meet(
            &format!("timeouts: {{ {timeouts} }}"),
            "",
            |mut peer| async move {
                peer.request().await;
                peer.closed().await;
            },
        )
        .await;
        check(&got, 504, "upstream_timeout");
    }
}

#[tokio::test]
async fn the_upstream_closes_without_an_answer() {
    let got = meet("", "", |mut peer| async move {
        peer.request().await;
    })
    .await;
    check(&got, 502, "upstream_reset");
}

#[tokio::test]
async fn the_upstream_resets_without_an_answer() {
    let got = meet("", "", |mut peer| async move {
        peer.request().await;
        peer.reset();
    })
    .await;
    check(&got, 502, "upstream_reset");
}

#[tokio::test]
async fn the_upstream_closes_within_its_head() {
    let got = meet("", "", |mut peer| async move {
        peer.request().await;
        peer.send("HTTP/1.1 200 OK\r\ncontent-le").await;
    })
    .await;
    check(&got, 502, "upstream_reset");
}

#[tokio::test]
async fn the_upstream_talks_nonsense() {
    for nonsense in [
        "SSH-2.0-OpenSSH_9.6\r\n\r\n",
        "HTTP/1.1 abc OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nx: a\0b\r\n\r\n",
        "HTTP/3.0 200 OK\r\n\r\n",
        "\x16\x03\x01\x02\0",
    ] {
        let got = meet("", "", move |mut peer| async move {
            peer.request().await;
            peer.send(nonsense).await;
            peer.finish().await;
            peer.closed().await;
        })
        .await;
        if nonsense.ends_with("\r\n\r\n") || nonsense.ends_with("ab") {
            check(&got, 502, "upstream_protocol_error");
        } else {
            assert_eq!(got.0.status(), 502, "{nonsense:?}");
        }
    }
}

#[tokio::test]
async fn the_upstream_head_has_no_end() {
    let got = meet("", "", |mut peer| async move {
        peer.request().await;
        let _ = peer.try_send("HTTP/1.1 200 OK\r\n").await;
        while peer
            .try_send(format!("x-more: {}\r\n", "y".repeat(4000)))
            .await
            .is_ok()
        {}
    })
    .await;
    check(&got, 502, "upstream_protocol_error");
}

#[tokio::test]
async fn the_upstream_closes_within_its_body() {
    for (head, part) in [
        ("content-length: 10", "part"),
        ("transfer-encoding: chunked", "a\r\npart"),
        ("transfer-encoding: chunked", "4\r\npart\r\n"),
        ("transfer-encoding: chunked", "zz\r\npart\r\n"),
    ] {
        let upstream = Upstream::bind().await;
        let gateway = TestGateway::to(upstream.addr()).await;
        let mut client = gateway.client().await;
        client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n").await;
        let mut peer = upstream.accept().await;
        peer.request().await;
        peer.send(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{part}"))
            .await;
        peer.finish().await;
        assert_eq!(client.head().await.status(), 200);
        let rest = String::from_utf8(client.rest().await).unwrap();
        // Whatever part of the body arrived, it does not look complete.
        assert!(!rest.ends_with("0\r\n\r\n"), "{rest:?}");
        let ended = gateway.ended().await;
        assert_eq!((ended.status, ended.aborted), (200, true), "{ended:?}");
        assert!(
            ["upstream_reset", "upstream_protocol_error"].contains(&ended.reason.as_str()),
            "{ended:?}"
        );
        gateway.settles("up", 0, 0).await;
    }
}

#[tokio::test]
async fn a_cut_reply_that_ends_with_the_connection_ends_with_a_reset() {
    for (whole, cut) in [(true, false), (false, true)] {
        let upstream = Upstream::bind().await;
        let gateway = TestGateway::to(upstream.addr()).await;
        let mut client = gateway.client().await;
        client.send("GET / HTTP/1.0\r\nhost: test\r\n\r\n").await;
        let mut peer = upstream.accept().await;
        peer.request().await;
        peer.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\npart\r\n")
            .await;
        assert_eq!(client.head().await.status(), 200);
        assert_eq!(client.exactly(4).await, b"part");
        if whole {
            peer.send("0\r\n\r\n").await;
        }
        drop(peer);
        assert_eq!(client.ending().await, (Vec::new(), cut));
        assert_eq!(gateway.ended().await.aborted, cut);
    }
}

#[tokio::test]
async fn the_upstream_stops_within_its_body() {
    for timeouts in ["idle: 150ms", "total: 300ms"] {
        let upstream = Upstream::bind().await;
        let gateway = TestGateway::start(route_to(
            upstream.addr(),
            &format!("timeouts: {{ {timeouts} }}"),
            "",
        ))
        .await;
        let mut client = gateway.client().await;
        client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n").await;
        let mut peer = upstream.accept().await;
        peer.request().await;
        peer.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\npart")
            .await;
        assert_eq!(client.head().await.status(), 200);
        assert_eq!(client.rest().await, b"part");
        peer.closed().await;
        let ended = gateway.ended().await;
        assert_eq!(
            (ended.reason.as_str(), ended.aborted),
            ("upstream_timeout", true)
        );
        gateway.settles("up", 0, 0).await;
    }
}

#[tokio::test]
async fn a_slow_but_steady_reply_is_not_too_slow() {
    let upstream = Upstream::bind().await;
    let gateway = TestGateway::start(route_to(
        upstream.addr(),
        "timeouts: { idle: 300ms, per_try: 300ms }",
        "",
    ))
    .await;
    let mut client = gateway.client().await;
    client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n").await;
    let mut peer = upstream.accept().await;
    peer.request().await;
    peer.send("HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n")
        .await;
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    for _ in 0..8 {
        ticks.tick().await;
        peer.send("x").await;
    }
    assert_eq!(client.response().await.text(), "xxxxxxxx");
}

#[tokio::test]
async fn an_upstream_that_stops_reading_is_slow_too() {
    let upstream = Upstream::bind().await;
    let gateway =
        TestGateway::start(route_to(upstream.addr(), "timeouts: { idle: 300ms }", "")).await;
    let client = gateway.client().await;
    let (mut reader, mut writer) = tokio::io::split(client.into_io());
    let sending = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        let _ = writer
            .write_all(b"POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 100000000\r\n\r\n")
            .await;
        let piece = vec![0; 65536];
        while writer.write_all(&piece).await.is_ok() {}
    });
    let mut peer = upstream.accept().await;
    peer.small_buffers();
    peer.head().await;
    let mut head = vec![0; 12];
    use tokio::io::AsyncReadExt;
    within("a reply", reader.read_exact(&mut head))
        .await
        .unwrap();
    assert_eq!(head, b"HTTP/1.1 504");
    assert_eq!(gateway.ended().await.reason, "upstream_timeout");
    drop(reader);
    sending.abort();
    gateway.settles("up", 0, 0).await;
}

#[tokio::test]
async fn more_than_was_announced_spoils_the_connection_only() {
    let upstream = Upstream::bind().await;
    let gateway = TestGateway::to(upstream.addr()).await;
    let mut client = gateway.client().await;
    client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n").await;
    let mut peer = upstream.accept().await;
    peer.request().await;
    peer.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison").await;
    assert_eq!(client.response().await.text(), "ok");
    peer.closed().await;
    client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n").await;
    let mut peer = upstream.accept().await;
    peer.request().await;
    peer.send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nclean")
        .await;
    assert_eq!(client.response().await.text(), "clean");
}

#[tokio::test]
async fn a_filter_that_panics_is_a_500() {
    use portcullis::filter::{Flow, HeadFilter, RequestHead};
    struct Bomb;
    impl HeadFilter for Bomb {
        fn on_request(&self, _: &mut RequestHead<'_>) -> Result<Flow, portcullis::GatewayError> {
            panic!("on purpose")
        }
    }
    let yaml = format!(
        "{}routes: [{{ name: all, filters: [{{ type: bomb }}] }}]\n",
        listener("")
    );
    let gateway = TestGateway::with(yaml, |registry| {
        registry.head_filter("bomb", |_: super::stalling::Nothing, _: &_| Ok(Bomb))
    })
    .await;
    let mut client = gateway.client().await;
    for _ in 0..2 {
        assert_eq!(
            client
                .ask("GET / HTTP/1.1\r\nhost: test\r\n\r\n")
                .await
                .status(),
            500
        );
        assert_eq!(gateway.ended().await.reason, "panic");
    }
}
