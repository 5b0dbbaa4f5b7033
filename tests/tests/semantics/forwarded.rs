//! The gateway's own forwarded fields are there for whoever looks, however late they are written.

use portcullis::filter::{Filter, FilterCx, Flow, HeadFilter, RequestHead};
use portcullis::http::{HeaderMap, HeaderValue, Response};
use portcullis::registry::RegistryBuilder;
use portcullis::{GatewayError, NoConfig, async_trait};
use portcullis_tests::{Message, TestGateway, Upstream, h2_upstream, listener, within};

const FAMILY: [&str; 5] = [
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-real-ip",
];

/// Copies what it sees of the family to `x-saw`.
struct Looks;

fn saw(headers: &mut HeaderMap) {
    let all: Vec<String> = FAMILY
        .iter()
        .flat_map(|name| headers.get_all(*name))
        .map(|value| value.to_str().unwrap().to_owned())
        .collect();
    headers.insert("x-saw", HeaderValue::from_str(&all.join(" ")).unwrap());
}

impl HeadFilter for Looks {
    fn on_request(&self, head: &mut RequestHead<'_>) -> Result<Flow, GatewayError> {
        saw(head.headers_mut());
        Ok(Flow::Continue)
    }
}

/// The same, as a filter that may wait.
struct LooksAndWaits;

#[async_trait]
impl Filter for LooksAndWaits {
    async fn on_request(&self, cx: &mut FilterCx<'_>) -> Result<Flow, GatewayError> {
        saw(cx.request_mut().headers_mut());
        Ok(Flow::Continue)
    }
}

/// Sets a field of the family without a look at it.
struct Blind;

impl HeadFilter for Blind {
    fn on_request(&self, head: &mut RequestHead<'_>) -> Result<Flow, GatewayError> {
        head.headers_mut()
            .insert("x-forwarded-host", HeaderValue::from_static("blind"));
        Ok(Flow::Continue)
    }

    fn sees_forwarded(&self) -> bool {
        false
    }
}

fn plugins(registry: RegistryBuilder) -> RegistryBuilder {
    registry
        .head_filter("looks", |_: NoConfig, _: &_| Ok(Looks))
        .async_filter("waits", |_: NoConfig, _: &_| Ok(LooksAndWaits))
        .head_filter("blind", |_: NoConfig, _: &_| Ok(Blind))
}

/// A gateway with filters of the listener, of the route and of the backend, and what else the route has.
async fn gateway(
    upstream: impl std::fmt::Display,
    filters: [&str; 3],
    route: &str,
    upstream_has: &str,
) -> TestGateway {
    let [outer, middle, inner] = filters;
    let yaml = format!(
        "{}routes: [{{ name: all, filters: [{middle}], backends: [{{ upstream: up, filters: [{inner}] }}]{route} }}]\n\
         upstreams: [{{ name: up, endpoints: [\"{upstream}\"]{upstream_has} }}]\n",
        listener(&format!("filters: [{outer}]")),
    );
    TestGateway::with(yaml, plugins).await
}

/// Sends `ask` through the gateway, has it answered, and gives what the upstream got.
async fn forwarded(gateway: &TestGateway, upstream: &Upstream, ask: &str) -> Message {
    let mut client = gateway.client().await;
    client.send(ask).await;
    let mut peer = upstream.accept().await;
    let got = peer.request().await;
    peer.send(OK).await;
    assert_eq!(client.response().await.status(), 200);
    got
}

fn family_of(got: &Message) -> Vec<String> {
    let all = got.headers.iter();
    family(all.map(|(name, value)| (name.as_str(), value.as_str())))
}

/// The family as the upstream got it, sorted.
fn family<'a>(headers: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<String> {
    let mut found: Vec<String> = headers
        .filter(|(name, _)| FAMILY.contains(name))
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    found.sort_unstable();
    found
}

fn expected(gateway: &TestGateway, host: &str) -> Vec<String> {
    vec![
        "x-forwarded-for: 127.0.0.1".to_owned(),
        format!("x-forwarded-host: {host}"),
        format!("x-forwarded-port: {}", gateway.addr().port()),
        "x-forwarded-proto: http".to_owned(),
        "x-real-ip: 127.0.0.1".to_owned(),
    ]
}

const ASK: &str = "GET / HTTP/1.1\r\nhost: shop.test\r\nx-forwarded-for: 6.6.6.6\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

