//! Heads and chunks, sending side.
//!
//! Nothing but this module writes `Connection`, `Transfer-Encoding` and `Content-Length`. Such entries
//! of a header map are left out, and so are the other fields that speak about one connection only
//! (`Keep-Alive`, `Proxy-Connection`, `HTTP2-Settings`; `Upgrade` and `TE` except as stated below):
//! what goes out is framed in one way, whatever a filter or a peer put into the map.

use std::num::NonZeroUsize;

use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};

use super::date::ImfDate;
use super::framing::{BodyFraming, decimal, has_no_body};
use super::target::is_target;
use super::trailers::Trailer;

/// What stands behind the data of each chunk.
pub const CHUNK_FOOTER: &[u8] = b"\r\n";

/// Room reserved for one field and for the lines around them.
const TYPICAL_FIELD_BYTES: usize = 48;
const TYPICAL_LINES_BYTES: usize = 192;

/// What the head says about the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionDirective {
    /// It stays open, as far as framing and version allow.
    KeepAlive,
    /// It closes after this message.
    Close,
    /// It changes protocol: `Connection: upgrade`, and the `Upgrade` field of the map is kept.
    Upgrade,
}

/// A head that cannot be written without ambiguity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The target is empty or holds white space, a control byte, a non-ASCII byte or `#`.
    #[error("invalid request target")]
    InvalidTarget,
    /// The body of a request cannot end with the connection.
    #[error("request body without an end")]
    UnboundedRequest,
}

/// What surrounds the fields of a response.
#[derive(Clone, Copy, Debug)]
pub struct ResponseLine<'a> {
    /// The status; interim ones have [`encode_interim`].
    pub status: StatusCode,
    /// The version the client spoke, which decides whether chunks may be sent. The status line always
    /// says HTTP/1.1 (RFC 9110 section 6.2).
    pub version: Version,
    /// The method of the request: answers to `HEAD` and `CONNECT` are framed differently.
    pub method: &'a Method,
    /// How the body is to be framed. For a response without body to `HEAD`, and for 304: what the body
    /// would have been; `Empty` there keeps a valid `Content-Length` of the map.
    pub framing: BodyFraming,
    /// What is wished for the connection.
    pub connection: ConnectionDirective,
    /// Whether the client takes trailers. Without them, or where the body is not chunked, a `Trailer` field is left
    /// out: it would announce what does not come.
    pub trailers: bool,
    /// Asked for what is written if the map has no `Date`; see [`date::cached`](super::date::cached).
    pub date: fn() -> ImfDate,
}

/// What became of the wishes in a [`ResponseLine`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodedResponse {
    /// How the body must be sent: `Empty` where none may follow, `UntilClose` instead of `Chunked` to
    /// an HTTP/1.0 client and for tunnels.
    pub framing: BodyFraming,
    /// Whether the connection stays open for another request.
    pub keep_alive: bool,
}

