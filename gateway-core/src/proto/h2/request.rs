//! Requests of HTTP/2 clients, as the gateway knows them.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;
use h2::RecvStream;
use http::header::{CONTENT_LENGTH, HOST};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};

use super::server::StreamShared;
use super::stream::StreamBody;
use crate::body::Body;
use crate::error::{ErrorClass, GatewayError};
use crate::exchange::Exchange;
use crate::handler::Request;
use crate::heads;
use crate::http1::{HeadLimits, is_authority};
use crate::upgrade::Upgrade;

/// Turns a stream into a request as the gateway knows it; says whether it asks for a tunnel.
pub(super) fn translate(
    request: http::Request<RecvStream>,
    shared: &Arc<StreamShared>,
    received: &Arc<AtomicU64>,
    exchange: &Exchange,
    limits: &HeadLimits,
) -> Result<(Request, bool), GatewayError> {
    let (mut parts, stream) = request.into_parts();
    let protocol = parts.extensions.remove::<h2::ext::Protocol>();
    let authority = parts.uri.authority();
    let named = authority
        .map(|authority| authority.as_str().as_bytes())
        .or_else(|| Some(parts.headers.get(HOST)?.as_bytes()));
    let Some(named) = named else {
        return Err(GatewayError::new(
            ErrorClass::BadRequest,
            "reading the authority: there is none",
        )
        .with_reason("missing_host"));
    };
    // As strict as with HTTP/1: `http` lets more pass in an authority, and anything in the field.
    if !is_authority(named) {
        return Err(GatewayError::new(
            ErrorClass::BadRequest,
            "reading the authority: it is no host",
        )
        .with_reason("bad_authority"));
    }
    if let (Some(authority), Some(host)) = (parts.uri.authority(), parts.headers.get(HOST))
        && !authority
            .as_str()
            .as_bytes()
            .eq_ignore_ascii_case(host.as_bytes())
    {
        return Err(GatewayError::new(
            ErrorClass::BadRequest,
            "reading the authority: `host` disagrees",
        )
        .with_reason("host_mismatch"));
    }
    let target = parts.uri.path_and_query();
    if target.is_some_and(|target| target.as_str().len() > limits.max_uri_bytes) {
        return Err(GatewayError::new(
            ErrorClass::BadRequest,
            "reading the target: it is too long",
        )
        .with_status(StatusCode::URI_TOO_LONG)
        .with_reason("uri_too_long"));
    }
    join_cookies(&mut parts.headers);
    if parts.headers.len() > limits.max_headers {
        return Err(GatewayError::new(
            ErrorClass::BadRequest,
            "reading the fields: there are too many",
        )
        .with_status(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)
        .with_reason("too_many_headers"));
    }
    let mut lengths = parts.headers.get_all(CONTENT_LENGTH).iter();
    let length = lengths.next();
    if lengths.next().is_some() {
        return Err(GatewayError::new(
            ErrorClass::BadRequest,
            "reading the fields: there is more than one length",
        )
        .with_reason("duplicate_content_length"));
    }
    let length = length
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse().ok());
    let tunnel = protocol.is_some();
    let body = if stream.is_end_stream() {
        Body::empty()
    } else {
        let length = if tunnel { None } else { length };
        Body::h2_request(StreamBody::new(
            stream,
            shared.clone(),
            received.clone(),
            length,
        ))
    };
    let mut request = Request::new(body);
    *request.extensions_mut() = heads::extensions();
    if let Some(protocol) = protocol {
        // RFC 8441: to everything behind the edge it is the GET that opens a WebSocket.
        let protocol = HeaderValue::from_str(protocol.as_str()).map_err(|error| {
            GatewayError::new(ErrorClass::BadRequest, "reading `:protocol`").with_source(error)
        })?;
        parts.method = Method::GET;
        request.extensions_mut().insert(Upgrade::new(protocol));
    }
    *request.method_mut() = parts.method;
    *request.uri_mut() = parts.uri;
    *request.version_mut() = Version::HTTP_2;
    *request.headers_mut() = parts.headers;
    request.extensions_mut().insert(exchange.clone());
    Ok((request, tunnel))
}

/// HTTP/2 may split `cookie`; everything else expects one field (RFC 9113 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let mut all = headers.get_all(http::header::COOKIE).iter();
    if all.next().is_none() || all.next().is_none() {
        return;
    }
    let joined = headers
        .get_all(http::header::COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect::<Vec<_>>()
        .join(&b"; "[..]);
    if let Ok(value) = HeaderValue::from_maybe_shared(Bytes::from(joined)) {
        headers.insert(http::header::COOKIE, value);
    }
}
