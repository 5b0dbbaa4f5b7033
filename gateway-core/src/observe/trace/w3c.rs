//! W3C Trace Context: `traceparent` (section 3.2) and `tracestate` (section 3.3).

use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::context::{Incoming, TraceContext};
use super::hex;

pub(super) static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(super) static TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Length of a version 00 header: `00-`, 32 digits, `-`, 16 digits, `-`, 2 digits.
const LENGTH: usize = 55;

/// Most members of a `tracestate` list (section 3.3.1.1).
const MAX_MEMBERS: usize = 32;

/// The caller's context; `None` when there is none, more than one, or one that breaks the format.
pub(super) fn extract(headers: &HeaderMap) -> Option<Incoming> {
    let mut values = headers.get_all(&TRACEPARENT).iter();
    let value = values.next()?;
    if values.next().is_some() {
        return None;
    }
    parse(value.as_bytes())
}

/// Parses a `traceparent`. A later version is read as far as version 00 goes (section 3.2.4).
pub(super) fn parse(value: &[u8]) -> Option<Incoming> {
    let (head, rest) = value.split_at_checked(LENGTH)?;
    let [version] = hex::parse::<1>(head.get(..2)?)?;
    match version {
        0xff => return None,
        0 if !rest.is_empty() => return None,
        _ if !rest.is_empty() && !rest.starts_with(b"-") => return None,
        _ => {}
    }
    for dash in [2, 35, 52] {
        if head.get(dash) != Some(&b'-') {
            return None;
        }
    }
    let trace_id = hex::parse_id(head.get(3..35)?)?;
    let parent = hex::parse_id(head.get(36..52)?)?;
    let [flags] = hex::parse::<1>(head.get(53..)?)?;
    Some(Incoming {
        ids: Some((trace_id, parent)),
        sampled: Some(flags & 1 == 1),
        debug: false,
    })
}

/// Our `traceparent`: one allocation, the header value's own.
pub(super) fn inject(context: &TraceContext, headers: &mut HeaderMap) {
    let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
    hex::fill(&mut text[3..35], &context.trace_id);
    hex::fill(&mut text[36..52], &context.span_id);
    text[54] = b'0' + u8::from(context.sampled);
    if let Ok(value) = HeaderValue::from_bytes(&text) {
        headers.insert(&TRACEPARENT, value);
    }
}

/// What to do with the `tracestate` of a valid `traceparent`.
pub(super) enum State<'h> {
    /// There is none, or several headers that stay as they are.
    Keep,
    /// One header, for those who record it.
    One(&'h HeaderValue),
    /// It breaks the format and must not be passed on (section 3.3.1).
    Broken,
}

pub(super) fn state(headers: &HeaderMap) -> State<'_> {
    let mut values = headers.get_all(&TRACESTATE).iter();
    let Some(first) = values.next() else {
        return State::Keep;
    };
    let mut members = 0;
    let mut valid = count_members(first.as_bytes(), &mut members);
    let mut more = false;
    for value in values {
        more = true;
        valid = valid && count_members(value.as_bytes(), &mut members);
    }
    match (valid, more) {
        (false, _) => State::Broken,
        (true, true) => State::Keep,
        (true, false) => State::One(first),
    }
}

/// Checks each member of a list and counts them; empty members are allowed and not counted.
fn count_members(value: &[u8], members: &mut usize) -> bool {
    value.split(|byte| *byte == b',').all(|member| {
        let member = trim(member);
        if member.is_empty() {
            return true;
        }
        *members += 1;
        *members <= MAX_MEMBERS && is_member(member)
    })
}

/// `key=value`, section 3.3.1.3.
fn is_member(member: &[u8]) -> bool {
    let Some(equals) = member.iter().position(|byte| *byte == b'=') else {
        return false;
    };
    let (key, value) = (&member[..equals], &member[equals + 1..]);
    let value_ok = (1..=256).contains(&value.len())
        && value
            .iter()
            .all(|byte| matches!(byte, 0x20..=0x7e) && *byte != b'=');
    value_ok && is_key(key)
}

/// A simple key of up to 256 characters, or `tenant@system` with up to 241 and 14. A digit may come first,
/// as level 2 of the specification allows.
fn is_key(key: &[u8]) -> bool {
    let rest = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/');
    let part = |part: &[u8], most: usize, digit_first: bool| {
        let starts = part.first().is_some_and(|first| {
            first.is_ascii_lowercase() || digit_first && first.is_ascii_digit()
        });
        starts && part.len() <= most && part.iter().all(rest)
    };
    match key.iter().position(|byte| *byte == b'@') {
        Some(at) => part(&key[..at], 241, true) && part(&key[at + 1..], 14, false),
        None => part(key, 256, true),
    }
}

/// Without optional white space (space and tab) at both ends.
fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = text {
        text = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}