/// Appends the head of an HTTP/1.1 request to `dst`.
///
/// `Host` comes first, its first value in `headers`, empty if there is none (RFC 9112 section 3.2 asks
/// for the line in any case). `TE` is kept only as `TE: trailers`, and `Trailer` only for chunks. `Empty` framing writes no length,
/// except `Content-Length: 0` for `POST`, `PUT` and `PATCH`, which some servers insist on.
///
/// # Errors
/// Nothing is appended for an invalid target or a body without an end.
pub fn encode_request_head(
    dst: &mut Vec<u8>,
    method: &Method,
    target: &str,
    headers: &HeaderMap,
    framing: BodyFraming,
    connection: ConnectionDirective,
) -> Result<(), EncodeError> {
    if !is_target(target.as_bytes()) {
        return Err(EncodeError::InvalidTarget);
    }
    if framing == BodyFraming::UntilClose {
        return Err(EncodeError::UnboundedRequest);
    }
    dst.reserve(TYPICAL_LINES_BYTES + target.len() + headers.len() * TYPICAL_FIELD_BYTES);
    dst.extend_from_slice(method.as_str().as_bytes());
    dst.push(b' ');
    dst.extend_from_slice(target.as_bytes());
    dst.extend_from_slice(b" HTTP/1.1\r\nhost: ");
    // Most clients write it first, which saves the search.
    let host = match headers.iter().next() {
        Some((name, value)) if *name == http::header::HOST => Some(value),
        _ => headers.get(http::header::HOST),
    };
    if let Some(host) = host {
        dst.extend_from_slice(host.as_bytes());
    }
    dst.extend_from_slice(b"\r\n");

    let mut te = false;
    for (name, value) in headers {
        let name = name.as_str();
        let kept = match Role::of(name) {
            Role::Plain | Role::Date => true,
            Role::Upgrade => connection == ConnectionDirective::Upgrade,
            Role::Trailer => framing == BodyFraming::Chunked,
            Role::Te => {
                te |= value.as_bytes().eq_ignore_ascii_case(b"trailers");
                false
            }
            Role::Host | Role::ContentLength | Role::Connection => false,
        };
        if kept {
            field(dst, name, value);
        }
    }
    if te {
        dst.extend_from_slice(b"te: trailers\r\n");
    }
    let option = match connection {
        ConnectionDirective::KeepAlive => "",
        ConnectionDirective::Close => "close",
        ConnectionDirective::Upgrade => "upgrade",
    };
    match (option, te) {
        ("", false) => {}
        ("", true) => dst.extend_from_slice(b"connection: te\r\n"),
        (option, te) => {
            dst.extend_from_slice(b"connection: ");
            dst.extend_from_slice(option.as_bytes());
            dst.extend_from_slice(if te { b", te\r\n" } else { b"\r\n" });
        }
    }
    match framing {
        BodyFraming::Length(length) => content_length(dst, length),
        BodyFraming::Chunked => dst.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        BodyFraming::Empty if matches!(*method, Method::POST | Method::PUT | Method::PATCH) => {
            content_length(dst, 0);
        }
        BodyFraming::Empty | BodyFraming::UntilClose => {}
    }
    dst.extend_from_slice(b"\r\n");
    Ok(())
}

/// Appends the head of a final response, or of 101, to `dst`.
///
/// `Empty` framing writes `Content-Length: 0` where a body could be. With `UntilClose`, and with
/// `Chunked` to an HTTP/1.0 client, the connection closes after the body. `Upgrade` of the map is kept
/// with [`ConnectionDirective::Upgrade`] and for 426, which is required to carry it.
pub fn encode_response_head(
    dst: &mut Vec<u8>,
    line: &ResponseLine<'_>,
    headers: &HeaderMap,
) -> EncodedResponse {
    let wire = Wire::of(line);
    dst.reserve(TYPICAL_LINES_BYTES + headers.len() * TYPICAL_FIELD_BYTES);
    status_line(dst, line.status);

    let upgrade = line.connection == ConnectionDirective::Upgrade
        || line.status == StatusCode::UPGRADE_REQUIRED;
    let mut length = wire.length;
    let mut dated = false;
    let mut upgrade_sent = false;
    for (name, value) in headers {
        let name = name.as_str();
        let kept = match Role::of(name) {
            Role::Plain => true,
            Role::Date => {
                dated = true;
                true
            }
            Role::Upgrade => {
                upgrade_sent |= upgrade;
                upgrade
            }
            Role::ContentLength => {
                // The length of a body that is not sent.
                if wire.keeps_length && length.is_none() {
                    length = decimal(value.as_bytes());
                }
                false
            }
            Role::Trailer => line.trailers && wire.chunked,
            // A response has no business with `Host` and `TE`.
            Role::Host | Role::Te | Role::Connection => false,
        };
        if kept {
            field(dst, name, value);
        }
    }
    if !dated {
        dst.extend_from_slice(b"date: ");
        dst.extend_from_slice(&(line.date)());
        dst.extend_from_slice(b"\r\n");
    }
    if let Some(length) = length {
        content_length(dst, length);
    } else if wire.chunked {
        dst.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }

    let tunnel = wire.tunnel;
    let keep_alive = !tunnel
        && wire.framing != BodyFraming::UntilClose
        && line.connection == ConnectionDirective::KeepAlive;
    let http_10 = line.version < Version::HTTP_11;
    let options: &[u8] = if line.connection == ConnectionDirective::Upgrade {
        b"connection: upgrade\r\n"
    } else if tunnel {
        b""
    } else if !keep_alive && upgrade_sent {
        b"connection: close, upgrade\r\n"
    } else if !keep_alive {
        b"connection: close\r\n"
    } else if upgrade_sent && http_10 {
        b"connection: keep-alive, upgrade\r\n"
    } else if upgrade_sent {
        b"connection: upgrade\r\n"
    } else if http_10 {
        b"connection: keep-alive\r\n"
    } else {
        b""
    };
    dst.extend_from_slice(options);
    dst.extend_from_slice(b"\r\n");
    EncodedResponse {
        framing: wire.framing,
        keep_alive,
    }
}

