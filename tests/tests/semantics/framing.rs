//! How messages begin and end.

use http::{HeaderMap, HeaderValue, Request};
use portcullis_tests::{H2Client, TestGateway, Upstream, h2_upstream, route_to, within};

#[tokio::test]
async fn head_keeps_the_length_of_what_is_not_sent() {
    let upstream =
        Upstream::fixed("HTTP/1.1 200 OK\r\ncontent-length: 12345\r\netag: \"a\"\r\n\r\n").await;
    let gateway = TestGateway::to(upstream).await;
    let mut client = gateway.client().await;
    for _ in 0..2 {
        let reply = client.ask("HEAD / HTTP/1.1\r\nhost: test\r\n\r\n").await;
        assert_eq!(
            (reply.status(), reply.header("content-length")),
            (200, Some("12345"))
        );
    }
}

#[tokio::test]
async fn head_over_http2_keeps_the_length_too() {
    let upstream = Upstream::fixed("HTTP/1.1 200 OK\r\ncontent-length: 12345\r\n\r\n").await;
    let gateway = TestGateway::to(upstream).await;
    let client = H2Client::connect(gateway.addr()).await;
    let reply = client
        .ask(Request::head("http://test/").body("").unwrap())
        .await;
    assert_eq!(
        (
            reply.status(),
            reply.header("content-length"),
            reply.body.len()
        ),
        (200, Some("12345"), 0)
    );
}

#[tokio::test]
async fn replies_that_have_no_body_have_none() {
    let upstream = Upstream::answering(|request| match request.target() {
        "/204" => "HTTP/1.1 204 No Content\r\nx-a: 1\r\n\r\n",
        _ => "HTTP/1.1 304 Not Modified\r\netag: \"a\"\r\ncontent-length: 99\r\n\r\n",
    })
    .await
    .0;
    let gateway = TestGateway::to(upstream).await;
    let mut client = gateway.client().await;
    let reply = client.ask("GET /204 HTTP/1.1\r\nhost: test\r\n\r\n").await;
    assert_eq!(
        (
            reply.status(),
            reply.header("content-length"),
            reply.header("transfer-encoding")
        ),
        (204, None, None)
    );
    let reply = client.ask("GET /304 HTTP/1.1\r\nhost: test\r\n\r\n").await;
    assert_eq!(
        (
            reply.status(),
            reply.header("etag"),
            reply.header("content-length")
        ),
        (304, Some("\"a\""), Some("99"))
    );
    // The connection is in step.
    assert_eq!(
        client
            .ask("GET /204 HTTP/1.1\r\nhost: test\r\n\r\n")
            .await
            .status(),
        204
    );
}

#[tokio::test]
async fn no_content_has_no_length_not_even_zero() {
    let upstream = Upstream::answering(|_| "HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n")
        .await
        .0;
    let gateway = TestGateway::to(upstream).await;
    let mut client = gateway.client().await;
    let over_http2 = H2Client::connect(gateway.addr()).await;
    for method in ["GET", "HEAD"] {
        let ask = format!("{method} / HTTP/1.1\r\nhost: test\r\n\r\n");
        let reply = client.ask(&ask).await;
        assert_eq!(
            (reply.status(), reply.header("content-length")),
            (204, None)
        );
        let ask = Request::builder().method(method).uri("http://test/");
        let reply = over_http2.ask(ask.body("").unwrap()).await;
        assert_eq!(
            (reply.status(), reply.header("content-length")),
            (204, None)
        );
    }
}

#[tokio::test]
async fn a_reply_without_length_ends_with_its_connection() {
    let upstream = Upstream::bind().await;
    let gateway = TestGateway::to(upstream.addr()).await;
    let mut client = gateway.client().await;
    client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n").await;
    let mut peer = upstream.accept().await;
    peer.request().await;
    peer.send("HTTP/1.1 200 OK\r\n\r\nhello ").await;
    peer.send("world").await;
    drop(peer);
    let reply = client.response().await;
    assert!(reply.chunked);
    assert_eq!(reply.text(), "hello world");
    // The client's own connection is not affected.
    client
        .send("GET /again HTTP/1.1\r\nhost: test\r\n\r\n")
        .await;
    assert_eq!(upstream.accept().await.request().await.target(), "/again");
}

