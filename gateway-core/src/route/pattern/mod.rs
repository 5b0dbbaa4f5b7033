//! Regular expressions with bounded cost, and the literal text an index can put them behind.

use std::{fmt, hash, sync::Arc};

use regex::{Regex, RegexBuilder};
use regex_syntax::ParserBuilder;

use crate::route::BoxError;

mod literal;

/// Longest accepted regular expression, in bytes.
pub const MAX_PATTERN_BYTES: usize = 4096;
/// Largest compiled size of one regular expression, in bytes. Also bounds its lazily built automaton.
pub const MAX_COMPILED_BYTES: usize = 1 << 20;
/// Deepest nesting of groups in a regular expression.
pub const MAX_PATTERN_NESTING: u32 = 64;

/// Which part of the text a regular expression has to cover.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Anchoring {
    /// The whole text (native form, Gateway API, Istio).
    Whole,
    /// From the start of the text on; the rest is free (Kong).
    Start,
    /// Any part of the text, unless the expression anchors itself (Traefik).
    Search,
}

/// A compiled regular expression. The dialect is the `regex` crate's: linear time, no look-around,
/// no back-references. Clones share the compiled program.
#[derive(Clone)]
pub struct Pattern {
    source: Arc<str>,
    anchoring: Anchoring,
    regex: Regex,
    literal_prefix: Arc<[u8]>,
}

/// Why a regular expression was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// The expression is empty.
    #[error("the regular expression is empty")]
    Empty,
    /// The expression is longer than [`MAX_PATTERN_BYTES`].
    #[error("the regular expression has {length} bytes, more than {MAX_PATTERN_BYTES}")]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// The expression does not parse.
    #[error("parsing the regular expression `{pattern}`")]
    Syntax {
        /// The expression.
        pattern: String,
        /// What the parser says, over several lines.
        #[source]
        cause: BoxError,
    },
    /// The expression parses, but its program would exceed [`MAX_COMPILED_BYTES`].
    #[error("compiling the regular expression `{pattern}`")]
    Compile {
        /// The expression.
        pattern: String,
        /// What the compiler says.
        #[source]
        cause: BoxError,
    },
}

impl Pattern {
    /// Compiles `source`.
    ///
    /// # Errors
    /// When the expression is empty, too long, malformed, or too large once compiled.
    pub fn new(source: &str, anchoring: Anchoring) -> Result<Self, PatternError> {
        if source.is_empty() {
            return Err(PatternError::Empty);
        }
        if source.len() > MAX_PATTERN_BYTES {
            return Err(PatternError::TooLong {
                length: source.len(),
            });
        }
        // Parsed alone first: inside the anchoring group, `a)|(b` would be accepted.
        let tree = ParserBuilder::new()
            .nest_limit(MAX_PATTERN_NESTING)
            .build()
            .parse(source)
            .map_err(|cause| PatternError::Syntax {
                pattern: source.to_owned(),
                cause: Box::new(cause),
            })?;
        let wrapped = match anchoring {
            Anchoring::Whole => format!(r"\A(?:{source})\z"),
            Anchoring::Start => format!(r"\A(?:{source})"),
            Anchoring::Search => source.to_owned(),
        };
        let regex = RegexBuilder::new(&wrapped)
            .size_limit(MAX_COMPILED_BYTES)
            .dfa_size_limit(MAX_COMPILED_BYTES)
            .nest_limit(MAX_PATTERN_NESTING.saturating_add(2))
            .build()
            .map_err(|cause| PatternError::Compile {
                pattern: source.to_owned(),
                cause: Box::new(cause),
            })?;
        Ok(Self {
            source: source.into(),
            anchoring,
            regex,
            literal_prefix: literal::prefix(&tree, anchoring != Anchoring::Search).into(),
        })
    }

    /// Compiles an expression that has to match the whole text.
    ///
    /// # Errors
    /// As [`Pattern::new`].
    pub fn whole(source: &str) -> Result<Self, PatternError> {
        Self::new(source, Anchoring::Whole)
    }

    /// Compiles an expression that may match anywhere in the text.
    ///
    /// # Errors
    /// As [`Pattern::new`].
    pub fn search(source: &str) -> Result<Self, PatternError> {
        Self::new(source, Anchoring::Search)
    }

