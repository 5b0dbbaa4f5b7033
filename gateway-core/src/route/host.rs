//! Host patterns: one name, a wildcard below a name, a regular expression, or anything.

use std::{fmt, net::Ipv6Addr, str::FromStr, sync::Arc};

use crate::route::pattern::{Pattern, PatternError};

/// Longest accepted host name, in bytes (RFC 1035, section 2.3.4, in its text form).
pub const MAX_HOST_BYTES: usize = 253;

/// Which hosts a route answers for.
///
/// Text forms: `shop.example` is that host only; `*.shop.example` is every host below it, with **one or
/// more** labels in place of the star, and never `shop.example` itself (Gateway API, `Hostname`); `*` is
/// every host, also a request without one. Ingress and Traefik mean exactly one label by the star: see
/// [`HostPattern::one_label`]. Names are compared without regard to ASCII case; names in other scripts are
/// left as given, so an internationalised name is written in the form that clients send (`xn--…`). One
/// trailing dot is dropped. An IPv6 address is written with or without brackets and compared in its
/// canonical form (RFC 5952).
///
/// ```
/// use portcullis_core::route::HostPattern;
///
/// let below: HostPattern = "*.Shop.example".parse()?;
/// assert!(below.matches("eu.shop.example") && below.matches("a.eu.shop.example"));
/// assert!(!below.matches("shop.example"));
/// # Ok::<(), portcullis_core::route::HostError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPattern(HostKind);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum HostKind {
    Any,
    Exact(Arc<str>),
    Wildcard { suffix: Arc<str>, labels: Labels },
    Regex(Pattern),
}

/// How many labels the star of a wildcard host stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Labels {
    One,
    OneOrMore,
}

/// Why a host pattern was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// Nothing is left of the name.
    #[error("the host is empty")]
    Empty,
    /// The name is longer than [`MAX_HOST_BYTES`].
    #[error("the host has {length} bytes, more than {MAX_HOST_BYTES}")]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// Two dots follow each other, or the name begins with one.
    #[error("the host `{host}` has an empty label")]
    EmptyLabel {
        /// The text as given.
        host: String,
    },
    /// A star stands elsewhere than alone in the first label.
    #[error("the host `{host}` may have `*` only as its whole first label")]
    Star {
        /// The text as given.
        host: String,
    },
    /// The text has a port. Ports are matched by a list of their own.
    #[error("the host `{host}` has a port")]
    Port {
        /// The text as given.
        host: String,
    },
    /// The text has a character that no host has.
    #[error("the host `{host}` has the character {found:?}")]
    Character {
        /// The text as given.
        host: String,
        /// The first such character.
        found: char,
    },
}

impl HostPattern {
    /// Every host, also a request that names none.
    #[must_use]
    pub fn any() -> Self {
        Self(HostKind::Any)
    }

    /// Parses a host in which a leading `*` stands for exactly one label (Ingress, Traefik, X.509).
    ///
    /// # Errors
    /// As for the text form: empty or overlong names and labels, misplaced stars, ports, foreign characters.
    pub fn one_label(text: &str) -> Result<Self, HostError> {
        parse(text, Labels::One)
    }

    /// Hosts that a regular expression matches. It sees the lower-cased host without port.
    ///
    /// Routes by regular expression are tested one by one: keep them few.
    #[must_use]
    pub fn regex(pattern: Pattern) -> Self {
        Self(HostKind::Regex(pattern))
    }

    /// Compiles a regular expression that has to match the whole host.
    ///
    /// # Errors
    /// As [`Pattern::new`].
    pub fn whole_regex(source: &str) -> Result<Self, PatternError> {
        Pattern::whole(source).map(Self::regex)
    }

    /// Whether `host` matches; it is written as [`RequestView`](crate::route::RequestView) says.
    #[must_use]
    pub fn matches(&self, host: &str) -> bool {
        match &self.0 {
            HostKind::Any => true,
            HostKind::Exact(name) => **name == *host,
            HostKind::Wildcard { suffix, labels } => host
                .strip_suffix(&**suffix)
                .and_then(|front| front.strip_suffix('.'))
                .is_some_and(|front| labels.cover(front)),
            HostKind::Regex(pattern) => pattern.is_match(host),
        }
    }

    /// The one host this pattern is for, unless it is for several.
    #[must_use]
    pub fn as_exact(&self) -> Option<&str> {
        match &self.0 {
            HostKind::Exact(name) => Some(name),
            _ => None,
        }
    }

    /// The name below which a wildcard matches, without star and dot.
    #[must_use]
    pub fn wildcard_suffix(&self) -> Option<&str> {
        match &self.0 {
            HostKind::Wildcard { suffix, .. } => Some(suffix),
            _ => None,
        }
    }

    /// Whether every host matches.
    #[must_use]
    pub fn is_any(&self) -> bool {
        matches!(self.0, HostKind::Any)
    }

