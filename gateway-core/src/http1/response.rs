//! Response heads.

use bytes::BytesMut;
use http::{HeaderMap, Method, StatusCode, Version};

use super::facts::Facts;
use super::fields::{SPARE_IN_RESPONSE, is_value_byte, map_for, parse_fields};
use super::framing::{BodyFraming, has_no_body, response_framing};
use super::scan::{self, LineEnds, ScanState, Section};
use super::{HeadError, HeadLimits, request};

/// A response without its body.
#[derive(Debug)]
pub struct ResponseHead {
    /// The status. 1xx other than 101 is interim: another head follows.
    pub status: StatusCode,
    /// 1.0 or 1.1.
    pub version: Version,
    /// All fields in wire order, `Connection` and the framing fields included. The values share the
    /// memory of the head.
    pub headers: HeaderMap,
    /// How the body that follows is delimited. `UntilClose` after 101 and after 2xx to `CONNECT`:
    /// what follows is a tunnel.
    pub framing: BodyFraming,
    /// Whether the connection may carry another request after this response.
    pub keep_alive: bool,
    /// Whether `Connection` names options besides `close`, `keep-alive` and `upgrade`: fields that must
    /// not be forwarded.
    pub names_hop_fields: bool,
}

/// Takes one response head off `buf`, interim ones included. `None`: it is incomplete.
///
/// `method` is the method of the request that is answered. For `state` see
/// [`parse_request`](super::parse_request).
///
/// # Errors
/// The first fault found. The connection is of no use afterwards.
pub fn parse_response(
    buf: &mut BytesMut,
    state: &mut ScanState,
    method: &Method,
    limits: &HeadLimits,
) -> Result<Option<ResponseHead>, HeadError> {
    let mut ends = LineEnds::default();
    let max = limits.max_head_bytes;
    let Some(head) = state.take_head(buf, max, Section::Response, limits, &mut ends)? else {
        return Ok(None);
    };
    let bytes = &head.bytes;
    let fault = |found| scan::first_fault(bytes, Section::Response, limits, found);
    let first = ends.line(bytes, 0, 0).map_err(fault)?;
    let StatusLine { version, status } = StatusLine::parse(first).map_err(fault)?;

    let mut facts = Facts::default();
    let mut headers = map_for(&head, limits.max_headers, SPARE_IN_RESPONSE).map_err(fault)?;
    parse_fields(
        &head,
        &ends,
        Some(first),
        limits.max_headers,
        &mut headers,
        |field| facts.note(field).map(|()| true),
    )
    .map_err(fault)?;
    let framing = response_framing(&facts, version, status, method).map_err(fault)?;

    let persistent = !facts.close && (version == Version::HTTP_11 || facts.keep_alive);
    // A body announced where none may be: the peer may well send it.
    let stray_body = has_no_body(status, method)
        && *method != Method::HEAD
        && status != StatusCode::NOT_MODIFIED
        && facts.announces_body();
    Ok(Some(ResponseHead {
        status,
        version,
        headers,
        framing,
        keep_alive: persistent && framing != BodyFraming::UntilClose && !stray_body,
        names_hop_fields: facts.names_fields,
    }))
}

/// `version SP status [SP [reason]]`, without the line end.
pub(super) struct StatusLine {
    version: Version,
    status: StatusCode,
}

impl StatusLine {
    /// The reason phrase is dropped; it may hold any value byte. The space before it may be missing
    /// with it, as several servers leave it out.
    pub(super) fn parse(line: &[u8]) -> Result<Self, HeadError> {
        let (version, rest) = line
            .split_at_checked(8)
            .ok_or(HeadError::InvalidStatusLine)?;
        let version = match version {
            b"HTTP/1.1" => Version::HTTP_11,
            b"HTTP/1.0" => Version::HTTP_10,
            other => {
                return Err(match request::version_fault(other) {
                    HeadError::UnsupportedVersion => HeadError::UnsupportedVersion,
                    _ => HeadError::InvalidStatusLine,
                });
            }
        };
        let (digits, reason) = match rest {
            [b' ', a, b, c] => ([*a, *b, *c], &[][..]),
            [b' ', a, b, c, b' ', reason @ ..] => ([*a, *b, *c], reason),
            _ => return Err(HeadError::InvalidStatusLine),
        };
        if !reason.iter().all(|&byte| is_value_byte(byte)) {
            return Err(HeadError::InvalidStatusLine);
        }
        let status = StatusCode::from_bytes(&digits).map_err(|_| HeadError::InvalidStatusLine)?;
        Ok(Self { version, status })
    }
}

#[cfg(test)]
mod tests;
