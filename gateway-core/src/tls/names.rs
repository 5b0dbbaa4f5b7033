//! DNS names as certificates and SNI spell them.

use std::borrow::Cow;
use std::fmt;

/// A name a certificate is served for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum NamePattern {
    /// One host, lower case, without a trailing dot.
    Exact(Box<str>),
    /// `*.rest`: exactly one label in front of `rest` (RFC 9525, section 6.3).
    Wildcard(Box<str>),
}

impl NamePattern {
    /// Parses `host` or `*.host`; `None` when it is neither.
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix("*.") {
            Some(rest) => dns_name(rest).map(|name| Self::Wildcard(name.into())),
            None => dns_name(text).map(|name| Self::Exact(name.into())),
        }
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Wildcard(rest) => write!(f, "*.{rest}"),
        }
    }
}

/// Whether a certificate can be served for the name: a host, or `*.` and a host.
pub(crate) fn is_served_name(text: &str) -> bool {
    NamePattern::parse(text).is_some()
}

/// `text` as a host name in its one comparable form: lower case, no trailing dot. `None` when it is
/// not a DNS name in the preferred syntax of RFC 1034, section 3.5 (underscores allowed, because
/// deployed names have them). Internationalised names have to be in their ASCII (`xn--`) form.
pub(super) fn dns_name(text: &str) -> Option<Cow<'_, str>> {
    let text = text.strip_suffix('.').unwrap_or(text);
    if text.is_empty() || text.len() > 253 {
        return None;
    }
    let label_is_valid = |label: &str| {
        let bytes = label.as_bytes();
        (1..=63).contains(&bytes.len())
            && bytes.first() != Some(&b'-')
            && bytes.last() != Some(&b'-')
            && bytes
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    if !text.split('.').all(label_is_valid) {
        return None;
    }
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Some(Cow::Owned(text.to_ascii_lowercase()))
    } else {
        Some(Cow::Borrowed(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_one_comparable_form() {
        assert_eq!(dns_name("A.Example.").as_deref(), Some("a.example"));
        assert_eq!(
            dns_name("_srv.x-1.example").as_deref(),
            Some("_srv.x-1.example")
        );
        let long_label = format!("{}.example", "a".repeat(64));
        let long_name = "a.".repeat(127) + "a";
        for bad in [
            "",
            ".",
            "a..b",
            "-a.example",
            "a-.example",
            "a b",
            "ü.example",
            "*.a",
            "a/b",
            "a:1",
        ] {
            assert_eq!(dns_name(bad), None, "{bad}");
        }
        assert_eq!(dns_name(&long_label), None);
        assert_eq!(dns_name(&long_name), None);
    }

    #[test]
    fn a_wildcard_is_the_whole_first_label() {
        assert_eq!(
            NamePattern::parse("*.A.example"),
            Some(NamePattern::Wildcard("a.example".into()))
        );
        assert_eq!(
            NamePattern::parse("*.a.example").unwrap().to_string(),
            "*.a.example"
        );
        for bad in ["*", "*.", "a.*.example", "w*.example", "*.*.example"] {
            assert_eq!(NamePattern::parse(bad), None, "{bad}");
        }
    }
}
