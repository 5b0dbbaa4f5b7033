use portcullis_core::{ErrorClass, GatewayError};
use serde_json::json;

use crate::harness::{Rig, get, problem, values};

#[tokio::test]
async fn removes_then_sets_then_adds_on_the_way_down() {
    let rig = Rig::new(
        "headers",
        json!({ "request": {
            "set": { "x-canary": "1", "X-Many": ["a", "b"] },
            "add": { "accept": "text/plain" },
            "remove": ["x-debug", "x-many"],
        } }),
    );
    let mut request = get("/");
    for (name, value) in [
        ("x-debug", "1"),
        ("x-canary", "0"),
        ("x-canary", "2"),
        ("x-many", "z"),
        ("accept", "text/html"),
    ] {
        request.headers_mut().append(name, value.parse().unwrap());
    }
    let (seen, _, response) = rig.pass(request).await;
    assert_eq!(values(&seen.headers, "x-canary"), ["1"]);
    assert_eq!(values(&seen.headers, "x-many"), ["a", "b"]);
    assert_eq!(values(&seen.headers, "accept"), ["text/html", "text/plain"]);
    assert!(!seen.headers.contains_key("x-debug"));
    assert!(!response.headers().contains_key("x-canary"));
}

#[tokio::test]
async fn changes_replies_and_rendered_errors() {
    let settings = json!({ "response": { "set": { "x-frame-options": "DENY" }, "remove": ["server", "content-type"] } });
    let rig = Rig::answering("headers", settings.clone(), || {
        let reply = http::Response::builder()
            .header("server", "secret/1")
            .header("x-frame-options", "ALLOW");
        Ok(reply.body("x".into()).unwrap())
    });
    let (_, _, response) = rig.pass(get("/")).await;
    assert_eq!(values(response.headers(), "x-frame-options"), ["DENY"]);
    assert!(!response.headers().contains_key("server"));

    let rig = Rig::answering("headers", settings, || {
        Err(GatewayError::new(ErrorClass::Connect, "connecting"))
    });
    let (_, _, response) = rig.pass(get("/")).await;
    assert_eq!(response.status(), 502);
    assert_eq!(values(response.headers(), "x-frame-options"), ["DENY"]);
}

#[tokio::test]
async fn sets_the_host() {
    let rig = Rig::new(
        "headers",
        json!({ "request": { "set": { "host": "internal:8080" } } }),
    );
    let (seen, _, _) = rig.pass(get("/")).await;
    assert_eq!(values(&seen.headers, "host"), ["internal:8080"]);
}

#[test]
fn explains_bad_settings() {
    for (settings, expected) in [
        (
            json!({}),
            "headers: nothing to change\n  hint: give `request` or `response`",
        ),
        (
            json!({ "request": { "set": { "x y": "1" } } }),
            "expected the name of a header field, found `x y` (at request.set[\"x y\"])",
        ),
        (
            json!({ "response": { "remove": ["Content-Length"] } }),
            "expected the name of a header field, found `Content-Length` (at response.remove[0])\n  hint: fields that frame a message are the gateway's own",
        ),
        (
            json!({ "request": { "set": { "x-a": "a\r\nb: c" } } }),
            "expected the value of a header field, found `a\\r\\nb: c` (at request.set.x-a)\n  hint: control characters are not allowed",
        ),
        (
            json!({ "request": { "set": { "x-a": 1 } } }),
            "expected the value of a header field or a list of values, found the number 1 (at request.set.x-a)",
        ),
        (
            json!({ "request": { "set": { "x-a": [] } } }),
            "headers: `set` gives `x-a` no value (at request)\n  hint: use `remove`",
        ),
        (
            json!({ "request": { "add": { "host": "a" } } }),
            "headers: a request has exactly one `host`: it can be set, not added or removed (at request)",
        ),
        (
            json!({ "request": { "set": { "host": "a/b" } } }),
            "headers: `host` must be one host such as shop.example or shop.example:8080 (at request)",
        ),
        (
            json!({ "requests": {} }),
            "unknown key `requests` (at requests)\n  hint: did you mean `request`?",
        ),
    ] {
        let got = problem("headers", settings);
        assert!(got.ends_with(expected), "{got}\n{expected}");
    }
}
