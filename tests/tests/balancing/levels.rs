//! Priorities, zones, panic and slow start.

use std::net::SocketAddr;

use portcullis_tests::{TestGateway, Upstream, free_port, listener, within};

use crate::{get, numbered};

const CHECKS: &str =
    "health: { active: { interval: 10ms, timeout: 5s, healthy: 1, unhealthy: 1 } }";

/// A gateway in front of one upstream; `endpoints` and `more` go into its mapping, `top` to the top.
async fn gateway(endpoints: &[String], more: &str, top: &str) -> TestGateway {
    let yaml = format!(
        "{}{top}\nroutes: [{{ name: all, backends: [{{ upstream: up }}] }}]\n\
         upstreams: [{{ name: up, endpoints: [{}], {more} }}]\n",
        listener(""),
        endpoints.join(", "),
    );
    TestGateway::start(yaml).await
}

fn endpoint(address: SocketAddr, more: &str) -> String {
    format!("{{ address: \"{address}\", {more} }}")
}

/// Who answers each of 20 requests.
async fn answers(gateway: &TestGateway) -> Vec<String> {
    let mut client = gateway.client().await;
    let mut answers = Vec::new();
    for _ in 0..20 {
        let reply = client.ask(get("/", "")).await;
        answers.push(if reply.status() == 200 {
            reply.text()
        } else {
            reply.line
        });
    }
    answers.sort_unstable();
    answers.dedup();
    answers
}

/// Waits until checks have made the gateway answer like this.
async fn settles(gateway: &TestGateway, expected: &[&str]) {
    let settled = async { while answers(gateway).await != expected {} };
    within("checks of the endpoints", settled).await;
    assert_eq!(answers(gateway).await, expected);
}

/// Waits until checks have made the gateway ignore health.
async fn panics(gateway: &TestGateway) {
    let panics = async {
        loop {
            let page = gateway.admin("/upstreams").await.body;
            let page: serde_json::Value = serde_json::from_slice(&page).unwrap();
            if page[0]["panic"] == true {
                return;
            }
        }
    };
    within("checks of the endpoints", panics).await;
}

#[tokio::test]
async fn a_further_priority_is_used_when_the_first_is_down() {
    let up = numbered(2).await;
    let endpoints = [
        endpoint(up[0], "priority: 0"),
        endpoint(up[1], "priority: 1"),
    ];
    assert_eq!(answers(&gateway(&endpoints, CHECKS, "").await).await, ["0"]);
    let endpoints = [
        endpoint(free_port(), "priority: 0"),
        endpoint(up[1], "priority: 1"),
    ];
    settles(&gateway(&endpoints, CHECKS, "").await, &["1"]).await;
}

#[tokio::test]
async fn endpoints_of_the_own_zone_are_preferred() {
    let up = numbered(2).await;
    let endpoints = [endpoint(up[0], "zone: a"), endpoint(up[1], "zone: b")];
    let at = async |top: &str, more: &str| answers(&gateway(&endpoints, more, top).await).await;
    let balance = "balance: { type: round-robin }";
    assert_eq!(at("zone: b", balance).await, ["1"]);
    assert_eq!(at("zone: a", balance).await, ["0"]);
    assert_eq!(at("zone: c", balance).await, ["0", "1"]);
    assert_eq!(at("", balance).await, ["0", "1"]);
    let ignoring = format!("{balance}, ignore_zones: true");
    assert_eq!(at("zone: a", &ignoring).await, ["0", "1"]);
    let down = [endpoint(free_port(), "zone: a"), endpoint(up[1], "zone: b")];
    settles(&gateway(&down, CHECKS, "zone: a").await, &["1"]).await;
}

#[tokio::test]
async fn the_panic_threshold_decides_whether_health_is_ignored() {
    let (sick, _) = Upstream::answering(|request| {
        if request.target() == "/check" {
            "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n"
        } else {
            "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nsick"
        }
    })
    .await;
    let endpoints = [endpoint(sick, "weight: 1")];
    let checks = CHECKS.replace("active: {", "active: { path: /check,");
    let never = format!("{checks}, panic_threshold: 0");
    let refused = ["HTTP/1.1 503 Service Unavailable"];
    settles(&gateway(&endpoints, &never, "").await, &refused).await;
    let all = gateway(&endpoints, &checks, "").await;
    panics(&all).await;
    assert_eq!(answers(&all).await, ["sick"]);
    let up = numbered(1).await;
    let one_of_two = [endpoint(sick, "weight: 1"), endpoint(up[0], "weight: 1")];
    let balance = "balance: { type: round-robin }";
    let healthy_only = format!("{checks}, {balance}, panic_threshold: 50");
    settles(&gateway(&one_of_two, &healthy_only, "").await, &["0"]).await;
    let more = format!("{checks}, {balance}, panic_threshold: 51");
    let both = gateway(&one_of_two, &more, "").await;
    panics(&both).await;
    assert_eq!(answers(&both).await, ["0", "sick"]);
}

#[tokio::test]
async fn an_endpoint_added_by_a_reload_starts_slowly() {
    let up = numbered(2).await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("gateway.yaml");
    let write = |endpoints: &str| {
        let yaml = format!(
            "{}routes: [{{ name: all, backends: [{{ upstream: up }}] }}]\n\
             upstreams: [{{ name: up, endpoints: [{endpoints}], balance: {{ type: round-robin }}, \
             slow_start: {{ window: 300ms, min_percent: 1 }} }}]\n",
            listener("")
        );
        std::fs::write(&file, yaml).unwrap();
    };
    write(&format!("\"{}\"", up[0]));
    let gateway = TestGateway::files([file.clone()]).await;
    let mut client = gateway.client().await;
    // Until the first endpoint has its whole share, both would start alike.
    let alone = async {
        loop {
            assert_eq!(gateway.ask(get("/", "")).await.text(), "0");
        }
    };
    let window = std::time::Duration::from_millis(310);
    assert!(tokio::time::timeout(window, alone).await.is_err());
    write(&format!("\"{}\", \"{}\"", up[0], up[1]));
    gateway.handle.reload().unwrap();
    // The share of the newcomer grows until the two alternate.
    let mut longest = 0;
    let growing = async {
        let (mut run, mut alternating) = (0, 0);
        while alternating < 20 {
            if client.ask(get("/", "")).await.text() == "0" {
                run += 1;
            } else {
                longest = longest.max(run);
                alternating = if run == 1 { alternating + 1 } else { 0 };
                run = 0;
            }
        }
    };
    within("the newcomer's share", growing).await;
    assert!(longest > 1, "the newcomer had its whole share at once");
}
