use std::convert::Infallible;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use http::{HeaderMap, HeaderValue};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use portcullis_core::body::Collected;
use portcullis_core::{Body, ErrorClass, GatewayError, Request, Response};
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_http::decompression::Decompression;

use crate::harness::{Rig, get, problem, text, values};

fn long() -> String {
    "a line that repeats itself\n".repeat(200)
}

fn accepting(encodings: &'static str) -> Request {
    let mut request = get("/");
    request
        .headers_mut()
        .insert("accept-encoding", HeaderValue::from_static(encodings));
    request
}

/// An upstream that answers with [`long`] and these fields.
fn rig(settings: Value, fields: &'static [(&'static str, &'static str)]) -> Rig {
    Rig::answering("compression", settings, move || {
        let mut response = Response::new(Body::from(long()));
        for (name, value) in fields {
            response
                .headers_mut()
                .append(*name, HeaderValue::from_static(value));
        }
        Ok(response)
    })
}

fn encoding(response: &Response) -> Option<String> {
    values(response.headers(), "content-encoding").pop()
}

/// Undoes the encoding of a reply.
async fn decoded(response: Response) -> Collected {
    let mut slot = Some(response);
    let ready = tower::service_fn(move |_: Request| {
        let response = slot.take().unwrap();
        async move { Ok::<_, Infallible>(response) }
    });
    let response = Decompression::new(ready).oneshot(get("/")).await.unwrap();
    Body::new(response.into_body())
        .collect(1 << 20)
        .await
        .unwrap()
}

#[tokio::test]
async fn compresses_with_what_the_client_and_we_prefer() {
    let all = rig(
        json!({}),
        &[
            ("content-type", "text/plain"),
            ("etag", "\"v1\""),
            ("accept-ranges", "bytes"),
        ],
    );
    for (accept, expected) in [
        ("gzip", "gzip"),
        ("br", "br"),
        ("zstd", "zstd"),
        ("gzip, br, zstd", "zstd"),
        ("gzip, br;q=0.5", "gzip"),
    ] {
        let response = all.send(accepting(accept)).await;
        assert_eq!(encoding(&response).as_deref(), Some(expected), "{accept}");
        assert_eq!(values(response.headers(), "vary"), ["accept-encoding"]);
        assert_eq!(values(response.headers(), "etag"), ["W/\"v1\""]);
        assert!(!response.headers().contains_key("accept-ranges"));
        assert_eq!(decoded(response).await.data, long());
    }
    let two = rig(
        json!({ "algorithms": ["gzip", "br"], "levels": { "gzip": 1, "br": 0 } }),
        &[],
    );
    for (accept, expected) in [
        ("gzip, br, zstd", Some("gzip")),
        ("zstd", None),
        ("identity;q=0", None),
    ] {
        let response = two.send(accepting(accept)).await;
        assert_eq!(
            (encoding(&response).as_deref(), response.status().as_u16()),
            (expected, 200),
            "{accept}"
        );
    }
}

#[tokio::test]
async fn leaves_alone_what_gains_nothing() {
    for fields in [
        &[("content-type", "application/grpc+proto")][..],
        &[("content-type", "text/event-stream; charset=utf-8")],
        &[("content-type", "Image/png")],
        &[("content-encoding", "gzip")],
        &[("content-range", "bytes 0-1/2")],
        &[("cache-control", "public, no-transform")],
        &[("repr-digest", "sha-256=:AA==:")],
    ] {
        let response = rig(json!({}), fields).send(accepting("gzip")).await;
        assert!(!response.headers().contains_key("vary"), "{fields:?}");
        assert_eq!(text(response).await, long(), "{fields:?}");
    }
    let svg = rig(json!({}), &[("content-type", "image/svg+xml")]);
    assert_eq!(
        encoding(&svg.send(accepting("gzip")).await).as_deref(),
        Some("gzip")
    );
    let short = rig(json!({ "min_size": "1MiB" }), &[]);
    assert_eq!(encoding(&short.send(accepting("gzip")).await), None);
}

