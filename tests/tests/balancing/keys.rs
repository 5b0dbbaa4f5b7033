//! What consistent balancing hashes.

use std::collections::HashSet;

use portcullis_tests::TestGateway;

use crate::{cookie, get, numbered, to_all};

const ENDPOINTS: usize = 5;
const KEYS: usize = 40;

/// Asks with many keys, each of them twice, and says which endpoints answered. One key must mean one endpoint.
async fn ask(gateway: &TestGateway, request: impl Fn(usize) -> String) -> HashSet<String> {
    let mut client = gateway.client().await;
    let mut seen = HashSet::new();
    for key in 0..KEYS {
        let first = client.ask(request(key)).await.text();
        assert_eq!(client.ask(request(key)).await.text(), first, "key {key}");
        seen.insert(first);
    }
    seen
}

async fn gateway(policy: &str, hash: &str) -> TestGateway {
    let upstream = format!("balance: {{ type: {policy} }}, hash: {hash}");
    TestGateway::start(to_all(&numbered(ENDPOINTS).await, "", &upstream)).await
}

#[tokio::test]
async fn each_kind_of_key_spreads_keys_and_keeps_each_at_one_endpoint() {
    type Request = fn(usize) -> String;
    let table: [(&str, Request); 5] = [
        ("{ header: x-user }", |key| {
            get("/", &format!("x-user: user-{key}\r\n"))
        }),
        ("{ cookie: sid }", |key| {
            get("/", &format!("cookie: a=b; sid=s{key}\r\n"))
        }),
        ("{ query: \"user id\" }", |key| {
            get(&format!("/?page={key}{key}&user+id=%75{key}"), "")
        }),
        ("{ path_capture: \"^/users/([^/]+)\" }", |key| {
            get(&format!("/users/{key}/orders"), "")
        }),
        ("path", |key| get(&format!("/{key}?a"), "")),
    ];
    for (hash, request) in table {
        for policy in ["maglev", "ring-hash"] {
            let gateway = gateway(policy, hash).await;
            let seen = ask(&gateway, request).await;
            assert!(seen.len() > 1, "{hash} with {policy}: all at {seen:?}");
        }
    }
}

#[tokio::test]
async fn what_is_not_part_of_the_key_does_not_matter() {
    let gateway = gateway("maglev", "{ path_capture: \"^/users/([^/]+)\" }").await;
    let request = |key| get(&format!("/users/ann/{key}"), "");
    assert_eq!(ask(&gateway, request).await.len(), 1);
}

#[tokio::test]
async fn the_first_key_that_a_request_has_counts() {
    let gateway = gateway("maglev", "[{ header: x-user }, client-ip]").await;
    let with = ask(&gateway, |key| get("/", &format!("x-user: {key}\r\n"))).await;
    assert!(with.len() > 1);
    let without = ask(&gateway, |key| get(&format!("/{key}"), "")).await;
    assert_eq!(without.len(), 1, "all come from one address");
}

#[tokio::test]
async fn clients_without_the_cookie_are_given_one() {
    let hash = "{ cookie: { name: sid, path: /shop, max_age: 1h, http_only: true } }";
    let gateway = gateway("maglev", hash).await;
    let mut values = HashSet::new();
    for _ in 0..5 {
        let mut client = gateway.client().await;
        let reply = client.ask(get("/", "")).await;
        let (pair, attributes) = cookie(&reply).unwrap();
        assert_eq!(attributes, "Max-Age=3600; Path=/shop; HttpOnly");
        for _ in 0..5 {
            let again = client.ask(get("/", &format!("cookie: {pair}\r\n"))).await;
            assert_eq!(again.text(), reply.text());
            assert_eq!(again.header("set-cookie"), None);
        }
        values.insert(pair);
    }
    assert_eq!(values.len(), 5, "every client has a value of its own");
}
