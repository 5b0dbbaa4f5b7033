//! Requests that are too long, and requests that are too many.

use http::Request;
use portcullis_tests::{H2Client, Message, TestGateway, Upstream, free_port, within};

use crate::{GET, OK, limited, metric};

fn post(framing: &str) -> String {
    format!("POST / HTTP/1.1\r\nhost: test\r\n{framing}\r\n\r\n")
}

#[tokio::test]
async fn a_body_that_is_announced_too_long_is_refused_before_it_is_read() {
    let upstream = Upstream::bind().await;
    let gateway = limited(upstream.addr(), "limits: { max_body_bytes: 10 }").await;
    let mut client = gateway.client().await;
    let reply = client.ask(post("content-length: 1000000")).await;
    assert_eq!(
        (reply.status(), reply.header("connection")),
        (413, Some("close"))
    );
    client.closed().await;
    let ended = gateway.ended().await;
    assert_eq!(
        (ended.reason.as_str(), ended.attempts, ended.bytes_in),
        ("body_too_large", 0, 0)
    );
    assert_eq!((ended.method.as_str(), ended.path.as_str()), ("POST", "/"));
    // Nor is a client asked for what it waits to send.
    let mut client = gateway.client().await;
    client
        .send(post("content-length: 11\r\nexpect: 100-continue"))
        .await;
    assert_eq!(client.head().await.status(), 413);
}

#[tokio::test]
async fn a_body_that_turns_out_too_long_is_refused_when_it_does() {
    let upstream = Upstream::bind().await;
    let gateway = limited(upstream.addr(), "limits: { max_body_bytes: 10 }").await;
    let mut client = gateway.client().await;
    client.send(post("transfer-encoding: chunked")).await;
    client.send("a\r\n0123456789\r\n").await;
    let mut peer = upstream.accept().await;
    peer.head().await;
    assert_eq!(peer.chunk().await.unwrap(), b"0123456789");
    client.send("1\r\nx\r\n").await;
    let reply = client.response().await;
    assert_eq!(
        (reply.status(), reply.header("connection")),
        (413, Some("close"))
    );
    client.closed().await;
    // The upstream does not take the part for the whole.
    let rest = peer.rest().await;
    assert!(rest.is_empty(), "{rest:?}");
    let ended = gateway.ended().await;
    assert_eq!(ended.reason, "body_too_large");
    gateway.settles("up", 0, 0).await;
}

#[tokio::test]
async fn a_body_as_long_as_it_may_be_passes() {
    let gateway = limited(Upstream::mirror().await, "limits: { max_body_bytes: 10 }").await;
    let mut client = gateway.client().await;
    let reply = client.ask(post("content-length: 10") + "0123456789").await;
    assert!(reply.text().ends_with("\n\n0123456789"), "{}", reply.text());
    let chunked = post("transfer-encoding: chunked") + "a\r\n0123456789\r\n0\r\n\r\n";
    let reply = client.ask(chunked).await;
    assert!(reply.text().ends_with("\n\n0123456789"), "{}", reply.text());
}

#[tokio::test]
async fn a_tunnel_is_no_body() {
    let upstream = Upstream::bind().await;
    let gateway = limited(upstream.addr(), "limits: { max_body_bytes: 10 }").await;
    let mut client = gateway.client().await;
    client
        .send("GET / HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: talk\r\n\r\n")
        .await;
    let mut peer = upstream.accept().await;
    peer.request().await;
    peer.send("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: talk\r\n\r\n")
        .await;
    assert_eq!(client.head().await.status(), 101);
    client.send([b'x'; 1000]).await;
    peer.exactly(1000).await;
}