#[tokio::test]
async fn filters_find_the_fields_wherever_they_stand() {
    let upstream = Upstream::bind().await;
    for filters in [
        ["", "", ""],
        ["{ type: looks }", "", ""],
        ["{ type: waits }", "", ""],
        ["", "{ type: looks }", ""],
        ["", "{ type: request-id }, { type: waits }", ""],
        ["", "", "{ type: looks }"],
        [
            "{ type: request-id }",
            "{ type: request-id }",
            "{ type: waits }",
        ],
    ] {
        let gateway = gateway(upstream.addr(), filters, "", "").await;
        let got = forwarded(&gateway, &upstream, ASK).await;
        assert_eq!(
            family_of(&got),
            expected(&gateway, "shop.test"),
            "{filters:?}"
        );
        if filters
            .iter()
            .any(|filter| filter.contains("looks") || filter.contains("waits"))
        {
            let port = gateway.addr().port();
            let saw = format!("127.0.0.1 shop.test {port} http 127.0.0.1");
            assert_eq!(got.header("x-saw"), Some(saw.as_str()), "{filters:?}");
        }
    }
}

#[tokio::test]
async fn the_host_of_an_absolute_target_is_the_one_that_is_told() {
    let upstream = Upstream::bind().await;
    for filters in [["", "", ""], ["{ type: looks }", "", ""]] {
        let gateway = gateway(upstream.addr(), filters, "", "").await;
        let ask = "GET http://shop.test:80/ HTTP/1.1\r\nhost: SHOP.test\r\n\r\n";
        let got = forwarded(&gateway, &upstream, ask).await;
        for name in ["host", "x-forwarded-host"] {
            assert_eq!(got.all(name), ["shop.test:80"], "{filters:?}");
        }
    }
}

#[tokio::test]
async fn what_a_filter_sets_or_removes_stays_so() {
    let upstream = Upstream::bind().await;
    let set =
        "{ type: headers, request: { set: { x-forwarded-proto: https }, remove: [x-real-ip] } }";
    for filters in [[set, "", ""], ["", set, ""], ["", "", set]] {
        let gateway = gateway(upstream.addr(), filters, "", "").await;
        let got = forwarded(&gateway, &upstream, ASK).await;
        assert_eq!(got.all("x-forwarded-proto"), ["https"], "{filters:?}");
        assert_eq!(got.header("x-real-ip"), None, "{filters:?}");
        assert_eq!(got.all("x-forwarded-for"), ["127.0.0.1"], "{filters:?}");
    }
}

#[tokio::test]
async fn a_field_set_without_a_look_is_not_doubled() {
    let upstream = Upstream::bind().await;
    let gateway = gateway(upstream.addr(), ["{ type: blind }", "", ""], "", "").await;
    let got = forwarded(&gateway, &upstream, ASK).await;
    assert_eq!(family_of(&got), expected(&gateway, "blind"));
}

#[tokio::test]
async fn a_route_may_ask_for_them() {
    let upstream = Upstream::fixed(OK).await;
    let route = ", match: { headers: { x-forwarded-proto: http } }";
    let gateway = gateway(upstream, ["", "", ""], route, "").await;
    assert_eq!(gateway.ask(ASK).await.status(), 200);
}

#[tokio::test]
async fn every_attempt_has_them() {
    let upstream = Upstream::bind().await;
    let route = ", retry: { attempts: 1, on: [502], backoff: { base: 1ms, max: 1ms } }";
    for inner in ["", "{ type: looks }"] {
        let gateway = gateway(upstream.addr(), ["", "", inner], route, "").await;
        let mut client = gateway.client().await;
        client.send(ASK).await;
        for reply in [
            "HTTP/1.1 502 Bad Gateway\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
            OK,
        ] {
            let mut peer = within("an attempt", upstream.accept()).await;
            let got = peer.request().await;
            peer.send(reply).await;
            assert_eq!(family_of(&got), expected(&gateway, "shop.test"), "{inner}");
        }
        assert_eq!(client.response().await.status(), 200);
    }
}

#[tokio::test]
async fn an_http2_upstream_gets_them() {
    let (upstream, _) = h2_upstream(|request, mut respond| async move {
        let all = request.headers().iter();
        let found = family(all.map(|(name, value)| (name.as_str(), value.to_str().unwrap())));
        let response = Response::builder().header("x-found", found.join(", "));
        respond
            .send_response(response.body(()).unwrap(), true)
            .unwrap();
    })
    .await;
    let gateway = gateway(upstream, ["", "", ""], "", ", protocol: http2").await;
    let reply = gateway.ask(ASK).await;
    let found = expected(&gateway, "shop.test").join(", ");
    assert_eq!(reply.header("x-found"), Some(found.as_str()));
}
