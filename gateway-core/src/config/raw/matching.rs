//! What a route asks of a request.

use std::{collections::BTreeMap, fmt, marker::PhantomData};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error, MapAccess, Visitor, value::MapAccessDeserializer},
};

use crate::config::{
    capture::{Located, PluginSpec},
    values::Cidr,
};

/// What a request must have. Everything that is given must hold; in a list, one of it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Match")]
#[non_exhaustive]
pub struct RawMatch {
    /// Host names, without port; `*.example.com` covers any number of labels in front. Default: any host.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<Located<String>>,
    /// The path, after normalisation (RFC 3986, section 6.2.2): a prefix, or `{ exact | prefix | string_prefix | regex }`.
    /// Default: any path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<Located<PathMatch>>,
    /// Methods, in capitals. Default: any method.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<Located<String>>,
    /// Header fields by name, in any case: the exact value, or `{ exact | regex | present | absent }`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, Located<ValueMatch>>,
    /// Query parameters by name, as headers.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub query: BTreeMap<String, Located<ValueMatch>>,
    /// Addresses of clients, as far as `trusted_proxies` vouch for them. Default: any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub client_ip: Vec<Cidr>,
    /// Ports of this gateway that the connection came in on. Default: any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<u16>,
    /// Further matchers, by plugins. All of them must agree.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-portcullis-plugins" = "matcher"))]
    pub custom: Vec<PluginSpec>,
}

/// How a path is compared. A plain string is a `prefix`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PathMatch {
    /// The whole path.
    Exact(String),
    /// Whole segments from the front: `/orders` takes `/orders` and `/orders/7`, not `/orders2`.
    Prefix(String),
    /// Characters from the front: `/orders` takes `/orders2` too.
    StringPrefix(String),
    /// A regular expression that the whole path has to match.
    Regex(String),
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(inline)]
struct PathForms {
    /// The whole path.
    exact: Option<String>,
    /// Whole segments from the front: `/orders` takes `/orders` and `/orders/7`, not `/orders2`.
    prefix: Option<String>,
    /// Characters from the front: `/orders` takes `/orders2` too.
    string_prefix: Option<String>,
    /// A regular expression that the whole path has to match.
    regex: Option<String>,
}

impl<'de> Deserialize<'de> for PathMatch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const FORMS: &str = "exact, prefix, string_prefix, regex";
        text_or_map(
            deserializer,
            "a path or a mapping such as { exact: /orders }",
            |text| Ok(Self::Prefix(text.to_owned())),
            |forms: PathForms| {
                let given = [
                    forms.exact.map(Self::Exact),
                    forms.prefix.map(Self::Prefix),
                    forms.string_prefix.map(Self::StringPrefix),
                    forms.regex.map(Self::Regex),
                ];
                exactly_one(given, FORMS)
            },
        )
    }
}

impl JsonSchema for PathMatch {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "PathMatch".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        text_or_one_of::<PathForms>(
            "How a path is compared. A plain string is a `prefix`.",
            generator,
        )
    }
}

/// How the value of a header or a query parameter is compared. A plain string is `exact`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ValueMatch {
    /// The whole value.
    Exact(String),
    /// A regular expression that the whole value has to match.
    Regex(String),
    /// Written `present: true`: there is one, whatever it says.
    #[serde(serialize_with = "write_true")]
    Present,
    /// Written `absent: true`: there is none.
    #[serde(serialize_with = "write_true")]
    Absent,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(inline)]
struct ValueForms {
    /// The whole value.
    exact: Option<String>,
    /// A regular expression that the whole value has to match.
    regex: Option<String>,
    /// `true`: there is one, whatever it says. `false`: there is none.
    present: Option<bool>,
    /// `true`: there is none. `false`: there is one.
    absent: Option<bool>,
}

impl<'de> Deserialize<'de> for ValueMatch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const FORMS: &str = "exact, regex, present, absent";
        text_or_map(
            deserializer,
            "a value or a mapping such as { regex: \"v[0-9]+\" }",
            |text| Ok(Self::Exact(text.to_owned())),
            |forms: ValueForms| {
                let whether = |there: bool| if there { Self::Present } else { Self::Absent };
                let given = [
                    forms.exact.map(Self::Exact),
                    forms.regex.map(Self::Regex),
                    forms.present.map(whether),
                    forms.absent.map(|absent| whether(!absent)),
                ];
                exactly_one(given, FORMS)
            },
        )
    }
}

impl JsonSchema for ValueMatch {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ValueMatch".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        text_or_one_of::<ValueForms>(
            "How a value is compared. A plain string is `exact`.",
            generator,
        )
    }
}

/// A value that is written as a string or as a mapping, without the buffering (and the lost places) of an
/// untagged enum.
pub(super) fn text_or_map<'de, D, T, M>(
    deserializer: D,
    expected: &'static str,
    from_text: fn(&str) -> Result<T, String>,
    from_map: fn(M) -> Result<T, String>,
) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    M: Deserialize<'de>,
{
    struct Either<T, M> {
        expected: &'static str,
        from_text: fn(&str) -> Result<T, String>,
        from_map: fn(M) -> Result<T, String>,
        marker: PhantomData<(T, M)>,
    }

    impl<'de, T, M: Deserialize<'de>> Visitor<'de> for Either<T, M> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.expected)
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
            (self.from_text)(text).map_err(E::custom)
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
            let content = M::deserialize(MapAccessDeserializer::new(map))?;
            (self.from_map)(content).map_err(A::Error::custom)
        }
    }

    deserializer.deserialize_any(Either {
        expected,
        from_text,
        from_map,
        marker: PhantomData,
    })
}

pub(super) fn exactly_one<T>(
    given: impl IntoIterator<Item = Option<T>>,
    names: &str,
) -> Result<T, String> {
    let mut given = given.into_iter().flatten();
    match (given.next(), given.next()) {
        (Some(only), None) => Ok(only),
        (None, _) => Err(format!("expected one of the keys {names}, found none")),
        (Some(_), Some(_)) => Err(format!("expected one of the keys {names}, found several")),
    }
}

fn text_or_one_of<M: JsonSchema>(description: &str, generator: &mut SchemaGenerator) -> Schema {
    let mut forms = generator.subschema_for::<M>();
    forms.insert("minProperties".to_owned(), 1.into());
    forms.insert("maxProperties".to_owned(), 1.into());
    schemars::json_schema!({
        "description": description,
        "anyOf": [{ "type": "string" }, forms],
    })
}

fn write_true<S: serde::Serializer>(serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bool(true)
}
