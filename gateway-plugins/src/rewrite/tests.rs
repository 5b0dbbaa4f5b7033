use std::sync::Arc;

use portcullis_core::select::MatchedPrefix;
use portcullis_core::{Body, Request};
use serde_json::json;

use crate::harness::{Rig, get, problem, values};

fn matched(target: &str, prefix: &str) -> Request {
    let mut request = get(target);
    request
        .extensions_mut()
        .insert(MatchedPrefix(Arc::from(prefix)));
    request
}

#[tokio::test]
async fn replaces_the_matched_prefix_and_keeps_the_query() {
    let rig = Rig::new("rewrite", json!({ "path": { "prefix": "/v2" } }));
    let (seen, _, _) = rig.pass(matched("/orders/7?a=b%20c&d", "/orders")).await;
    assert_eq!(seen.uri, "/v2/7?a=b%20c&d");
    assert_eq!(seen.extensions.get(), Some(&MatchedPrefix("/v2".into())));
}

#[tokio::test]
async fn replaces_by_expression_and_sets_the_host() {
    let rig = Rig::new(
        "rewrite",
        json!({
            "path": { "regex": { "pattern": "^/users/([0-9]+)", "replacement": "/user/$1/x" } },
            "host": "Users.Internal:8080",
        }),
    );
    let (seen, _, _) = rig.pass(get("/users/42/mail?q")).await;
    assert_eq!(seen.uri, "/user/42/x/mail?q");
    assert_eq!(values(&seen.headers, "host"), ["users.internal:8080"]);
    let (seen, _, _) = rig.pass(get("/other")).await;
    assert_eq!(seen.uri, "/other");
}

#[tokio::test]
async fn upstreams_never_see_dot_segments_put_together_by_groups() {
    let rig = Rig::new(
        "rewrite",
        json!({ "path": { "regex": { "pattern": "%2F", "replacement": "/" } } }),
    );
    let (seen, _, _) = rig.pass(get("/a/..%2F..%2Fetc")).await;
    assert_eq!(seen.uri, "/etc");
}

#[tokio::test]
async fn a_path_that_cannot_be_normalised_is_refused() {
    let rig = Rig::new(
        "rewrite",
        json!({ "path": { "regex": { "pattern": "2F", "replacement": "" } } }),
    );
    let response = rig.send(get("/a%2F")).await;
    assert_eq!(response.status(), 400);
    assert_eq!(rig.arrived(), 0);
}

#[tokio::test]
async fn the_server_as_a_whole_has_no_path() {
    let rig = Rig::new("rewrite", json!({ "path": { "full": "/x" } }));
    let request = http::Request::options("*").body(Body::empty()).unwrap();
    let (seen, _, _) = rig.pass(request).await;
    assert_eq!(seen.uri.path(), "*");
}

#[test]
fn explains_bad_settings() {
    for (settings, expected) in [
        (
            json!({}),
            "rewrite: nothing to rewrite\n  hint: give `path` or `host`",
        ),
        (
            json!({ "path": { "prefix": "v2" } }),
            "expected an absolute path such as /orders, found `v2` (at path.prefix)\n  hint: a path begins with a slash",
        ),
        (
            json!({ "path": { "regex": { "pattern": "a" } } }),
            "missing key `replacement` (at path.regex)",
        ),
        (
            json!({ "path": { "regex": { "pattern": "a", "replacement": "$1" } } }),
            "rewrite: `replacement` names the group `1`, which `pattern` does not have; `${1}a` is group 1 before an `a` (at path)",
        ),
        (
            json!({ "host": "a/b" }),
            "expected a host such as shop.example or shop.example:8080, found `a/b` (at host)",
        ),
    ] {
        let got = problem("rewrite", settings);
        assert!(got.ends_with(expected), "{got}\n{expected}");
    }
}
