//! What holds for every filter.
//!
//! ```
//! use http::HeaderValue;
//! use portcullis_core::filter::{HeadFilter, ResponseHead};
//! use portcullis_core::testing::filter::check_head_filter;
//! use portcullis_core::GatewayError;
//!
//! struct Stamp;
//!
//! impl HeadFilter for Stamp {
//!     fn on_response(&self, head: &mut ResponseHead<'_>) -> Result<(), GatewayError> {
//!         head.headers_mut().insert("x-stamp", HeaderValue::from_static("seen"));
//!         Ok(())
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! check_head_filter(Stamp).await;
//! # }
//! ```

use std::future::pending;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Waker};

use bytes::Bytes;
use http::header::{CONNECTION, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};

use crate::body::Body;
use crate::error::{ErrorClass, ErrorForm, GatewayError};
use crate::exchange::Exchange;
use crate::filter::{Chain, Filter, HeadFilter, Stage};
use crate::handler::{Request, Response, handler_fn};
use crate::upgrade::Upgrade;

/// What a filter's documentation says of methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Methods {
    /// They stay as they are.
    Kept,
    /// They may change.
    Changed,
}

/// Runs a filter that sees heads through [`check_stage`]; methods are kept.
///
/// # Panics
/// When a law is broken.
pub async fn check_head_filter(filter: impl HeadFilter) {
    check_stage(Stage::head("checked", filter), Methods::Kept).await;
}

/// Runs an asynchronous filter through [`check_stage`]; methods are kept.
///
/// # Panics
/// When a law is broken.
pub async fn check_filter(filter: impl Filter) {
    check_stage(Stage::filter("checked", filter), Methods::Kept).await;
}

/// Sends odd requests through a stage, to upstreams that answer, fail and hang.
///
/// The laws: nothing panics, whatever the request (without `Host`, with bytes that are no text, huge, of an
/// unknown method, ...) and whatever the answer (errors of every origin, replies without body, trailers). A
/// request that arrives has a target that is a path or `*`, at most one `Host`, its [`Exchange`], and its method.
/// A reply that cannot have a body gets none, and no reply gets fields that belong to a connection. A request
/// may be dropped at any time.
///
/// # Panics
/// When a law is broken.
pub async fn check_stage(stage: Stage, methods: Methods) {
    for (what, answer) in answers() {
        for (name, make) in odd_requests() {
            let case = format!("{name}, {what}");
            survives(&stage, methods, make(), answer, &case).await;
        }
    }
    for (_, make) in odd_requests() {
        let hanging = handler_fn(|_| pending::<Result<Response, GatewayError>>());
        let chain = Chain::builder().stage(stage.clone()).build(hanging);
        let mut call = chain.service().clone().call_owned(make());
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..3 {
            if call.as_mut().poll(&mut cx).is_ready() {
                break;
            }
        }
        // Dropped here, perhaps in the middle: that must be fine.
        drop(call);
    }
}

type Answer = fn() -> Result<Response, GatewayError>;

/// Sends one request and looks at both ends.
async fn survives(
    stage: &Stage,
    methods: Methods,
    mut request: Request,
    answer: Answer,
    case: &str,
) {
    // Every request of a gateway has one.
    Exchange::of(&mut request);
    let (method, version) = (request.method().clone(), request.version());
    let seen = Arc::new(Mutex::new(None));
    let notes = seen.clone();
    let upstream = handler_fn(move |mut request: Request| {
        let notes = notes.clone();
        async move {
            let body = std::mem::take(request.body_mut());
            let read = body.collect(1 << 20).await.map(drop);
            *notes.lock().unwrap_or_else(PoisonError::into_inner) = Some(request);
            read?;
            answer()
        }
    });
    let chain = Chain::builder().stage(stage.clone()).build(upstream);
    let outcome = chain.service().call(request).await;
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(request) = seen {
        check_request(&request, case);
        assert!(
            methods == Methods::Changed || *request.method() == method,
            "{case}: the method {method} became {}",
            request.method()
        );
        assert_eq!(request.version(), version, "{case}: the version changed");
    }
    // A tower layer may pass an error on; what it makes of a reply obeys the laws of replies.
    if let Ok(response) = outcome {
        check_response(response, &method, case).await;
    }
}

