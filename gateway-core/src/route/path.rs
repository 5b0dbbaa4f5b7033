//! Path patterns: exact, by segment, by text, or by regular expression.

use std::{fmt, sync::Arc};

use crate::route::pattern::{Pattern, PatternError};

/// Longest accepted path of a pattern, in bytes.
pub const MAX_PATH_BYTES: usize = 8192;

/// Which paths a route answers for.
///
/// Paths are compared case-sensitively with the normalised path of the request, without its query. The text
/// of the three literal forms is normalised in the same way (RFC 3986, section 6.2.2): percent-encoded
/// unreserved characters are decoded, other escapes put in upper case, and spaces, control characters and
/// non-ASCII characters escaped, so `/a b` matches a request for `/a%20b`. Regular expressions are taken as
/// written and see the normalised path.
///
/// ```
/// use portcullis_core::route::PathPattern;
///
/// let by_segment = PathPattern::prefix("/a/")?;
/// assert!(by_segment.matches("/a") && by_segment.matches("/a/b") && !by_segment.matches("/ab"));
/// let by_text = PathPattern::string_prefix("/a")?;
/// assert!(by_text.matches("/ab"));
/// # Ok::<(), portcullis_core::route::PathError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PathPattern(PathKind);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum PathKind {
    Exact(Arc<str>),
    /// Without trailing slash, but for the root, which is `/`.
    Prefix(Arc<str>),
    StringPrefix(Arc<str>),
    Regex(Pattern),
}

/// Why a path pattern was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// The path does not begin with a slash.
    #[error("the path `{path}` does not begin with `/`")]
    NoSlash {
        /// The text as given.
        path: String,
    },
    /// The path is longer than [`MAX_PATH_BYTES`].
    #[error("the path has {length} bytes, more than {MAX_PATH_BYTES}")]
    TooLong {
        /// Its length in bytes, once normalised.
        length: usize,
    },
    /// The path has a query or fragment, which no path of a request has.
    #[error("the path `{path}` has `{found}`, which begins a query or fragment")]
    Delimiter {
        /// The text as given.
        path: String,
        /// `?` or `#`.
        found: char,
    },
    /// A percent sign is not followed by two hexadecimal digits.
    #[error("the path `{path}` has a broken percent-encoding at byte {offset}")]
    Escape {
        /// The text as given.
        path: String,
        /// Where the percent sign is.
        offset: usize,
    },
}

impl PathPattern {
    /// That path only; `/a` and `/a/` differ.
    ///
    /// # Errors
    /// When the path is not one: no leading slash, overlong, with a query, or badly encoded.
    pub fn exact(path: &str) -> Result<Self, PathError> {
        normalise(path).map(|path| Self(PathKind::Exact(path.into())))
    }

    /// That path and everything below it, segment by segment: `/a` takes `/a`, `/a/` and `/a/b`, not `/ab`.
    /// A trailing slash makes no difference (Gateway API `PathPrefix`, Ingress `Prefix`).
    ///
    /// # Errors
    /// As [`PathPattern::exact`].
    pub fn prefix(path: &str) -> Result<Self, PathError> {
        let path = normalise(path)?;
        let bare = path.trim_end_matches('/');
        let kept = if bare.is_empty() { "/" } else { bare };
        Ok(Self(PathKind::Prefix(kept.into())))
    }

    /// Every path that begins with this text: `/a` takes `/ab` too (Traefik `PathPrefix`, Kong, nginx, Istio).
    ///
    /// # Errors
    /// As [`PathPattern::exact`].
    pub fn string_prefix(path: &str) -> Result<Self, PathError> {
        normalise(path).map(|path| Self(PathKind::StringPrefix(path.into())))
    }

    /// Paths that a regular expression matches as a whole.
    ///
    /// # Errors
    /// As [`Pattern::new`].
    pub fn regex(source: &str) -> Result<Self, PatternError> {
        Pattern::whole(source).map(Self::from)
    }

    /// Whether `path`, normalised and without query, matches.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        match &self.0 {
            PathKind::Exact(text) => **text == *path,
            PathKind::Prefix(text) => path
                .strip_prefix(text.trim_end_matches('/'))
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
            PathKind::StringPrefix(text) => path.starts_with(&**text),
            PathKind::Regex(pattern) => pattern.is_match(path),
        }
    }

    pub(crate) fn kind(&self) -> &PathKind {
        &self.0
    }
}

