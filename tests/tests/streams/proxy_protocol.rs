//! The PROXY protocol: told by load balancers in front, and told on to endpoints.

use portcullis_tests::{Message, Peer, TestGateway, Upstream, listener, route_to};

use crate::to;

const V1: &str = "PROXY TCP4 192.0.2.7 198.51.100.1 4000 443\r\n";
/// The same in version 2.
const V2: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\xc6\x33\x64\x01\x0f\xa0\x01\xbb";
const REQUEST: &str = "GET / HTTP/1.1\r\nhost: test\r\n\r\n";

/// A gateway for HTTP that answers what its upstream was sent.
async fn web(proxy_protocol: &str, more: &str) -> TestGateway {
    let upstream = Upstream::mirror().await;
    let listening = listener(&format!("proxy_protocol: {{ {proxy_protocol} }}{more}"));
    TestGateway::start(route_to(upstream, "", "").replace(&listener(""), &listening)).await
}

async fn ask(gateway: &TestGateway, first: impl AsRef<[u8]>) -> Message {
    let mut client = gateway.client().await;
    client
        .ask([first.as_ref(), REQUEST.as_bytes()].concat())
        .await
}

fn client_of(answer: &Message) -> String {
    let text = answer.text();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("x-forwarded-for: "));
    line.unwrap().to_owned()
}

#[tokio::test]
async fn the_client_is_the_told_one_everywhere() {
    let gateway = web("trusted: [127.0.0.0/8]", "").await;
    for header in [V1.as_bytes(), V2] {
        assert_eq!(client_of(&ask(&gateway, header).await), "192.0.2.7");
        assert_eq!(
            gateway.ended().await.client,
            Some("192.0.2.7".parse().unwrap())
        );
    }
    // Trusted peers may leave it out, or speak for themselves.
    assert_eq!(client_of(&ask(&gateway, "").await), "127.0.0.1");
    assert_eq!(
        client_of(&ask(&gateway, "PROXY UNKNOWN\r\n").await),
        "127.0.0.1"
    );
}

#[tokio::test]
async fn a_header_may_come_in_pieces() {
    let gateway = web("trusted: [127.0.0.0/8]", "").await;
    let mut client = gateway.client().await;
    for piece in [V2, REQUEST.as_bytes()].concat().chunks(5) {
        client.send(piece).await;
    }
    assert_eq!(client_of(&client.response().await), "192.0.2.7");
}

#[tokio::test]
async fn a_header_of_anyone_else_is_closed_counted_and_told() {
    let gateway = web("trusted: [10.0.0.0/8]", "").await;
    for header in [V1.as_bytes(), V2, b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff"] {
        let mut client = gateway.client().await;
        client.send(header).await;
        client.closed().await;
        assert_eq!(gateway.refused().await, "proxy_protocol_untrusted");
    }
    let series = "portcullis_connections_dropped_total{listener=\"web\",reason=\"proxy_protocol_untrusted\"}";
    assert_eq!(gateway.metric(series).await, 3);
    assert_eq!(client_of(&ask(&gateway, "").await), "127.0.0.1");
}

#[tokio::test]
async fn a_required_header_has_to_be_there_and_to_be_right() {
    let gateway = web("trusted: [127.0.0.0/8], required: true", "").await;
    assert_eq!(client_of(&ask(&gateway, V1).await), "192.0.2.7");
    for (bytes, reason) in [
        (REQUEST, "proxy_protocol_missing"),
        ("PROXY TCP4 nobody\r\n", "proxy_protocol_malformed"),
    ] {
        let mut client = gateway.client().await;
        client.send(bytes).await;
        client.closed().await;
        assert_eq!(gateway.refused().await, reason);
    }
    let strangers = web("trusted: [10.0.0.0/8], required: true", "").await;
    strangers.client().await.closed().await;
    assert_eq!(strangers.refused().await, "proxy_protocol_untrusted");
}

#[tokio::test]
async fn connections_are_counted_by_the_told_address() {
    let gateway = web(
        "trusted: [127.0.0.0/8]",
        ", limits: { max_connections_per_address: 1 }",
    )
    .await;
    let mut first = gateway.client().await;
    assert_eq!(first.ask(format!("{V1}{REQUEST}")).await.status(), 200);
    let mut second = gateway.client().await;
    second.send(V1).await;
    second.closed().await;
    assert_eq!(gateway.refused().await, "max_connections_per_address");
    let other = V1.replace("192.0.2.7", "192.0.2.8");
    assert_eq!(client_of(&ask(&gateway, other).await), "192.0.2.8");
    // The first one is open still.
    assert_eq!(first.ask(REQUEST).await.status(), 200);
}

#[tokio::test]
async fn endpoints_of_tcp_routes_are_told_who_the_client_is() {
    for version in ["v1", "v2"] {
        let upstream = Upstream::bind().await;
        let yaml = to(upstream.addr(), "")
            .replace(
                "upstreams: [{ name: db,",
                &format!("upstreams: [{{ name: db, proxy_protocol: {version},"),
            )
            .replace(
                "protocol: tcp",
                "protocol: tcp, proxy_protocol: { trusted: [127.0.0.1] }",
            );
        let gateway = TestGateway::start(yaml).await;
        let mut client = Peer::connect(gateway.listener("db")).await;
        client.send(format!("{V1}hello")).await;
        let mut server = upstream.accept().await;
        let expected = match version {
            "v1" => V1.as_bytes(),
            _ => V2,
        };
        assert_eq!(server.exactly(expected.len()).await, expected);
        assert_eq!(server.exactly(5).await, b"hello");
        drop((client, server));
        let ended = gateway.stream_ended().await;
        assert_eq!(ended.client, Some("192.0.2.7".parse().unwrap()));
        assert_eq!(ended.bytes_in, 5);
    }
}
