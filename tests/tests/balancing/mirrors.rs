//! Copies of requests.

use portcullis_tests::{Message, TestGateway, Upstream, free_port, listener, within};
use tokio::sync::mpsc;

use crate::{get, numbered};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nmirror";

/// A gateway whose route copies requests; `more` goes into the mapping of the mirror.
async fn gateway(mirror: std::net::SocketAddr, more: &str) -> TestGateway {
    let real = numbered(1).await[0];
    TestGateway::start(format!(
        "{}routes: [{{ name: all, backends: [{{ upstream: up }}], mirror: [{{ upstream: copies{more} }}] }}]\n\
         upstreams: [{{ name: up, endpoints: [\"{real}\"] }}, {{ name: copies, endpoints: [\"{mirror}\"] }}]\n",
        listener("")
    ))
    .await
}

/// An upstream that answers, and what it is asked.
async fn watched() -> (std::net::SocketAddr, mpsc::UnboundedReceiver<Message>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let (address, _) = Upstream::answering(move |request| {
        // The test may be over already.
        let _ = sender.send(request);
        OK
    })
    .await;
    (address, receiver)
}

fn post(target: &str, size: usize) -> String {
    let body = "x".repeat(size);
    format!("POST {target} HTTP/1.1\r\nhost: test\r\ncontent-length: {size}\r\n\r\n{body}")
}

/// How many copies had this outcome.
async fn count(gateway: &TestGateway, outcome: &str) -> u64 {
    let page = gateway.admin("/metrics").await.text();
    let label = format!("outcome=\"{outcome}\"");
    let mut lines = page.lines();
    let line = lines.find(|line| {
        line.starts_with("portcullis_mirrored_requests_total{") && line.contains(&label)
    });
    line.unwrap().rsplit(' ').next().unwrap().parse().unwrap()
}

async fn counts(gateway: &TestGateway, outcome: &str, expected: u64) {
    let reached = async { while count(gateway, outcome).await != expected {} };
    within(outcome, reached).await;
}

#[tokio::test]
async fn copies_are_what_the_real_upstream_gets_and_answers_are_not_seen() {
    let (mirror, mut copies) = watched().await;
    let gateway = gateway(mirror, "").await;
    let mut client = gateway.client().await;
    for (request, body) in [
        (get("/orders?page=2", "x-user: ann\r\n"), 0),
        (post("/orders", 5), 5),
        (post("/orders", 60_000), 60_000),
    ] {
        assert_eq!(client.ask(&request).await.text(), "0");
        let copy = within("a copy", copies.recv()).await.unwrap();
        assert_eq!(Some(copy.line.as_str()), request.lines().next());
        assert_eq!(copy.header("host"), Some("test"));
        assert_eq!(copy.header("x-forwarded-for"), Some("127.0.0.1"));
        assert_eq!(copy.body.len(), body);
    }
    let chunked = "POST /c HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    assert_eq!(client.ask(chunked).await.text(), "0");
    let copy = within("a copy", copies.recv()).await.unwrap();
    assert_eq!(copy.text(), "abcde");
    counts(&gateway, "answered", 4).await;
    gateway.settles("copies", 1, 1).await;
}

#[tokio::test]
async fn a_mirror_that_is_down_or_silent_is_not_noticed() {
    let down = gateway(free_port(), "").await;
    assert_eq!(down.ask(get("/", "")).await.text(), "0");
    counts(&down, "failed", 1).await;
    let silent = Upstream::bind().await;
    let gateway = gateway(silent.addr(), ", max_in_flight: 1").await;
    let mut client = gateway.client().await;
    assert_eq!(client.ask(post("/", 5)).await.text(), "0");
    let mut held = silent.accept().await;
    assert_eq!(held.request().await.text(), "xxxxx");
    for _ in 0..3 {
        assert_eq!(client.ask(get("/", "")).await.text(), "0");
    }
    assert_eq!(count(&gateway, "dropped").await, 3);
    held.send(OK).await;
    counts(&gateway, "answered", 1).await;
    assert_eq!(client.ask(get("/again", "")).await.text(), "0");
    assert_eq!(held.request().await.target(), "/again");
}

#[tokio::test]
async fn bodies_beyond_the_cap_are_not_copied() {
    let (mirror, mut copies) = watched().await;
    let gateway = gateway(mirror, ", max_body: 1000B").await;
    let mut client = gateway.client().await;
    assert_eq!(client.ask(post("/announced", 1001)).await.text(), "0");
    let chunk = "x".repeat(600);
    let chunked = format!(
        "POST /chunked HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n\
         258\r\n{chunk}\r\n258\r\n{chunk}\r\n0\r\n\r\n"
    );
    assert_eq!(client.ask(chunked).await.text(), "0");
    assert_eq!(client.ask(post("/fits", 1000)).await.text(), "0");
    let copy = within("a copy", copies.recv()).await.unwrap();
    assert_eq!((copy.target(), copy.body.len()), ("/fits", 1000));
    assert_eq!(count(&gateway, "too_large").await, 2);
}

#[tokio::test]
async fn a_request_that_ends_early_is_not_copied() {
    let (mirror, mut copies) = watched().await;
    let gateway = gateway(mirror, "").await;
    let mut client = gateway.client().await;
    client
        .send("POST /cut HTTP/1.1\r\nhost: test\r\ncontent-length: 10\r\n\r\nhalf.")
        .await;
    drop(client);
    counts(&gateway, "incomplete", 1).await;
    assert_eq!(gateway.ask(get("/whole", "")).await.text(), "0");
    let copy = within("a copy", copies.recv()).await.unwrap();
    assert_eq!(copy.target(), "/whole");
}

#[tokio::test]
async fn the_percentage_says_how_many_are_copied() {
    const REQUESTS: u64 = 300;
    for (percent, expected) in [("0", 0..=0), ("30", 40..=140), ("100", REQUESTS..=REQUESTS)] {
        let (mirror, _copies) = watched().await;
        let more = format!(", percent: {percent}, max_in_flight: 1000");
        let gateway = gateway(mirror, &more).await;
        let mut client = gateway.client().await;
        for _ in 0..REQUESTS {
            assert_eq!(client.ask(get("/", "")).await.text(), "0");
        }
        let least = *expected.start();
        let enough = async { while count(&gateway, "answered").await < least {} };
        within("copies", enough).await;
        let copied = count(&gateway, "answered").await;
        assert!(expected.contains(&copied), "{copied} at {percent} %");
    }
}
