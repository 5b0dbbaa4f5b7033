use std::convert::Infallible;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as _, Frame};
use http_body_util::StreamBody;
use portcullis_core::exchange::Exchange;
use portcullis_core::testing::body::check_body;
use portcullis_core::upgrade::Upgrade;
use portcullis_core::{Body, ErrorClass, Request};
use serde_json::json;

use crate::harness::{Rig, problem};

/// A body of unknown length.
fn streamed(chunks: &'static [&'static str], trailers: Option<HeaderMap>) -> Body {
    let data = chunks
        .iter()
        .map(|chunk| Frame::data(Bytes::from_static(chunk.as_bytes())));
    let frames: Vec<_> = data
        .chain(trailers.map(Frame::trailers))
        .map(Ok::<_, Infallible>)
        .collect();
    Body::new(StreamBody::new(futures_util::stream::iter(frames)))
}

fn trailers() -> HeaderMap {
    HeaderMap::from_iter([(http::header::ETAG, http::HeaderValue::from_static("x"))])
}

fn post(body: Body) -> Request {
    http::Request::post("/").body(body).unwrap()
}

#[tokio::test]
async fn a_body_within_the_limit_passes_with_its_trailers() {
    let rig = Rig::new("body-limit", json!({ "max": 5 }));
    for body in [
        Body::from("12345"),
        streamed(&["123", "45"], None),
        Body::empty(),
    ] {
        let expected = if body.is_empty() { "" } else { "12345" };
        let (_, seen, response) = rig.pass(post(body)).await;
        assert_eq!(response.status(), 200);
        assert_eq!(seen.data, expected);
    }
    let (_, seen, _) = rig.pass(post(streamed(&["12345"], Some(trailers())))).await;
    assert_eq!(seen.trailers, Some(trailers()));
}

#[tokio::test]
async fn a_body_that_says_it_is_longer_is_refused_unread() {
    let rig = Rig::new("body-limit", json!({ "max": "5B" }));
    let mut request = post(Body::from("123456"));
    let exchange = Exchange::of(&mut request);
    let response = rig.send(request).await;
    assert_eq!((response.status().as_u16(), rig.arrived()), (413, 0));
    assert_eq!(exchange.state().reason.as_deref(), Some("body_too_large"));
}

#[tokio::test]
async fn a_body_that_turns_out_longer_is_refused() {
    let rig = Rig::new("body-limit", json!({ "max": 5 }));
    let response = rig
        .send(post(streamed(&["123", "456"], Some(trailers()))))
        .await;
    assert_eq!((response.status().as_u16(), rig.arrived()), (413, 0));
    let rig = Rig::new("body-limit", json!({ "max": 0 }));
    assert_eq!(rig.send(post(streamed(&["1"], None))).await.status(), 413);
}

#[tokio::test]
async fn a_tunnel_is_not_counted() {
    let rig = Rig::new("body-limit", json!({ "max": 1 }));
    let mut request = post(streamed(&["123", "456"], None));
    request
        .extensions_mut()
        .insert(Upgrade::new(http::HeaderValue::from_static("websocket")));
    let (_, seen, _) = rig.pass(request).await;
    assert_eq!(seen.data, "123456");
}

#[tokio::test]
async fn the_counting_body_obeys_the_laws_of_bodies() {
    check_body(|| Body::from("12345").limited(5), b"12345", None).await;
    check_body(|| Body::empty().limited(0), b"", None).await;
    check_body(
        || streamed(&["12", "", "345"], None).limited(9),
        b"12345",
        None,
    )
    .await;
    check_body(
        || streamed(&["12345"], Some(trailers())).limited(5),
        b"12345",
        Some(&trailers()),
    )
    .await;
}

#[tokio::test]
async fn the_counting_body_fails_once_and_then_is_over() {
    use http_body_util::BodyExt;
    let mut body = streamed(&["123", "456", "789"], None).limited(5);
    assert_eq!(
        body.frame().await.unwrap().unwrap().into_data().unwrap(),
        "123"
    );
    assert_eq!(
        body.frame().await.unwrap().unwrap_err().class(),
        ErrorClass::BodyTooLarge
    );
    assert!(body.is_end_stream());
    assert!(body.frame().await.is_none());
    // An announced length is enough.
    let mut body = Body::from("123456").limited(5);
    assert!(body.frame().await.unwrap().is_err());
}

#[test]
fn explains_bad_settings() {
    let got = problem("body-limit", json!({}));
    assert!(got.ends_with("missing key `max`"), "{got}");
    let got = problem("body-limit", json!({ "max": "5 apples" }));
    assert!(got.contains("(at max)"), "{got}");
}
