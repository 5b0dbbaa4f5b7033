//! Certificates and keys as they are written.

use std::{borrow::Cow, fmt, path::PathBuf};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// PEM text, or the path of a file with it: whatever holds `-----BEGIN ` is the text itself.
#[derive(Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Pem {
    /// The path of a file.
    File(PathBuf),
    /// The text.
    Inline(String),
}

impl Default for Pem {
    /// The empty path.
    fn default() -> Self {
        Self::File(PathBuf::new())
    }
}

impl From<PathBuf> for Pem {
    fn from(path: PathBuf) -> Self {
        Self::File(path)
    }
}

/// An empty path is refused by lowering.
impl From<String> for Pem {
    fn from(text: String) -> Self {
        if text.contains("-----BEGIN ") {
            Self::Inline(text)
        } else {
            Self::File(text.into())
        }
    }
}

/// Never the text: it may be a key.
impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Inline(_) => f.debug_tuple("Inline").finish_non_exhaustive(),
        }
    }
}

impl<'de> Deserialize<'de> for Pem {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

impl Serialize for Pem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::File(path) => path.serialize(serializer),
            Self::Inline(text) => serializer.serialize_str(text),
        }
    }
}

impl JsonSchema for Pem {
    fn schema_name() -> Cow<'static, str> {
        "Pem".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "minLength": 1,
            "description": "The path of a PEM file, or PEM text.",
            "examples": ["/etc/tls/tls.crt"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_text_from_paths() {
        let text = "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n";
        let inline = Pem::from(text.to_owned());
        assert_eq!(inline, Pem::Inline(text.to_owned()));
        assert_eq!(format!("{inline:?}"), "Inline(..)");
        assert_eq!(serde_json::to_value(&inline).unwrap(), text);
        assert_eq!(
            Pem::from("tls/a.key".to_owned()),
            Pem::File("tls/a.key".into())
        );
    }
}
