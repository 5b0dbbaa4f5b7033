//! Clients that stay where they were.

use std::collections::HashSet;

use portcullis_tests::{TestGateway, Upstream, free_port, listener, within};

use crate::{cookie, get, numbered, to_all};

const SICK: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\nsick";

#[tokio::test]
async fn a_cookie_keeps_the_client_at_its_endpoint() {
    let addresses = numbered(4).await;
    let sticky = "sticky: { cookie: { name: lb, secure: true, http_only: true, same_site: none, \
                  domain: shop.example, path: /a, max_age: 90s } }, balance: { type: round-robin }";
    let gateway = TestGateway::start(to_all(&addresses, "", sticky)).await;
    let mut seen = HashSet::new();
    for _ in 0..4 {
        let mut client = gateway.client().await;
        let first = client.ask(get("/", "")).await;
        let (pair, attributes) = cookie(&first).unwrap();
        assert_eq!(
            attributes,
            "Max-Age=90; Path=/a; Domain=shop.example; Secure; HttpOnly; SameSite=None"
        );
        for address in &addresses {
            let shown = [address.to_string(), address.port().to_string()];
            assert!(shown.iter().all(|text| !pair.contains(text)), "{pair}");
        }
        for _ in 0..6 {
            let again = client
                .ask(get("/", &format!("cookie: x=y; {pair}\r\n")))
                .await;
            assert_eq!(again.text(), first.text());
            assert_eq!(again.header("set-cookie"), None);
        }
        seen.insert(first.text());
    }
    assert_eq!(seen.len(), 4, "new clients are balanced");
}

#[tokio::test]
async fn a_cookie_that_names_no_endpoint_is_replaced() {
    let sticky = "sticky: { cookie: lb }";
    let gateway = TestGateway::start(to_all(&numbered(3).await, "", sticky)).await;
    for forged in [
        "0123456789abcdef",
        "127.0.0.1",
        "",
        "\"",
        "ffffffffffffffff",
    ] {
        let reply = gateway
            .ask(get("/", &format!("cookie: lb={forged}\r\n")))
            .await;
        assert_eq!(reply.status(), 200);
        assert!(cookie(&reply).is_some(), "{forged}");
    }
}

#[tokio::test]
async fn a_header_keeps_the_client_too() {
    let sticky = "sticky: { header: x-session }, balance: { type: round-robin }";
    let gateway = TestGateway::start(to_all(&numbered(3).await, "", sticky)).await;
    let mut client = gateway.client().await;
    let first = client.ask(get("/", "")).await;
    let token = first.header("x-session").unwrap().to_owned();
    for _ in 0..6 {
        let again = client
            .ask(get("/", &format!("x-session: {token}\r\n")))
            .await;
        assert_eq!(again.text(), first.text());
    }
}

#[tokio::test]
async fn a_client_of_a_failed_endpoint_moves_and_stays_where_it_moved() {
    let (sick, _) = Upstream::answering(|request| {
        let first = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nsick";
        let ill = request.target() == "/ill";
        if ill { SICK } else { first }
    })
    .await;
    let mut addresses = numbered(2).await;
    addresses.push(sick);
    let upstream = "sticky: { cookie: lb }, balance: { type: round-robin }, \
                    health: { passive: { consecutive_failures: 1, eject_for: 1h } }";
    let gateway = TestGateway::start(to_all(&addresses, "", upstream)).await;
    let mut client = gateway.client().await;
    let pair = loop {
        let reply = client.ask(get("/", "")).await;
        if reply.text() == "sick" {
            break cookie(&reply).unwrap().0;
        }
    };
    let fields = format!("cookie: {pair}\r\n");
    assert_eq!(client.ask(get("/ill", &fields)).await.status(), 503);
    // The ejection reaches the picker a moment after the reply.
    let moving = async {
        loop {
            let reply = client.ask(get("/", &fields)).await;
            if reply.text() != "sick" {
                return reply;
            }
        }
    };
    let moved = within("an ejection", moving).await;
    let (pair, _) = cookie(&moved).unwrap();
    for _ in 0..5 {
        let again = client.ask(get("/", &format!("cookie: {pair}\r\n"))).await;
        assert_eq!(again.text(), moved.text());
        assert_eq!(again.header("set-cookie"), None);
    }
}

#[tokio::test]
async fn a_retry_tells_the_client_where_it_ended() {
    let mut addresses = numbered(1).await;
    addresses.push(free_port());
    let route = "retry: { attempts: 1, budget: { percent: 1000 } }";
    let upstream = "sticky: { cookie: lb }, balance: { type: round-robin }";
    let gateway = TestGateway::start(to_all(&addresses, route, upstream)).await;
    let mut tokens = HashSet::new();
    for _ in 0..6 {
        let reply = gateway.ask(get("/", "")).await;
        assert_eq!(reply.text(), "0");
        tokens.insert(cookie(&reply).unwrap().0);
    }
    assert_eq!(tokens.len(), 1, "only that of the endpoint that answered");
}

