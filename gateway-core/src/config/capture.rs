//! Parts of a tree inside of typed values: where a value stands, and whole sub-trees for later.

use std::{borrow::Cow, fmt, hash, marker::PhantomData, ops::Deref};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{DeserializeOwned, Error, Unexpected, Visitor},
};

use super::{
    decode::{CAPTURED, LOCATED, Pending, Recovered, decode, decode_hiding, recover, take_pending},
    diagnostic::{Diagnostic, Diagnostics, Location},
    node::{Document, Kind, NodeRef},
    tree::NodeId,
};

/// Where values come from that were not read from a file.
const NO_FILE: &str = "(program)";
/// The key of a [`PluginSpec`] that names the plugin.
const TYPE: &str = "type";

/// A sub-tree kept as it was written, with its places.
///
/// Cheap to clone: it shares the document. Two are equal when their content is, wherever it was written.
/// Read by another deserializer than [`decode`], it keeps the content without places.
#[derive(Clone)]
pub struct Captured {
    document: Document,
    id: NodeId,
}

impl Captured {
    /// A sub-tree made by a program.
    ///
    /// # Errors
    /// As [`Document::from_json`].
    pub fn from_json(value: &serde_json::Value) -> Result<Self, Diagnostics> {
        let document = Document::from_json(NO_FILE, value)?;
        Ok(Self {
            id: document.root().id(),
            document,
        })
    }

    /// The node it holds.
    #[must_use]
    pub fn node(&self) -> NodeRef<'_> {
        self.document.node(self.id)
    }

    /// Where it was written.
    #[must_use]
    pub fn location(&self) -> Location {
        self.node().location()
    }

    /// Decodes it; see [`decode`].
    pub fn decode<T: DeserializeOwned>(&self, diagnostics: &mut Diagnostics) -> Option<T> {
        decode(self.node(), diagnostics)
    }
}

impl From<NodeRef<'_>> for Captured {
    fn from(node: NodeRef<'_>) -> Self {
        Self {
            document: node.document().clone(),
            id: node.id(),
        }
    }
}

impl fmt::Debug for Captured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.node().fmt(f)
    }
}

impl PartialEq for Captured {
    fn eq(&self, other: &Self) -> bool {
        self.node() == other.node()
    }
}

impl Eq for Captured {}

impl<'de> Deserialize<'de> for Captured {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Takes;
        impl<'de> Visitor<'de> for Takes {
            type Value = Captured;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }

            fn visit_newtype_struct<D: Deserializer<'de>>(
                self,
                other: D,
            ) -> Result<Captured, D::Error> {
                if let Some(Pending { document, id, .. }) = take_pending() {
                    return Ok(Captured { document, id });
                }
                let value = serde_json::Value::deserialize(other)?;
                Captured::from_json(&value).map_err(Error::custom)
            }
        }
        deserializer.deserialize_newtype_struct(CAPTURED, Takes)
    }
}

impl Serialize for Captured {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        InOrder(self.node()).serialize(serializer)
    }
}

/// Writes a sub-tree with its keys in the order of the file.
struct InOrder<'d>(NodeRef<'d>);

impl Serialize for InOrder<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.kind() {
            Kind::Seq => serializer.collect_seq(self.0.items().map(InOrder)),
            Kind::Map => {
                serializer.collect_map(self.0.entries().map(|(key, value)| (key, InOrder(value))))
            }
            _ => self.0.to_json().serialize(serializer),
        }
    }
}

impl JsonSchema for Captured {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Any".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!(true)
    }
}

/// A value that remembers where it was written, so that a later stage can point at it.
///
/// Dereferences to the value, and equality, order and hash are the value's: the place does not matter.
#[derive(Clone, Default)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Where it was written; unknown for a value made by a program.
    pub at: Location,
    origin: Option<Captured>,
    /// The origin is the mapping that lacks the value: what is here only stands in for it.
    missing: bool,
}

