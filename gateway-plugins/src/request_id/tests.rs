use std::collections::HashSet;

use http::HeaderValue;
use portcullis_core::exchange::Exchange;
use portcullis_core::{ErrorClass, GatewayError, Request};
use serde_json::json;

use super::{IdFormat, MAX_LENGTH};
use crate::harness::{Rig, get, problem, values};

fn brought(id: &str, trusted: bool) -> Request {
    let mut request = get("/");
    request
        .headers_mut()
        .append("x-request-id", id.parse().unwrap());
    Exchange::of(&mut request).state().client_ip_forwarded = trusted;
    request
}

#[tokio::test]
async fn names_every_request_and_echoes_the_name() {
    let rig = Rig::new("request-id", json!({}));
    let mut request = get("/");
    let exchange = Exchange::of(&mut request);
    let (seen, _, response) = rig.pass(request).await;
    let id = values(&seen.headers, "x-request-id");
    assert_eq!(id.len(), 1);
    assert_eq!(id, values(response.headers(), "x-request-id"));
    assert_eq!(exchange.state().request_id.as_ref().unwrap(), &id[0]);
}

#[tokio::test]
async fn takes_over_only_what_it_may() {
    let long = "x".repeat(MAX_LENGTH + 1);
    for (accept, trusted, id, taken) in [
        ("trusted", true, "abc-1", true),
        ("trusted", false, "abc-1", false),
        ("never", true, "abc-1", false),
        ("always", false, "abc-1", true),
        ("always", false, "a b", false),
        ("always", false, "", false),
        ("always", false, &*long, false),
    ] {
        let rig = Rig::new("request-id", json!({ "accept": accept }));
        let (seen, _, response) = rig.pass(brought(id, trusted)).await;
        let ids = values(&seen.headers, "x-request-id");
        assert_eq!(
            (ids.len(), ids[0] == id),
            (1, taken),
            "{accept} {trusted} {id}"
        );
        assert_eq!(ids, values(response.headers(), "x-request-id"));
    }
    let rig = Rig::new("request-id", json!({ "accept": "always" }));
    let mut request = brought("one", true);
    request
        .headers_mut()
        .append("x-request-id", "two".parse().unwrap());
    let (seen, _, _) = rig.pass(request).await;
    assert_eq!(values(&seen.headers, "x-request-id").len(), 1);
}

#[tokio::test]
async fn an_id_given_further_out_stays() {
    let rig = Rig::new(
        "request-id",
        json!({ "header": "x-correlation-id", "accept": "always" }),
    );
    let mut request = get("/");
    Exchange::of(&mut request).state().request_id = Some(HeaderValue::from_static("outer"));
    let (seen, _, _) = rig.pass(request).await;
    assert_eq!(values(&seen.headers, "x-correlation-id"), ["outer"]);
}

#[tokio::test]
async fn errors_carry_the_id_unless_told_otherwise() {
    for (echo, count) in [(true, 1), (false, 0)] {
        let rig = Rig::answering("request-id", json!({ "echo": echo }), || {
            Err(GatewayError::new(ErrorClass::Connect, "connecting"))
        });
        let (_, _, response) = rig.pass(get("/")).await;
        assert_eq!(response.status(), 502);
        assert_eq!(values(response.headers(), "x-request-id").len(), count);
    }
}

#[test]
fn ids_have_their_form_and_differ() {
    let make = |format: IdFormat| format.make().unwrap().to_str().unwrap().to_owned();
    let digits = |id: &str| {
        id.bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte) || byte == b'-')
    };
    let mut all = HashSet::new();
    for _ in 0..1000 {
        let hex = make(IdFormat::Hex);
        assert!(
            hex.len() == 32 && !hex.contains('-') && digits(&hex),
            "{hex}"
        );
        for (format, version) in [(IdFormat::Uuid, b'4'), (IdFormat::Uuid7, b'7')] {
            let id = make(format);
            let lengths: Vec<usize> = id.split('-').map(str::len).collect();
            assert_eq!(lengths, [8, 4, 4, 4, 12]);
            assert!(
                digits(&id) && id.as_bytes()[14] == version && b"89ab".contains(&id.as_bytes()[19]),
                "{id}"
            );
            all.insert(id);
        }
        all.insert(hex);
    }
    assert_eq!(all.len(), 3000);
    let [first, second] = [(); 2].map(|()| make(IdFormat::Uuid7));
    assert!(first[..13] <= second[..13]);
    let other = std::thread::spawn(move || make(IdFormat::Hex))
        .join()
        .unwrap();
    assert!(!all.contains(&other));
}

#[test]
fn explains_bad_settings() {
    let got = problem("request-id", json!({ "header": "x id" }));
    assert!(
        got.ends_with("expected the name of a header field, found `x id` (at header)"),
        "{got}"
    );
    let got = problem("request-id", json!({ "accept": "sometimes" }));
    assert!(got.contains("(at accept)"), "{got}");
}
