//! What the gateway must know of gRPC: recognising it, answering it, its deadline header.
//!
//! Source: the gRPC over HTTP/2 protocol description and its mapping of HTTP statuses to gRPC codes.

use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::body::Body;
use crate::error::{GatewayError, chain};
use crate::exchange::Exchange;
use crate::handler::Response;

/// `grpc-status`, the code of a call.
pub const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
/// `grpc-message`, percent-encoded text beside the code.
pub const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
/// `grpc-timeout`, the deadline a client sets.
pub const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// The names of codes 0 to 16, as configurations write them.
const CODES: [&str; 17] = [
    "ok",
    "cancelled",
    "unknown",
    "invalid-argument",
    "deadline-exceeded",
    "not-found",
    "already-exists",
    "permission-denied",
    "resource-exhausted",
    "failed-precondition",
    "aborted",
    "out-of-range",
    "unimplemented",
    "internal",
    "unavailable",
    "data-loss",
    "unauthenticated",
];

/// The code of a name such as `deadline-exceeded`.
#[must_use]
pub fn code_of_name(name: &str) -> Option<u8> {
    let code = CODES.iter().position(|known| *known == name)?;
    u8::try_from(code).ok()
}

/// The `grpc-status` among these fields.
#[must_use]
pub fn status(headers: &HeaderMap) -> Option<u8> {
    headers.get(GRPC_STATUS)?.to_str().ok()?.parse().ok()
}

/// Whether headers announce a gRPC call or reply (`application/grpc`, optionally `+proto`, not grpc-web).
#[must_use]
pub fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(is_grpc_type)
}

/// Whether a `Content-Type` is that of gRPC.
pub(crate) fn is_grpc_type(value: &HeaderValue) -> bool {
    value
        .as_bytes()
        .strip_prefix(b"application/grpc")
        .is_some_and(|rest| rest.is_empty() || rest[0] == b'+' || rest[0] == b';')
}

/// The gRPC code that stands for an HTTP status the call did not expect.
#[must_use]
pub fn code_of_status(status: StatusCode) -> u8 {
    match status.as_u16() {
        400 => 13,             // INTERNAL
        401 => 16,             // UNAUTHENTICATED
        403 => 7,              // PERMISSION_DENIED
        404 => 12,             // UNIMPLEMENTED
        408 | 504 => 4,        // DEADLINE_EXCEEDED
        413 => 8,              // RESOURCE_EXHAUSTED
        429 | 502 | 503 => 14, // UNAVAILABLE
        _ => 2,                // UNKNOWN
    }
}

/// A reply that consists of headers only, as gRPC calls it: status 200, `grpc-status`, no body.
#[must_use]
pub fn trailers_only(code: u8, message: &'static str) -> Response {
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(GRPC_STATUS, HeaderValue::from(u16::from(code)));
    headers.insert(GRPC_MESSAGE, HeaderValue::from_static(message));
    response
}

/// The trailers that end a call whose deadline has passed after the head of its reply, and a note of that in its
/// record.
pub(crate) fn deadline_exceeded(exchange: &Exchange, error: &GatewayError) -> HeaderMap {
    let mut state = exchange.state();
    state.reason = Some(error.reason());
    state.error = Some(chain(error));
    drop(state);
    let mut trailers = HeaderMap::with_capacity(2);
    trailers.insert(GRPC_STATUS, HeaderValue::from_static("4"));
    trailers.insert(
        GRPC_MESSAGE,
        HeaderValue::from_static("the deadline has passed"),
    );
    trailers
}

/// Reads `grpc-timeout`: up to eight digits and a unit (`H`, `M`, `S`, `m`, `u`, `n`).
#[must_use]
pub fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(GRPC_TIMEOUT)?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let value: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(value * 3600),
        "M" => Duration::from_secs(value * 60),
        "S" => Duration::from_secs(value),
        "m" => Duration::from_millis(value),
        "u" => Duration::from_micros(value),
        "n" => Duration::from_nanos(value),
        _ => return None,
    })
}

/// Writes a `grpc-timeout`, in the finest unit in which it has no more than eight digits, at least one of it.
pub(crate) fn timeout_value(left: Duration) -> HeaderValue {
    const MOST: u128 = 99_999_999;
    let units = [
        (left.as_nanos(), 'n'),
        (left.as_micros(), 'u'),
        (left.as_millis(), 'm'),
        (u128::from(left.as_secs()), 'S'),
        (u128::from(left.as_secs() / 60), 'M'),
    ];
    let fits = units.into_iter().find(|(count, _)| *count <= MOST);
    let (count, unit) = fits.unwrap_or((MOST, 'M'));
    let text = format!("{}{unit}", count.max(1));
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("1n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_names_of_codes() {
        assert_eq!(code_of_name("ok"), Some(0));
        assert_eq!(code_of_name("deadline-exceeded"), Some(4));
        assert_eq!(code_of_name("unavailable"), Some(14));
        assert_eq!(code_of_name("unauthenticated"), Some(16));
        assert_eq!(code_of_name("UNAVAILABLE"), None);
    }

    #[test]
    fn writes_timeouts_that_it_reads() {
        for (left, text) in [
            (Duration::ZERO, "1n"),
            (Duration::from_nanos(99_999_999), "99999999n"),
            (Duration::from_millis(100), "100000u"),
            (Duration::from_millis(1500), "1500000u"),
            (Duration::from_secs(3600), "3600000m"),
            (Duration::from_secs(10_000_000_000), "99999999M"),
        ] {
            assert_eq!(timeout_value(left), text);
            let mut headers = HeaderMap::new();
            headers.insert(GRPC_TIMEOUT, timeout_value(left));
            assert!(timeout(&headers).unwrap() <= left.max(Duration::from_nanos(1)));
        }
    }

    #[test]
    fn reads_timeouts() {
        let table = [
            ("1H", Some(Duration::from_secs(3600))),
            ("20m", Some(Duration::from_millis(20))),
            ("99999999S", Some(Duration::from_secs(99_999_999))),
            ("123456789S", None),
            ("S", None),
            ("", None),
            ("1s", None),
            ("-1S", None),
        ];
        for (text, expected) in table {
            let mut headers = HeaderMap::new();
            headers.insert(GRPC_TIMEOUT, HeaderValue::from_static(text));
            assert_eq!(timeout(&headers), expected, "{text}");
        }
    }

    #[test]
    fn grpc_web_is_not_grpc() {
        let mut headers = HeaderMap::new();
        for (kind, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc;charset=x", true),
            ("application/grpc-web", false),
            ("application/json", false),
        ] {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
            assert_eq!(is_grpc(&headers), expected, "{kind}");
        }
    }
}