impl<T> Located<T> {
    /// The way from the top of the document, such as `routes[2].name`; empty when the value has none.
    #[must_use]
    pub fn path(&self) -> String {
        self.origin
            .as_ref()
            .map(|origin| origin.node().path())
            .unwrap_or_default()
    }

    /// Another value that was written at the same place.
    pub(crate) fn with<U>(&self, value: U) -> Located<U> {
        Located {
            value,
            at: self.at.clone(),
            origin: self.origin.clone(),
            missing: self.missing,
        }
    }

    /// Whether the value only stands in for one that is missing or wrong, which was reported.
    pub(super) fn is_missing(&self) -> bool {
        self.missing
    }

    /// The mapping or list that the value was written in.
    pub(super) fn parent(&self) -> Option<NodeRef<'_>> {
        let node = self.origin.as_ref()?.node();
        if self.missing {
            Some(node)
        } else {
            node.parent()
        }
    }

    /// An error about this value, pointing at it.
    #[must_use]
    pub fn error(&self, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error(message)
            .at(self.at.clone())
            .path(self.path())
    }

    /// A warning about this value, pointing at it.
    #[must_use]
    pub fn warning(&self, message: impl Into<String>) -> Diagnostic {
        Diagnostic::warning(message)
            .at(self.at.clone())
            .path(self.path())
    }
}

impl<T> From<T> for Located<T> {
    fn from(value: T) -> Self {
        Self {
            value,
            at: Location::default(),
            origin: None,
            missing: false,
        }
    }
}

impl<T> Deref for Located<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: fmt::Debug> fmt::Debug for Located<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

impl<T: fmt::Display> fmt::Display for Located<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

impl<T: PartialEq> PartialEq for Located<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T: Eq> Eq for Located<T> {}

impl<T: PartialOrd> PartialOrd for Located<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        self.value.partial_cmp(&other.value)
    }
}

impl<T: Ord> Ord for Located<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.value.cmp(&other.value)
    }
}

impl<T: hash::Hash> hash::Hash for Located<T> {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.value.hash(state);
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Located<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Takes<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Takes<T> {
            type Value = Located<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_newtype_struct<D: Deserializer<'de>>(
                self,
                inner: D,
            ) -> Result<Located<T>, D::Error> {
                let pending = take_pending();
                let missing = pending.as_ref().is_some_and(|pending| pending.missing);
                let origin = pending.map(|Pending { document, id, .. }| Captured { document, id });
                let at = origin.as_ref().map(Captured::location).unwrap_or_default();
                Ok(Located {
                    value: T::deserialize(inner)?,
                    at,
                    origin,
                    missing,
                })
            }
        }
        deserializer.deserialize_newtype_struct(LOCATED, Takes(PhantomData))
    }
}

impl<T: Serialize> Serialize for Located<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(serializer)
    }
}

impl<T: JsonSchema> JsonSchema for Located<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// A plugin and its settings: `{ type: rate-limit, limit: 100, per: 1m }`.
///
/// The settings stand beside `type` and are decoded later, by the type that the plugin registered.
/// Two are equal when `type` and settings are, wherever they were written.
#[derive(Clone)]
#[non_exhaustive]
pub struct PluginSpec {
    /// The name under which the plugin is registered: the value of `type`.
    pub kind: String,
    /// Where the entry was written; unknown for one made by a program.
    pub at: Location,
    /// The entry, `type` included.
    pub body: Captured,
}

impl PluginSpec {
    /// A plugin with settings made by a program. `settings` is an object, or null for none.
    ///
    /// # Errors
    /// `settings` is something else, or too deep or too large to keep (see [`Document::from_json`]).
    pub fn new(kind: &str, settings: serde_json::Value) -> Result<Self, Diagnostics> {
        let mut object = match settings {
            serde_json::Value::Object(object) => object,
            serde_json::Value::Null => serde_json::Map::new(),
            _ => {
                return Err(Diagnostic::error("the settings of a plugin must be a mapping").into());
            }
        };
        object.insert(TYPE.to_owned(), kind.into());
        let body = Captured::from_json(&serde_json::Value::Object(object))?;
        Ok(Self {
            kind: kind.to_owned(),
            at: body.location(),
            body,
        })
    }

