//! Request heads.

use bytes::{Buf, BytesMut};
use http::{HeaderMap, Method, Uri, Version, header};

use super::facts::Facts;
use super::fields::{SPARE_IN_REQUEST, map_for, parse_fields};
use super::find::find;
use super::framing::{BodyFraming, request_framing};
use super::scan::{self, LineEnds, ScanState, Section};
use super::target::{Authority, parse_target};
use super::{HeadError, HeadLimits};

/// Empty lines skipped in front of a request (RFC 9112 section 2.2 asks for at least one).
const MAX_EMPTY_LINES: u8 = 4;

/// No registered method is longer than 17 bytes (`UPDATEREDIRECTREF`).
const MAX_METHOD_BYTES: usize = 32;

/// A request without its body.
#[derive(Debug)]
pub struct RequestHead {
    /// The method; unknown ones are passed on.
    pub method: Method,
    /// The target as it was sent: path, absolute URI, authority (`CONNECT`) or `*`.
    pub uri: Uri,
    /// 1.0 or 1.1.
    pub version: Version,
    /// All fields in wire order, `Host`, `Connection` and the framing fields included. The values share
    /// the memory of the head.
    pub headers: HeaderMap,
    /// How the body that follows is delimited.
    pub framing: BodyFraming,
    /// Whether the client wants the connection to stay open after this exchange.
    pub keep_alive: bool,
    /// Whether the client waits for an interim `100 Continue` before it sends its body.
    pub expect_continue: bool,
    /// Whether the client asks for another protocol: HTTP/1.1, `Connection: upgrade`, an `Upgrade`
    /// field and no body. An offer that contains `h2c` never counts: it is how requests are smuggled
    /// past a proxy (RFC 9113 section 3.1 retired it).
    pub upgrade: bool,
    /// Whether `Connection` names options besides `close`, `keep-alive` and `upgrade`: fields that must
    /// not be forwarded.
    pub names_hop_fields: bool,
    /// Whether there is a `TE` field.
    pub te: bool,
}

impl RequestHead {
    /// The authority the request is for: the target's where it has one, else `Host` (RFC 9112
    /// section 3.3). `None` only for HTTP/1.0 requests without either.
    #[must_use]
    pub fn authority(&self) -> Option<&str> {
        match self.uri.authority() {
            Some(authority) => Some(authority.as_str()),
            None => self.headers.get(header::HOST)?.to_str().ok(),
        }
    }
}

/// Takes one request head off `buf`. `None`: it is incomplete, call again with more bytes.
///
/// `state` belongs to the connection; it remembers how far earlier calls looked, so that a head which
/// arrives byte by byte costs no more than one that arrives whole. Bytes behind the head stay in `buf`.
///
/// # Errors
/// The first fault found. Neither `buf` nor `state` are of use afterwards.
pub fn parse_request(
    buf: &mut BytesMut,
    state: &mut ScanState,
    limits: &HeadLimits,
) -> Result<Option<RequestHead>, HeadError> {
    while state.is_fresh() && buf.first() == Some(&b'\r') {
        match buf.get(1) {
            None => return Ok(None),
            Some(b'\n') if state.empty_lines < MAX_EMPTY_LINES => {
                state.empty_lines += 1;
                buf.advance(2);
            }
            Some(b'\n') => return Err(HeadError::EmptyLines),
            Some(_) => return Err(HeadError::BareCr),
        }
    }
    let mut ends = LineEnds::default();
    let max = limits.max_head_bytes;
    let Some(head) = state.take_head(buf, max, Section::Request, limits, &mut ends)? else {
        return Ok(None);
    };
    let bytes = &head.bytes;
    let fault = |found| scan::first_fault(bytes, Section::Request, limits, found);
    let first = ends.line(bytes, 0, 0).map_err(fault)?;
    let line = RequestLine::parse(first, limits).map_err(fault)?;
    let target_start = line.method_bytes + 1;
    let target = bytes.slice(target_start..target_start + line.target.len());
    let uri = parse_target(&line.method, target).map_err(fault)?;

    let mut facts = Facts::default();
    let mut headers = map_for(&head, limits.max_headers, SPARE_IN_REQUEST).map_err(fault)?;
    parse_fields(
        &head,
        &ends,
        Some(first),
        limits.max_headers,
        &mut headers,
        |field| facts.note(field).map(|()| true),
    )
    .map_err(fault)?;
    check_host(bytes, &facts, &line, &uri).map_err(fault)?;
    let framing = request_framing(&facts, line.version).map_err(fault)?;

    let http_11 = line.version == Version::HTTP_11;
    Ok(Some(RequestHead {
        method: line.method,
        uri,
        version: line.version,
        headers,
        framing,
        keep_alive: !facts.close && (http_11 || facts.keep_alive),
        expect_continue: facts.expect_continue && http_11 && framing.has_body(),
        upgrade: http_11
            && facts.upgrade_option
            && facts.upgrade
            && !facts.upgrade_h2c
            && !framing.has_body(),
        names_hop_fields: facts.names_fields,
        te: facts.te,
    }))
}

