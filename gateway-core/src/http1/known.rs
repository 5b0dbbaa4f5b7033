//! Field lines and field names that come again and again.
//!
//! Clients and servers send the same lines with each message: `Accept`, `User-Agent`, `Server`,
//! `Content-Type`. A thread remembers lines it has accepted several times, so that the next one costs a
//! comparison instead of a parse, and likewise the names of all lines. Only lines that carry no credentials
//! are remembered: they stay in memory longer than the message they came with.

use std::cell::RefCell;

use http::{HeaderName, HeaderValue, header};

use super::facts::Field;
use super::target::Authority;

/// Longest text that is remembered.
const LONGEST: usize = 160;
/// Texts of each kind that a thread remembers; a power of two.
const SLOTS: usize = 256;

thread_local! {
    static KNOWN: RefCell<Known> = const { RefCell::new(Known { lines: Table::new(), names: Table::new() }) };
}

/// What a thread remembers.
pub(super) struct Known {
    /// Lines without their end.
    pub(super) lines: Table<Line>,
    /// Names as they were sent.
    pub(super) names: Table<Name>,
}

/// What a field line means.
pub(super) struct Line {
    pub(super) name: Name,
    pub(super) value: HeaderValue,
    /// Where the value starts in the line.
    pub(super) offset: usize,
    /// Whether it is a `Host` that is well-formed.
    pub(super) is_authority: bool,
}

/// What the name of a field means.
#[derive(Clone)]
pub(super) struct Name {
    pub(super) name: HeaderName,
    pub(super) field: Field,
    /// Whether lines of this name may be remembered.
    pub(super) is_common: bool,
}

impl Line {
    /// The value is copied: that of a message keeps all of its head in memory.
    pub(super) fn new(name: &Name, value: &HeaderValue, offset: usize) -> Self {
        Self {
            name: name.clone(),
            value: HeaderValue::from_bytes(value.as_bytes()).unwrap_or_else(|_| value.clone()),
            offset,
            is_authority: name.field == Field::Host && Authority::parse(value.as_bytes()).is_ok(),
        }
    }
}

impl Name {
    /// A name that is not remembered, nor are its lines.
    pub(super) fn new(name: HeaderName) -> Self {
        Self {
            field: Field::of(&name),
            is_common: false,
            name,
        }
    }

    /// The same name, to be remembered.
    pub(super) fn known(&self) -> Self {
        Self {
            is_common: is_common(&self.name),
            ..self.clone()
        }
    }
}

/// Runs `parse` with what this thread remembers.
pub(super) fn with_known<R>(parse: impl FnOnce(&mut Known) -> R) -> R {
    KNOWN.with_borrow_mut(parse)
}

/// Texts and what they mean. A text is remembered when it comes for the second time, in one of two places, so that
/// those that come with every message rarely push each other out.
pub(super) struct Table<E> {
    /// Hashes of texts that came once, two in each place.
    seen: [[u64; 2]; SLOTS],
    slots: Vec<Option<Box<Entry<E>>>>,
}

struct Entry<E> {
    text: Box<[u8]>,
    meaning: E,
}

impl<E> Table<E> {
    const fn new() -> Self {
        Self {
            seen: [[0; 2]; SLOTS],
            slots: Vec::new(),
        }
    }

    /// What `text` means, if it is remembered. `hash` is that of the text.
    #[inline]
    pub(super) fn get(&self, hash: u64, text: &[u8]) -> Option<&E> {
        for place in places(hash) {
            if let Some(known) = self.slots.get(place)?.as_deref()
                && *known.text == *text
            {
                return Some(&known.meaning);
            }
        }
        None
    }

    /// Takes note of a text that is not remembered yet.
    pub(super) fn learn(&mut self, hash: u64, text: &[u8], meaning: impl FnOnce() -> E) {
        if text.len() > LONGEST {
            return;
        }
        let places = places(hash);
        let [first, second] = places;
        let seen = &mut self.seen[first];
        if !seen.contains(&hash) {
            *seen = [hash, seen[0]];
            return;
        }
        if self.slots.is_empty() {
            self.slots.resize_with(SLOTS, || None);
        }
        let empty = places
            .into_iter()
            .find(|&place| matches!(self.slots.get(place), Some(None)));
        let place = empty.unwrap_or(if hash & 1 == 0 { first } else { second });
        if let Some(slot) = self.slots.get_mut(place) {
            *slot = Some(Box::new(Entry {
                text: text.into(),
                meaning: meaning(),
            }));
        }
    }
}

