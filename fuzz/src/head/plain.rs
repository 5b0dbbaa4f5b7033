//! Heads read in the plainest way: what an accepted head has to look like to anybody.

use http::{HeaderMap, Version};
use portcullis_core::http1::BodyFraming;

/// The lines of an accepted head.
pub(super) struct Plain<'h> {
    pub(super) first: &'h [u8],
    pub(super) fields: Vec<(String, &'h [u8])>,
}

/// Splits a head that was accepted. Everything here is an assertion: nothing is repaired.
pub(super) fn read(head: &[u8]) -> Plain<'_> {
    let mut rest = head;
    while let Some(after) = rest.strip_prefix(b"\r\n") {
        rest = after;
    }
    let lines = rest
        .strip_suffix(b"\r\n\r\n")
        .expect("a head ends with an empty line");
    let mut lines = split(lines).into_iter();
    let first = lines.next().expect("a head has a first line");
    let fields = lines.map(field).collect();
    Plain { first, fields }
}

/// The lines of a block without its end.
fn split(block: &[u8]) -> Vec<&[u8]> {
    let mut lines = Vec::new();
    let mut start = 0;
    for at in 0..block.len() {
        assert!(
            block[at] != b'\r' || block.get(at + 1) == Some(&b'\n'),
            "a bare CR was accepted"
        );
        if block[at] == b'\n' {
            assert!(at > 0 && block[at - 1] == b'\r', "a bare LF was accepted");
            lines.push(&block[start..at - 1]);
            start = at + 1;
        }
    }
    lines.push(&block[start..]);
    assert!(
        lines.iter().all(|line| !line.is_empty()),
        "a head goes on behind an empty line"
    );
    lines
}

fn field(line: &[u8]) -> (String, &[u8]) {
    let colon = line.iter().position(|byte| *byte == b':');
    let (name, value) = line.split_at(colon.expect("a field has a colon"));
    assert!(is_token(name), "a name that is no token was accepted");
    let value = trimmed(&value[1..]);
    assert!(
        value.iter().all(|byte| is_text(*byte)),
        "a control byte was accepted"
    );
    let name = String::from_utf8(name.to_ascii_lowercase()).expect("a token is ASCII");
    (name, value)
}

fn trimmed(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// RFC 9110, section 5.6.2.
pub(super) fn is_token(text: &[u8]) -> bool {
    let mark = |byte| b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty()
        && text
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || mark(*byte))
}

/// Whether a field may hold the byte (RFC 9110, section 5.5).
fn is_text(byte: u8) -> bool {
    byte == b'\t' || !byte.is_ascii_control()
}

/// The same fields, those of one name in the same order.
pub(super) fn assert_same(fields: &[(String, &[u8])], headers: &HeaderMap) {
    assert_eq!(
        fields.len(),
        headers.len(),
        "fields were lost or made up: {headers:?}"
    );
    for name in headers.keys() {
        let wrote = fields
            .iter()
            .filter(|(field, _)| *field == name.as_str())
            .map(|(_, value)| *value);
        assert!(
            headers
                .get_all(name)
                .iter()
                .map(http::HeaderValue::as_bytes)
                .eq(wrote),
            "{name} was changed: {headers:?}"
        );
    }
    assert_clean(headers);
}

/// What holds for fields wherever they come from.
pub(super) fn assert_clean(headers: &HeaderMap) {
    for (name, value) in headers {
        let value = value.as_bytes();
        assert!(is_token(name.as_str().as_bytes()));
        assert!(value.iter().all(|byte| is_text(*byte)), "{name}: {value:?}");
        assert_eq!(value, trimmed(value), "{name} keeps white space");
    }
}

/// The values of a field.
pub(super) fn all<'h>(headers: &'h HeaderMap, name: &str) -> Vec<&'h [u8]> {
    let values = headers.get_all(name).iter();
    values.map(http::HeaderValue::as_bytes).collect()
}

/// Whether a list holds an element, whatever its case.
pub(super) fn lists(headers: &HeaderMap, name: &str, wanted: &str) -> bool {
    let values = all(headers, name);
    let mut elements = values
        .iter()
        .flat_map(|value| value.split(|byte| *byte == b','));
    elements.any(|element| trimmed(element).eq_ignore_ascii_case(wanted.as_bytes()))
}

/// The framing that the fields announce to anybody who reads RFC 9112, section 6.3 strictly; `None` for none.
pub(super) fn announced(headers: &HeaderMap, version: Version) -> Option<BodyFraming> {
    let (codings, lengths) = (
        all(headers, "transfer-encoding"),
        all(headers, "content-length"),
    );
    assert!(
        codings.is_empty() || lengths.is_empty(),
        "a length beside a coding was accepted"
    );
    if let [coding] = codings[..] {
        assert!(coding.eq_ignore_ascii_case(b"chunked"), "{coding:?}");
        assert_eq!(version, Version::HTTP_11, "a coding in HTTP/1.0");
        return Some(BodyFraming::Chunked);
    }
    assert!(codings.is_empty(), "two codings were accepted");
    let mut numbers = lengths
        .iter()
        .flat_map(|value| value.split(|byte| *byte == b','))
        .map(|number| {
            let number = trimmed(number);
            assert!(!number.is_empty() && number.iter().all(u8::is_ascii_digit));
            let text = std::str::from_utf8(number).expect("digits are ASCII");
            let number: u64 = text.parse().expect("the number was accepted");
            assert!(number <= i64::MAX as u64, "{number} is negative to some");
            number
        });
    let length = numbers.next()?;
    assert!(
        numbers.all(|other| other == length),
        "two lengths were accepted"
    );
    Some(BodyFraming::Length(length))
}