    /// Decodes the settings, that is the entry without its `type`; see [`decode`].
    ///
    /// A plugin without settings uses `()` or an empty struct.
    pub fn decode<C: DeserializeOwned>(&self, diagnostics: &mut Diagnostics) -> Option<C> {
        decode_hiding(self.body.node(), Some(TYPE), diagnostics)
    }

    /// As [`decode`](Self::decode), and gives what is left when there are mistakes.
    pub(crate) fn recover<C: DeserializeOwned>(
        &self,
        diagnostics: &mut Diagnostics,
    ) -> Recovered<C> {
        recover(self.body.node(), Some(TYPE), diagnostics)
    }

    /// Whether a key of the settings was written, and nothing of its value is among what could not be read.
    pub(crate) fn keeps<C>(&self, settings: &Recovered<C>, key: &str) -> bool {
        let node = self.body.node();
        node.has_key(key) && !settings.lost.lost(node, &[key])
    }

    /// An error about this plugin, pointing at its entry.
    #[must_use]
    pub fn error(&self, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error(message)
            .at(self.at.clone())
            .path(self.body.node().path())
    }

    /// An error about the name of the plugin, pointing at the value of `type`: it is not registered, say.
    #[must_use]
    pub fn kind_error(&self, message: impl Into<String>) -> Diagnostic {
        let node = self.body.node();
        let node = node.get(TYPE).unwrap_or(node);
        Diagnostic::error(message)
            .at(node.location())
            .path(node.path())
    }
}

impl fmt::Debug for PluginSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Settings may hold secrets.
        f.debug_struct("PluginSpec")
            .field("kind", &self.kind)
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

impl PartialEq for PluginSpec {
    fn eq(&self, other: &Self) -> bool {
        self.body == other.body
    }
}

impl Eq for PluginSpec {}

impl<'de> Deserialize<'de> for PluginSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const EXPECTED: &str = "a plugin such as { type: NAME, ... }";
        let body = Captured::deserialize(deserializer)?;
        let node = body.node();
        if node.kind() != Kind::Map {
            let found = match (node.kind(), node.as_str()) {
                (_, Some(text)) => {
                    let found = super::fault::found_text(text);
                    let hint = format!("write {{ type: {text} }}");
                    return Err(D::Error::custom(format!(
                        "expected {EXPECTED}, found {found}\nhint: {hint}"
                    )));
                }
                (Kind::Null, _) => Unexpected::Unit,
                (Kind::Seq, _) => Unexpected::Seq,
                (kind, _) => Unexpected::Other(if kind == Kind::Bool {
                    "a boolean"
                } else {
                    "a number"
                }),
            };
            return Err(D::Error::invalid_type(found, &EXPECTED));
        }
        let kind = match node.get(TYPE).map(NodeRef::as_str) {
            None => return Err(D::Error::missing_field(TYPE)),
            Some(None | Some("")) => {
                return Err(D::Error::custom("the key `type` must name a plugin"));
            }
            Some(Some(kind)) => kind.to_owned(),
        };
        Ok(Self {
            kind,
            at: body.location(),
            body,
        })
    }
}

impl Serialize for PluginSpec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.body.serialize(serializer)
    }
}

/// An object with a `type`; what else it holds depends on the plugins that are registered.
impl JsonSchema for PluginSpec {
    fn schema_name() -> Cow<'static, str> {
        "PluginSpec".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "description": "A plugin: its name as `type`, and its settings beside it.",
            "properties": { "type": { "type": "string", "minLength": 1 } },
            "required": ["type"],
            "additionalProperties": true,
        })
    }
}
