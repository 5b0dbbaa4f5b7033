//! Field lines: `name: value` CRLF, up to an empty line.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::HeadError;
use super::find::find;
use super::known::{self, Known, Line, Name, with_known};
use super::scan::{LineEnds, RawHead};
use crate::heads;

/// Room left in the map for what a proxy adds to a request: five forwarded fields, a request id, a trace.
pub(super) const SPARE_IN_REQUEST: usize = 8;
/// Room left for what it adds to a response: a request id.
pub(super) const SPARE_IN_RESPONSE: usize = 1;

/// An empty map for the fields of `head`, as many as `max_headers` allows, and `spare` more.
pub(super) fn map_for(
    head: &RawHead,
    max_headers: usize,
    spare: usize,
) -> Result<HeaderMap, HeadError> {
    heads::header_map(head.lines.min(max_headers) + spare).map_err(|_| HeadError::TooManyHeaders)
}

/// One field.
pub(super) struct FieldLine<'a> {
    pub(super) name: &'a Name,
    pub(super) value: &'a [u8],
    /// Offset of the value in the head.
    pub(super) start: usize,
    /// Whether the value was found to be one that `Host` may have; if not, that is not known.
    pub(super) is_authority: bool,
}

/// Parses the field lines of `head`, behind its `first` line if it has one that is no field, into `map`. Values share
/// the memory of the head, or that of an equal line that was [known](super::known) before.
///
/// `admit` sees each field and says whether it enters the map.
pub(super) fn parse_fields<F>(
    head: &RawHead,
    ends: &LineEnds,
    first: Option<&[u8]>,
    max_headers: usize,
    map: &mut HeaderMap,
    mut admit: F,
) -> Result<(), HeadError>
where
    F: FnMut(&FieldLine<'_>) -> Result<bool, HeadError>,
{
    let mut number = usize::from(first.is_some());
    let lines = head.lines;
    if lines.saturating_sub(number) > max_headers {
        return Err(HeadError::TooManyHeaders);
    }
    let mut at = first.map_or(0, |line| line.len() + 2);
    with_known(move |known| {
        while number < lines {
            let line = ends.line(&head.bytes, number, at)?;
            field_line(known, &head.bytes, line, at, map, &mut admit)?;
            number += 1;
            at += line.len() + 2;
        }
        Ok(())
    })
}

/// Parses one line, which starts at offset `at` of `head`.
#[inline]
fn field_line<F>(
    Known { lines, names }: &mut Known,
    head: &Bytes,
    line: &[u8],
    at: usize,
    map: &mut HeaderMap,
    admit: &mut F,
) -> Result<(), HeadError>
where
    F: FnMut(&FieldLine<'_>) -> Result<bool, HeadError>,
{
    let line_hash = known::hash(line);
    if let Some(known) = lines.get(line_hash, line) {
        let field = FieldLine {
            name: &known.name,
            value: known.value.as_bytes(),
            start: at + known.offset,
            is_authority: known.is_authority,
        };
        if admit(&field)? {
            map.try_append(&known.name.name, known.value.clone())
                .map_err(|_| HeadError::TooManyHeaders)?;
        }
        return Ok(());
    }
    let colon = find::<b':'>(line).ok_or_else(|| name_fault(line))?;
    let (name, after) = line.split_at_checked(colon).unwrap_or_default();
    let name_hash = known::hash(name);
    let parsed;
    let known = match names.get(name_hash, name) {
        Some(known) => known,
        None => {
            let field = HeaderName::from_bytes(name).map_err(|_| name_fault(line))?;
            parsed = Name::new(field);
            names.learn(name_hash, name, || parsed.known());
            &parsed
        }
    };
    // `after` starts with the colon.
    let tail = trim_start(after.get(1..).unwrap_or_default());
    let value = trim_end(tail);
    let offset = line.len() - tail.len();
    let start = at + offset;
    let field = FieldLine {
        name: known,
        value,
        start,
        is_authority: false,
    };
    if !admit(&field)? {
        return if value.iter().all(|&byte| is_value_byte(byte)) {
            Ok(())
        } else {
            Err(HeadError::InvalidValue)
        };
    }
    let shared = head.slice(start..start + value.len());
    let value = HeaderValue::from_maybe_shared(shared).map_err(|_| HeadError::InvalidValue)?;
    if known.is_common {
        lines.learn(line_hash, line, || Line::new(known, &value, offset));
    }
    map.try_append(&known.name, value)
        .map_err(|_| HeadError::TooManyHeaders)?;
    Ok(())
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

/// What is wrong with the name in `line`.
#[cold]
fn name_fault(line: &[u8]) -> HeadError {
    let name = find::<b':'>(line).and_then(|colon| line.get(..colon));
    match (line, name) {
        ([b' ' | b'\t', ..], _) => HeadError::ObsFold,
        (_, None) => HeadError::MissingColon,
        (_, Some([])) => HeadError::EmptyName,
        (_, Some([.., b' ' | b'\t'])) => HeadError::SpaceBeforeColon,
        _ => HeadError::InvalidName,
    }
}
