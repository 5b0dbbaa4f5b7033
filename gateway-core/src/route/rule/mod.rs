//! The rule language of Traefik v3: ``Host(`shop.example`) && (PathPrefix(`/api`) || !Method(`GET`))``.
//!
//! | matcher | arguments | matches |
//! |---|---|---|
//! | `Host` | name | that host; `*.x` is exactly one label below `x`; `*` is any host |
//! | `HostRegexp` | expression | part of the lower-cased host |
//! | `Path` | path | exactly that path |
//! | `PathPrefix` | text | paths that begin with the text: `/img` takes `/imgs` |
//! | `PathRegexp` | expression | part of the path |
//! | `Method` | method | that method, upper-cased in the rule |
//! | `Header` | name, value | one line of the header is exactly the value |
//! | `HeaderRegexp` | name, expression | part of one line of the header |
//! | `Query` | name, value | one value of the parameter is exactly the value |
//! | `Query` | name | the parameter is there with an empty value |
//! | `QueryRegexp` | name, expression | part of one value; without expression as `Query` |
//! | `ClientIP` | address or network | the client's address |
//!
//! `!` binds tighter than `&&`, and `&&` tighter than `||`. Strings are back-quoted, taken as they are, or
//! double-quoted, with the escapes of Go. Each name is accepted as declared, in lower case, in upper case,
//! and with only the first letter in upper case.
//!
//! A rule becomes a list of alternatives ([`RouteMatch`]); a negation becomes a list of exclusions. Hosts,
//! paths, methods and networks that are alternatives of each other share one [`RouteMatch`].

use std::{error::Error, fmt};

use crate::route::{HostError, PathError, PatternError, RouteMatch};

mod alternatives;
mod matchers;
mod parser;

/// Longest accepted rule, in bytes.
pub const MAX_RULE_BYTES: usize = 64 * 1024;
/// Deepest nesting of parentheses and negations.
pub const MAX_RULE_DEPTH: usize = 64;
/// Most alternatives that a rule may become, at any place inside it too.
pub const MAX_ALTERNATIVES: usize = 512;
/// Most conditions that a rule may become in all its alternatives together.
pub const MAX_CONDITIONS: usize = 16 * 1024;

/// Why a rule was refused, and where.
#[derive(Debug)]
pub struct RuleError {
    offset: usize,
    kind: RuleErrorKind,
}

/// What is wrong with a rule.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RuleErrorKind {
    /// There is nothing but white space.
    #[error("the rule is empty")]
    Empty,
    /// The rule is longer than [`MAX_RULE_BYTES`].
    #[error("the rule has {length} bytes, more than {MAX_RULE_BYTES}")]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// Parentheses and negations nest deeper than [`MAX_RULE_DEPTH`].
    #[error("the rule nests deeper than {MAX_RULE_DEPTH} levels")]
    TooDeep,
    /// Multiplied out, the rule has more alternatives than [`MAX_ALTERNATIVES`].
    #[error("the rule multiplies out to more than {MAX_ALTERNATIVES} alternatives")]
    TooManyAlternatives,
    /// Multiplied out, the rule has more conditions than [`MAX_CONDITIONS`].
    #[error("the rule multiplies out to more than {MAX_CONDITIONS} conditions")]
    TooManyConditions,
    /// Something else belongs here.
    #[error("expected {expected}, found {found}")]
    Unexpected {
        /// What belongs here.
        expected: &'static str,
        /// What is here.
        found: String,
    },
    /// A string has no closing quote.
    #[error("the string is not closed")]
    UnclosedString,
    /// A single quote begins a string in other languages only.
    #[error("strings are written in back quotes or double quotes")]
    SingleQuote,
    /// A double-quoted string has an escape that Go does not have, or one that is not text.
    #[error("the escape in the string is not valid")]
    Escape,
    /// There is no such matcher.
    #[error("there is no matcher `{name}`{}", hint(.suggestion))]
    UnknownMatcher {
        /// The name as written.
        name: String,
        /// A matcher of a similar name.
        suggestion: Option<&'static str>,
    },
    /// The matcher takes another number of arguments.
    #[error("`{matcher}` takes {takes}, not {given}")]
    Arity {
        /// The matcher's name.
        matcher: &'static str,
        /// How many it takes.
        takes: &'static str,
        /// How many it was given.
        given: usize,
    },
    /// An argument is empty.
    #[error("an argument of `{matcher}` is empty")]
    EmptyArgument {
        /// The matcher's name.
        matcher: &'static str,
    },
    /// The argument is no host.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The host is not written in ASCII.
    #[error("the host is not ASCII, write its `xn--` form")]
    HostNotAscii,
    /// The argument is no path.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The argument is no regular expression.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// The argument is no method.
    #[error("`{0}` is not a method")]
    Method(String),
    /// The argument is no header name.
    #[error("`{0}` is not a header name")]
    HeaderName(String),
    /// The argument is neither an address nor a network.
    #[error("`{0}` is neither an IP address nor a network")]
    Network(String),
}

impl RuleError {
    /// Where the problem begins, in bytes from the start of the rule.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// What is wrong.
    #[must_use]
    pub fn kind(&self) -> &RuleErrorKind {
        &self.kind
    }
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (at byte {} of the rule)", self.kind, self.offset)
    }
}

impl Error for RuleError {
    /// The kind's cause: the kind itself is in the message.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.kind.source()
    }
}

/// Parses a rule into the alternatives of a route.
///
/// ```
/// use portcullis_core::route::rule;
///
/// let matches = rule::parse("(Host(`a.example`) || Host(`b.example`)) && !PathPrefix(`/admin`)")?;
/// assert_eq!(matches.len(), 1);
/// assert_eq!((matches[0].hosts.len(), matches[0].not.len()), (2, 1));
/// # Ok::<(), rule::RuleError>(())
/// ```
///
/// # Errors
/// When the rule is malformed, an argument does not fit its matcher, or a limit of this module is exceeded.
pub fn parse(rule: &str) -> Result<Vec<RouteMatch>, RuleError> {
    parser::parse(rule).map_err(|(offset, kind)| RuleError { offset, kind })
}

/// The priority Traefik gives a rule for which none is configured: its length in bytes.
#[must_use]
pub fn default_priority(rule: &str) -> i64 {
    i64::try_from(rule.len()).unwrap_or(i64::MAX)
}

fn hint(suggestion: &Option<&'static str>) -> String {
    suggestion.map_or_else(String::new, |name| format!(", did you mean `{name}`?"))
}

#[cfg(test)]
mod tests;