#[tokio::test]
async fn chunks_are_unpacked_and_packed_again() {
    let upstream = Upstream::bind().await;
    let gateway = TestGateway::to(upstream.addr()).await;
    let mut client = gateway.client().await;
    client
        .send("POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
        .await;
    let mut peer = upstream.accept().await;
    let request = peer.request().await;
    assert!(request.chunked);
    assert_eq!(
        (request.text().as_str(), request.header("content-length")),
        ("abcde", None)
    );
    peer.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n")
        .await;
    let head = client.head().await;
    assert_eq!(head.header("transfer-encoding"), Some("chunked"));
    assert_eq!(
        client.chunk().await.unwrap(),
        b"x",
        "a chunk does not wait for the next one"
    );
    peer.send("2\r\nyz\r\n0\r\n\r\n").await;
    assert_eq!(client.chunk().await.unwrap(), b"yz");
    assert_eq!(client.chunk().await, None);
    assert_eq!(client.line().await, "");
    client
        .send("GET /next HTTP/1.1\r\nhost: test\r\n\r\n")
        .await;
    assert_eq!(
        peer.request().await.target(),
        "/next",
        "both connections are used again"
    );
}

#[tokio::test]
async fn trailers_pass_both_ways_over_http1() {
    let upstream = Upstream::bind().await;
    let gateway = TestGateway::to(upstream.addr()).await;
    let mut client = gateway.client().await;
    client
        .send(
            "POST / HTTP/1.1\r\nhost: test\r\nte: trailers\r\nconnection: te\r\ntrailer: x-sum\r\n\
             transfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 7\r\n\r\n",
        )
        .await;
    let mut peer = upstream.accept().await;
    let request = peer.request().await;
    assert_eq!(
        (request.text().as_str(), request.trailer("x-sum")),
        ("hi", Some("7"))
    );
    peer.send(
        "HTTP/1.1 200 OK\r\ntrailer: x-check\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Check: 9\r\n\r\n",
    )
    .await;
    let reply = client.response().await;
    assert_eq!(
        (reply.text().as_str(), reply.trailer("x-check")),
        ("ok", Some("9"))
    );
}

#[tokio::test]
async fn trailers_are_announced_only_where_they_follow() {
    let chunked = "HTTP/1.1 200 OK\r\ntrailer: x-sum\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx-sum: 7\r\n\r\n";
    let counted = "HTTP/1.1 200 OK\r\ntrailer: x-sum\r\ncontent-length: 2\r\n\r\nok";
    let takes = "connection: te\r\nte: trailers\r\n";
    for (reply, version, fields, announced) in [
        (chunked, "1.1", takes, Some("x-sum")),
        (chunked, "1.1", "", None),
        (chunked, "1.0", takes, None),
        (counted, "1.1", "", None),
        (counted, "1.0", "", None),
    ] {
        let gateway = TestGateway::to(Upstream::fixed(reply).await).await;
        let request = format!("GET / HTTP/{version}\r\nhost: test\r\n{fields}\r\n");
        let got = gateway.ask(request).await;
        assert_eq!(
            got.header("trailer"),
            announced,
            "{version} {fields:?} {reply:?}"
        );
        assert_eq!(got.trailer("x-sum"), announced.map(|_| "7"));
    }
    // The same on the way up.
    let gateway = TestGateway::to(Upstream::mirror().await).await;
    for (framing, body, announced) in [
        ("transfer-encoding: chunked", "0\r\nx-sum: 7\r\n\r\n", true),
        ("content-length: 2", "ok", false),
    ] {
        let head = "POST / HTTP/1.1\r\nhost: test\r\ntrailer: x-sum";
        let got = gateway
            .ask(format!("{head}\r\n{framing}\r\n\r\n{body}"))
            .await;
        assert_eq!(
            got.text().contains("trailer: x-sum\n"),
            announced,
            "{}",
            got.text()
        );
    }
}

#[tokio::test]
async fn trailers_are_dropped_for_a_client_that_does_not_take_them() {
    let upstream = Upstream::fixed(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-check: 9\r\n\r\n",
    )
    .await;
    let gateway = TestGateway::to(upstream).await;
    let reply = gateway.get("/").await;
    assert_eq!((reply.text().as_str(), reply.trailers.len()), ("ok", 0));
}

#[tokio::test]
async fn trailers_pass_from_http2_to_http1_and_back() {
    let upstream = Upstream::bind().await;
    let gateway = TestGateway::to(upstream.addr()).await;
    let client = H2Client::connect(gateway.addr()).await;
    let (response, mut send) = client
        .open(Request::post("http://test/").body(()).unwrap(), false)
        .await;
    send.send_data("hi".into(), false).unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("7"));
    send.send_trailers(trailers).unwrap();
    let mut peer = upstream.accept().await;
    let request = peer.request().await;
    assert_eq!(
        (request.text().as_str(), request.trailer("x-sum")),
        ("hi", Some("7"))
    );
    peer.send(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-check: 9\r\n\r\n",
    )
    .await;
    let reply = H2Client::read(within("a response", response).await.unwrap())
        .await
        .unwrap();
    assert_eq!(
        (reply.body.as_slice(), reply.trailer("x-check")),
        (&b"ok"[..], Some("9"))
    );
}