#[tokio::test]
async fn a_client_that_accepts_nothing_gets_the_reply_and_caches_are_told() {
    let rig = rig(json!({}), &[("vary", "origin"), ("etag", "\"v1\"")]);
    let response = rig.send(get("/")).await;
    assert_eq!(encoding(&response), None);
    assert_eq!(
        values(response.headers(), "vary"),
        ["origin", "accept-encoding"]
    );
    assert_eq!(values(response.headers(), "etag"), ["\"v1\""]);
    assert_eq!(text(response).await, long());
}

#[tokio::test]
async fn a_head_reply_says_what_get_would() {
    let rig = Rig::answering("compression", json!({}), || {
        let reply = http::Response::builder()
            .header("content-length", "5400")
            .header("etag", "\"v1\"");
        Ok(reply.body(Body::empty()).unwrap())
    });
    let mut request = accepting("br");
    *request.method_mut() = http::Method::HEAD;
    let response = rig.send(request).await;
    assert_eq!(encoding(&response).as_deref(), Some("br"));
    assert_eq!(values(response.headers(), "etag"), ["W/\"v1\""]);
    assert!(!response.headers().contains_key("content-length"));
    assert_eq!(text(response).await, "");
}

#[tokio::test]
async fn trailers_stay() {
    for accept in ["gzip", "br", "zstd", "identity"] {
        let rig = Rig::answering("compression", json!({}), || {
            let mut trailers = HeaderMap::new();
            trailers.insert("x-sum", HeaderValue::from_static("1"));
            Ok(Response::new(Body::with_trailers(
                Bytes::from(long()),
                trailers,
            )))
        });
        let body = decoded(rig.send(accepting(accept)).await).await;
        assert_eq!(body.data, long(), "{accept}");
        assert_eq!(body.trailers.unwrap()["x-sum"], "1", "{accept}");
    }
}

#[tokio::test]
async fn a_stream_is_flushed_when_the_upstream_pauses() {
    for accept in ["gzip", "br", "zstd"] {
        let rig = Rig::answering("compression", json!({}), || {
            let first = Ok::<_, Infallible>(Frame::data(Bytes::from("first event\n")));
            let frames = stream::iter([first]).chain(stream::pending());
            Ok(Response::new(Body::new(StreamBody::new(frames))))
        });
        let mut body = rig.send(accepting(accept)).await.into_body();
        let frame = tokio::time::timeout(std::time::Duration::from_secs(5), body.frame()).await;
        let data = frame.expect(accept).unwrap().unwrap().into_data().unwrap();
        assert!(!data.is_empty(), "{accept}");
    }
}

#[tokio::test]
async fn errors_of_the_upstream_keep_their_class() {
    let rig = Rig::answering("compression", json!({}), || {
        let reset = GatewayError::new(ErrorClass::UpstreamReset, "reading");
        let frames = [Ok(Frame::data(Bytes::from("x"))), Err(reset)];
        Ok(Response::new(Body::new(StreamBody::new(stream::iter(
            frames,
        )))))
    });
    let error = rig
        .send(accepting("gzip"))
        .await
        .into_body()
        .collect(1 << 20)
        .await
        .unwrap_err();
    assert_eq!(error.class(), ErrorClass::UpstreamReset);

    let rig = Rig::answering("compression", json!({}), || {
        Err(GatewayError::new(ErrorClass::Connect, "connecting"))
    });
    let error = rig.try_send(accepting("gzip")).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Connect);
}

#[test]
fn explains_bad_settings() {
    for (settings, expected) in [
        (
            json!({ "algorithms": [] }),
            "compression: `algorithms` names none (at algorithms)",
        ),
        (
            json!({ "algorithms": ["br", "br"] }),
            "compression: `algorithms` names `br` twice (at algorithms)",
        ),
        (
            json!({ "levels": { "gzip": 10 } }),
            "compression: the level of `gzip` must be from 1 to 9 (at levels)",
        ),
        (
            json!({ "levels": { "zstd": 0 } }),
            "compression: the level of `zstd` must be from 1 to 22 (at levels)",
        ),
    ] {
        let got = problem("compression", settings);
        assert!(got.ends_with(expected), "{got}\n{expected}");
    }
    assert!(
        problem("compression", json!({ "algorithms": ["deflate"] })).contains("(at algorithms[0])")
    );
}