fn check_request(request: &Request, case: &str) {
    let uri = request.uri();
    assert!(
        uri.authority().is_none() && uri.scheme().is_none(),
        "{case}: the target {uri} is more than path and query"
    );
    assert!(
        uri.path().starts_with('/') || uri.path() == "*",
        "{case}: the path `{}` does not begin with a slash",
        uri.path()
    );
    let hosts = request.headers().get_all(HOST).iter().count();
    assert!(hosts <= 1, "{case}: the request has {hosts} `Host` fields");
    assert!(
        request.extensions().get::<Exchange>().is_some(),
        "{case}: the exchange is gone"
    );
}

async fn check_response(response: Response, method: &Method, case: &str) {
    let (parts, body) = response.into_parts();
    for name in [CONNECTION, TRANSFER_ENCODING] {
        assert!(
            !parts.headers.contains_key(&name),
            "{case}: the reply has the field `{name}` of a connection"
        );
    }
    let read = body.collect(1 << 20).await;
    let bodiless = matches!(
        parts.status,
        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
    );
    if let Ok(read) = read
        && bodiless
        && method != Method::HEAD
    {
        assert!(
            read.data.is_empty(),
            "{case}: a reply with status {} has a body",
            parts.status
        );
    }
}

fn answers() -> [(&'static str, Answer); 9] {
    fn status(status: StatusCode) -> Response {
        let mut response = Response::default();
        *response.status_mut() = status;
        response
    }
    [
        ("answered 200", || Ok(Response::new(Body::from("a reply")))),
        ("answered with trailers", || {
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", HeaderValue::from_static("0"));
            Ok(Response::new(Body::with_trailers(
                Bytes::from_static(b"a reply"),
                trailers,
            )))
        }),
        ("answered 204", || Ok(status(StatusCode::NO_CONTENT))),
        ("answered 304", || Ok(status(StatusCode::NOT_MODIFIED))),
        ("answered with odd fields", || {
            let mut response = status(StatusCode::OK);
            for name in [
                "content-type",
                "content-length",
                "etag",
                "vary",
                "set-cookie",
                "location",
            ] {
                response.headers_mut().append(name, obs_text());
            }
            Ok(response)
        }),
        ("failed as internal", || {
            Err(GatewayError::internal("answering"))
        }),
        ("failed to connect", || {
            Err(GatewayError::new(ErrorClass::Connect, "connecting"))
        }),
        ("refused by policy", || {
            Err(GatewayError::rejected("answering").with_status(StatusCode::UNAUTHORIZED))
        }),
        ("timed out", || {
            Err(GatewayError::new(ErrorClass::UpstreamTimeout, "waiting"))
        }),
    ]
}

type Make = fn() -> Request;

fn odd_requests() -> [(&'static str, Make); 14] {
    fn plain(method: Method, target: &'static str) -> Request {
        let mut request = Request::new(Body::empty());
        *request.method_mut() = method;
        *request.uri_mut() = http::Uri::from_static(target);
        request
            .headers_mut()
            .insert(HOST, HeaderValue::from_static("shop.example"));
        request
    }
    fn get() -> Request {
        plain(Method::GET, "/")
    }
    [
        ("an ordinary GET", get),
        ("HEAD", || plain(Method::HEAD, "/a")),
        ("nothing but a target", Request::default),
        ("OPTIONS *", || plain(Method::OPTIONS, "*")),
        ("an unknown method", || {
            plain(Method::from_bytes(b"BREW").unwrap_or_default(), "/pot")
        }),
        ("a query without content", || plain(Method::GET, "/?")),
        ("a path of slashes", || plain(Method::GET, "//x.example//")),
        ("escapes in path and query", || {
            plain(Method::GET, "/%2F%20%C3%A4?%zz&=&a=%")
        }),
        ("a host that is no text", || {
            let mut request = get();
            request.headers_mut().insert(HOST, obs_text());
            request
        }),
        ("fields that are no text", || {
            let mut request = get();
            for name in [
                "accept",
                "accept-encoding",
                "cookie",
                "authorization",
                "x-request-id",
                "origin",
            ] {
                request.headers_mut().append(name, obs_text());
                request
                    .headers_mut()
                    .append(name, HeaderValue::from_static(""));
            }
            request
        }),
        ("a huge field and many fields", || {
            let mut request = get();
            if let Ok(value) = HeaderValue::from_maybe_shared(Bytes::from(vec![b'x'; 65_536])) {
                request.headers_mut().insert("x-huge", value);
            }
            for number in 0..500_u32 {
                request
                    .headers_mut()
                    .append("x-many", HeaderValue::from(number));
            }
            request
        }),
        ("a POST with trailers", || {
            let mut request = plain(Method::POST, "/");
            let mut trailers = HeaderMap::new();
            trailers.insert("x-sum", HeaderValue::from_static("1"));
            *request.body_mut() = Body::with_trailers(Bytes::from_static(b"data"), trailers);
            request
        }),
        ("a gRPC call on HTTP/2", || {
            let mut request = plain(Method::POST, "/service/Method");
            *request.version_mut() = Version::HTTP_2;
            request.headers_mut().remove(HOST);
            request.headers_mut().insert(
                http::header::CONTENT_TYPE,
                HeaderValue::from_static("application/grpc"),
            );
            let exchange = Exchange::of(&mut request);
            exchange.state().error_form = ErrorForm::Grpc;
            request
        }),
        ("a WebSocket", || {
            let mut request = get();
            let upgrade = Upgrade::new(HeaderValue::from_static("websocket"));
            request.extensions_mut().insert(upgrade);
            request
        }),
    ]
}

/// Bytes that a field may hold although they are no text (RFC 9110 5.5).
fn obs_text() -> HeaderValue {
    HeaderValue::from_bytes(b"\xff\"\xfe, \x80=;").unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;
    use crate::filter::{FilterCx, Flow, RequestHead};

    struct Idle;
    impl HeadFilter for Idle {}
    #[async_trait]
    impl Filter for Idle {}

    struct Does(fn(&mut RequestHead<'_>));

    impl HeadFilter for Does {
        fn on_request(&self, head: &mut RequestHead<'_>) -> Result<Flow, GatewayError> {
            (self.0)(head);
            Ok(Flow::Continue)
        }
    }

    struct Buffers;

    #[async_trait]
    impl Filter for Buffers {
        async fn on_request(&self, cx: &mut FilterCx<'_>) -> Result<Flow, GatewayError> {
            cx.buffer_request(1 << 10).await?;
            Ok(Flow::Continue)
        }

        async fn on_response(&self, cx: &mut FilterCx<'_>) -> Result<(), GatewayError> {
            cx.buffer_response(1 << 10).await.map(drop)
        }
    }

    #[tokio::test]
    async fn quiet_filters_obey() {
        check_head_filter(Idle).await;
        check_filter(Idle).await;
        check_filter(Buffers).await;
        let changes = Does(|head| *head.method_mut() = Method::PUT);
        check_stage(Stage::head("put", changes), Methods::Changed).await;
    }

    #[tokio::test]
    #[should_panic = "the method GET became PUT"]
    async fn a_changed_method_is_found() {
        check_head_filter(Does(|head| *head.method_mut() = Method::PUT)).await;
    }

    #[tokio::test]
    #[should_panic = "the request has 2 `Host` fields"]
    async fn a_second_host_is_found() {
        check_head_filter(Does(|head| {
            head.headers_mut()
                .append(HOST, HeaderValue::from_static("b"));
        }))
        .await;
    }

    #[tokio::test]
    #[should_panic = "the exchange is gone"]
    async fn cleared_extensions_are_found() {
        check_head_filter(Does(|head| head.extensions_mut().clear())).await;
    }

    #[tokio::test]
    #[should_panic = "called `Option::unwrap()`"]
    async fn trust_in_the_host_field_is_found() {
        check_head_filter(Does(|head| {
            head.headers().get(HOST).unwrap();
        }))
        .await;
    }
}
