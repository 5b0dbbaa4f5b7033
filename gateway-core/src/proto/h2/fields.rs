//! Fields that HTTP/2 does not know.

use http::header::{CONNECTION, TE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Removes what makes a message malformed (RFC 9113 8.2.2). Filters may have set it, upstreams have sent it.
pub(crate) fn strip_connection_fields(headers: &mut HeaderMap) {
    for name in [
        CONNECTION,
        TRANSFER_ENCODING,
        UPGRADE,
        KEEP_ALIVE,
        PROXY_CONNECTION,
    ] {
        headers.remove(name);
    }
    if headers.get(TE).is_some_and(|value| value != "trailers") {
        headers.remove(TE);
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn removes_what_http2_does_not_know() {
        let mut headers = HeaderMap::new();
        for name in [
            "connection",
            "transfer-encoding",
            "upgrade",
            "keep-alive",
            "proxy-connection",
            "te",
        ] {
            headers.append(name, HeaderValue::from_static("x"));
        }
        let mut kept = HeaderMap::new();
        kept.insert("x-kept", HeaderValue::from_static("1"));
        headers.extend(kept.clone());
        strip_connection_fields(&mut headers);
        assert_eq!(headers, kept);
        kept.insert("te", HeaderValue::from_static("trailers"));
        headers.clone_from(&kept);
        strip_connection_fields(&mut headers);
        assert_eq!(headers, kept);
    }
}
