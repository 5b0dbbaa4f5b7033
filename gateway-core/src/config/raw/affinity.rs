//! What keeps clients on an endpoint or a backend, as it is written.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{
        Error, MapAccess, SeqAccess, Visitor,
        value::{MapAccessDeserializer, SeqAccessDeserializer, StrDeserializer},
    },
};

use super::{
    is_default,
    matching::{exactly_one, text_or_map},
};
use crate::config::{capture::Located, fault::found_text, units::TimeSpan};

/// A cookie that the gateway sets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Cookie")]
#[non_exhaustive]
pub struct RawCookie {
    /// Its name.
    pub name: String,
    /// The paths it is sent to. Default: `/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The domain it is sent to, subdomains included. Left out: the host that set it, alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// How long the client keeps it, in whole seconds. Left out: until it ends its session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<TimeSpan>,
    /// Sent back over TLS only. Default: `false`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub secure: bool,
    /// Hidden from scripts. Default: `false`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub http_only: bool,
    /// Whether it comes with requests that other sites caused: `strict`, `lax` or `none`, which needs `secure`. Left
    /// out: as the browser likes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub same_site: Option<SameSite>,
}

impl RawCookie {
    /// A cookie for the session of the client.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }
}

/// Whether a cookie comes with requests that other sites caused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum SameSite {
    /// Never.
    Strict,
    /// When a link is followed.
    Lax,
    /// Always.
    None,
}

/// Keeps a client where its first request went, by a token that the gateway gives it: `cookie` or `header`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Sticky")]
#[non_exhaustive]
pub struct RawSticky {
    /// The token travels in this cookie: a name, or a mapping with its attributes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "CookieOrName")]
    #[serde(deserialize_with = "cookie")]
    pub cookie: Option<RawCookie>,
    /// The token travels in this header field, which clients copy from replies to their requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// How long a client stays at most. Left out: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub absolute_timeout: Option<TimeSpan>,
    /// How long a client that sends nothing stays. Left out: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_timeout: Option<TimeSpan>,
}

/// For the schema of what [`cookie`] reads.
#[derive(JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
#[expect(dead_code, reason = "only its schema is used")]
enum CookieOrName {
    /// The name of a cookie for the session of the client.
    Name(String),
    /// The cookie with its attributes.
    Cookie(RawCookie),
}

fn cookie<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<RawCookie>, D::Error> {
    text_or_map(
        deserializer,
        "the name of a cookie, or a mapping with it",
        |name| Ok(Some(RawCookie::new(name))),
        |cookie: RawCookie| Ok(Some(cookie)),
    )
}

/// What of a request is hashed: `client-ip`, `path`, `principal`, or a mapping that names a header, cookie or query
/// parameter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HashOn {
    /// The client's address.
    #[default]
    ClientIp,
    /// The path of the request, without its query.
    Path,
    /// Who made the request, as authentication found out.
    Principal,
    /// The header of this name.
    Header(String),
    /// The cookie of this name.
    Cookie(String),
    /// A cookie that the gateway sets when the client has none.
    IssuedCookie(RawCookie),
    /// The first value of the query parameter of this name.
    Query(String),
    /// What the first group of this regular expression captures of the path, or all that it matches if it has no group.
    PathCapture(String),
}

/// What is hashed: the first of these that a request has.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HashKeys(pub Vec<Located<HashOn>>);

impl Default for HashKeys {
    fn default() -> Self {
        Self(vec![HashOn::default().into()])
    }
}

const EXPECTED: &str =
    "client-ip, path, principal, a mapping such as { header: x-user }, or a list of these";
const FORMS: &str = "header, cookie, query, path_capture";

#[derive(Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(inline)]
struct HashForms {
    /// The header of this name.
    #[serde(skip_serializing_if = "Option::is_none")]
    header: Option<String>,
    /// The cookie of this name, or a mapping with a cookie that is set when the client has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "CookieOrName")]
    cookie: Option<CookieForm>,
    /// The first value of the query parameter of this name.
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<String>,
    /// What the first group of this regular expression captures of the path.
    #[serde(skip_serializing_if = "Option::is_none")]
    path_capture: Option<String>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum CookieForm {
    Known(String),
    Issued(RawCookie),
}

impl<'de> Deserialize<'de> for CookieForm {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text_or_map(
            deserializer,
            "the name of a cookie, or a mapping with a cookie to be set",
            |name| Ok(Self::Known(name.to_owned())),
            |cookie: RawCookie| Ok(Self::Issued(cookie)),
        )
    }
}

impl HashOn {
    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "client-ip" => Ok(Self::ClientIp),
            "path" => Ok(Self::Path),
            "principal" => Ok(Self::Principal),
            _ => Err(format!("expected {EXPECTED}, found {}", found_text(text))),
        }
    }

    fn from_forms(forms: HashForms) -> Result<Self, String> {
        let cookie = forms.cookie.map(|cookie| match cookie {
            CookieForm::Known(name) => Self::Cookie(name),
            CookieForm::Issued(cookie) => Self::IssuedCookie(cookie),
        });
        let given = [
            forms.header.map(Self::Header),
            cookie,
            forms.query.map(Self::Query),
            forms.path_capture.map(Self::PathCapture),
        ];
        exactly_one(given, FORMS)
    }
}

impl Serialize for HashOn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut forms = HashForms::default();
        match self {
            Self::ClientIp => return serializer.serialize_str("client-ip"),
            Self::Path => return serializer.serialize_str("path"),
            Self::Principal => return serializer.serialize_str("principal"),
            Self::Header(name) => forms.header = Some(name.clone()),
            Self::Cookie(name) => forms.cookie = Some(CookieForm::Known(name.clone())),
            Self::IssuedCookie(cookie) => forms.cookie = Some(CookieForm::Issued(cookie.clone())),
            Self::Query(name) => forms.query = Some(name.clone()),
            Self::PathCapture(pattern) => forms.path_capture = Some(pattern.clone()),
        }
        forms.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for HashOn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text_or_map(deserializer, EXPECTED, Self::from_text, Self::from_forms)
    }
}

impl JsonSchema for HashOn {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "HashOn".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut forms = generator.subschema_for::<HashForms>();
        forms.insert("minProperties".to_owned(), 1.into());
        forms.insert("maxProperties".to_owned(), 1.into());
        schemars::json_schema!({
            "description": "What keeps a request on its endpoint.",
            "anyOf": [{ "enum": ["client-ip", "path", "principal"] }, forms],
        })
    }
}

impl Serialize for HashKeys {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0[..] {
            [only] => only.serialize(serializer),
            all => all.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for HashKeys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMore;

        impl<'de> Visitor<'de> for OneOrMore {
            type Value = HashKeys;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(EXPECTED)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<HashKeys, E> {
                let one = HashOn::deserialize(StrDeserializer::new(text))?;
                Ok(HashKeys(vec![one.into()]))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<HashKeys, A::Error> {
                let one = HashOn::deserialize(MapAccessDeserializer::new(map))?;
                Ok(HashKeys(vec![one.into()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<HashKeys, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(HashKeys)
            }
        }

        deserializer.deserialize_any(OneOrMore)
    }
}

impl JsonSchema for HashKeys {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "HashKeys".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<HashOn>();
        schemars::json_schema!({
            "description": "What keeps a request on its endpoint: one key, or several of which the first that a request has counts.",
            "anyOf": [one.clone(), { "type": "array", "items": one, "minItems": 1 }],
        })
    }
}