/// Appends the head of an interim response (100, 103, ...) to `dst`. It must not be sent to an HTTP/1.0
/// client (RFC 9110 section 15.2). 101 is final: see [`encode_response_head`].
pub fn encode_interim(dst: &mut Vec<u8>, status: StatusCode, headers: &HeaderMap) {
    status_line(dst, status);
    for (name, value) in headers {
        let name = name.as_str();
        if matches!(Role::of(name), Role::Plain | Role::Date) {
            field(dst, name, value);
        }
    }
    dst.extend_from_slice(b"\r\n");
}

/// Appends the line in front of `size` bytes of data; [`CHUNK_FOOTER`] must follow the data.
pub fn encode_chunk_header(dst: &mut Vec<u8>, size: NonZeroUsize) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut line = [0; 18];
    let mut at = 16;
    line[16..].copy_from_slice(b"\r\n");
    let mut rest = size.get();
    while rest > 0 && at > 0 {
        at -= 1;
        line[at] = DIGITS[rest & 15];
        rest >>= 4;
    }
    dst.extend_from_slice(&line[at..]);
}

/// Appends `data` as one chunk; nothing if it is empty, since an empty chunk ends the body.
pub fn encode_chunk(dst: &mut Vec<u8>, data: &[u8]) {
    if let Some(size) = NonZeroUsize::new(data.len()) {
        dst.reserve(data.len() + 20);
        encode_chunk_header(dst, size);
        dst.extend_from_slice(data);
        dst.extend_from_slice(CHUNK_FOOTER);
    }
}

/// Appends the last chunk and the trailers. Fields that may not stand there, by the same list that
/// [`ChunkedDecoder`](super::ChunkedDecoder) uses, are left out.
pub fn encode_last_chunk(dst: &mut Vec<u8>, trailers: Option<&HeaderMap>) {
    dst.extend_from_slice(b"0\r\n");
    for (name, value) in trailers.into_iter().flatten() {
        if Trailer::of(name) == Trailer::Keep {
            field(dst, name.as_str(), value);
        }
    }
    dst.extend_from_slice(b"\r\n");
}

/// How a response goes over the wire.
struct Wire {
    framing: BodyFraming,
    length: Option<u64>,
    keeps_length: bool,
    chunked: bool,
    tunnel: bool,
}

