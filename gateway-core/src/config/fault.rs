//! One mistake found while a tree is decoded, and the words for it.

use std::fmt;

use serde::de::{Error, Expected, Unexpected};

use super::{
    diagnostic::{Diagnostic, did_you_mean},
    tree::NodeId,
};

/// Separates a message from its hint inside of one text.
const HINT: &str = "\nhint: ";
/// Longest piece of the document that a message repeats, in characters.
const LONGEST_QUOTE: usize = 48;
/// Most alternatives a message lists.
const MOST_LISTED: usize = 16;

/// Why decoding stopped, and at which node.
#[derive(Debug)]
pub(super) struct Fault(Box<Inner>);

#[derive(Debug)]
struct Inner {
    cause: Cause,
    at: Option<NodeId>,
    at_key: bool,
}

#[derive(Debug)]
pub(super) enum Cause {
    /// Another kind of value was expected.
    Expected {
        expected: String,
        found: String,
        shape: Shape,
    },
    UnknownKey {
        key: String,
        known: &'static [&'static str],
    },
    UnknownValue {
        value: String,
        known: &'static [&'static str],
    },
    MissingKey(&'static str),
    Message(String),
    /// Follows from a mistake that was reported already.
    Consequence,
}

/// What was found, as far as hints care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Text,
    Number,
    Bool,
    Nothing,
    Other,
}

impl Fault {
    fn new(cause: Cause) -> Self {
        Self(Box::new(Inner {
            cause,
            at: None,
            at_key: false,
        }))
    }

    pub(super) fn consequence() -> Self {
        Self::new(Cause::Consequence)
    }

    /// Names the node, unless something closer to the mistake already did.
    pub(super) fn at(mut self, node: NodeId) -> Self {
        self.0.at.get_or_insert(node);
        self
    }

    /// Names the key of the node `value`.
    pub(super) fn at_key(mut self, value: NodeId) -> Self {
        if self.0.at.is_none() {
            self.0.at = Some(value);
            self.0.at_key = true;
        }
        self
    }

    pub(super) fn node(&self) -> Option<NodeId> {
        self.0.at
    }

    pub(super) fn is_at_key(&self) -> bool {
        self.0.at_key
    }

    pub(super) fn cause(&self) -> &Cause {
        &self.0.cause
    }
}

impl Cause {
    /// The message and the hint, without a place.
    pub(super) fn describe(&self) -> Diagnostic {
        match self {
            Self::Expected {
                expected,
                found,
                shape,
            } => {
                let expected = plain_words(expected);
                let diagnostic = Diagnostic::error(format!("expected {expected}, found {found}"));
                match shape_hint(&expected, *shape, found) {
                    Some(hint) => diagnostic.hint(hint),
                    None => diagnostic,
                }
            }
            Self::UnknownKey { key, known } => {
                let diagnostic = Diagnostic::error(format!("unknown key `{}`", shortened(key)));
                match (did_you_mean(key, known.iter().copied()), known.len()) {
                    (Some(meant), _) => diagnostic.hint(format!("did you mean `{meant}`?")),
                    (None, 0) => diagnostic.hint("no key is known here"),
                    (None, 1..=MOST_LISTED) => {
                        diagnostic.hint(format!("known keys: {}", known.join(", ")))
                    }
                    (None, _) => diagnostic,
                }
            }
            Self::UnknownValue { value, known } => {
                let found = found_text(value);
                let diagnostic =
                    Diagnostic::error(format!("expected {}, found {found}", one_of(known)));
                match did_you_mean(value, known.iter().copied()) {
                    Some(meant) => diagnostic.hint(format!("did you mean `{meant}`?")),
                    None => diagnostic,
                }
            }
            Self::MissingKey(key) => Diagnostic::error(format!("missing key `{key}`")),
            Self::Message(message) => match message.split_once(HINT) {
                Some((message, hint)) => Diagnostic::error(message).hint(hint),
                None => Diagnostic::error(message.as_str()),
            },
            Self::Consequence => Diagnostic::error("follows from another mistake"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.cause.describe().fmt(f)
    }
}

impl std::error::Error for Fault {}

impl Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(Cause::Message(message.to_string()))
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let (found, shape) = found(unexpected);
        Self::new(Cause::Expected {
            expected: expected.to_string(),
            found,
            shape,
        })
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(unexpected, expected)
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        let found = format!("{length} of them");
        Self::new(Cause::Expected {
            expected: expected.to_string(),
            found,
            shape: Shape::Other,
        })
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::new(Cause::UnknownValue {
            value: variant.to_owned(),
            known: expected,
        })
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::new(Cause::UnknownKey {
            key: field.to_owned(),
            known: expected,
        })
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(Cause::MissingKey(field))
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::new(Cause::Message(format!(
            "the key `{field}` is given twice, once under another name"
        )))
    }
}