#[tokio::test]
async fn an_endpoint_of_weight_zero_keeps_its_clients() {
    let addresses = numbered(2).await;
    let yaml = |weight| {
        let second = format!("{{ address: \"{}\", weight: {weight} }}", addresses[1]);
        to_all(&addresses[..1], "", "sticky: { cookie: lb }").replacen(
            "], sticky",
            &format!(", {second}], sticky"),
            1,
        )
    };
    let before = TestGateway::start(yaml(1000)).await;
    let pair = loop {
        let reply = before.ask(get("/", "")).await;
        if reply.text() == "1" {
            break cookie(&reply).unwrap().0;
        }
    };
    let leaving = TestGateway::start(yaml(0)).await;
    for _ in 0..5 {
        assert_eq!(leaving.ask(get("/", "")).await.text(), "0");
        let kept = leaving.ask(get("/", &format!("cookie: {pair}\r\n"))).await;
        assert_eq!(kept.text(), "1");
    }
}

#[tokio::test]
async fn tokens_end_with_their_time() {
    let upstream =
        "sticky: { cookie: { name: lb, max_age: 2h }, absolute_timeout: 1h, idle_timeout: 5m }";
    let gateway = TestGateway::start(to_all(&numbered(2).await, "", upstream)).await;
    let reply = gateway.ask(get("/", "")).await;
    let (pair, attributes) = cookie(&reply).unwrap();
    assert_eq!(attributes, "Max-Age=3600; Path=/");
    let parts: Vec<&str> = pair.split('-').collect();
    let [endpoint, issued, used] = parts[..] else {
        panic!("{pair}")
    };
    let ago = |time: &str, minutes: u64| {
        let time = u64::from_str_radix(time, 16).unwrap() - minutes * 60_000;
        format!("{time:x}")
    };
    let ask = async |issued: String, used: String| {
        let fields = format!("cookie: {endpoint}-{issued}-{used}\r\n");
        let reply = gateway.ask(get("/", &fields)).await;
        cookie(&reply)
    };
    assert_eq!(ask(issued.to_owned(), used.to_owned()).await, None);
    let (renewed, _) = ask(ago(issued, 30), ago(used, 4)).await.unwrap();
    assert!(renewed.starts_with(&format!("{endpoint}-{}-", ago(issued, 30))));
    for (issued_before, used_before) in [(30, 6), (61, 0)] {
        let (anew, _) = ask(ago(issued, issued_before), ago(used, used_before))
            .await
            .unwrap();
        let began = u64::from_str_radix(anew.split('-').nth(1).unwrap(), 16).unwrap();
        assert!(
            began >= u64::from_str_radix(issued, 16).unwrap(),
            "a new token"
        );
    }
}

/// A route over two upstreams; the fields go into the mappings of the route and of each of them.
fn split(addresses: &[std::net::SocketAddr], route: &str, second: &str, upstream: &str) -> String {
    format!(
        "{}routes: [{{ name: all, backends: [{{ upstream: a }}, {{ upstream: b{second} }}], {route} }}]\n\
         upstreams:\n  - {{ name: a, endpoints: [\"{}\"], {upstream} }}\n  - {{ name: b, endpoints: [\"{}\"], {upstream} }}\n",
        listener(""),
        addresses[0],
        addresses[1],
    )
}

#[tokio::test]
async fn a_split_keeps_the_client_on_its_backend() {
    let yaml = split(&numbered(2).await, "sticky: { cookie: variant }", "", "");
    let gateway = TestGateway::start(yaml).await;
    let mut seen = HashSet::new();
    while seen.len() < 2 {
        let mut client = gateway.client().await;
        let first = client.ask(get("/", "")).await;
        let (pair, _) = cookie(&first).unwrap();
        for _ in 0..8 {
            let again = client.ask(get("/", &format!("cookie: {pair}\r\n"))).await;
            assert_eq!(again.text(), first.text());
            assert_eq!(again.header("set-cookie"), None);
        }
        seen.insert(first.text());
    }
}

#[tokio::test]
async fn backend_and_endpoint_are_kept_by_a_cookie_each() {
    let upstream = "sticky: { cookie: server }";
    let yaml = split(
        &numbered(2).await,
        "sticky: { cookie: variant }",
        "",
        upstream,
    );
    let gateway = TestGateway::start(yaml).await;
    let reply = gateway.ask(get("/", "")).await;
    let mut names: Vec<&str> = reply
        .all("set-cookie")
        .iter()
        .filter_map(|cookie| cookie.split('=').next())
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["server", "variant"]);
}

#[tokio::test]
async fn a_backend_of_the_next_priority_takes_over_from_one_that_is_down() {
    let addresses = [free_port(), numbered(1).await[0]];
    let active = "health: { active: { interval: 10ms, timeout: 5s, healthy: 1, unhealthy: 1 } }";
    let yaml = split(
        &addresses,
        "retry: { attempts: 0 }",
        ", priority: 1",
        active,
    );
    let gateway = TestGateway::start(yaml).await;
    let taken_over = async { while gateway.ask(get("/", "")).await.status() != 200 {} };
    within("a check of the endpoint", taken_over).await;
    for _ in 0..5 {
        assert_eq!(gateway.ask(get("/", "")).await.text(), "0");
    }
}
