//! Which replies may be compressed, and what their heads say then.

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_TYPE, ETAG, HeaderName, VARY,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body::Body as _;
use portcullis_core::Response;

use super::Algorithm;

/// Media types, by their beginning, that gain nothing or must not wait in an encoder.
const LEFT_ALONE: [&str; 14] = [
    "application/grpc",
    "text/event-stream",
    "image/",
    "audio/",
    "video/",
    "font/woff",
    "application/gzip",
    "application/x-gzip",
    "application/zip",
    "application/zstd",
    "application/x-7z-compressed",
    "application/x-bzip",
    "application/x-rar",
    "application/x-xz",
];

/// Fields that vouch for the bytes of the content as it is.
const DIGESTS: [HeaderName; 4] = [
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-md5"),
];

/// Whether a reply may be compressed for a client that asks for it.
pub(super) fn is_eligible(response: &Response, head_only: bool, min_size: u64) -> bool {
    let headers = response.headers();
    let full = response.status().as_u16() >= 200
        && !matches!(
            response.status(),
            StatusCode::NO_CONTENT
                | StatusCode::RESET_CONTENT
                | StatusCode::PARTIAL_CONTENT
                | StatusCode::NOT_MODIFIED
        );
    full && !headers.contains_key(CONTENT_ENCODING)
        && !headers.contains_key(CONTENT_RANGE)
        && DIGESTS.iter().all(|name| !headers.contains_key(name))
        && !lists(headers, &CACHE_CONTROL, "no-transform")
        && compressible(headers)
        && length(response, head_only).is_none_or(|length| length > 0 && length >= min_size)
}

/// Says in the head that the reply depends on what the client accepts.
pub(super) fn vary(headers: &mut HeaderMap) {
    if !lists(headers, &VARY, "accept-encoding") && !lists(headers, &VARY, "*") {
        headers.append(VARY, HeaderValue::from(ACCEPT_ENCODING));
    }
}

/// A validator of the reply as it was is no strong one of the compressed reply.
pub(super) fn weaken_etag(headers: &mut HeaderMap) {
    let Some(tag) = headers.get_mut(ETAG) else {
        return;
    };
    if tag.as_bytes().starts_with(b"\"") {
        let weak = [b"W/", tag.as_bytes()].concat();
        if let Ok(weak) = HeaderValue::from_maybe_shared(Bytes::from(weak)) {
            *tag = weak;
        }
    }
}

/// The head of the reply to a `HEAD` request, as it would be for `GET` (RFC 9110 9.3.2).
pub(super) fn encode_head(headers: &mut HeaderMap, algorithm: Algorithm) {
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static(algorithm.name()));
    headers.remove(CONTENT_LENGTH);
    headers.remove(ACCEPT_RANGES);
}

fn length(response: &Response, head_only: bool) -> Option<u64> {
    let announced = || {
        let value = response.headers().get(CONTENT_LENGTH)?;
        value.to_str().ok()?.parse().ok()
    };
    if head_only {
        announced()
    } else {
        response.body().size_hint().exact().or_else(announced)
    }
}

fn compressible(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(CONTENT_TYPE) else {
        return true;
    };
    let begins = |prefix: &str| {
        let kind = kind.as_bytes().get(..prefix.len());
        kind.is_some_and(|kind| kind.eq_ignore_ascii_case(prefix.as_bytes()))
    };
    begins("image/svg+xml") || !LEFT_ALONE.into_iter().any(begins)
}

/// Whether a field that is a list has this item.
fn lists(headers: &HeaderMap, name: &HeaderName, item: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|listed| listed.trim().eq_ignore_ascii_case(item))
}
