//! Configurations as text.

use std::fmt::Write as _;

use super::{
    diagnostic::{Diagnostic, Diagnostics},
    node::{Document, Format, Kind, NodeRef},
    raw::RawConfig,
};

/// Longest list or mapping that is written on one line, in characters.
const LINE: usize = 60;

/// Writes a configuration in its native form, as YAML. What says nothing is left out, and reading it back
/// gives an equal configuration. Texts that other readers of YAML might take for something else are quoted.
///
/// # Errors
/// When a path is not UTF-8, which only a program can have made.
pub fn to_native(config: &RawConfig) -> Result<String, Diagnostics> {
    let json = serde_json::to_string(config).map_err(|error| {
        Diagnostic::error(format!("the configuration cannot be written: {error}"))
    })?;
    // Reading it back keeps the keys in order. What is too large to be read is written as it is: JSON is YAML.
    let Ok(documents) = Document::parse("", &json, Format::Json) else {
        return Ok(json);
    };
    let mut out = String::with_capacity(json.len() * 2);
    match documents.first() {
        Some(document) if document.root().entries().len() > 0 => {
            block(document.root(), 0, &mut out)
        }
        _ => out.push_str("{}\n"),
    }
    Ok(out)
}

/// A value that begins at the start of a line, `depth` levels in.
fn block(node: NodeRef<'_>, depth: usize, out: &mut String) {
    for (key, value) in node.entries() {
        indent(depth, out);
        scalar(key, out);
        out.push(':');
        after(value, depth, out);
    }
    for item in node.items() {
        indent(depth, out);
        out.push('-');
        if item.kind() == Kind::Map && flow(item).is_none() {
            // The first key of an item stands beside the dash.
            let mut entry = String::new();
            block(item, depth + 1, &mut entry);
            out.push(' ');
            out.push_str(entry.trim_start_matches(' '));
        } else {
            after(item, depth, out);
        }
    }
}

/// A value that follows a key or a dash.
fn after(value: NodeRef<'_>, depth: usize, out: &mut String) {
    match (value.kind(), flow(value)) {
        (_, Some(line)) => {
            out.push(' ');
            out.push_str(&line);
            out.push('\n');
        }
        (Kind::String, None) => {
            out.push_str(" |\n");
            for line in value.as_str().unwrap_or_default().lines() {
                indent(depth + 1, out);
                out.push_str(line);
                out.push('\n');
            }
        }
        (_, None) => {
            out.push('\n');
            block(value, depth + 1, out);
        }
    }
}

/// The value on one line, unless that would be hard to read.
fn flow(node: NodeRef<'_>) -> Option<String> {
    let mut line = String::new();
    match node.kind() {
        Kind::Seq | Kind::Map => {
            inline(node, &mut line);
            let nested = node
                .entries()
                .map(|(_, value)| value)
                .chain(node.items())
                .any(|below| {
                    below.entries().len() > 1
                        || below.items().any(|item| item.entries().len() > 0)
                        || is_block_text(below)
                });
            (line.len() <= LINE && !nested).then_some(line)
        }
        _ if is_block_text(node) => None,
        _ => {
            inline(node, &mut line);
            Some(line)
        }
    }
}

/// Whether a text reads back from a literal block as it is: PEM, mostly.
fn is_block_text(node: NodeRef<'_>) -> bool {
    let plain = |line: &str| {
        !line.is_empty() && !line.starts_with(' ') && line.bytes().all(|b| matches!(b, b' '..=b'~'))
    };
    node.as_str().is_some_and(|text| {
        let body = text.strip_suffix('\n');
        body.is_some_and(|body| body.contains('\n') && body.split('\n').all(plain))
    })
}

fn inline(node: NodeRef<'_>, out: &mut String) {
    match node.kind() {
        Kind::Seq => {
            out.push('[');
            for (position, item) in node.items().enumerate() {
                out.push_str(if position > 0 { ", " } else { "" });
                inline(item, out);
            }
            out.push(']');
        }
        Kind::Map if node.entries().len() == 0 => out.push_str("{}"),
        Kind::Map => {
            out.push_str("{ ");
            for (position, (key, value)) in node.entries().enumerate() {
                out.push_str(if position > 0 { ", " } else { "" });
                scalar(key, out);
                out.push_str(": ");
                inline(value, out);
            }
            out.push_str(" }");
        }
        Kind::String => scalar(node.as_str().unwrap_or_default(), out),
        // Null, truth and numbers are spelled as in JSON.
        _ => {
            let _ = write!(out, "{}", node.to_json());
        }
    }
}

/// A text, plain where no reader can take it for anything else.
fn scalar(text: &str, out: &mut String) {
    if is_plain(text) {
        out.push_str(text);
    } else {
        // JSON's escapes are YAML's; what JSON leaves as it is and YAML may not hold is escaped here.
        for c in serde_json::Value::from(text).to_string().chars() {
            match c {
                '\u{7f}'..='\u{9f}'
                | '\u{2028}'
                | '\u{2029}'
                | '\u{feff}'
                | '\u{fffe}'
                | '\u{ffff}' => {
                    let _ = write!(out, "\\u{:04x}", u32::from(c));
                }
                _ => out.push(c),
            }
        }
    }
}

/// Has nothing that YAML gives a meaning, begins with a letter, a slash or an underscore, or is a number with its
/// unit, and is no word that some version of YAML takes for a truth, a null or a number.
fn is_plain(text: &str) -> bool {
    const WORDS: [&str; 11] = [
        "true", "false", "yes", "no", "on", "off", "y", "n", "null", "inf", "nan",
    ];
    let starts = text.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '/' | '_'));
    let inner =
        |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/' | b'+' | b'=');
    (starts || is_measure(text))
        && text.bytes().all(inner)
        && !WORDS.contains(&&*text.to_ascii_lowercase())
}

/// `5s`, `64KiB`, `1m30s`: not `0x1f`, `0b1` or `1e5`.
fn is_measure(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_digit())
        && bytes
            .next_back()
            .is_some_and(|last| matches!(last, b's' | b'm' | b'h' | b'd' | b'B'))
        && bytes.all(|b| {
            b.is_ascii_digit() || matches!(b, b's' | b'm' | b'h' | b'K' | b'M' | b'G' | b'T' | b'i')
        })
}

fn indent(depth: usize, out: &mut String) {
    for _ in 0..depth {
        out.push_str("  ");
    }
}

#[cfg(test)]
mod tests;