impl Wire {
    fn of(line: &ResponseLine<'_>) -> Self {
        let mut wire = Self {
            framing: BodyFraming::Empty,
            length: None,
            keeps_length: false,
            chunked: false,
            tunnel: false,
        };
        let http_11 = line.version >= Version::HTTP_11;
        if line.status == StatusCode::SWITCHING_PROTOCOLS
            || (*line.method == Method::CONNECT && line.status.is_success())
        {
            wire.framing = BodyFraming::UntilClose;
            wire.tunnel = true;
        } else if line.status.is_informational() || line.status == StatusCode::NO_CONTENT {
            // Neither field may stand here (RFC 9112 section 6.1, RFC 9110 section 8.6).
        } else if has_no_body(line.status, line.method) {
            match line.framing {
                BodyFraming::Length(length) => wire.length = Some(length),
                BodyFraming::Chunked => wire.chunked = http_11,
                BodyFraming::Empty => wire.keeps_length = true,
                BodyFraming::UntilClose => {}
            }
        } else {
            match line.framing {
                BodyFraming::Empty => wire.length = Some(0),
                BodyFraming::Length(length) => wire.length = Some(length),
                BodyFraming::Chunked => wire.chunked = http_11,
                BodyFraming::UntilClose => {}
            }
            wire.framing = match line.framing {
                BodyFraming::Chunked if !http_11 => BodyFraming::UntilClose,
                other => other,
            };
        }
        wire
    }
}

/// What the encoder does with a field.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Plain,
    Host,
    Date,
    Upgrade,
    Te,
    /// Announces trailers.
    Trailer,
    ContentLength,
    /// Speaks about one connection; never copied.
    Connection,
}

impl Role {
    #[inline(always)]
    fn of(name: &str) -> Self {
        // Most names have none of these lengths, and are compared with nothing.
        match name.len() {
            2 | 4 | 7 | 10 | 14 | 16 | 17 => Self::of_special(name),
            _ => Self::Plain,
        }
    }

    fn of_special(name: &str) -> Self {
        match name {
            "te" => Self::Te,
            "host" => Self::Host,
            "date" => Self::Date,
            "upgrade" => Self::Upgrade,
            "trailer" => Self::Trailer,
            "content-length" => Self::ContentLength,
            "connection" | "http2-settings" | "keep-alive" | "proxy-connection"
            | "transfer-encoding" => Self::Connection,
            _ => Self::Plain,
        }
    }
}

#[inline(always)]
fn field(dst: &mut Vec<u8>, name: &str, value: &HeaderValue) {
    dst.extend_from_slice(name.as_bytes());
    dst.extend_from_slice(b": ");
    dst.extend_from_slice(value.as_bytes());
    dst.extend_from_slice(b"\r\n");
}

fn status_line(dst: &mut Vec<u8>, status: StatusCode) {
    let line: &[u8] = match status.as_u16() {
        200 => b"HTTP/1.1 200 OK\r\n",
        204 => b"HTTP/1.1 204 No Content\r\n",
        206 => b"HTTP/1.1 206 Partial Content\r\n",
        301 => b"HTTP/1.1 301 Moved Permanently\r\n",
        302 => b"HTTP/1.1 302 Found\r\n",
        304 => b"HTTP/1.1 304 Not Modified\r\n",
        400 => b"HTTP/1.1 400 Bad Request\r\n",
        404 => b"HTTP/1.1 404 Not Found\r\n",
        500 => b"HTTP/1.1 500 Internal Server Error\r\n",
        503 => b"HTTP/1.1 503 Service Unavailable\r\n",
        _ => {
            dst.extend_from_slice(b"HTTP/1.1 ");
            dst.extend_from_slice(status.as_str().as_bytes());
            // The space stays when the reason is empty (RFC 9112 section 4).
            dst.push(b' ');
            dst.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
            b"\r\n"
        }
    };
    dst.extend_from_slice(line);
}

fn content_length(dst: &mut Vec<u8>, length: u64) {
    const NAME: &[u8; 16] = b"content-length: ";
    // 20 digits hold any 64-bit number.
    let mut line = [b' '; NAME.len() + 20 + 2];
    let mut at = line.len() - 2;
    line[at..].copy_from_slice(b"\r\n");
    let mut rest = length;
    loop {
        at -= 1;
        line[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    let start = at - NAME.len();
    line[start..at].copy_from_slice(NAME);
    dst.extend_from_slice(&line[start..]);
}

#[cfg(test)]
mod tests;
