//! The head an upstream sees.

use http::header::{CONTENT_LENGTH, HOST, SEC_WEBSOCKET_KEY, UPGRADE};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Uri, Version};

use super::HostPolicy;
use super::client::host_for;
use crate::body::Body;
use crate::error::BoxError;
use crate::handler::Request;
use crate::proto::h2::strip_connection_fields;
use crate::upgrade::Upgrade;
use crate::upstream::Endpoint;

/// The headers of an HTTP/1 request, when they differ from those of the client's.
pub(super) fn http1_headers(
    parts: &Parts,
    host: &HostPolicy,
    endpoint: &Endpoint,
    upgrade: Option<&Upgrade>,
) -> Option<HeaderMap> {
    let host = host_for(host, endpoint);
    // A WebSocket that came in over HTTP/2 has neither of these (RFC 8441 5).
    let handshake = upgrade.filter(|_| !parts.headers.contains_key(UPGRADE));
    if host.is_none() && handshake.is_none() {
        return None;
    }
    let mut headers = parts.headers.clone();
    if let Some(host) = host {
        headers.insert(HOST, host);
    }
    if let Some(upgrade) = handshake {
        headers.insert(UPGRADE, upgrade.protocol().clone());
        if upgrade.is_websocket() && !headers.contains_key(SEC_WEBSOCKET_KEY) {
            headers.insert(SEC_WEBSOCKET_KEY, websocket_key());
        }
    }
    Some(headers)
}

/// The request as HTTP/2 has it: scheme and authority in the target, no connection fields.
pub(super) fn http2_request(
    parts: &Parts,
    body: Body,
    host: &HostPolicy,
    endpoint: &Endpoint,
    secure: bool,
) -> Result<Request, BoxError> {
    let mut headers = parts.headers.clone();
    let authority = host_for(host, endpoint).or_else(|| headers.get(HOST).cloned());
    headers.remove(HOST);
    strip_connection_fields(&mut headers);
    announce_length(&mut headers, http_body::Body::size_hint(&body).exact());
    let mut uri = http::uri::Parts::default();
    uri.scheme = Some(if secure { Scheme::HTTPS } else { Scheme::HTTP });
    uri.authority = Some(match authority {
        Some(value) => Authority::try_from(value.as_bytes())?,
        None => Authority::from_static("localhost"),
    });
    uri.path_and_query = Some(
        parts
            .uri
            .path_and_query()
            .cloned()
            .unwrap_or(PathAndQuery::from_static("/")),
    );
    let mut request = Request::new(body);
    *request.method_mut() = parts.method.clone();
    *request.uri_mut() = Uri::from_parts(uri)?;
    *request.version_mut() = Version::HTTP_2;
    *request.headers_mut() = headers;
    Ok(request)
}

/// Makes `content-length` say what the body has, whatever filters have made of it.
fn announce_length(headers: &mut HeaderMap, length: Option<u64>) {
    let Some(length) = length else {
        headers.remove(CONTENT_LENGTH);
        return;
    };
    let mut announced = headers.get_all(CONTENT_LENGTH).iter();
    let right = match (announced.next(), announced.next()) {
        // An end of the stream says it as well (RFC 9113 8.1.1).
        (None, _) => length == 0,
        (Some(one), None) => one.to_str().is_ok_and(|text| text.parse() == Ok(length)),
        _ => false,
    };
    if !right {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
}

/// Sixteen random bytes in base64 (RFC 6455 4.1).
fn websocket_key() -> HeaderValue {
    let pick = crate::balance::PickCx::new();
    let mut nonce = [0u8; 16];
    for half in nonce.chunks_mut(8) {
        half.copy_from_slice(&pick.random().to_ne_bytes()[..half.len()]);
    }
    HeaderValue::from_maybe_shared(bytes::Bytes::from(crate::base64::encode(&nonce)))
        .unwrap_or(HeaderValue::from_static("cG9ydGN1bGxpcy1nYXRlAA=="))
}

/// The value of a cookie.
pub(super) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(http::header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makes_valid_websocket_keys() {
        let key = websocket_key();
        assert_eq!(key.len(), 24);
        assert!(key.to_str().unwrap().ends_with("=="));
        assert_ne!(key, websocket_key());
    }

    #[test]
    fn finds_cookies() {
        let mut headers = HeaderMap::new();
        headers.append("cookie", HeaderValue::from_static("a=1; sid=x=y"));
        headers.append("cookie", HeaderValue::from_static("b=2"));
        assert_eq!(cookie(&headers, "sid"), Some("x=y"));
        assert_eq!(cookie(&headers, "b"), Some("2"));
        assert_eq!(cookie(&headers, "c"), None);
    }
    #[test]
    fn announces_the_length_that_the_body_has() {
        let table: [(&[&str], Option<u64>, Option<&str>); 8] = [
            (&["5"], Some(5), Some("5")),
            (&["5"], Some(7), Some("7")),
            (&["5"], Some(0), Some("0")),
            (&["5"], None, None),
            (&["five"], Some(5), Some("5")),
            (&["5", "6"], Some(5), Some("5")),
            (&[], Some(5), Some("5")),
            (&[], Some(0), None),
        ];
        for (told, length, expected) in table {
            let mut headers = HeaderMap::new();
            for value in told {
                headers.append(CONTENT_LENGTH, HeaderValue::from_static(value));
            }
            announce_length(&mut headers, length);
            let all: Vec<_> = headers.get_all(CONTENT_LENGTH).iter().collect();
            assert_eq!(all, Vec::from_iter(expected), "{told:?} and {length:?}");
        }
    }
}
