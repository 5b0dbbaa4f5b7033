//! Fields that belong to one hop, and the forwarded family.

use portcullis_tests::{Message, TestGateway, Upstream, listener, route_to};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// What an upstream got for `request`.
async fn seen(gateway: &TestGateway, upstream: &Upstream, request: &str) -> Message {
    let mut client = gateway.client().await;
    client.send(request).await;
    let mut peer = upstream.accept().await;
    let message = peer.request().await;
    peer.send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
        .await;
    assert_eq!(client.response().await.status(), 200);
    message
}

#[tokio::test]
async fn fields_of_the_client_connection_stay_behind() {
    let upstream = Upstream::bind().await;
    let gateway = TestGateway::to(upstream.addr()).await;
    let got = seen(
        &gateway,
        &upstream,
        "GET / HTTP/1.1\r\nHost: test\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n\
         Proxy-Connection: keep-alive\r\nProxy-Authorization: Basic eA==\r\nUpgrade: h2c\r\nTE: gzip\r\n\
         X-End: 2\r\n\r\n",
    )
    .await;
    for name in [
        "x-hop",
        "connection",
        "keep-alive",
        "proxy-connection",
        "proxy-authorization",
        "upgrade",
        "te",
    ] {
        assert_eq!(got.header(name), None, "{name}");
    }
    assert_eq!(got.header("x-end"), Some("2"));
    assert_eq!(got.header("host"), Some("test"));
}

#[tokio::test]
async fn fields_of_the_upstream_connection_stay_behind() {
    let upstream = Upstream::fixed(
        "HTTP/1.1 200 OK\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\n\
         Upgrade: h2c\r\nX-End: 2\r\nContent-Length: 2\r\n\r\nok",
    )
    .await;
    let gateway = TestGateway::to(upstream).await;
    let got = gateway.get("/").await;
    for name in [
        "x-hop",
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "upgrade",
    ] {
        assert_eq!(got.header(name), None, "{name}");
    }
    assert_eq!(
        (got.header("x-end"), got.text().as_str()),
        (Some("2"), "ok")
    );
}