    pub(crate) fn kind(&self) -> &HostKind {
        &self.0
    }
}

impl Labels {
    /// Whether the star can stand for `front`, the host before the suffix and its dot.
    pub(crate) fn cover(self, front: &str) -> bool {
        !front.is_empty() && (self == Self::OneOrMore || !front.contains('.'))
    }
}

impl FromStr for HostPattern {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, HostError> {
        parse(text, Labels::OneOrMore)
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            HostKind::Any => f.write_str("*"),
            HostKind::Exact(name) => f.write_str(name),
            HostKind::Wildcard { suffix, .. } => write!(f, "*.{suffix}"),
            HostKind::Regex(pattern) => write!(f, "~{pattern}"),
        }
    }
}

fn parse(text: &str, labels: Labels) -> Result<HostPattern, HostError> {
    let host = || text.to_owned();
    if text == "*" {
        return Ok(HostPattern::any());
    }
    let bracketed = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
    if let Ok(address) = bracketed.unwrap_or(text).parse::<Ipv6Addr>() {
        return Ok(HostPattern(HostKind::Exact(address.to_string().into())));
    }
    let (name, wild) = match text.strip_prefix("*.") {
        Some(rest) => (rest, true),
        None => (text, false),
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.is_empty() {
        return Err(HostError::Empty);
    }
    if name.len() > MAX_HOST_BYTES {
        return Err(HostError::TooLong { length: name.len() });
    }
    if name.contains('*') {
        return Err(HostError::Star { host: host() });
    }
    if let Some((_, port)) = name.rsplit_once(':')
        && !port.is_empty()
        && port.bytes().all(|b| b.is_ascii_digit())
    {
        return Err(HostError::Port { host: host() });
    }
    if let Some(found) = name.chars().find(|&c| !allowed(c)) {
        return Err(HostError::Character {
            host: host(),
            found,
        });
    }
    if name.split('.').any(str::is_empty) {
        return Err(HostError::EmptyLabel { host: host() });
    }
    let name: Arc<str> = name.to_ascii_lowercase().into();
    Ok(HostPattern(if wild {
        HostKind::Wildcard {
            suffix: name,
            labels,
        }
    } else {
        HostKind::Exact(name)
    }))
}

/// Letters of any script, digits and the marks that RFC 3986 allows in a registered name without escapes.
fn allowed(c: char) -> bool {
    c.is_ascii_alphanumeric()
        || matches!(c, '.' | '-' | '_' | '~')
        || (!c.is_ascii() && !c.is_whitespace() && !c.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_hosts_as_written() {
        for (pattern, host, expected) in [
            ("shop.example", "shop.example", true),
            ("SHOP.Example.", "shop.example", true),
            ("shop.example", "eu.shop.example", false),
            ("*.shop.example", "eu.shop.example", true),
            ("*.shop.example", "a.b.shop.example", true),
            ("*.shop.example", "shop.example", false),
            ("*.shop.example", ".shop.example", false),
            ("*.shop.example", "xshop.example", false),
            ("*.shop.example", "", false),
            ("*", "", true),
            ("*", "any.example", true),
            ("[::1]", "::1", true),
            ("0:0:0:0:0:0:0:1", "::1", true),
            ("192.0.2.1", "192.0.2.1", true),
            ("bücher.example", "bücher.example", true),
            ("a_b.example", "a_b.example", true),
        ] {
            let parsed: HostPattern = pattern.parse().unwrap();
            assert_eq!(parsed.matches(host), expected, "{pattern} on {host}");
        }
        let one = HostPattern::one_label("*.shop.example").unwrap();
        assert!(one.matches("eu.shop.example"));
        assert!(!one.matches("a.b.shop.example"));
        let regex = HostPattern::whole_regex(r"[a-z]+\.example").unwrap();
        assert!(regex.matches("shop.example") && !regex.matches("shop.example.org"));
    }

    #[test]
    fn refuses_what_no_request_could_name() {
        let refuse = |text: &str| text.parse::<HostPattern>().unwrap_err();
        assert_eq!(refuse(""), HostError::Empty);
        assert_eq!(refuse("*."), HostError::Empty);
        assert!(matches!(refuse("a..b"), HostError::EmptyLabel { .. }));
        assert!(matches!(refuse(".a"), HostError::EmptyLabel { .. }));
        assert!(matches!(refuse("a.*.b"), HostError::Star { .. }));
        assert!(matches!(refuse("*a.b"), HostError::Star { .. }));
        assert!(matches!(refuse("a.example:80"), HostError::Port { .. }));
        assert!(matches!(refuse("[::1]:80"), HostError::Port { .. }));
        assert!(matches!(
            refuse("a b"),
            HostError::Character { found: ' ', .. }
        ));
        assert!(matches!(
            refuse("a/b"),
            HostError::Character { found: '/', .. }
        ));
        assert!(matches!(
            refuse(&"a".repeat(254)),
            HostError::TooLong { length: 254 }
        ));
    }
}