/// Where a text with this hash may stand. Its high bits depend on all bytes of the text.
const fn places(hash: u64) -> [usize; 2] {
    [(hash >> 56) as usize % SLOTS, (hash >> 48) as usize % SLOTS]
}

/// Fast, and not meant to withstand anybody: a text that is made to collide is parsed like any other.
#[inline]
pub(super) fn hash(text: &[u8]) -> u64 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    if text.len() > LONGEST {
        return 0;
    }
    let mix = |hash: u64, word: u64| (hash.rotate_left(5) ^ word).wrapping_mul(FACTOR);
    let mut hash = text.len() as u64;
    let mut rest = text;
    while let Some((word, behind)) = rest.split_first_chunk::<8>() {
        hash = mix(hash, u64::from_le_bytes(*word));
        rest = behind;
    }
    // The last word may overlap with the one before it.
    if let Some(last) = text.last_chunk::<8>() {
        mix(hash, u64::from_le_bytes(*last))
    } else if let (Some(first), Some(last)) = (text.first_chunk::<4>(), text.last_chunk::<4>()) {
        mix(
            mix(hash, u32::from_le_bytes(*first).into()),
            u32::from_le_bytes(*last).into(),
        )
    } else {
        text.iter().fold(hash, |hash, &byte| mix(hash, byte.into()))
    }
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

    /// Whether `line` is known, which it may become by this.
    fn learn(line: &str) -> bool {
        let (name, value) = line.split_once(": ").unwrap();
        let name = Name::new(HeaderName::from_bytes(name.as_bytes()).unwrap()).known();
        with_known(|known| {
            let hash = hash(line.as_bytes());
            let value = HeaderValue::from_str(value).unwrap();
            known.lines.learn(hash, line.as_bytes(), || {
                Line::new(&name, &value, line.len() - value.len())
            });
            known.lines.get(hash, line.as_bytes()).is_some()
        })
    }

    fn value_of(known: &Known, line: &[u8]) -> Option<HeaderValue> {
        Some(known.lines.get(hash(line), line)?.value.clone())
    }

    #[test]
    fn a_line_is_remembered_when_it_comes_again() {
        assert!(!learn("Accept: 1"));
        assert!(learn("Accept: 1"));
        with_known(|known| {
            let line = b"Accept: 1";
            let entry = known.lines.get(hash(line), line).unwrap();
            assert_eq!((entry.name.name.as_str(), entry.offset), ("accept", 8));
            assert_eq!(entry.name.field, Field::Other);
            assert_eq!(value_of(known, line).unwrap(), "1");
            assert_eq!(value_of(known, b"Accept: 2"), None);
            assert_eq!(value_of(known, b"accept: 1"), None, "compared as sent");
        });
    }

    #[test]
    fn credentials_are_not_remembered() {
        for name in [
            "authorization",
            "cookie",
            "set-cookie",
            "x-api-key",
            "x-session",
        ] {
            let name = Name::new(HeaderName::from_static(name));
            assert!(!name.known().is_common, "{:?}", name.name);
        }
        assert!(Name::new(header::ACCEPT).known().is_common);
    }

    #[test]
    fn long_lines_are_not_remembered() {
        let line = format!("Accept: {}", "a".repeat(LONGEST));
        assert!(!learn(&line) && !learn(&line) && !learn(&line));
    }

    #[test]
    fn lines_with_the_same_places_do_not_keep_each_other_out() {
        let lines: Vec<String> = (0..40).map(|number| format!("Server: {number}")).collect();
        for _ in 0..4 {
            for line in &lines {
                learn(line);
            }
        }
        with_known(|known| {
            for (number, line) in lines.iter().enumerate() {
                let value = value_of(known, line.as_bytes());
                assert_eq!(value.unwrap(), number.to_string(), "{line}");
            }
        });
    }

    #[test]
    fn a_like_hash_is_not_the_same_line() {
        for number in 0..2000 {
            let line = format!("Server: {number}");
            learn(&line);
            assert!(learn(&line));
            with_known(|known| {
                assert_eq!(
                    value_of(known, line.as_bytes()).unwrap(),
                    number.to_string()
                );
            });
        }
    }

    #[test]
    fn texts_of_all_lengths_differ_in_their_hashes() {
        let text: Vec<u8> = (0..=LONGEST).map(|byte| byte as u8).collect();
        for length in 1..=LONGEST {
            let mut other = text[..length].to_vec();
            for at in 0..length {
                other[at] ^= 0x20;
                assert_ne!(hash(&other), hash(&text[..length]), "{at} of {length}");
                other[at] ^= 0x20;
            }
        }
    }
}