/// "one of a, b, c" for an enumeration.
pub(super) fn one_of(known: &[&str]) -> String {
    match known {
        [] => "nothing".to_owned(),
        [only] => format!("`{only}`"),
        _ => {
            let listed: Vec<_> = known.iter().take(MOST_LISTED).copied().collect();
            let more = if known.len() > MOST_LISTED {
                ", ..."
            } else {
                ""
            };
            format!("one of {}{more}", listed.join(", "))
        }
    }
}

/// How a message repeats a text of the document.
pub(super) fn found_text(text: &str) -> String {
    format!("the string {:?}", shortened(text))
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(LONGEST_QUOTE) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

fn found(unexpected: Unexpected<'_>) -> (String, Shape) {
    match unexpected {
        Unexpected::Bool(truth) => (format!("`{truth}`"), Shape::Bool),
        Unexpected::Unsigned(number) => (format!("the number {number}"), Shape::Number),
        Unexpected::Signed(number) => (format!("the number {number}"), Shape::Number),
        Unexpected::Float(number) => (format!("the number {number}"), Shape::Number),
        Unexpected::Char(c) => (found_text(&c.to_string()), Shape::Text),
        Unexpected::Str(text) => (found_text(text), Shape::Text),
        Unexpected::Unit | Unexpected::Option => ("nothing".to_owned(), Shape::Nothing),
        Unexpected::Seq => ("a list".to_owned(), Shape::Other),
        Unexpected::Map => ("a mapping".to_owned(), Shape::Other),
        Unexpected::Enum | Unexpected::UnitVariant => ("a name".to_owned(), Shape::Other),
        other => (other.to_string(), Shape::Other),
    }
}

/// What serde's own implementations expect, in the words of a configuration file.
fn plain_words(expected: &str) -> String {
    let plain = match expected {
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "a map" => "a mapping",
        "a character" => "a single character",
        "path string" => "a path",
        "unit" => "nothing",
        "option" => "a value or nothing",
        "string or map" => "a string or a mapping",
        "f32" | "f64" => "a number",
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "u128" | "usize" => "a whole number from 0",
        "i8" => "a whole number from -128 to 127",
        "i16" => "a whole number from -32768 to 32767",
        "i32" | "i64" | "i128" | "isize" => "a whole number",
        "a nonzero u8" => "a whole number from 1 to 255",
        "a nonzero u16" => "a whole number from 1 to 65535",
        "a nonzero u32" => "a whole number from 1 to 4294967295",
        "a nonzero u64" | "a nonzero usize" => "a whole number from 1",
        _ => {
            let structure = [
                "struct ",
                "struct variant ",
                "internally tagged enum ",
                "adjacently tagged enum ",
            ];
            if structure.iter().any(|prefix| expected.starts_with(prefix)) {
                return "a mapping".to_owned();
            }
            if expected.starts_with("tuple ") || expected.starts_with("a tuple ") {
                let arity = expected
                    .rsplit(' ')
                    .next()
                    .and_then(|last| last.parse::<usize>().ok());
                return arity.map_or_else(|| "a list".to_owned(), |n| format!("a list of {n}"));
            }
            expected
        }
    };
    plain.to_owned()
}

fn shape_hint(expected: &str, shape: Shape, found: &str) -> Option<String> {
    let quoted = found
        .strip_prefix("the string \"")
        .and_then(|rest| rest.strip_suffix('"'));
    let number = |text: &str| text.parse::<f64>().is_ok_and(f64::is_finite);
    match shape {
        Shape::Number | Shape::Bool
            if expected == "a string" || expected.starts_with("one of ") =>
        {
            Some("put the value in quotes".to_owned())
        }
        Shape::Text if expected.starts_with("a whole number") || expected == "a number" => quoted
            .filter(|text| number(text))
            .map(|_| "remove the quotes".to_owned()),
        Shape::Text if expected == "true or false" => match quoted?.to_ascii_lowercase().as_str() {
            "yes" | "on" | "y" => Some("write `true`".to_owned()),
            "no" | "off" | "n" => Some("write `false`".to_owned()),
            "true" | "false" => Some("remove the quotes".to_owned()),
            _ => None,
        },
        Shape::Text | Shape::Number | Shape::Bool if expected == "a list" => {
            Some("put the value in brackets: [...]".to_owned())
        }
        Shape::Nothing if expected == "a list" => {
            Some("write [] for an empty list, or remove the key".to_owned())
        }
        Shape::Nothing if expected == "a mapping" => {
            Some("write {} for an empty mapping, or remove the key".to_owned())
        }
        _ => None,
    }
}