    /// Whether `text` matches.
    #[must_use]
    pub fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// What the first group captures of `text`, or the whole match if the expression has no groups; `None` if it does
    /// not match or the group took no part in it.
    #[must_use]
    pub fn capture<'t>(&self, text: &'t str) -> Option<&'t str> {
        let mut places = self.regex.capture_locations();
        let whole = self.regex.captures_read(&mut places, text)?;
        let (from, to) = match places.len() {
            0 | 1 => (whole.start(), whole.end()),
            _ => places.get(1)?,
        };
        text.get(from..to)
    }

    /// The expression as written.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Which part of a text has to match.
    #[must_use]
    pub fn anchoring(&self) -> Anchoring {
        self.anchoring
    }

    /// Text that every match begins with, counted from the start of the tested text; often empty.
    pub(crate) fn literal_prefix(&self) -> &[u8] {
        &self.literal_prefix
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({:?}, {:?})", &*self.source, self.anchoring)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source && self.anchoring == other.anchoring
    }
}

impl Eq for Pattern {}

impl hash::Hash for Pattern {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.source.hash(state);
        self.anchoring.hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix_of(source: &str, anchoring: Anchoring) -> String {
        let pattern = Pattern::new(source, anchoring).unwrap();
        String::from_utf8(pattern.literal_prefix().to_vec()).unwrap()
    }

    #[test]
    fn whole_patterns_cover_the_whole_text_in_every_alternative() {
        let pattern = Pattern::whole("/a|/b").unwrap();
        assert!(pattern.is_match("/a") && pattern.is_match("/b"));
        assert!(!pattern.is_match("/ax") && !pattern.is_match("x/b"));
        assert!(Pattern::whole("(?m)^/a$").unwrap().is_match("/a"));
        assert!(!Pattern::whole("(?m)^/a$").unwrap().is_match("/a\n/b"));
        assert!(
            Pattern::new("/a", Anchoring::Start)
                .unwrap()
                .is_match("/abc")
        );
        assert!(Pattern::search("b").unwrap().is_match("/abc"));
    }

    #[test]
    fn the_first_group_is_what_is_captured() {
        let user = Pattern::new("/users/([^/]+)", Anchoring::Start).unwrap();
        assert_eq!(user.capture("/users/ann/orders"), Some("ann"));
        assert_eq!(user.capture("/orders"), None);
        let plain = Pattern::search("[0-9]+").unwrap();
        assert_eq!(plain.capture("/orders/4711"), Some("4711"));
        let absent = Pattern::whole("/a(b)?").unwrap();
        assert_eq!(absent.capture("/a"), None);
    }

    #[test]
    fn literal_prefixes_are_found_only_where_every_match_begins_with_them() {
        for (source, anchoring, expected) in [
            ("/api/v[0-9]+/x", Anchoring::Whole, "/api/v"),
            (r"/a\.b/.*", Anchoring::Whole, "/a.b/"),
            ("^/api/(users|groups)", Anchoring::Search, "/api/"),
            ("/api/", Anchoring::Search, ""),
            ("(?i)/api/x", Anchoring::Whole, "/"),
            ("/ab?c", Anchoring::Whole, "/a"),
            ("/ab*", Anchoring::Whole, "/a"),
            ("/(ab)+c", Anchoring::Whole, "/ab"),
            ("/a|/b", Anchoring::Whole, "/"),
            ("/a|b", Anchoring::Whole, ""),
            ("/v(one|other)/x", Anchoring::Whole, "/vo"),
            ("^/api/a|^/api/b", Anchoring::Search, "/api/"),
            ("^/api/a|/api/b", Anchoring::Search, ""),
            ("(/a)/b", Anchoring::Start, "/a/b"),
            ("(?:^/a|/b)/c", Anchoring::Search, ""),
            ("(?m)^/a", Anchoring::Search, ""),
            (".*", Anchoring::Whole, ""),
        ] {
            assert_eq!(prefix_of(source, anchoring), expected, "{source}");
        }
    }

    #[test]
    fn refuses_what_cannot_be_bounded() {
        assert!(matches!(Pattern::whole(""), Err(PatternError::Empty)));
        assert!(matches!(
            Pattern::whole("a)|(b"),
            Err(PatternError::Syntax { .. })
        ));
        assert!(matches!(
            Pattern::whole(&"a".repeat(MAX_PATTERN_BYTES + 1)),
            Err(PatternError::TooLong { .. })
        ));
        assert!(matches!(
            Pattern::whole(r"\w{1000}{1000}"),
            Err(PatternError::Compile { .. })
        ));
        let deep = format!("{}a{}", "(".repeat(1000), ")".repeat(1000));
        assert!(matches!(
            Pattern::whole(&deep),
            Err(PatternError::Syntax { .. })
        ));
    }
}
