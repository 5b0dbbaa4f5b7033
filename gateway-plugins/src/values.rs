//! Values that several filters are configured with, checked where they are written.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use http::header::{
    CONNECTION, CONTENT_LENGTH, HeaderName, HeaderValue, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use portcullis_core::config::ValueError;
use portcullis_core::hygiene::{PathPolicy, normalize};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

/// Fields that frame a message or belong to one connection (RFC 9110 7.6.1): the gateway's own.
const FRAMING: [HeaderName; 8] = [
    CONNECTION,
    CONTENT_LENGTH,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// `Deserialize` from a string by `FromStr`, and the schema of one.
macro_rules! text_value {
    ($type:ident, $expected:expr, $example:literal) => {
        impl $type {
            fn read<E: Error>(text: &str) -> Result<Self, E> {
                text.parse()
                    .map_err(|error: ValueError| E::custom(found(&error, text)))
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Reads;
                impl Visitor<'_> for Reads {
                    type Value = $type;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expected)
                    }

                    fn visit_str<E: Error>(self, text: &str) -> Result<$type, E> {
                        $type::read(text)
                    }
                }
                deserializer.deserialize_any(Reads)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "description": $expected, "examples": [$example] })
            }
        }
    };
}

const NAME: &str = "the name of a header field";
const VALUE: &str = "the value of a header field";
const VALUES: &str = "the value of a header field or a list of values";
const PATH: &str = "an absolute path such as /orders";
const AUTHORITY: &str = "a host such as shop.example or shop.example:8080";

/// The sentence of an error with what was written, before its hint.
fn found(error: &ValueError, text: &str) -> String {
    let sentence = error.to_string();
    let (expected, hint) = sentence.split_once('\n').unwrap_or((&sentence, ""));
    let gap = if hint.is_empty() { "" } else { "\n" };
    format!("{expected}, found `{}`{gap}{hint}", text.escape_debug())
}

/// The name of a header field that filters may change.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FieldName(HeaderName);

impl FieldName {
    /// As the `http` crate has it.
    #[must_use]
    pub fn get(&self) -> &HeaderName {
        &self.0
    }
}

impl FromStr for FieldName {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let name = HeaderName::try_from(text).map_err(|_| ValueError::new(NAME))?;
        if FRAMING.contains(&name) {
            return Err(
                ValueError::new(NAME).hint("fields that frame a message are the gateway's own")
            );
        }
        Ok(Self(name))
    }
}

impl Ord for FieldName {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.as_str().cmp(other.0.as_str())
    }
}

impl PartialOrd for FieldName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

text_value!(FieldName, NAME, "x-tenant");

/// The value of a header field: text without control characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FieldValue(HeaderValue);

impl FieldValue {
    /// As the `http` crate has it.
    #[must_use]
    pub fn get(&self) -> &HeaderValue {
        &self.0
    }
}

impl FromStr for FieldValue {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        // RFC 9110 5.5: blanks around a value are no part of it.
        HeaderValue::from_str(text.trim_matches([' ', '\t']))
            .map(Self)
            .map_err(|_| ValueError::new(VALUE).hint("control characters are not allowed"))
    }
}

text_value!(FieldValue, VALUE, "gold");

/// One value of a header field, or a list of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldValues(Vec<FieldValue>);

impl FieldValues {
    /// In the order they were written.
    pub fn iter(&self) -> impl Iterator<Item = &HeaderValue> {
        self.0.iter().map(FieldValue::get)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'de> Deserialize<'de> for FieldValues {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reads;
        impl<'de> Visitor<'de> for Reads {
            type Value = FieldValues;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(VALUES)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<FieldValues, E> {
                FieldValue::read(text).map(|value| FieldValues(vec![value]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<FieldValues, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = list.next_element()? {
                    values.push(value);
                }
                Ok(FieldValues(values))
            }
        }
        deserializer.deserialize_any(Reads)
    }
}

impl JsonSchema for FieldValues {
    fn schema_name() -> Cow<'static, str> {
        "FieldValues".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "array"],
            "description": VALUES,
            "items": { "type": "string" },
            "examples": ["gold", ["a", "b"]],
        })
    }
}

