//! Fields that belong to one connection (RFC 9110 7.6.1).

use http::header::{
    CONNECTION, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Removes what the client said to this hop only. `Upgrade` stays when `upgrading`, `TE` as `trailers`.
pub(crate) fn strip_request(headers: &mut HeaderMap, upgrading: bool) {
    if !headers.keys().any(speaks_of_one_hop) {
        return;
    }
    if headers.contains_key(CONNECTION) {
        strip_listed(headers);
    }
    headers.remove(KEEP_ALIVE);
    headers.remove(PROXY_CONNECTION);
    headers.remove(PROXY_AUTHORIZATION);
    headers.remove(TRANSFER_ENCODING);
    if !upgrading {
        headers.remove(UPGRADE);
    }
    if headers.contains_key(TE) {
        let trailers = accepts_trailers(headers);
        headers.remove(TE);
        if trailers {
            headers.insert(TE, HeaderValue::from_static("trailers"));
        }
    }
}

/// Removes what the upstream said to this hop only.
pub(crate) fn strip_response(headers: &mut HeaderMap, switching: bool) {
    if !headers.keys().any(speaks_of_one_hop) {
        return;
    }
    if headers.contains_key(CONNECTION) {
        strip_listed(headers);
    }
    headers.remove(KEEP_ALIVE);
    headers.remove(PROXY_CONNECTION);
    headers.remove(PROXY_AUTHENTICATE);
    headers.remove(TRANSFER_ENCODING);
    if !switching {
        headers.remove(UPGRADE);
    }
}

/// Whether a field is one of those that [`strip_request`] and [`strip_response`] look for. Most messages have none,
/// and one look at their names costs less than a search for each.
fn speaks_of_one_hop(name: &HeaderName) -> bool {
    let name = name.as_str();
    match name.len() {
        2 => name == "te",
        7 => name == "upgrade",
        10 => name == "connection" || name == "keep-alive",
        16 => name == "proxy-connection",
        17 => name == "transfer-encoding",
        18 => name == "proxy-authenticate",
        19 => name == "proxy-authorization",
        _ => false,
    }
}

/// Whether `TE` names `trailers`.
pub(crate) fn accepts_trailers(headers: &HeaderMap) -> bool {
    headers.get_all(TE).iter().any(|value| {
        value.as_bytes().split(|byte| *byte == b',').any(|item| {
            item.split(|byte| *byte == b';')
                .next()
                .is_some_and(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
        })
    })
}

fn strip_listed(headers: &mut HeaderMap) {
    let mut listed: Vec<HeaderName> = Vec::new();
    for value in headers.get_all(CONNECTION) {
        for item in value.as_bytes().split(|byte| *byte == b',') {
            if let Ok(name) = HeaderName::from_bytes(item.trim_ascii()) {
                listed.push(name);
            }
        }
    }
    headers.remove(CONNECTION);
    for name in listed {
        // These keep meaning or are dealt with by name: a client must not be able to remove them.
        if name == TE || name == UPGRADE || is_protected(&name) {
            continue;
        }
        headers.remove(name);
    }
}

/// End-to-end fields that `Connection` must not name (RFC 9110 7.6.1): removing them would change what
/// the message means or what the gateway vouches for.
fn is_protected(name: &HeaderName) -> bool {
    use http::header;
    name == header::HOST
        || name == header::CONTENT_LENGTH
        || name == header::CONTENT_TYPE
        || name == header::AUTHORIZATION
        || name == header::COOKIE
        || name == header::CACHE_CONTROL
        || name == header::FORWARDED
        || name.as_str().starts_with("x-forwarded-")
        || name.as_str() == "x-real-ip"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn removes_listed_and_known_fields() {
        let mut headers = map(&[
            ("connection", "close, X-Secret"),
            ("connection", "keep-alive"),
            ("keep-alive", "timeout=5"),
            ("x-secret", "1"),
            ("te", "gzip, trailers;q=1"),
            ("upgrade", "h2c"),
            ("x-kept", "1"),
        ]);
        strip_request(&mut headers, false);
        assert_eq!(headers, map(&[("te", "trailers"), ("x-kept", "1")]));
    }

    #[test]
    fn connection_cannot_remove_what_the_gateway_vouches_for() {
        let mut headers = map(&[
            ("connection", "x-forwarded-for, host, content-length"),
            ("x-forwarded-for", "10.0.0.1"),
            ("host", "a"),
        ]);
        strip_request(&mut headers, false);
        assert_eq!(
            headers,
            map(&[("x-forwarded-for", "10.0.0.1"), ("host", "a")])
        );
    }

    #[test]
    fn an_upgrade_keeps_its_field() {
        let mut headers = map(&[("connection", "upgrade"), ("upgrade", "websocket")]);
        strip_request(&mut headers, true);
        assert_eq!(headers, map(&[("upgrade", "websocket")]));
    }
}