#[tokio::test]
async fn trailers_pass_from_http1_to_http2_and_back() {
    let (address, _) = h2_upstream(|request, mut respond| async move {
        let mut body = request.into_body();
        let mut text = Vec::new();
        while let Some(data) = body.data().await {
            text.extend_from_slice(&data.unwrap());
        }
        let sum = body.trailers().await.unwrap().unwrap()["x-sum"].clone();
        let mut send = respond
            .send_response(http::Response::new(()), false)
            .unwrap();
        send.send_data(text.into(), false).unwrap();
        let mut trailers = HeaderMap::new();
        trailers.insert("x-check", sum);
        send.send_trailers(trailers).unwrap();
    })
    .await;
    let gateway = TestGateway::start(route_to(address, "", "protocol: http2")).await;
    let reply = gateway
        .ask(
            "POST / HTTP/1.1\r\nhost: test\r\nte: trailers\r\nconnection: te\r\ntransfer-encoding: chunked\r\n\r\n\
             2\r\nhi\r\n0\r\nx-sum: 7\r\n\r\n",
        )
        .await;
    assert_eq!(
        (reply.text().as_str(), reply.trailer("x-check")),
        ("hi", Some("7"))
    );
}

#[tokio::test]
async fn an_http10_client_gets_no_chunks_and_a_closed_connection() {
    let upstream = Upstream::fixed(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    )
    .await;
    let gateway = TestGateway::to(upstream).await;
    let mut client = gateway.client().await;
    client.send("GET / HTTP/1.0\r\n\r\n").await;
    let head = client.head().await;
    assert_eq!(
        (
            head.header("transfer-encoding"),
            head.header("content-length")
        ),
        (None, None)
    );
    assert_eq!(client.rest().await, b"ok");
}