/// A path written in a configuration: absolute, without query, in the one spelling the gateway uses.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UrlPath(Box<str>);

impl UrlPath {
    /// The path; it begins with a slash.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UrlPath {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let fail = |hint: &str| ValueError::new(PATH).hint(hint);
        if !text.starts_with('/') {
            return Err(fail("a path begins with a slash"));
        }
        if text.contains(['?', '#']) {
            return Err(fail(
                "write %3F and %23 for a question mark and a hash in a path",
            ));
        }
        let normal = normalize(text, PathPolicy::default()).map_err(|_| {
            fail("write unusual bytes as a percent sign and two hexadecimal digits")
        })?;
        Ok(Self(normal.into()))
    }
}

text_value!(UrlPath, PATH, "/orders");

/// A host name or IP address with an optional port, as `Host` has it (RFC 9110 7.2).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Authority {
    host: Box<str>,
    port: Option<u16>,
}

impl Authority {
    /// The host in lower case; an IPv6 address stands in brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, if one was written.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.port
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.host),
            None => f.write_str(&self.host),
        }
    }
}

impl FromStr for Authority {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let (host, port) = split_authority(text).ok_or(ValueError::new(AUTHORITY))?;
        Ok(Self {
            host: host.to_ascii_lowercase().into(),
            port,
        })
    }
}

text_value!(Authority, AUTHORITY, "shop.example");

/// Host and port of an authority that is nothing but these: no user information, no odd bytes.
pub(crate) fn split_authority(text: &str) -> Option<(&str, Option<u16>)> {
    let (host, rest) = if text.starts_with('[') {
        text.split_at(text.find(']')? + 1)
    } else {
        text.split_at(text.find(':').unwrap_or(text.len()))
    };
    let port = match rest.strip_prefix(':') {
        Some("") => None,
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(digits.parse().ok()?)
        }
        None if rest.is_empty() => None,
        _ => return None,
    };
    let valid = match host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
    {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host.bytes().all(|byte| {
                    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
                })
        }
    };
    valid.then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_authorities_and_refuses_what_is_none() {
        for (text, expected) in [
            ("shop.example", Some(("shop.example", None))),
            ("shop.example:8080", Some(("shop.example", Some(8080)))),
            ("shop.example:", Some(("shop.example", None))),
            ("[::1]:80", Some(("[::1]", Some(80)))),
            ("[::1]", Some(("[::1]", None))),
            ("::1", None),
            ("[::1", None),
            ("[evil]", None),
            ("user@host", None),
            ("host/path", None),
            ("host:80:90", None),
            ("host:+80", None),
            ("host:99999", None),
            ("ho st", None),
            ("", None),
            (":80", None),
        ] {
            assert_eq!(split_authority(text), expected, "{text}");
        }
    }

    #[test]
    fn paths_are_brought_into_one_spelling_or_refused() {
        for (text, expected) in [
            ("/a/%62/../c", Some("/a/c")),
            ("/", Some("/")),
            ("/a%2fb", Some("/a%2Fb")),
            ("a", None),
            ("", None),
            ("/a?b", None),
            ("/a#b", None),
            ("/a b", None),
            ("/%zz", None),
            ("/ä", None),
        ] {
            let path = text.parse::<UrlPath>().ok();
            assert_eq!(path.as_ref().map(UrlPath::as_str), expected, "{text}");
        }
    }

    #[test]
    fn framing_fields_are_not_for_filters() {
        for name in [
            "Content-Length",
            "connection",
            "transfer-encoding",
            "TE",
            "keep-alive",
            "x y",
            "",
        ] {
            assert!(name.parse::<FieldName>().is_err(), "{name}");
        }
        assert_eq!("X-Tenant".parse::<FieldName>().unwrap().get(), "x-tenant");
    }
}
