//! Field lines: `name: value` CRLF, up to an empty line.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use memchr::memchr;

use super::HeadError;
use super::framing::{Coding, Length};
use super::known::with_lines;
use crate::heads;

/// Room left in the map for what a proxy adds to a request: five forwarded fields, a request id, a trace.
pub(super) const SPARE_IN_REQUEST: usize = 8;
/// Room left for what it adds to a response: a request id.
pub(super) const SPARE_IN_RESPONSE: usize = 1;

/// Parses the field lines of `block` from offset `at` to its end. Values share the memory of `block`, or that of
/// an equal line that was [known](super::known) before.
///
/// `lines` is how many there are, and `spare` how many more the map gets room for; `admit` sees each field (name, value, offset of the value) and says
/// whether it enters the map.
pub(super) fn parse_fields<F>(
    block: &Bytes,
    mut at: usize,
    lines: usize,
    spare: usize,
    max_headers: usize,
    mut admit: F,
) -> Result<HeaderMap, HeadError>
where
    F: FnMut(&HeaderName, &[u8], usize) -> Result<bool, HeadError>,
{
    if lines > max_headers {
        return Err(HeadError::TooManyHeaders);
    }
    let mut map = heads::header_map(lines + spare).map_err(|_| HeadError::TooManyHeaders)?;
    with_lines(|lines| {
        loop {
            let rest = block.get(at..).unwrap_or_default();
            if rest == b"\r\n" {
                return Ok(map);
            }
            let cr = memchr(b'\r', rest);
            let line = cr.and_then(|cr| rest.get(..cr)).unwrap_or_default();
            if let Some(known) = lines.get(line)
                && rest.get(line.len() + 1) == Some(&b'\n')
            {
                let start = at + known.offset;
                at += line.len() + 2;
                if admit(&known.name, known.value.as_bytes(), start)? {
                    map.try_append(known.name.clone(), known.value.clone())
                        .map_err(|_| HeadError::TooManyHeaders)?;
                }
                continue;
            }
            // Names are short: a plain loop beats a vectorised search.
            let colon = rest.iter().position(|&byte| byte == b':');
            let Some((name, after)) = colon.and_then(|colon| rest.split_at_checked(colon)) else {
                return Err(name_fault(rest));
            };
            let Ok(field) = HeaderName::from_bytes(name) else {
                return Err(name_fault(rest));
            };
            // A name that is valid holds no line end, so the first one stands behind the colon.
            let Some(end) = cr else {
                return Err(HeadError::BareLf);
            };
            if rest.get(end + 1) != Some(&b'\n') {
                return Err(HeadError::BareCr);
            }
            // `after` starts with the colon.
            let untrimmed = after.get(1..end - name.len()).unwrap_or_default();
            let tail = trim_start(untrimmed);
            let value = trim_end(tail);
            let offset = name.len() + 1 + (untrimmed.len() - tail.len());
            let start = at + offset;
            at += end + 2;
            if admit(&field, value, start)? {
                let shared = block.slice(start..start + value.len());
                let value =
                    HeaderValue::from_maybe_shared(shared).map_err(|_| HeadError::InvalidValue)?;
                lines.learn(line, &field, value.as_bytes(), offset);
                map.try_append(field, value)
                    .map_err(|_| HeadError::TooManyHeaders)?;
            } else if !value.iter().all(|&byte| is_value_byte(byte)) {
                return Err(HeadError::InvalidValue);
            }
        }
    })
}

/// What the fields of a head say about the message itself.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// Offset and length of the `Host` value.
    pub(super) host: Option<(usize, usize)>,
    /// The merged `Content-Length`.
    pub(super) length: Option<Length>,
    /// The merged `Transfer-Encoding`.
    pub(super) coding: Option<Coding>,
    /// `Connection: close`.
    pub(super) close: bool,
    /// `Connection: keep-alive`.
    pub(super) keep_alive: bool,
    /// `Connection: upgrade`.
    pub(super) upgrade_option: bool,
    /// `Connection` names a field of its own.
    pub(super) names_fields: bool,
    /// An `Upgrade` field that does not offer `h2c`.
    pub(super) upgrade: bool,
    /// An `Upgrade` field that offers `h2c`.
    pub(super) upgrade_h2c: bool,
    /// `Expect: 100-continue`.
    pub(super) expect_continue: bool,
}

impl Facts {
    /// Takes note of one field. The length of the name decides quickly that most are of no interest.
    #[inline]
    pub(super) fn note(
        &mut self,
        name: &HeaderName,
        value: &[u8],
        start: usize,
    ) -> Result<(), HeadError> {
        match name.as_str().len() {
            4 if *name == header::HOST => return self.note_host(start, value.len()),
            6 if *name == header::EXPECT => {
                self.expect_continue |= value.eq_ignore_ascii_case(b"100-continue");
            }
            7 if *name == header::UPGRADE => self.note_upgrade(value),
            10 if *name == header::CONNECTION => self.note_connection(value),
            14 if *name == header::CONTENT_LENGTH => {
                self.length = Some(Length::merge(self.length, value)?);
            }
            17 if *name == header::TRANSFER_ENCODING => {
                self.coding = Some(Coding::merge(self.coding, value)?);
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether the framing fields announce a body, however they do it.
    pub(super) fn announces_body(&self) -> bool {
        self.coding.is_some() || self.length.is_some_and(|length| length.value() > 0)
    }

    fn note_host(&mut self, start: usize, len: usize) -> Result<(), HeadError> {
        match self.host.replace((start, len)) {
            None => Ok(()),
            Some(_) => Err(HeadError::DuplicateHost),
        }
    }

    fn note_connection(&mut self, value: &[u8]) {
        for option in list(value) {
            if option.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive = true;
            } else if option.eq_ignore_ascii_case(b"upgrade") {
                self.upgrade_option = true;
            } else {
                self.names_fields = true;
            }
        }
    }

    fn note_upgrade(&mut self, value: &[u8]) {
        for protocol in list(value) {
            if protocol.eq_ignore_ascii_case(b"h2c") {
                self.upgrade_h2c = true;
            } else {
                self.upgrade = true;
            }
        }
    }
}

/// The non-empty elements of a comma-separated value, trimmed.
pub(super) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|&byte| byte == b',')
        .map(|element| trim_end(trim_start(element)))
        .filter(|element| !element.is_empty())
}

/// Whether a field value may hold `byte` (RFC 9110 section 5.5, obs-text included).
#[inline]
pub(super) const fn is_value_byte(byte: u8) -> bool {
    byte == b'\t' || (byte >= 0x20 && byte != 0x7f)
}

/// Whether `byte` may stand in a token (RFC 9110 section 5.6.2).
#[inline]
pub(super) const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

/// Removes leading spaces and tabs (and only those).
#[inline]
pub(super) fn trim_start(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    value
}

/// Removes trailing spaces and tabs.
#[inline]
pub(super) fn trim_end(mut value: &[u8]) -> &[u8] {
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// What is wrong with the name of the line that starts at `rest`.
#[cold]
fn name_fault(rest: &[u8]) -> HeadError {
    let line = memchr(b'\r', rest)
        .and_then(|end| rest.get(..end))
        .unwrap_or(rest);
    let name = memchr(b':', line).and_then(|colon| line.get(..colon));
    match (line, name) {
        ([b' ' | b'\t', ..], _) => HeadError::ObsFold,
        (_, None) => HeadError::MissingColon,
        (_, Some([])) => HeadError::EmptyName,
        (_, Some([.., b' ' | b'\t'])) => HeadError::SpaceBeforeColon,
        _ => HeadError::InvalidName,
    }
}
