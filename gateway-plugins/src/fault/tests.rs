use std::time::Duration;

use http::HeaderValue;
use portcullis_core::Request;
use portcullis_core::exchange::Exchange;
use serde_json::json;
use tokio::time::Instant;

use crate::harness::{Rig, get, problem, text};

fn with(fields: &[(&'static str, &'static str)]) -> Request {
    let mut request = get("/");
    for (name, value) in fields {
        let value = HeaderValue::from_static(value);
        request.headers_mut().insert(*name, value);
    }
    request
}

#[tokio::test]
async fn an_abort_answers_in_the_form_of_the_request() {
    let rig = Rig::new("fault", json!({ "abort": { "status": 503 } }));
    let mut request = get("/");
    let exchange = Exchange::of(&mut request);
    let reply = rig.send(request).await;
    assert_eq!(reply.status(), 503);
    assert_eq!(text(reply).await, "fault filter abort");
    assert_eq!(exchange.state().reason.as_deref(), Some("fault_abort"));
    let reply = rig
        .send(with(&[("content-type", "application/grpc")]))
        .await;
    assert_eq!(
        (reply.status().as_u16(), &reply.headers()["grpc-status"]),
        (200, &HeaderValue::from(14))
    );
    assert_eq!(rig.arrived(), 0);

    let rig = Rig::new("fault", json!({ "abort": { "grpc": "aborted" } }));
    let reply = rig.send(get("/")).await;
    assert_eq!(reply.headers()["grpc-status"], "10");
}

#[tokio::test]
async fn only_requests_with_the_fields_are_concerned() {
    let settings =
        json!({ "abort": { "status": 418 }, "headers": { "x-user": { "regex": "t.*" } } });
    let rig = Rig::new("fault", settings);
    assert_eq!(rig.send(with(&[("x-user", "tester")])).await.status(), 418);
    assert_eq!(rig.send(with(&[("x-user", "other")])).await.status(), 200);
    assert_eq!(rig.send(get("/")).await.status(), 200);
}

#[tokio::test]
async fn shares_are_kept() {
    let rig = Rig::new(
        "fault",
        json!({ "abort": { "status": 500, "percent": 12.5 } }),
    );
    let mut aborted = 0;
    for _ in 0..8000 {
        aborted += u32::from(rig.send(get("/")).await.status() == 500);
    }
    // Six standard deviations around 1000.
    assert!((823..=1177).contains(&aborted), "{aborted}");
    let rig = Rig::new("fault", json!({ "abort": { "status": 500, "percent": 0 } }));
    for _ in 0..100 {
        assert_eq!(rig.send(get("/")).await.status(), 200);
    }
}

#[tokio::test(start_paused = true)]
async fn a_delay_comes_before_an_abort() {
    let settings = json!({ "delay": { "fixed": "2s" }, "abort": { "status": 504 } });
    let rig = Rig::new("fault", settings);
    let begun = Instant::now();
    assert_eq!(rig.send(get("/")).await.status(), 504);
    assert_eq!(begun.elapsed().as_secs(), 2);
}

#[tokio::test(start_paused = true)]
async fn no_more_requests_wait_than_may() {
    let rig = Rig::new(
        "fault",
        json!({ "delay": { "fixed": "2s" }, "max_active": 1 }),
    );
    let begun = Instant::now();
    let timed = async || {
        rig.send(get("/")).await;
        begun.elapsed().as_secs()
    };
    let (first, second) = tokio::join!(timed(), timed());
    assert_eq!((first, second), (2, 0));
    // One that is given up no longer counts.
    let given_up = tokio::time::timeout(Duration::from_secs(1), rig.send(get("/"))).await;
    assert!(given_up.is_err());
    assert_eq!(timed().await, 5);
}

#[tokio::test(start_paused = true)]
async fn clients_may_ask_where_that_is_allowed() {
    let asking = || {
        with(&[
            ("x-envoy-fault-delay-request", "9000"),
            ("x-envoy-fault-abort-request", "429"),
        ])
    };
    let rig = Rig::new("fault", json!({ "abort": { "status": 500, "percent": 0 } }));
    assert_eq!(rig.send(asking()).await.status(), 200);

    let rig = Rig::new("fault", json!({ "by_header": { "max_delay": "5s" } }));
    let begun = Instant::now();
    assert_eq!(rig.send(asking()).await.status(), 429);
    assert_eq!(begun.elapsed().as_secs(), 5);
    let reply = rig
        .send(with(&[("x-envoy-fault-abort-grpc-request", "8")]))
        .await;
    assert_eq!(reply.headers()["grpc-status"], "8");
    let never = [
        ("x-envoy-fault-abort-request", "429"),
        ("x-envoy-fault-abort-request-percentage", "0"),
    ];
    assert_eq!(rig.send(with(&never)).await.status(), 200);
    for odd in ["99", "600", "-1", "x", ""] {
        let reply = rig
            .send(with(&[("x-envoy-fault-abort-request", odd)]))
            .await;
        assert_eq!(reply.status(), 200, "{odd}");
    }
}

#[test]
fn mistakes_are_told() {
    for (settings, expected) in [
        (json!({}), "a fault has a `delay`"),
        (json!({ "abort": { "status": 99 } }), "from 200 to 599"),
        (json!({ "abort": {} }), "either a `status` or a `grpc` code"),
        (
            json!({ "abort": { "grpc": "ok" } }),
            "no gRPC failure is called `ok`",
        ),
        (
            json!({ "delay": { "fixed": "1s", "percent": 101 } }),
            "from 0 to 100, found 101",
        ),
        (
            json!({ "delay": { "fixed": "1s" }, "headers": { "x-a": { "regex": "(" } } }),
            "regular expression",
        ),
    ] {
        let told = problem("fault", settings);
        assert!(told.contains(expected), "{told}");
    }
}
