//! Which route a request takes, told by what answers it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops where something unexpected happens"
)]

use std::collections::HashMap;

use portcullis::route::{Matcher, RequestView};
use portcullis_tests::{Peer, TestGateway, Upstream, listener};

/// A configuration of routes that answer with their own names; each is `name: rest of its mapping`.
fn named(routes: &[(&str, &str)]) -> String {
    routes_on(&listener(""), routes)
}

fn routes_on(listeners: &str, routes: &[(&str, &str)]) -> String {
    let mut yaml = format!("{listeners}routes:\n");
    for (name, rest) in routes {
        yaml.push_str(&format!(
            "- {{ name: {name}, {rest}, filters: [{{ type: respond, status: 200, body: {name} }}] }}\n"
        ));
    }
    yaml
}

/// The name of the route that answers, or the status.
async fn taken(gateway: &TestGateway, request: &str) -> String {
    taken_on(gateway.client().await, request).await
}

async fn taken_on(mut client: Peer, request: &str) -> String {
    let request = request.trim_end().replace('\n', "\r\n");
    let reply = client.ask(format!("{request}\r\n\r\n")).await;
    if reply.status() == 200 {
        reply.text()
    } else {
        reply.status().to_string()
    }
}

async fn expect(gateway: &TestGateway, table: &[(&str, &str)]) {
    for (request, expected) in table {
        assert_eq!(taken(gateway, request).await, *expected, "{request}");
    }
}

#[tokio::test]
async fn hosts_exact_before_wildcard_before_any() {
    let gateway = TestGateway::start(named(&[
        ("any", "match: { path: / }"),
        ("wild", "match: { hosts: [\"*.shop.test\"] }"),
        ("deep", "match: { hosts: [\"*.eu.shop.test\"] }"),
        ("exact", "match: { hosts: [a.shop.test] }"),
    ]))
    .await;
    expect(
        &gateway,
        &[
            ("GET / HTTP/1.1\nhost: a.shop.test", "exact"),
            ("GET / HTTP/1.1\nhost: A.Shop.TEST:8080", "exact"),
            ("GET / HTTP/1.1\nhost: a.shop.test.", "exact"),
            (
                "GET http://a.shop.test/ HTTP/1.1\nhost: a.shop.test",
                "exact",
            ),
            ("GET / HTTP/1.1\nhost: b.shop.test", "wild"),
            ("GET / HTTP/1.1\nhost: c.b.shop.test", "wild"),
            ("GET / HTTP/1.1\nhost: x.eu.shop.test", "deep"),
            ("GET / HTTP/1.1\nhost: shop.test", "any"),
            ("GET / HTTP/1.1\nhost: evilshop.test", "any"),
            ("GET / HTTP/1.0", "any"),
        ],
    )
    .await;
}

#[tokio::test]
async fn paths_exact_before_longest_prefix() {
    let gateway = TestGateway::start(named(&[
        ("root", "match: { path: / }"),
        ("orders", "match: { path: { prefix: /orders } }"),
        ("old", "match: { path: { prefix: /orders/old } }"),
        ("one", "match: { path: { exact: /orders/1 } }"),
        ("text", "match: { path: { string_prefix: /img } }"),
        ("number", "match: { path: { regex: \"/n/[0-9]+\" } }"),
    ]))
    .await;
    expect(
        &gateway,
        &[
            ("GET /orders/1 HTTP/1.1\nhost: x", "one"),
            ("GET /orders/1?a=b HTTP/1.1\nhost: x", "one"),
            ("GET /orders/1/ HTTP/1.1\nhost: x", "orders"),
            ("GET /orders HTTP/1.1\nhost: x", "orders"),
            ("GET /orders/ HTTP/1.1\nhost: x", "orders"),
            ("GET /orders2 HTTP/1.1\nhost: x", "root"),
            ("GET /Orders HTTP/1.1\nhost: x", "root"),
            ("GET /orders/old/7 HTTP/1.1\nhost: x", "old"),
            ("GET /image HTTP/1.1\nhost: x", "root"),
            ("GET /img2 HTTP/1.1\nhost: x", "text"),
            ("GET /n/12 HTTP/1.1\nhost: x", "number"),
            ("GET /n/12x HTTP/1.1\nhost: x", "root"),
            ("GET /x/n/12 HTTP/1.1\nhost: x", "root"),
            ("GET /orders%2F1 HTTP/1.1\nhost: x", "root"),
            ("GET /%6Frders/%31 HTTP/1.1\nhost: x", "one"),
        ],
    )
    .await;
}

