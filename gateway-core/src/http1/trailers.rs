//! Which fields may stand after a chunked body.

use http::HeaderName;

/// What becomes of a trailer field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trailer {
    Keep,
    /// Means nothing, or something else than its sender wants, this late: taken out.
    Drop,
    /// Would frame or route a message if somebody merged it into the head: refused.
    Refuse,
}

impl Trailer {
    /// Sorts by RFC 9110 section 6.5.1: fields needed before the body (framing, routing, request
    /// modifiers, authentication, control data, content format) are no trailers. The same for requests
    /// and responses.
    pub(super) fn of(name: &HeaderName) -> Self {
        match name.as_str() {
            "connection" | "content-length" | "host" | "trailer" | "transfer-encoding"
            | "upgrade" => Self::Refuse,
            "age"
            | "authorization"
            | "cache-control"
            | "content-encoding"
            | "content-range"
            | "content-type"
            | "cookie"
            | "date"
            | "expect"
            | "expires"
            | "forwarded"
            | "http2-settings"
            | "if-match"
            | "if-modified-since"
            | "if-none-match"
            | "if-range"
            | "if-unmodified-since"
            | "keep-alive"
            | "location"
            | "max-forwards"
            | "pragma"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "range"
            | "retry-after"
            | "set-cookie"
            | "te"
            | "vary"
            | "via"
            | "warning"
            | "www-authenticate"
            | "x-real-ip" => Self::Drop,
            other if other.starts_with("x-forwarded-") => Self::Drop,
            _ => Self::Keep,
        }
    }
}