/// Holds `Host` to RFC 9112 section 3.2: once, well-formed, and the same place as the target names.
fn check_host(
    head: &[u8],
    facts: &Facts,
    line: &RequestLine<'_>,
    uri: &Uri,
) -> Result<(), HeadError> {
    let Some((start, len)) = facts.host else {
        return if line.version == Version::HTTP_11 {
            Err(HeadError::MissingHost)
        } else {
            Ok(())
        };
    };
    let authority = uri.authority();
    if authority.is_none() && facts.host_is_authority {
        return Ok(());
    }
    let host = Authority::parse(head.get(start..start + len).unwrap_or_default())?;
    let Some(authority) = authority else {
        return Ok(());
    };
    let target = Authority::parse(authority.as_str().as_bytes())?;
    // `CONNECT host:443` with a bare `Host: host` is common; its port is the target's.
    let default_port = match uri.scheme_str() {
        Some("https") => Some(443),
        Some(_) => Some(80),
        None => authority.port_u16(),
    };
    if host.agrees(target, default_port) {
        Ok(())
    } else {
        Err(HeadError::HostMismatch)
    }
}

/// `method SP target SP version`, without the line end.
pub(super) struct RequestLine<'a> {
    method: Method,
    /// Length of the method as sent.
    method_bytes: usize,
    target: &'a [u8],
    version: Version,
}

impl<'a> RequestLine<'a> {
    pub(super) fn parse(line: &'a [u8], limits: &HeadLimits) -> Result<Self, HeadError> {
        let space = find::<b' '>(line);
        if space.unwrap_or(line.len()) > MAX_METHOD_BYTES {
            return Err(HeadError::MethodTooLong);
        }
        let (method, rest) = space
            .and_then(|at| line.split_at_checked(at))
            .ok_or(HeadError::InvalidMethod)?;
        let method_bytes = method.len();
        let method = Method::from_bytes(method).map_err(|_| HeadError::InvalidMethod)?;
        // `rest` starts with the space.
        let rest = rest.get(1..).unwrap_or_default();
        let space = find::<b' '>(rest);
        if space.unwrap_or(rest.len()) > limits.max_uri_bytes {
            return Err(HeadError::UriTooLong);
        }
        let (target, version) = space
            .and_then(|at| rest.split_at_checked(at))
            .ok_or(HeadError::MissingVersion)?;
        let version = match version {
            b" HTTP/1.1" => Version::HTTP_11,
            b" HTTP/1.0" => Version::HTTP_10,
            other => return Err(version_fault(other.get(1..).unwrap_or_default())),
        };
        Ok(Self {
            method,
            method_bytes,
            target,
            version,
        })
    }

    /// What is already wrong with a line whose end has not arrived.
    pub(super) fn check_partial(line: &[u8], limits: &HeadLimits) -> Result<(), HeadError> {
        // Cheap while it can be: a line is looked at again with every read.
        match find::<b' '>(line.get(..=MAX_METHOD_BYTES).unwrap_or(line)) {
            None if line.len() > MAX_METHOD_BYTES => Err(HeadError::MethodTooLong),
            Some(space) if line.len() - space - 1 > limits.max_uri_bytes => {
                let target = line
                    .get(space + 1..)
                    .and_then(|rest| rest.get(..=limits.max_uri_bytes))
                    .unwrap_or_default();
                if find::<b' '>(target).is_none() {
                    return Err(HeadError::UriTooLong);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// Why `version` is not one of the two that are served.
#[cold]
pub(super) fn version_fault(version: &[u8]) -> HeadError {
    match version {
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            HeadError::UnsupportedVersion
        }
        _ => HeadError::InvalidVersion,
    }
}

#[cfg(test)]
mod tests;
