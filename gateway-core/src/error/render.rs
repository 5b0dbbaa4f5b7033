//! The one mapper from an error to the reply a client sees.

use std::borrow::Cow;

use http::header::{ACCEPT, ALLOW, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::{ErrorClass, GatewayError};
use crate::body::Body;
use crate::grpc;
use crate::handler::Response;

/// A response extension with the reason code of a reply that the gateway itself made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReasonCode(pub Cow<'static, str>);

/// The form in which a client wants to be told of errors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorForm {
    /// Plain text.
    #[default]
    Text,
    /// A JSON object.
    Json,
    /// A gRPC trailers-only reply.
    Grpc,
}

impl ErrorForm {
    /// What the headers of a request ask for.
    #[must_use]
    pub fn of(request: &HeaderMap) -> Self {
        Self::asked_by(request.get(CONTENT_TYPE), request.get(ACCEPT))
    }

    /// What the first `Content-Type` and the first `Accept` of a request ask for.
    pub(crate) fn asked_by(
        content_type: Option<&HeaderValue>,
        accept: Option<&HeaderValue>,
    ) -> Self {
        if content_type.is_some_and(grpc::is_grpc_type) {
            Self::Grpc
        } else if accept.is_some_and(prefers_json) {
            Self::Json
        } else {
            Self::Text
        }
    }
}

/// Renders `error` as a reply.
///
/// A gRPC request gets a trailers-only response with status 200 and `grpc-status`; a client that
/// prefers JSON gets `{"error": "...", "status": 502, "reason": "..."}`; anything else plain text. The
/// error's message and causes are for logs and never reach the client.
#[must_use]
pub fn render(error: &GatewayError, form: ErrorForm) -> Response {
    let status = error.status();
    let reason = error.reason();
    let mut response = match form {
        ErrorForm::Grpc => grpc::trailers_only(grpc::code_of_status(status), phrase(status)),
        ErrorForm::Json => {
            let text = format!(
                "{{\"error\":\"{}\",\"status\":{},\"reason\":\"{}\"}}\n",
                phrase(status),
                status.as_u16(),
                reason
            );
            plain(status, "application/json", text)
        }
        ErrorForm::Text => plain(
            status,
            "text/plain; charset=utf-8",
            format!("{} {}\n", status.as_u16(), phrase(status)),
        ),
    };
    if let Some(seconds) = error.retry_after() {
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if status == StatusCode::METHOD_NOT_ALLOWED {
        // RFC 9110 15.5.6: Allow must be there, an empty one says that no method is allowed.
        response
            .headers_mut()
            .entry(ALLOW)
            .or_insert(HeaderValue::from_static(""));
    }
    response.extensions_mut().insert(ReasonCode(reason));
    response
        .extensions_mut()
        .insert::<ErrorClass>(error.class());
    // A retry around the filters of a backend decides by these: it sees the rendered error only.
    response.extensions_mut().insert(error.retry_safety());
    response
}

fn plain(status: StatusCode, content_type: &'static str, text: String) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn phrase(status: StatusCode) -> &'static str {
    status.canonical_reason().unwrap_or("Error")
}

/// The first named type decides: a browser names text/html first, an API client names JSON.
fn prefers_json(accept: &HeaderValue) -> bool {
    let first = accept.as_bytes().split(|byte| *byte == b',').next();
    let kind = first.and_then(|item| item.split(|byte| *byte == b';').next());
    let kind = kind.unwrap_or_default().trim_ascii();
    let Some((family, kind)) = kind.split_at_checked(b"application/".len()) else {
        return false;
    };
    let json = kind.eq_ignore_ascii_case(b"json")
        || kind
            .last_chunk()
            .is_some_and(|end: &[u8; 5]| end.eq_ignore_ascii_case(b"+json"));
    json && family.eq_ignore_ascii_case(b"application/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negotiates_text_json_and_grpc() {
        let error = GatewayError::new(ErrorClass::Connect, "connecting to 127.0.0.1:1");
        let mut headers = HeaderMap::new();
        let reply = render(&error, ErrorForm::of(&headers));
        assert_eq!(reply.status(), 502);
        assert_eq!(reply.headers()[CONTENT_TYPE], "text/plain; charset=utf-8");

        headers.insert(ACCEPT, HeaderValue::from_static("application/json, */*"));
        let reply = render(&error, ErrorForm::of(&headers));
        assert_eq!(reply.headers()[CONTENT_TYPE], "application/json");

        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        let reply = render(&error, ErrorForm::of(&headers));
        assert_eq!(reply.status(), 200);
        assert_eq!(reply.headers()["grpc-status"], "14");
    }

    #[test]
    fn a_browser_that_also_takes_json_gets_text() {
        let mut headers = HeaderMap::new();
        headers.insert(
            ACCEPT,
            HeaderValue::from_static("text/html, application/json;q=0.9"),
        );
        let error = GatewayError::new(ErrorClass::NoRoute, "matching a route");
        assert_eq!(
            render(&error, ErrorForm::of(&headers)).headers()[CONTENT_TYPE],
            "text/plain; charset=utf-8"
        );
    }
}
