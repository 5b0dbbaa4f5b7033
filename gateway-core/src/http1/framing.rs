//! Where a body ends (RFC 9112 section 6.3), decided without leniency.
//!
//! | fields | request | response |
//! | --- | --- | --- |
//! | `Content-Length` beside `Transfer-Encoding` | refused | refused |
//! | `Content-Length` repeated, same value | refused | merged (section 6.3 rule 5 allows it) |
//! | `Content-Length` repeated, other value | refused | refused |
//! | `Transfer-Encoding: chunked` | chunked | chunked |
//! | another coding below `chunked` | refused, 501 | refused |
//! | any other `Transfer-Encoding`, more than one line of it, or any in HTTP/1.0 | refused | refused |
//! | neither | no body | until the connection closes |
//!
//! The fields of a response without body (to `HEAD`, or 1xx, 204, 304) are held to the same rules.

use http::{Method, StatusCode, Version};

use super::HeadError;
use super::facts::Facts;
use super::fields::list;

/// Largest length of a body or chunk. Upstreams that count in signed numbers see a negative one beyond it.
pub(super) const MAX_LENGTH: u64 = i64::MAX.unsigned_abs();

/// How the end of a body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFraming {
    /// There is no body and nothing announces one.
    Empty,
    /// Exactly this many bytes, as `Content-Length` says. May be 0.
    Length(u64),
    /// Chunks with a last one of size 0 (RFC 9112 section 7.1).
    Chunked,
    /// Everything until the connection closes: responses and tunnels only.
    UntilClose,
}

impl BodyFraming {
    /// Whether at least one byte of body may follow.
    #[must_use]
    pub fn has_body(self) -> bool {
        !matches!(self, Self::Empty | Self::Length(0))
    }
}

/// The value of `Content-Length`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Length {
    value: u64,
    repeated: bool,
}

impl Length {
    /// Adds one field line to what earlier ones said.
    pub(super) fn merge(earlier: Option<Self>, value: &[u8]) -> Result<Self, HeadError> {
        let mut merged = earlier;
        if let Some(value) = decimal(value) {
            return Self::and(merged, value);
        }
        // Not one number: a list of numbers is a repetition, everything else is malformed.
        let mut elements = 0;
        for element in value.split(|&byte| byte == b',') {
            let element = super::fields::trim_end(super::fields::trim_start(element));
            let number = decimal(element).ok_or(HeadError::InvalidContentLength)?;
            merged = Some(Self::and(merged, number)?);
            elements += 1;
        }
        match merged {
            Some(length) if elements > 1 => Ok(length),
            _ => Err(HeadError::InvalidContentLength),
        }
    }

    pub(super) fn value(self) -> u64 {
        self.value
    }

    fn and(earlier: Option<Self>, value: u64) -> Result<Self, HeadError> {
        if value > MAX_LENGTH {
            return Err(HeadError::InvalidContentLength);
        }
        match earlier {
            None => Ok(Self {
                value,
                repeated: false,
            }),
            Some(earlier) if earlier.value == value => Ok(Self {
                value,
                repeated: true,
            }),
            Some(_) => Err(HeadError::DuplicateContentLength),
        }
    }
}

/// The value of `Transfer-Encoding`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Chunked,
    /// Another coding, with `chunked` last.
    Unsupported,
    /// Not delimited by a final `chunked`, repeated, or not a list of tokens.
    Invalid,
}

impl Coding {
    /// Adds one field line to what earlier ones said. Faults are kept for later, because the presence
    /// of `Content-Length` or an old version weighs more.
    pub(super) fn merge(earlier: Option<Self>, value: &[u8]) -> Result<Self, HeadError> {
        if earlier.is_some() {
            return Ok(Self::Invalid);
        }
        if value.eq_ignore_ascii_case(b"chunked") {
            return Ok(Self::Chunked);
        }
        let known = |coding: &[u8]| {
            [
                b"gzip".as_slice(),
                b"deflate",
                b"compress",
                b"x-gzip",
                b"x-compress",
            ]
            .iter()
            .any(|name| coding.eq_ignore_ascii_case(name))
        };
        let mut last = None;
        for coding in list(value) {
            if let Some(previous) = last.replace(coding)
                && !known(previous)
            {
                return Ok(Self::Invalid);
            }
        }
        Ok(match last {
            // A lone `chunked` that is not the whole value stands beside empty elements.
            Some(last) if last.eq_ignore_ascii_case(b"chunked") && list(value).count() > 1 => {
                Self::Unsupported
            }
            _ => Self::Invalid,
        })
    }
}

/// The body of a request.
pub(super) fn request_framing(facts: &Facts, version: Version) -> Result<BodyFraming, HeadError> {
    let framing = announced(facts, version)?;
    if facts.length.is_some_and(|length| length.repeated) {
        return Err(HeadError::DuplicateContentLength);
    }
    Ok(framing.unwrap_or(BodyFraming::Empty))
}

/// The body of a response to a request with `method`.
pub(super) fn response_framing(
    facts: &Facts,
    version: Version,
    status: StatusCode,
    method: &Method,
) -> Result<BodyFraming, HeadError> {
    let framing = announced(facts, version)?;
    if status == StatusCode::SWITCHING_PROTOCOLS
        || (*method == Method::CONNECT && status.is_success())
    {
        return Ok(BodyFraming::UntilClose);
    }
    if has_no_body(status, method) {
        return Ok(BodyFraming::Empty);
    }
    Ok(framing.unwrap_or(BodyFraming::UntilClose))
}

/// Whether a response never has a body, whatever its fields say.
pub(super) fn has_no_body(status: StatusCode, method: &Method) -> bool {
    *method == Method::HEAD
        || status.is_informational()
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED
}

/// What the fields announce, if they announce anything.
fn announced(facts: &Facts, version: Version) -> Result<Option<BodyFraming>, HeadError> {
    match (facts.coding, facts.length) {
        (Some(_), Some(_)) => Err(HeadError::LengthWithTransferEncoding),
        (Some(_), None) if version == Version::HTTP_10 => Err(HeadError::TransferEncodingOnHttp10),
        (Some(Coding::Chunked), None) => Ok(Some(BodyFraming::Chunked)),
        (Some(Coding::Unsupported), None) => Err(HeadError::UnsupportedTransferEncoding),
        (Some(Coding::Invalid), None) => Err(HeadError::InvalidTransferEncoding),
        (None, Some(length)) => Ok(Some(BodyFraming::Length(length.value))),
        (None, None) => Ok(None),
    }
}

/// One or more ASCII digits that fit 64 bits, and nothing else.
pub(crate) fn decimal(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0u64, |number, &byte| {
        let digit = byte.checked_sub(b'0').filter(|&digit| digit < 10)?;
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}
