//! Certificates and keys as they are written.

use std::{fmt, path::PathBuf, str::FromStr};

use super::values::{ValueError, scalar};

const PEM: &str = "the path of a PEM file, or PEM text";

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

impl FromStr for Pem {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        // An empty path is refused by lowering, so that a missing key does not look like a wrong one.
        Ok(if text.contains("-----BEGIN ") {
            Self::Inline(text.to_owned())
        } else {
            Self::File(text.into())
        })
    }
}

impl fmt::Display for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Inline(text) => f.write_str(text),
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

scalar!(Pem, PEM, {
    "type": "string",
    "minLength": 1,
    "description": "The path of a PEM file, or PEM text.",
    "examples": ["/etc/tls/tls.crt"],
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_text_from_paths() {
        let text = "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n";
        let inline: Pem = text.parse().unwrap();
        assert_eq!(
            (inline.to_string().as_str(), format!("{inline:?}").as_str()),
            (text, "Inline(..)")
        );
        assert_eq!(
            "tls/a.key".parse::<Pem>().unwrap(),
            Pem::File("tls/a.key".into())
        );
    }
}