impl From<Pattern> for PathPattern {
    fn from(pattern: Pattern) -> Self {
        Self(PathKind::Regex(pattern))
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            PathKind::Exact(text) => write!(f, "={text}"),
            PathKind::Prefix(text) => write!(f, "{}/*", text.trim_end_matches('/')),
            PathKind::StringPrefix(text) => write!(f, "{text}*"),
            PathKind::Regex(pattern) => write!(f, "~{pattern}"),
        }
    }
}

fn normalise(path: &str) -> Result<String, PathError> {
    if !path.starts_with('/') {
        return Err(PathError::NoSlash {
            path: path.to_owned(),
        });
    }
    let mut bytes = path.bytes().enumerate();
    let mut out = String::with_capacity(path.len());
    while let Some((offset, byte)) = bytes.next() {
        match byte {
            b'?' | b'#' => {
                return Err(PathError::Delimiter {
                    path: path.to_owned(),
                    found: char::from(byte),
                });
            }
            b'%' => {
                let mut digit = || bytes.next().and_then(|(_, b)| hex(b));
                let (Some(high), Some(low)) = (digit(), digit()) else {
                    return Err(PathError::Escape {
                        path: path.to_owned(),
                        offset,
                    });
                };
                let decoded = high << 4 | low;
                if unreserved(decoded) {
                    out.push(char::from(decoded));
                } else {
                    escape(decoded, &mut out);
                }
            }
            0x21..=0x7E => out.push(char::from(byte)),
            _ => escape(byte, &mut out),
        }
    }
    if out.len() > MAX_PATH_BYTES {
        return Err(PathError::TooLong { length: out.len() });
    }
    Ok(out)
}

fn escape(byte: u8, out: &mut String) {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F',
    ];
    out.push('%');
    out.push(DIGITS[usize::from(byte >> 4)]);
    out.push(DIGITS[usize::from(byte & 15)]);
}

fn unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

pub(crate) fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segment_prefixes_follow_gateway_api() {
        for (prefix, path, expected) in [
            ("/a", "/a", true),
            ("/a", "/a/", true),
            ("/a", "/a/b", true),
            ("/a", "/ab", false),
            ("/a/", "/a", true),
            ("/a/", "/a/b", true),
            ("/a/", "/ab", false),
            ("/a//", "/a/b", true),
            ("/", "/", true),
            ("/", "/x", true),
            ("/", "*", false),
            ("/a/b", "/a", false),
        ] {
            let pattern = PathPattern::prefix(prefix).unwrap();
            assert_eq!(pattern.matches(path), expected, "{prefix} on {path}");
        }
    }

    #[test]
    fn other_forms_compare_text() {
        assert!(PathPattern::exact("/a").unwrap().matches("/a"));
        assert!(!PathPattern::exact("/a").unwrap().matches("/a/"));
        assert!(!PathPattern::exact("/a").unwrap().matches("/A"));
        assert!(
            PathPattern::string_prefix("/img")
                .unwrap()
                .matches("/imgs/x")
        );
        assert!(!PathPattern::string_prefix("/img/").unwrap().matches("/img"));
        assert!(PathPattern::regex("/v[0-9]").unwrap().matches("/v1"));
        assert!(!PathPattern::regex("/v[0-9]").unwrap().matches("/v1/x"));
    }

    #[test]
    fn patterns_are_normalised_like_requests() {
        for (written, requested) in [
            ("/a b", "/a%20b"),
            ("/%7euser", "/~user"),
            ("/a%2fb", "/a%2Fb"),
            ("/ü", "/%C3%BC"),
            ("/{id}", "/{id}"),
        ] {
            assert!(
                PathPattern::exact(written).unwrap().matches(requested),
                "{written}"
            );
        }
        assert!(!PathPattern::prefix("/a/b").unwrap().matches("/a%2Fb"));
    }

    #[test]
    fn refuses_what_is_no_path() {
        let refuse = |text: &str| PathPattern::exact(text).unwrap_err();
        assert!(matches!(refuse(""), PathError::NoSlash { .. }));
        assert!(matches!(refuse("a"), PathError::NoSlash { .. }));
        assert!(matches!(
            refuse("/a?b"),
            PathError::Delimiter { found: '?', .. }
        ));
        assert!(matches!(
            refuse("/a%2"),
            PathError::Escape { offset: 2, .. }
        ));
        assert!(matches!(
            refuse("/%zz"),
            PathError::Escape { offset: 1, .. }
        ));
        let long = format!("/{}", "a".repeat(MAX_PATH_BYTES));
        assert!(matches!(refuse(&long), PathError::TooLong { .. }));
    }
}
