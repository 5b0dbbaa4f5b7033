use portcullis_core::Body;
use portcullis_core::exchange::Exchange;
use serde_json::json;

use crate::harness::{Rig, get, problem, text, values};

#[tokio::test]
async fn answers_text_with_headers() {
    let rig = Rig::new(
        "respond",
        json!({ "status": 503, "headers": { "retry-after": "60", "x-many": ["a", "b"] }, "body": "later\n" }),
    );
    let mut request = get("/");
    let exchange = Exchange::of(&mut request);
    let response = rig.send(request).await;
    assert_eq!(response.status(), 503);
    assert_eq!(values(response.headers(), "retry-after"), ["60"]);
    assert_eq!(values(response.headers(), "x-many"), ["a", "b"]);
    assert_eq!(
        values(response.headers(), "content-type"),
        ["text/plain; charset=utf-8"]
    );
    assert_eq!(text(response).await, "later\n");
    assert_eq!(rig.arrived(), 0);
    assert_eq!(exchange.state().reason.as_deref(), Some("direct_response"));
}

#[tokio::test]
async fn answers_json_and_nothing() {
    let rig = Rig::new(
        "respond",
        json!({ "json": { "status": "ok", "n": [1, null] } }),
    );
    let response = rig.send(get("/")).await;
    assert_eq!(
        values(response.headers(), "content-type"),
        ["application/json"]
    );
    let body: serde_json::Value = serde_json::from_str(&text(response).await).unwrap();
    assert_eq!(body, json!({ "status": "ok", "n": [1, null] }));

    let rig = Rig::new("respond", json!({ "status": 204 }));
    let request = http::Request::head("/").body(Body::empty()).unwrap();
    let response = rig.send(request).await;
    assert_eq!(response.status(), 204);
    assert!(response.headers().is_empty());
    assert!(response.body().is_empty());
}

#[tokio::test]
async fn takes_the_media_type_from_either_place() {
    for settings in [
        json!({ "body": "<p>", "content_type": "text/html" }),
        json!({ "body": "<p>", "headers": { "content-type": "text/html" } }),
    ] {
        let response = Rig::new("respond", settings).send(get("/")).await;
        assert_eq!(values(response.headers(), "content-type"), ["text/html"]);
    }
}

#[test]
fn explains_bad_settings() {
    for (settings, expected) in [
        (
            json!({ "status": 101 }),
            "respond: `status` must be from 200 to 599 (at status)\n  hint: write a status such as 404",
        ),
        (
            json!({ "status": 600 }),
            "respond: `status` must be from 200 to 599 (at status)\n  hint: write a status such as 404",
        ),
        (
            json!({ "status": 204, "body": "x" }),
            "respond: a reply with status 204 has no body (at status)",
        ),
        (
            json!({ "body": "x", "json": 1 }),
            "respond: `json` stands instead of `body`, not beside it (at json)",
        ),
        (
            json!({ "body": "x", "content_type": "a/b", "headers": { "Content-Type": "a/b" } }),
            "respond: `content_type` stands instead of a `content-type` in `headers` (at content_type)",
        ),
    ] {
        let got = problem("respond", settings);
        assert!(got.ends_with(expected), "{got}\n{expected}");
    }
}
