//! Names and labels as the Prometheus text format wants them.

use std::borrow::Cow;
use std::fmt::Write as _;

/// `name` with every character that a metric name must not hold replaced by `_`
/// (`[a-zA-Z_:][a-zA-Z0-9_:]*`).
pub(super) fn metric_name(name: &str) -> Cow<'_, str> {
    clean(name, |c| c == ':')
}

/// The name of a counter: it ends in `_total`.
pub(super) fn counter_name(name: &str) -> Cow<'_, str> {
    let name = metric_name(name);
    if name.ends_with("_total") {
        name
    } else {
        Cow::Owned(format!("{name}_total"))
    }
}

/// The labels as they stand between the braces: sorted by name, values escaped, `le` kept free for
/// histograms. Of two labels with one name the later wins.
pub(super) fn text(labels: &[(&str, &str)]) -> String {
    let mut sorted: Vec<(Cow<'_, str>, &str)> = Vec::with_capacity(labels.len());
    for (name, value) in labels {
        let name = label_name(name);
        match sorted.iter_mut().find(|(known, _)| *known == name) {
            Some(known) => known.1 = value,
            None => sorted.push((name, value)),
        }
    }
    sorted.sort_unstable();
    let mut text = String::new();
    for (name, value) in sorted {
        if !text.is_empty() {
            text.push(',');
        }
        let _ = write!(text, "{name}=\"");
        escape_value(&mut text, value);
        text.push('"');
    }
    text
}

/// The same label names with the value `other` for each: the series that takes what goes beyond the
/// bound of a family.
pub(super) fn other(labels: &[(&str, &str)]) -> String {
    let others: Vec<_> = labels.iter().map(|(name, _)| (*name, "other")).collect();
    text(&others)
}

/// Escapes a help text: backslash and line feed.
pub(super) fn escape_help(into: &mut String, help: &str) {
    for c in help.chars() {
        match c {
            '\\' => into.push_str("\\\\"),
            '\n' => into.push_str("\\n"),
            c => into.push(c),
        }
    }
}

fn escape_value(into: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            '\\' => into.push_str("\\\\"),
            '"' => into.push_str("\\\""),
            '\n' => into.push_str("\\n"),
            c => into.push(c),
        }
    }
}

fn label_name(name: &str) -> Cow<'_, str> {
    let name = clean(name, |_| false);
    if name == "le" || name.starts_with("__") {
        Cow::Owned(format!("label_{}", name.trim_start_matches('_')))
    } else {
        name
    }
}

fn clean(name: &str, also: impl Fn(char) -> bool) -> Cow<'_, str> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || also(c);
    let starts = name
        .chars()
        .next()
        .is_some_and(|c| fits(c) && !c.is_ascii_digit());
    if starts && name.chars().all(fits) {
        return Cow::Borrowed(name);
    }
    let mut cleaned = String::with_capacity(name.len() + 1);
    if !starts {
        cleaned.push('_');
    }
    cleaned.extend(name.chars().map(|c| if fits(c) { c } else { '_' }));
    Cow::Owned(cleaned)
}
