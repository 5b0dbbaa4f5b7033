//! Messages of HTTP/1, as clients and upstreams may send them.

mod chunks;
mod clean;
mod connection;
mod plain;
mod proxy;
mod replies;
mod requests;
mod responses;
mod stream;

use portcullis_core::http1::HeadLimits;

/// Takes the bytes for requests, for responses, for a chunked body, and for all that a client sends. With lines of a
/// single `=` in them, what is behind the first is what an upstream answers.
pub fn head(data: &[u8]) {
    let (client, answers) = proxy::split(data);
    if !answers.is_empty() {
        return proxy::check(client, &answers);
    }
    for limits in [HeadLimits::default(), tight()] {
        requests::check(data, &limits);
        responses::check(data, &limits);
        chunks::check(data, &limits);
    }
    connection::check(data);
}

/// Limits that short inputs meet.
fn tight() -> HeadLimits {
    HeadLimits {
        max_head_bytes: 160,
        max_uri_bytes: 40,
        max_headers: 5,
        max_trailer_bytes: 48,
        max_chunk_extension_bytes: 16,
    }
}