#[tokio::test]
async fn an_http10_client_may_ask_to_stay() {
    let upstream = Upstream::fixed("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let gateway = TestGateway::to(upstream).await;
    let mut client = gateway.client().await;
    for _ in 0..2 {
        let reply = client
            .ask("GET / HTTP/1.0\r\nhost: test\r\nconnection: keep-alive\r\n\r\n")
            .await;
        assert_eq!(
            (reply.text().as_str(), reply.header("connection")),
            ("ok", Some("keep-alive"))
        );
    }
    assert_eq!(
        client
            .ask("GET / HTTP/1.0\r\nhost: test\r\n\r\n")
            .await
            .text(),
        "ok"
    );
    client.closed().await;
}

#[tokio::test]
async fn a_client_that_says_close_is_closed() {
    let upstream = Upstream::fixed("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let gateway = TestGateway::to(upstream).await;
    let mut client = gateway.client().await;
    let reply = client
        .ask("GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n")
        .await;
    assert_eq!(
        (reply.text().as_str(), reply.header("connection")),
        ("ok", Some("close"))
    );
    client.closed().await;
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let (upstream, connections) = Upstream::answering(|request| {
        let body = format!("{} {}", request.target(), request.text());
        format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    })
    .await;
    let gateway = TestGateway::to(upstream).await;
    let mut client = gateway.client().await;
    client
        .send(
            "GET /1 HTTP/1.1\r\nhost: test\r\n\r\nPOST /2 HTTP/1.1\r\nhost: test\r\ncontent-length: 3\r\n\r\nabc\
             POST /3 HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n\r\n\
             GET /4 HTTP/1.1\r\nhost: test\r\n\r\n",
        )
        .await;
    for expected in ["/1 ", "/2 abc", "/3 x", "/4 "] {
        assert_eq!(client.response().await.text(), expected);
    }
    assert_eq!(
        connections.load(std::sync::atomic::Ordering::SeqCst),
        1,
        "one upstream connection serves them all"
    );
}

#[tokio::test]
async fn a_post_without_body_says_so() {
    let gateway = TestGateway::to(Upstream::mirror().await).await;
    let reply = gateway.ask("POST / HTTP/1.1\r\nhost: test\r\n\r\n").await;
    assert!(
        reply.text().contains("content-length: 0\n"),
        "{}",
        reply.text()
    );
}

#[tokio::test]
async fn nonsense_from_a_client_is_refused_and_the_connection_closed() {
    let upstream = Upstream::fixed("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let gateway = TestGateway::to(upstream).await;
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a b\r\n\r\n", 400),
        ("GET http://a/ HTTP/1.1\r\nhost: b\r\n\r\n", 400),
        ("GET /%zz HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        ("GET /%00 HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        ("GET / HTTP/2.0\r\nhost: a\r\n\r\n", 505),
        (
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
            400,
        ),
        (
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1, 2\r\n\r\n",
            400,
        ),
        (
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9223372036854775808\r\n\r\n",
            400,
        ),
        (
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n8000000000000000\r\n",
            400,
        ),
        (
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n\r\n",
            400,
        ),
        (
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
            501,
        ),
        ("GET / HTTP/1.1\r\nhost: a\r\n x: y\r\n\r\n", 400),
        ("nonsense\r\n\r\n", 400),
    ] {
        let mut client = gateway.client().await;
        let reply = client.ask(request).await;
        assert_eq!(reply.status(), status, "{request:?}");
        if reply.header("connection") == Some("close") {
            client.closed().await;
        }
        let ended = gateway.ended().await;
        assert_eq!(ended.status, status, "{request:?}: {ended:?}");
        assert!(!ended.reason.is_empty(), "{request:?}");
    }
}

#[tokio::test]
async fn trailers_that_are_too_large_are_refused() {
    let gateway = TestGateway::to(Upstream::mirror().await).await;
    let trailer = "x".repeat(20_000);
    let reply = gateway
        .ask(format!(
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx: {trailer}\r\n\r\n"
        ))
        .await;
    assert_eq!(reply.status(), 431);
    assert_eq!(gateway.ended().await.reason, "trailers_too_large");
}

#[tokio::test]
async fn http2_requests_obey_the_limits_of_fields_too() {
    let gateway = TestGateway::to(Upstream::mirror().await).await;
    let client = H2Client::connect(gateway.addr()).await;
    let request = |fields: usize, name: &str, value: &str| {
        let mut request = Request::post("http://test/").body("hello").unwrap();
        for _ in 0..fields {
            let name = http::HeaderName::try_from(name).unwrap();
            request.headers_mut().append(name, value.parse().unwrap());
        }
        request
    };
    for (fields, name, value, status, reason) in [
        (128, "x-odd", "1", 200, ""),
        (129, "x-odd", "1", 431, "too_many_headers"),
        // Browsers send each cookie as a field of its own (RFC 9113 8.2.3): together they are one.
        (300, "cookie", "a=b", 200, ""),
        (1, "content-length", "5", 200, ""),
        (2, "content-length", "5", 400, "duplicate_content_length"),
    ] {
        let reply = client.ask(request(fields, name, value)).await;
        assert_eq!(reply.status(), status, "{fields} {name}");
        assert_eq!(gateway.ended().await.reason, reason, "{fields} {name}");
    }
}
