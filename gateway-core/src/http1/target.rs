//! Request targets and authorities (RFC 9112 section 3.2, RFC 3986 section 3.2).

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{Method, Uri};

use super::HeadError;

/// Which bytes a registered name may hold.
static REG_NAME: [bool; 256] = reg_name();

const fn reg_name() -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0u8;
    loop {
        if byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'-' | b'.'
                    | b'_'
                    | b'~'
                    | b'!'
                    | b'$'
                    | b'&'
                    | b'\''
                    | b'('
                    | b')'
                    | b'*'
                    | b'+'
                    | b';'
                    | b'='
            )
        {
            table[byte as usize] = true;
        }
        if byte == u8::MAX {
            return table;
        }
        byte += 1;
    }
}

/// Whether all of `target` may stand between the spaces of a request line.
#[inline]
pub(super) fn is_target(target: &[u8]) -> bool {
    // Without a branch between them the bytes of a block are judged all at once.
    let all = |bytes: &[u8]| {
        bytes
            .iter()
            .fold(true, |all, &byte| all & is_target_byte(byte))
    };
    match target.last_chunk::<16>() {
        // The last block may overlap with the one before it.
        Some(last) => target.as_chunks::<16>().0.iter().all(|block| all(block)) && all(last),
        None => !target.is_empty() && target.iter().all(|&byte| is_target_byte(byte)),
    }
}

/// A fragment never reaches the wire; `http::Uri` would drop it silently.
#[inline]
const fn is_target_byte(byte: u8) -> bool {
    (byte > 0x20) & (byte < 0x7f) & (byte != b'#')
}

/// Turns a target into a URI whose form fits `method`.
///
/// Origin form for all methods but `CONNECT`, absolute form with `http` or `https` likewise,
/// `host:port` for `CONNECT` alone, `*` for `OPTIONS` alone.
pub(super) fn parse_target(method: &Method, target: Bytes) -> Result<Uri, HeadError> {
    if target.first() == Some(&b'/') && *method != Method::CONNECT {
        // `PathAndQuery` refuses what `is_target` does, but for what may be UTF-8 and for a fragment, which it cuts off.
        let length = target.len();
        if !target.is_ascii() {
            return Err(HeadError::InvalidTarget);
        }
        return match PathAndQuery::from_maybe_shared(target) {
            Ok(path) if path.as_str().len() == length => Ok(Uri::from(path)),
            _ => Err(HeadError::InvalidTarget),
        };
    }
    if !is_target(&target) {
        return Err(HeadError::InvalidTarget);
    }
    if *method == Method::CONNECT {
        return match Authority::parse(&target) {
            Ok(authority) if authority.port.is_some() => {
                Uri::from_maybe_shared(target).map_err(|_| HeadError::InvalidTarget)
            }
            _ => Err(HeadError::TargetForm),
        };
    }
    if target == "*" && *method == Method::OPTIONS {
        return Ok(Uri::from(PathAndQuery::from_static("*")));
    }
    absolute(target)
}

/// A target in absolute form.
fn absolute(target: Bytes) -> Result<Uri, HeadError> {
    let scheme = |name: &[u8]| {
        target
            .get(..name.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(name))
    };
    if !scheme(b"http://") && !scheme(b"https://") {
        return Err(HeadError::TargetForm);
    }
    let uri = Uri::from_maybe_shared(target).map_err(|_| HeadError::InvalidTarget)?;
    match uri.authority() {
        Some(authority) => Authority::parse(authority.as_str().as_bytes()).map(|_| ())?,
        None => return Err(HeadError::InvalidHost),
    }
    Ok(uri)
}

/// Whether `value` is a host, with a port or without, as requests of both versions of HTTP may name one.
pub(crate) fn is_authority(value: &[u8]) -> bool {
    Authority::parse(value).is_ok()
}

/// A host and perhaps a port, without user information.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Authority<'a> {
    host: &'a [u8],
    port: Option<u16>,
}

impl<'a> Authority<'a> {
    /// Accepts a registered name, an IPv4 address or a bracketed IPv6 address, with `:port` or without.
    /// An empty host, an empty port and `user@` are refused, and so is what RFC 3986 allows but servers make
    /// different hosts of: a comma, which is how two `Host` lines look once somebody has merged them, and escapes,
    /// which some decode.
    pub(super) fn parse(value: &'a [u8]) -> Result<Self, HeadError> {
        let (host, rest) = if value.first() == Some(&b'[') {
            let end = value
                .iter()
                .position(|&byte| byte == b']')
                .ok_or(HeadError::InvalidHost)?;
            let (literal, rest) = value.split_at(end + 1);
            let inner = literal.get(1..end).unwrap_or_default();
            std::str::from_utf8(inner)
                .ok()
                .and_then(|text| text.parse::<std::net::Ipv6Addr>().ok())
                .ok_or(HeadError::InvalidHost)?;
            (literal, rest)
        } else {
            let end = value
                .iter()
                .position(|&byte| !REG_NAME[usize::from(byte)])
                .unwrap_or(value.len());
            value.split_at(end)
        };
        if host.is_empty() {
            return Err(HeadError::InvalidHost);
        }
        let port = match rest {
            [] => None,
            [b':', digits @ ..] => {
                let port = super::framing::decimal(digits)
                    .and_then(|port| u16::try_from(port).ok())
                    .ok_or(HeadError::InvalidHost)?;
                Some(port)
            }
            _ => return Err(HeadError::InvalidHost),
        };
        Ok(Self { host, port })
    }

    /// Whether both name the same place when a missing port means `default_port`.
    pub(super) fn agrees(self, other: Self, default_port: Option<u16>) -> bool {
        self.host.eq_ignore_ascii_case(other.host)
            && self.port.or(default_port) == other.port.or(default_port)
    }
}