#[tokio::test]
async fn methods_headers_and_query_narrow_a_route() {
    let gateway = TestGateway::start(named(&[
        ("all", "match: { path: / }"),
        ("post", "match: { path: /, methods: [POST, PUT] }"),
        ("gold", "match: { path: /, headers: { X-Tenant: gold } }"),
        (
            "version",
            "match: { path: /, headers: { x-v: { regex: \"v[0-9]\" } } }",
        ),
        (
            "debug",
            "match: { path: /, query: { debug: { present: true } } }",
        ),
        (
            "page",
            "match: { path: /, query: { page: \"2\", size: { regex: \"[0-9]+\" } } }",
        ),
        (
            "nocookie",
            "match: { path: /plain, headers: { cookie: { absent: true } } }",
        ),
    ]))
    .await;
    expect(
        &gateway,
        &[
            ("GET / HTTP/1.1\nhost: x", "all"),
            ("POST / HTTP/1.1\nhost: x", "post"),
            ("PUT / HTTP/1.1\nhost: x", "post"),
            ("DELETE / HTTP/1.1\nhost: x", "all"),
            ("GET / HTTP/1.1\nhost: x\nx-tenant: gold", "gold"),
            ("GET / HTTP/1.1\nhost: x\nx-tenant: Gold", "all"),
            ("GET / HTTP/1.1\nhost: x\nX-V: v7", "version"),
            ("GET / HTTP/1.1\nhost: x\nX-V: v77", "all"),
            ("GET /?debug HTTP/1.1\nhost: x", "debug"),
            ("GET /?a=1&debug=no HTTP/1.1\nhost: x", "debug"),
            ("GET /?page=2&size=10 HTTP/1.1\nhost: x", "page"),
            ("GET /?size=10&page=%32 HTTP/1.1\nhost: x", "page"),
            ("GET /?page=2 HTTP/1.1\nhost: x", "all"),
            ("GET /plain HTTP/1.1\nhost: x", "nocookie"),
            ("GET /plain HTTP/1.1\nhost: x\ncookie: a=b", "all"),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_priority_beats_what_is_more_specific() {
    let gateway = TestGateway::start(named(&[
        (
            "specific",
            "match: { hosts: [a.test], path: { exact: /a } }",
        ),
        (
            "maintenance",
            "priority: 1000, match: { path: { prefix: / }, headers: { x-maintenance: \"1\" } }",
        ),
        ("last", "priority: -5, match: { path: / }"),
    ]))
    .await;
    expect(
        &gateway,
        &[
            ("GET /a HTTP/1.1\nhost: a.test", "specific"),
            (
                "GET /a HTTP/1.1\nhost: a.test\nx-maintenance: 1",
                "maintenance",
            ),
            ("GET /b HTTP/1.1\nhost: a.test", "last"),
        ],
    )
    .await;
}

#[tokio::test]
async fn rules_in_the_other_language_mean_the_same() {
    let gateway = TestGateway::start(named(&[
        ("prefix", "rule: 'Host(`a.test`) && PathPrefix(`/api`)'"),
        ("not", "rule: 'Host(`b.test`) && !Method(`GET`)'"),
        ("either", "rule: 'Path(`/x`) || Header(`X-Y`, `z`)'"),
    ]))
    .await;
    expect(
        &gateway,
        &[
            ("GET /api/1 HTTP/1.1\nhost: a.test", "prefix"),
            ("GET /other HTTP/1.1\nhost: a.test", "404"),
            ("POST / HTTP/1.1\nhost: b.test", "not"),
            ("GET / HTTP/1.1\nhost: b.test", "404"),
            ("GET /x HTTP/1.1\nhost: c.test", "either"),
            ("GET /q HTTP/1.1\nhost: c.test\nx-y: z", "either"),
        ],
    )
    .await;
}

#[tokio::test]
async fn clients_are_told_apart_by_address_as_far_as_it_can_be_trusted() {
    let routes = [
        ("inside", "match: { client_ip: [10.0.0.0/8] }"),
        ("local", "match: { client_ip: [127.0.0.0/8] }"),
    ];
    let strangers = TestGateway::start(named(&routes)).await;
    let forged = "GET / HTTP/1.1\nhost: x\nx-forwarded-for: 10.0.0.1";
    expect(
        &strangers,
        &[("GET / HTTP/1.1\nhost: x", "local"), (forged, "local")],
    )
    .await;
    let behind = TestGateway::start(routes_on(
        &listener("trusted_proxies: [127.0.0.1/32]"),
        &routes,
    ))
    .await;
    expect(
        &behind,
        &[
            (forged, "inside"),
            (
                "GET / HTTP/1.1\nhost: x\nx-forwarded-for: 10.0.0.1, 203.0.113.9",
                "404",
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn routes_belong_to_listeners() {
    let listeners = "listeners: [{ name: web, bind: \"127.0.0.1:0\" }, { name: inner, bind: \"127.0.0.1:0\" }]\n";
    let gateway = TestGateway::start(routes_on(
        listeners,
        &[
            ("both", "match: { path: /both }"),
            ("web-only", "listeners: [web], match: { path: /one }"),
            ("inner-only", "listeners: [inner], match: { path: /one }"),
            ("inner-too", "listeners: [inner], match: { path: /two }"),
        ],
    ))
    .await;
    for (listener, path, expected) in [
        ("web", "/both", "both"),
        ("inner", "/both", "both"),
        ("web", "/one", "web-only"),
        ("inner", "/one", "inner-only"),
        ("web", "/two", "404"),
        ("inner", "/two", "inner-too"),
    ] {
        let client = Peer::connect(gateway.listener(listener)).await;
        let got = taken_on(client, &format!("GET {path} HTTP/1.1\nhost: x")).await;
        assert_eq!(got, expected, "{listener} {path}");
    }
}

#[tokio::test]
async fn ports_narrow_a_route() {
    let port = portcullis_tests::free_port().port();
    let listeners = format!(
        "listeners: [{{ name: web, bind: \"127.0.0.1:0\" }}, {{ name: fixed, bind: \"127.0.0.1:{port}\" }}]\n"
    );
    let rest = format!("match: {{ ports: [{port}] }}");
    let gateway = TestGateway::start(routes_on(
        &listeners,
        &[("fixed", &rest), ("other", "priority: -1")],
    ))
    .await;
    assert_eq!(taken(&gateway, "GET / HTTP/1.1\nhost: x").await, "other");
    let client = Peer::connect(gateway.listener("fixed")).await;
    assert_eq!(taken_on(client, "GET / HTTP/1.1\nhost: x").await, "fixed");
}

/// Agrees with requests whose header `x-lucky` is a number that can be divided by seven; fails for no number.
#[derive(Debug)]
struct Lucky;

/// Takes no settings.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Nothing {}

impl Matcher for Lucky {
    fn matches(&self, request: &RequestView<'_>) -> Result<bool, portcullis::route::MatchError> {
        let Some(value) = request.headers.get("x-lucky") else {
            return Ok(false);
        };
        let number = value
            .to_str()
            .ok()
            .and_then(|text| text.parse::<u64>().ok());
        match number {
            Some(number) => Ok(number % 7 == 0),
            None => Err(portcullis::route::MatchError::new("not a number")),
        }
    }
}

#[tokio::test]
async fn matchers_of_plugins_take_part_and_may_fail() {
    let yaml = named(&[
        ("lucky", "match: { path: /, custom: [{ type: lucky }] }"),
        ("other", "match: { path: / }"),
    ]);
    let gateway = TestGateway::with(yaml, |registry| {
        registry.matcher("lucky", |_: Nothing, _: &_| Ok(Lucky))
    })
    .await;
    expect(
        &gateway,
        &[
            ("GET / HTTP/1.1\nhost: x\nx-lucky: 14", "lucky"),
            ("GET / HTTP/1.1\nhost: x\nx-lucky: 15", "other"),
            ("GET / HTTP/1.1\nhost: x", "other"),
            // Not knowing is not the same as no: it must not fall through to a route with fewer conditions.
            ("GET / HTTP/1.1\nhost: x\nx-lucky: seven", "500"),
        ],
    )
    .await;
}

#[tokio::test]
async fn weights_share_requests_out() {
    let (a, b, never) = (
        Upstream::fixed("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na").await,
        Upstream::fixed("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nb").await,
        Upstream::fixed("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx").await,
    );
    let gateway = TestGateway::start(format!(
        "{}routes: [{{ name: all, backends: [{{ upstream: a, weight: 3 }}, {{ upstream: b, weight: 1, filters: \
         [{{ type: headers, response: {{ set: {{ x-canary: \"1\" }} }} }}] }}, {{ upstream: never, weight: 0 }}] }}]\n\
         upstreams: [{{ name: a, endpoints: [\"{a}\"] }}, {{ name: b, endpoints: [\"{b}\"] }}, \
         {{ name: never, endpoints: [\"{never}\"] }}]\n",
        listener("")
    ))
    .await;
    let mut client = gateway.client().await;
    let mut counts: HashMap<String, u32> = HashMap::new();
    for _ in 0..800 {
        let reply = client.ask("GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert_eq!(reply.header("x-canary").is_some(), reply.text() == "b");
        *counts.entry(reply.text()).or_default() += 1;
    }
    assert_eq!(counts.len(), 2, "{counts:?}");
    // 600 of 800 expected; 500 and 700 are eight standard deviations away.
    assert!((500..700).contains(&counts["a"]), "{counts:?}");
}

#[tokio::test]
async fn a_reload_changes_routes_for_open_connections() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.yaml");
    std::fs::write(&file, named(&[("one", "match: { path: / }")])).unwrap();
    let gateway = TestGateway::files([file.clone()]).await;
    let mut client = gateway.client().await;
    assert_eq!(
        client.ask("GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.text(),
        "one"
    );
    std::fs::write(&file, named(&[("two", "match: { path: / }")])).unwrap();
    gateway.handle.reload().unwrap();
    assert_eq!(
        client.ask("GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.text(),
        "two"
    );
    std::fs::write(&file, "routes: [{ nam: broken }]").unwrap();
    assert!(gateway.handle.reload().is_err());
    assert_eq!(
        client.ask("GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.text(),
        "two"
    );
}

#[tokio::test]
async fn a_prefix_is_replaced_where_the_route_asks_for_exactly_one_path() {
    let upstream = Upstream::mirror().await;
    let gateway = TestGateway::start(format!(
        "{}routes:\n\
         - name: one\n  match: {{ path: {{ exact: /orders }} }}\n  \
         filters: [{{ type: rewrite, path: {{ prefix: /v2 }} }}]\n  backends: [{{ upstream: up }}]\n\
         upstreams: [{{ name: up, endpoints: [\"{upstream}\"] }}]\n",
        listener("")
    ))
    .await;
    let reply = gateway.get("/orders?a=b").await;
    assert!(
        reply.text().starts_with("GET /v2?a=b HTTP/1.1\n"),
        "{}",
        reply.text()
    );
    assert_eq!(gateway.get("/orders/7").await.status(), 404);
}
