//! Distinguished names as text.

use std::fmt::Write as _;

use x509_parser::asn1_rs::{Any, Tag};
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// The name in the string form of RFC 4514: parts in reverse order, multi-valued parts joined by `+`,
/// special characters escaped. Attribute types outside the table of section 3 are written as their
/// dotted number. Control characters are escaped as `\XX`, so the result is one line.
pub(super) fn rfc4514(name: &X509Name<'_>) -> String {
    let mut out = String::new();
    let parts: Vec<_> = name.iter_rdn().collect();
    for part in parts.into_iter().rev() {
        if !out.is_empty() {
            out.push(',');
        }
        for (position, attribute) in part.iter().enumerate() {
            if position > 0 {
                out.push('+');
            }
            write_attribute(&mut out, attribute);
        }
    }
    out
}

/// The most specific common name (the last in encoding order) that is non-empty printable text.
pub(super) fn common_name<'a>(name: &'a X509Name<'_>) -> Option<&'a str> {
    let last = name.iter_common_name().last()?;
    let text = last.as_str().ok()?;
    let printable = !text.is_empty() && !text.chars().any(char::is_control);
    printable.then_some(text)
}

fn write_attribute(out: &mut String, attribute: &AttributeTypeAndValue<'_>) {
    let dotted = attribute.attr_type().to_id_string();
    let value = attribute.attr_value();
    if let Some(short) = short_name(&dotted) {
        out.push_str(short);
    } else {
        out.push_str(&dotted);
    }
    out.push('=');
    match text(value) {
        Some(text) => write_escaped(out, text),
        None => {
            out.push('#');
            write_hex(out, value.data);
        }
    }
}

fn text<'a>(value: &Any<'a>) -> Option<&'a str> {
    let is_text = matches!(
        value.tag(),
        Tag::Utf8String
            | Tag::PrintableString
            | Tag::Ia5String
            | Tag::NumericString
            | Tag::VisibleString
    );
    is_text
        .then(|| std::str::from_utf8(value.data).ok())
        .flatten()
}

/// The table of RFC 4514, section 3.
fn short_name(dotted: &str) -> Option<&'static str> {
    Some(match dotted {
        "2.5.4.3" => "CN",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.9" => "STREET",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "0.9.2342.19200300.100.1.1" => "UID",
        "0.9.2342.19200300.100.1.25" => "DC",
        _ => return None,
    })
}

fn write_escaped(out: &mut String, text: &str) {
    let last = text.chars().count().saturating_sub(1);
    for (position, character) in text.chars().enumerate() {
        match character {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' => out.extend(['\\', character]),
            ' ' if position == 0 || position == last => out.push_str("\\ "),
            '#' if position == 0 => out.push_str("\\#"),
            control if control.is_control() => {
                for byte in control.encode_utf8(&mut [0; 4]).bytes() {
                    out.push('\\');
                    write_hex(out, &[byte]);
                }
            }
            plain => out.push(plain),
        }
    }
}

fn write_hex(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // Writing to a `String` cannot fail.
        let _ = write!(out, "{byte:02x}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_characters_are_escaped() {
        let cases = [
            ("plain name", "plain name"),
            (" edge ", "\\ edge\\ "),
            ("#1", "\\#1"),
            ("a,b+c\"d\\e<f>g;h=i", "a\\,b\\+c\\\"d\\\\e\\<f\\>g\\;h=i"),
            ("line\nbreak\u{85}", "line\\0abreak\\c2\\85"),
            ("", ""),
        ];
        for (value, expected) in cases {
            let mut out = String::new();
            write_escaped(&mut out, value);
            assert_eq!(out, expected);
        }
    }
}
