//! Field lines that come again and again.
//!
//! Clients and servers send the same lines with each message: `Accept`, `User-Agent`, `Server`,
//! `Content-Type`. A thread remembers lines it has accepted twice, so that the next one costs a comparison
//! instead of a parse. Only fields that carry no credentials are remembered: a line stays in memory longer
//! than the message it came with.

use std::cell::RefCell;

use http::{HeaderName, HeaderValue, header};

/// Longest line that is remembered, without its end.
const LONGEST: usize = 160;
/// Lines that a thread remembers; a power of two. A new one takes the place of one with a like hash.
const SLOTS: usize = 256;

thread_local! {
    static LINES: RefCell<Lines> = const { RefCell::new(Lines { seen: [0; SLOTS], slots: Vec::new() }) };
}

/// A line that was accepted before.
pub(super) struct Known {
    line: Box<[u8]>,
    pub(super) name: HeaderName,
    pub(super) value: HeaderValue,
    /// Where the value starts in the line.
    pub(super) offset: usize,
}

pub(super) struct Lines {
    /// Hashes of lines that were accepted once.
    seen: [u64; SLOTS],
    slots: Vec<Option<Box<Known>>>,
}

/// Runs `parse` with the lines of this thread.
pub(super) fn with_lines<R>(parse: impl FnOnce(&mut Lines) -> R) -> R {
    LINES.with_borrow_mut(parse)
}

impl Lines {
    /// What is known of `line`.
    #[inline]
    pub(super) fn get(&self, line: &[u8]) -> Option<&Known> {
        if line.len() > LONGEST || self.slots.is_empty() {
            return None;
        }
        let known = self.slots.get(slot(hash(line)))?.as_deref()?;
        (*known.line == *line).then_some(known)
    }

    /// Takes note of a line that was accepted; it is remembered when it comes a second time.
    pub(super) fn learn(&mut self, line: &[u8], name: &HeaderName, value: &[u8], offset: usize) {
        if line.len() > LONGEST {
            return;
        }
        let hash = hash(line);
        let Some(seen) = self.seen.get_mut(slot(hash)) else {
            return;
        };
        if *seen != hash {
            *seen = hash;
            return;
        }
        if !is_common(name) {
            return;
        }
        let Ok(value) = HeaderValue::from_bytes(value) else {
            return;
        };
        if self.slots.is_empty() {
            self.slots.resize_with(SLOTS, || None);
        }
        if let Some(place) = self.slots.get_mut(slot(hash)) {
            *place = Some(Box::new(Known {
                line: line.into(),
                name: name.clone(),
                value,
                offset,
            }));
        }
    }
}

fn slot(hash: u64) -> usize {
    // The high bits depend on all bytes of the line.
    (hash >> 56) as usize % SLOTS
}

/// Fast, and not meant to withstand anybody: a line that is made to collide is parsed like any other.
fn hash(line: &[u8]) -> u64 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let (words, rest) = line.as_chunks::<8>();
    let mut hash = line.len() as u64;
    for word in words {
        hash = (hash.rotate_left(5) ^ u64::from_le_bytes(*word)).wrapping_mul(FACTOR);
    }
    let mut last = [0; 8];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    (hash.rotate_left(5) ^ u64::from_le_bytes(last)).wrapping_mul(FACTOR)
}

/// Whether fields of this name are the same for many messages and carry no credentials. A list of what is
/// harmless, because what is secret goes by any name.
fn is_common(name: &HeaderName) -> bool {
    const STANDARD: &[HeaderName] = &[
        header::ACCEPT,
        header::ACCEPT_ENCODING,
        header::ACCEPT_LANGUAGE,
        header::ACCEPT_RANGES,
        header::CACHE_CONTROL,
        header::CONNECTION,
        header::CONTENT_ENCODING,
        header::CONTENT_LENGTH,
        header::CONTENT_TYPE,
        header::DATE,
        header::HOST,
        header::PRAGMA,
        header::SERVER,
        header::STRICT_TRANSPORT_SECURITY,
        header::TE,
        header::TRANSFER_ENCODING,
        header::UPGRADE_INSECURE_REQUESTS,
        header::USER_AGENT,
        header::VARY,
        header::VIA,
        header::X_CONTENT_TYPE_OPTIONS,
        header::X_FRAME_OPTIONS,
    ];
    STANDARD.contains(name)
        || matches!(
            name.as_str(),
            "keep-alive" | "priority" | "x-forwarded-proto" | "x-powered-by"
        )
        || name.as_str().starts_with("sec-fetch-")
        || name.as_str().starts_with("sec-ch-ua")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learn(line: &str) -> bool {
        let (name, value) = line.split_once(": ").unwrap();
        let field = HeaderName::from_bytes(name.as_bytes()).unwrap();
        with_lines(|lines| {
            lines.learn(line.as_bytes(), &field, value.as_bytes(), name.len() + 2);
            lines.get(line.as_bytes()).is_some()
        })
    }

    #[test]
    fn a_line_is_remembered_when_it_comes_again() {
        assert!(!learn("Accept: 1"));
        assert!(learn("Accept: 1"));
        with_lines(|lines| {
            let known = lines.get(b"Accept: 1").unwrap();
            assert_eq!(
                (known.name.as_str(), &known.value),
                ("accept", &HeaderValue::from_static("1"))
            );
            assert_eq!(known.offset, 8);
            assert!(lines.get(b"Accept: 2").is_none());
            assert!(lines.get(b"accept: 1").is_none(), "compared as sent");
        });
    }

    #[test]
    fn credentials_and_long_lines_are_not_remembered() {
        let long = format!("Accept: {}", "a".repeat(LONGEST));
        for line in [
            "Authorization: Basic eA==",
            "Cookie: a=b",
            "X-Api-Key: k",
            "X-Session: s",
            &long,
        ] {
            assert!(!learn(line) && !learn(line) && !learn(line), "{line}");
        }
    }

    #[test]
    fn a_like_hash_is_not_the_same_line() {
        for number in 0..2000 {
            let line = format!("Server: {number}");
            learn(&line);
            assert!(learn(&line));
            with_lines(|lines| {
                assert_eq!(
                    lines.get(line.as_bytes()).unwrap().value,
                    number.to_string()
                );
            });
        }
    }
}
