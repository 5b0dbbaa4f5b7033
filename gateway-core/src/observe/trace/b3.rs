//! B3 propagation: the single `b3` header and the `x-b3-*` headers.

use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::context::{Incoming, TraceContext};
use super::hex;

pub(super) static SINGLE: HeaderName = HeaderName::from_static("b3");
static TRACE_ID: HeaderName = HeaderName::from_static("x-b3-traceid");
static SPAN_ID: HeaderName = HeaderName::from_static("x-b3-spanid");
static PARENT_ID: HeaderName = HeaderName::from_static("x-b3-parentspanid");
static SAMPLED: HeaderName = HeaderName::from_static("x-b3-sampled");
static FLAGS: HeaderName = HeaderName::from_static("x-b3-flags");

/// The caller's `b3` header; `None` when there is none, more than one, or one that breaks the format.
pub(super) fn extract_single(headers: &HeaderMap) -> Option<Incoming> {
    parse_single(only(headers, &SINGLE)?)
}

/// Parses `{trace}-{span}[-{sampling}[-{parent}]]` or only `{sampling}`.
pub(super) fn parse_single(value: &[u8]) -> Option<Incoming> {
    if let Some(decision) = Decision::parse(value) {
        return Some(decision.incoming(None));
    }
    let mut parts = value.split(|byte| *byte == b'-');
    let ids = (trace_id(parts.next()?)?, hex::parse_id(parts.next()?)?);
    let decision = match parts.next() {
        Some(part) => Decision::parse(part)?,
        None => Decision::Deferred,
    };
    if let Some(parent) = parts.next() {
        hex::parse_id::<8>(parent)?;
    }
    if parts.next().is_some() {
        return None;
    }
    Some(decision.incoming(Some(ids)))
}

/// The caller's `x-b3-*` headers.
pub(super) fn extract_multi(headers: &HeaderMap) -> Option<Incoming> {
    let decision = match (only(headers, &FLAGS), only(headers, &SAMPLED)) {
        (Some(b"1"), _) => Decision::Debug,
        (_, Some(b"1" | b"true")) => Decision::Accept,
        (_, Some(b"0" | b"false")) => Decision::Deny,
        _ => Decision::Deferred,
    };
    let ids = only(headers, &TRACE_ID)
        .and_then(trace_id)
        .zip(only(headers, &SPAN_ID).and_then(hex::parse_id));
    match (ids, decision) {
        (None, Decision::Deferred) => None,
        (ids, decision) => Some(decision.incoming(ids)),
    }
}

pub(super) fn inject_single(context: &TraceContext, headers: &mut HeaderMap) {
    let mut text = *b"00000000000000000000000000000000-0000000000000000-0-0000000000000000";
    hex::fill(&mut text[..32], &context.trace_id);
    hex::fill(&mut text[33..49], &context.span_id);
    text[50] = match (context.debug, context.sampled) {
        (true, _) => b'd',
        (false, true) => b'1',
        (false, false) => b'0',
    };
    let text = match &context.parent {
        Some(parent) => {
            hex::fill(&mut text[52..], parent);
            &text[..]
        }
        None => &text[..51],
    };
    if let Ok(value) = HeaderValue::from_bytes(text) {
        headers.insert(&SINGLE, value);
    }
}

pub(super) fn inject_multi(context: &TraceContext, headers: &mut HeaderMap) {
    insert_hex::<32>(headers, &TRACE_ID, &context.trace_id);
    insert_hex::<16>(headers, &SPAN_ID, &context.span_id);
    match &context.parent {
        Some(parent) => insert_hex::<16>(headers, &PARENT_ID, parent),
        None => {
            headers.remove(&PARENT_ID);
        }
    }
    if context.debug {
        // Debug implies the decision, which must then not be repeated.
        headers.insert(&FLAGS, HeaderValue::from_static("1"));
        headers.remove(&SAMPLED);
    } else {
        let sampled = if context.sampled { "1" } else { "0" };
        headers.insert(&SAMPLED, HeaderValue::from_static(sampled));
        headers.remove(&FLAGS);
    }
}

/// Takes the `x-b3-*` headers out.
pub(super) fn remove_multi(headers: &mut HeaderMap) {
    for name in [&TRACE_ID, &SPAN_ID, &PARENT_ID, &SAMPLED, &FLAGS] {
        headers.remove(name);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Decision {
    Accept,
    Deny,
    Debug,
    Deferred,
}

impl Decision {
    fn parse(text: &[u8]) -> Option<Self> {
        match text {
            b"1" => Some(Self::Accept),
            b"0" => Some(Self::Deny),
            b"d" => Some(Self::Debug),
            _ => None,
        }
    }

    fn incoming(self, ids: Option<([u8; 16], [u8; 8])>) -> Incoming {
        Incoming {
            ids,
            sampled: match self {
                Self::Accept | Self::Debug => Some(true),
                Self::Deny => Some(false),
                Self::Deferred => None,
            },
            debug: self == Self::Debug,
        }
    }
}

/// 32 digits, or 16 that stand for the lower half.
fn trace_id(text: &[u8]) -> Option<[u8; 16]> {
    if text.len() == 16 {
        let half: [u8; 8] = hex::parse_id(text)?;
        return Some(u128::from(u64::from_be_bytes(half)).to_be_bytes());
    }
    hex::parse_id(text)
}

fn insert_hex<const N: usize>(headers: &mut HeaderMap, name: &'static HeaderName, id: &[u8]) {
    let mut text = [b'0'; N];
    hex::fill(&mut text, id);
    if let Ok(value) = HeaderValue::from_bytes(&text) {
        headers.insert(name, value);
    }
}

/// The value of a header that comes once.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h [u8]> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    values.next().is_none().then(|| value.as_bytes())
}