#[tokio::test]
async fn heads_have_exact_limits() {
    let settings = "limits: { max_head_bytes: 2KiB, max_uri_bytes: 100, max_headers: 10 }";
    let gateway = limited(Upstream::fixed(OK).await, settings).await;
    let path = |length: usize| {
        format!(
            "GET /{} HTTP/1.1\r\nhost: test\r\n\r\n",
            "x".repeat(length - 1)
        )
    };
    let fields = |count: usize| {
        let more = "x-many: y\r\n".repeat(count - 1);
        format!("GET / HTTP/1.1\r\nhost: test\r\n{more}\r\n")
    };
    let head = |length: usize| {
        let rest = "GET / HTTP/1.1\r\nhost: test\r\nx: \r\n\r\n".len();
        let long = "y".repeat(length - rest);
        format!("GET / HTTP/1.1\r\nhost: test\r\nx: {long}\r\n\r\n")
    };
    for (request, status, reason) in [
        (path(100), 200, ""),
        (path(101), 414, "uri_too_long"),
        (fields(10), 200, ""),
        (fields(11), 431, "too_many_headers"),
        (head(2048), 200, ""),
        (head(2049), 431, "head_too_large"),
    ] {
        let mut client = gateway.client().await;
        let reply = client.ask(&request).await;
        assert_eq!(reply.status(), status, "{request}");
        if status != 200 {
            assert_eq!(reply.header("connection"), Some("close"));
            client.closed().await;
        }
        assert_eq!(gateway.ended().await.reason, reason, "{request}");
    }
}

#[tokio::test]
async fn a_head_that_does_not_end_is_refused_when_it_is_too_long() {
    let settings = "limits: { max_head_bytes: 2KiB, max_uri_bytes: 100 }";
    let gateway = limited(free_port(), settings).await;
    for (begin, status) in [
        ("GET /".to_owned(), 414),
        ("GET / HTTP/1.1\r\nhost: test\r\nx: ".to_owned(), 431),
    ] {
        let mut client = gateway.client().await;
        client.send(begin + &"y".repeat(4000)).await;
        assert_eq!(client.response().await.status(), status);
        client.closed().await;
    }
}

#[tokio::test]
async fn an_http2_head_that_is_too_long_is_refused_alone() {
    let gateway = limited(
        Upstream::fixed(OK).await,
        "limits: { max_head_bytes: 2KiB }",
    )
    .await;
    let client = H2Client::connect(gateway.addr()).await;
    let long = Request::get("http://test/").header("x-long", "y".repeat(3000));
    let reply = client.try_ask(long.body("").unwrap()).await;
    // What a client sends in spite of the limit it was told of; some only send it before they are told.
    assert!(
        reply.is_err() || reply.is_ok_and(|reply| reply.status() == 431),
        "neither refused nor reset"
    );
    let short = Request::get("http://test/").body("").unwrap();
    assert_eq!(client.ask(short).await.status(), 200);
}

fn told_to_come_again(reply: &Message) {
    assert_eq!(
        (reply.status(), reply.header("retry-after")),
        (503, Some("1"))
    );
}

#[tokio::test]
async fn requests_beyond_the_limit_are_told_to_come_again_on_both_versions() {
    let upstream = Upstream::bind().await;
    let gateway = limited(upstream.addr(), "limits: { max_requests_in_flight: 1 }").await;
    let mut first = gateway.client().await;
    first.send(GET).await;
    let mut peer = upstream.accept().await;
    peer.request().await;
    let mut second = gateway.client().await;
    told_to_come_again(&second.ask(GET).await);
    let http2 = H2Client::connect(gateway.addr()).await;
    let request = || Request::get("http://test/").body("").unwrap();
    let reply = http2.ask(request()).await;
    assert_eq!(
        (reply.status(), reply.header("retry-after")),
        (503, Some("1"))
    );
    let series =
        r#"portcullis_requests_refused_total{listener="web",reason="max_requests_in_flight"}"#;
    assert_eq!(metric(&gateway, series).await, 2.0);
    peer.send(OK).await;
    assert_eq!(first.response().await.text(), "ok");
    // The connections are as good as before.
    second.send(GET).await;
    peer.request().await;
    peer.send(OK).await;
    assert_eq!(second.response().await.text(), "ok");
    let serving = tokio::spawn(async move {
        peer.request().await;
        peer.send(OK).await;
        peer
    });
    assert_eq!(http2.ask(request()).await.status(), 200);
    within("the upstream", serving).await.unwrap();
}

#[tokio::test]
async fn a_process_at_its_limit_tells_to_come_again() {
    let upstream = Upstream::bind().await;
    let yaml = crate::configuration(upstream.addr(), "");
    let gateway =
        TestGateway::start(format!("limits: {{ max_requests_in_flight: 1 }}\n{yaml}")).await;
    let mut first = gateway.client().await;
    first.send(GET).await;
    let mut peer = upstream.accept().await;
    peer.request().await;
    told_to_come_again(&gateway.ask(GET).await);
    peer.send(OK).await;
    assert_eq!(first.response().await.text(), "ok");
}
