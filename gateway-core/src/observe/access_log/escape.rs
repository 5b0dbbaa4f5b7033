//! Makes text of unknown origin safe to stand in a log line.
//!
//! The output is a valid JSON string body (RFC 8259 section 7), and the text format uses the same rules.

use std::io::Write as _;

/// Where the text will stand.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Between double quotes.
    Quoted,
    /// Bare, ended by a space.
    Word,
}

/// Appends `text` for a place between double quotes.
pub(super) fn quoted(into: &mut Vec<u8>, text: &str) {
    escape(into, text, Place::Quoted);
}

/// Appends bytes that should be UTF-8 for a place between double quotes; what is not becomes U+FFFD.
pub(super) fn quoted_bytes(into: &mut Vec<u8>, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        quoted(into, chunk.valid());
        if !chunk.invalid().is_empty() {
            into.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

/// Appends `text` as one bare word, `-` when it is empty.
pub(super) fn word(into: &mut Vec<u8>, text: &str) {
    if text.is_empty() {
        into.push(b'-');
    } else {
        escape(into, text, Place::Word);
    }
}

fn escape(into: &mut Vec<u8>, text: &str, place: Place) {
    let bytes = text.as_bytes();
    let mut copied = 0;
    for (at, c) in text.char_indices() {
        if is_plain(c, place) {
            continue;
        }
        into.extend_from_slice(&bytes[copied..at]);
        match c {
            '"' => into.extend_from_slice(b"\\\""),
            '\\' => into.extend_from_slice(b"\\\\"),
            // All of these lie in the basic multilingual plane: four digits are enough.
            c => {
                let _ = write!(into, "\\u{:04x}", u32::from(c));
            }
        }
        copied = at + c.len_utf8();
    }
    into.extend_from_slice(&bytes[copied..]);
}

fn is_plain(c: char, place: Place) -> bool {
    match c {
        ' ' => place == Place::Quoted,
        '"' | '\\' => false,
        '!'..='~' => true,
        c if c.is_ascii() || c.is_control() => false,
        // Line and paragraph separators, and what reorders the text around it in a terminal.
        '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn escaped(text: &str) -> String {
        let mut into = Vec::new();
        quoted(&mut into, text);
        String::from_utf8(into).unwrap()
    }

    #[test]
    fn nothing_a_client_writes_ends_the_line_or_the_quotes() {
        for (text, want) in [
            ("plain /path?x=1&y=ü😀", "plain /path?x=1&y=ü😀"),
            ("a\"b\\c", "a\\\"b\\\\c"),
            ("a\r\nb", "a\\u000d\\u000ab"),
            ("\u{0}\u{1b}[31m\u{7f}", "\\u0000\\u001b[31m\\u007f"),
            ("\u{85}\u{9b}", "\\u0085\\u009b"),
            ("\u{2028}\u{202e}", "\\u2028\\u202e"),
            ("", ""),
        ] {
            assert_eq!(escaped(text), want);
        }
    }

    #[test]
    fn a_word_has_no_space_and_is_never_empty() {
        let mut into = Vec::new();
        word(&mut into, "a b");
        into.push(b' ');
        word(&mut into, "");
        assert_eq!(into, b"a\\u0020b -");
    }

    #[test]
    fn bytes_that_are_not_utf8_are_replaced() {
        let mut into = Vec::new();
        quoted_bytes(&mut into, b"a\xff\n\xc3(");
        assert_eq!(
            String::from_utf8(into).unwrap(),
            "a\u{fffd}\\u000a\u{fffd}("
        );
    }

    proptest! {
        #[test]
        fn a_json_reader_gets_the_same_text_back(text in any::<String>()) {
            let json = format!("\"{}\"", escaped(&text));
            prop_assert!(!json.chars().any(char::is_control));
            let back: String = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(back, text);
        }
    }
}