#[tokio::test]
async fn a_client_cannot_have_protected_fields_removed() {
    let upstream = Upstream::bind().await;
    let gateway = TestGateway::to(upstream.addr()).await;
    let got = seen(
        &gateway,
        &upstream,
        "POST / HTTP/1.1\r\nhost: test\r\nconnection: x-forwarded-for, authorization, content-length, host\r\n\
         authorization: Bearer x\r\ncontent-length: 2\r\n\r\nhi",
    )
    .await;
    assert_eq!(got.header("authorization"), Some("Bearer x"));
    assert_eq!(got.header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(
        (got.header("host"), got.text().as_str()),
        (Some("test"), "hi")
    );
}

#[tokio::test]
async fn te_trailers_is_passed_on_alone() {
    let upstream = Upstream::bind().await;
    let gateway = TestGateway::to(upstream.addr()).await;
    let got = seen(
        &gateway,
        &upstream,
        "GET / HTTP/1.1\r\nhost: test\r\nconnection: te\r\nte: gzip;q=0.5, trailers\r\n\r\n",
    )
    .await;
    assert_eq!(
        (got.header("te"), got.header("connection")),
        (Some("trailers"), Some("te"))
    );
}

#[tokio::test]
async fn forwarded_fields_of_strangers_are_replaced_in_every_spelling() {
    let upstream = Upstream::bind().await;
    let gateway = TestGateway::to(upstream.addr()).await;
    let got = seen(
        &gateway,
        &upstream,
        "GET / HTTP/1.1\r\nhost: shop.test\r\nX-Forwarded-For: 1.2.3.4\r\nX_Forwarded_For: 1.2.3.4\r\n\
         x-forwarded_proto: https\r\nForwarded: for=1.2.3.4\r\nX-Real-IP: 1.2.3.4\r\nX_Real_Ip: 1.2.3.4\r\n\
         X-Forwarded-Prefix: /a\r\nX-Forwarded-Client-Cert: x\r\nX-Forwarded-Host: evil\r\n\r\n",
    )
    .await;
    let port = gateway.addr().port().to_string();
    let mut family: Vec<(&str, &str)> = got
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .filter(|(name, _)| name.contains("forward") || name.contains("real"))
        .collect();
    family.sort_unstable();
    let expected = [
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-host", "shop.test"),
        ("x-forwarded-port", port.as_str()),
        ("x-forwarded-proto", "http"),
        ("x-real-ip", "127.0.0.1"),
    ];
    assert_eq!(family, expected);
}

#[tokio::test]
async fn forwarded_fields_of_trusted_proxies_are_kept_and_extended() {
    let upstream = Upstream::bind().await;
    let yaml = route_to(upstream.addr(), "", "").replace(
        &listener(""),
        &listener("trusted_proxies: [127.0.0.0/8, 10.0.0.0/8], forwarded: both"),
    );
    let gateway = TestGateway::start(yaml).await;
    let got = seen(
        &gateway,
        &upstream,
        "GET / HTTP/1.1\r\nhost: inner\r\nX-Forwarded-For: 6.6.6.6, 203.0.113.7\r\nX-Forwarded-For: 10.0.0.1\r\n\
         X-Forwarded-Proto: https\r\nX-Forwarded-Host: shop.test\r\nX_Forwarded_For: 1.1.1.1\r\n\r\n",
    )
    .await;
    assert_eq!(
        got.header("x-forwarded-for"),
        Some("6.6.6.6, 203.0.113.7, 10.0.0.1, 127.0.0.1")
    );
    assert_eq!(got.header("x-real-ip"), Some("203.0.113.7"));
    assert_eq!(got.header("x-forwarded-proto"), Some("https"));
    assert_eq!(got.header("x-forwarded-host"), Some("shop.test"));
    assert_eq!(got.header("x_forwarded_for"), None);
    assert!(
        got.header("forwarded")
            .is_some_and(|value| value.contains("for=127.0.0.1")),
        "{got:?}"
    );
    assert_eq!(
        gateway.ended().await.client,
        Some("203.0.113.7".parse().unwrap())
    );
}

#[tokio::test]
async fn forwarded_off_removes_the_family_and_adds_nothing() {
    let upstream = Upstream::bind().await;
    let yaml =
        route_to(upstream.addr(), "", "").replace(&listener(""), &listener("forwarded: off"));
    let gateway = TestGateway::start(yaml).await;
    let got = seen(
        &gateway,
        &upstream,
        "GET / HTTP/1.1\r\nhost: test\r\nx-forwarded-for: 1.2.3.4\r\n\r\n",
    )
    .await;
    assert!(
        !got.headers
            .iter()
            .any(|(name, _)| name.contains("forward") || name.contains("real")),
        "{got:?}"
    );
}

#[tokio::test]
async fn the_upstream_sees_the_host_the_configuration_says() {
    let upstream = Upstream::bind().await;
    for (setting, expected) in [
        ("preserve", "shop.test".to_owned()),
        ("endpoint", upstream.addr().to_string()),
        ("inner.test", "inner.test".to_owned()),
    ] {
        let gateway =
            TestGateway::start(route_to(upstream.addr(), "", &format!("host: {setting}"))).await;
        let got = seen(
            &gateway,
            &upstream,
            "GET / HTTP/1.1\r\nhost: shop.test\r\n\r\n",
        )
        .await;
        assert_eq!(got.header("host"), Some(expected.as_str()), "{setting}");
    }
}

#[tokio::test]
async fn repeated_fields_keep_their_order_and_number() {
    let upstream = Upstream::bind().await;
    let gateway = TestGateway::to(upstream.addr()).await;
    let mut client = gateway.client().await;
    client
        .send("GET / HTTP/1.1\r\nhost: test\r\nx-a: 1\r\nx-b: 0\r\nx-a: 2\r\n\r\n")
        .await;
    let mut peer = upstream.accept().await;
    assert_eq!(peer.request().await.all("x-a"), ["1", "2"]);
    peer.send("HTTP/1.1 200 OK\r\nset-cookie: a=1\r\nset-cookie: b=2\r\ncontent-length: 0\r\n\r\n")
        .await;
    assert_eq!(client.response().await.all("set-cookie"), ["a=1", "b=2"]);
}

#[tokio::test]
async fn a_date_is_added_only_where_there_is_none() {
    let upstream = Upstream::answering(|request| match request.target() {
        "/dated" => {
            "HTTP/1.1 200 OK\r\ndate: Tue, 01 Jan 2030 00:00:00 GMT\r\ncontent-length: 0\r\n\r\n"
        }
        _ => OK,
    })
    .await
    .0;
    let gateway = TestGateway::to(upstream).await;
    assert_eq!(
        gateway.get("/dated").await.header("date"),
        Some("Tue, 01 Jan 2030 00:00:00 GMT")
    );
    assert!(
        gateway
            .get("/")
            .await
            .header("date")
            .is_some_and(|date| date.ends_with(" GMT"))
    );
}
