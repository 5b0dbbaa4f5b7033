//! SPIFFE identifiers.

use std::fmt;
use std::str::FromStr;

/// The longest SPIFFE ID in bytes (SPIFFE-ID, section 2.3).
const MAX_ID: usize = 2048;
/// The longest trust domain name in bytes (SPIFFE-ID, section 2.3).
const MAX_TRUST_DOMAIN: usize = 255;
const SCHEME: &str = "spiffe://";

/// A SPIFFE ID, `spiffe://trust-domain/path`: the name of a workload.
///
/// Parsing follows the SPIFFE-ID standard strictly and accepts one spelling per identity only: lower-case trust
/// domain, no percent-encoding, no empty or dot segments, no query, no port. Two IDs are therefore
/// the same workload exactly when their bytes are equal.
///
/// ```
/// use portcullis_core::tls::SpiffeId;
///
/// let id: SpiffeId = "spiffe://cluster.local/ns/shop/sa/cart".parse()?;
/// assert_eq!(id.trust_domain(), "cluster.local");
/// assert_eq!(id.path(), "/ns/shop/sa/cart");
/// assert_eq!(id.service_account(), Some(("shop", "cart")));
/// # Ok::<(), portcullis_core::tls::InvalidSpiffeId>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpiffeId {
    id: Box<str>,
    /// Where the path begins (its `/`), or the length of the ID without a path.
    path_start: usize,
}

/// Why a text is not a SPIFFE ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidSpiffeId {
    /// It does not begin with `spiffe://`.
    #[error("it does not begin with `spiffe://`")]
    Scheme,
    /// It is longer than 2048 bytes.
    #[error("it is longer than 2048 bytes")]
    TooLong,
    /// The trust domain is empty, too long, or has other characters than `a-z 0-9 . - _`.
    #[error("the trust domain has to be 1 to 255 of the characters a-z, 0-9, `.`, `-`, `_`")]
    TrustDomain,
    /// The path has an empty, `.` or `..` segment, or ends in `/`.
    #[error("the path has an empty, `.` or `..` segment")]
    Segment,
    /// The path has other characters than `a-z A-Z 0-9 . - _`.
    #[error("the path may only have the characters a-z, A-Z, 0-9, `.`, `-`, `_` between slashes")]
    PathCharacter,
}

impl SpiffeId {
    /// The trust domain, without scheme.
    #[must_use]
    pub fn trust_domain(&self) -> &str {
        &self.id[SCHEME.len()..self.path_start]
    }

    /// The path with its leading slash, or the empty text for the trust domain's own ID.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.id[self.path_start..]
    }

    /// The whole ID.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.id
    }

    /// Kubernetes namespace and service account, when the path has the form `/ns/NAMESPACE/sa/ACCOUNT`
    /// that meshes on Kubernetes use.
    #[must_use]
    pub fn service_account(&self) -> Option<(&str, &str)> {
        let (namespace, account) = self.path().strip_prefix("/ns/")?.split_once("/sa/")?;
        let plain = !namespace.contains('/') && !account.contains('/');
        plain.then_some((namespace, account))
    }
}

impl FromStr for SpiffeId {
    type Err = InvalidSpiffeId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rest = text.strip_prefix(SCHEME).ok_or(InvalidSpiffeId::Scheme)?;
        if text.len() > MAX_ID {
            return Err(InvalidSpiffeId::TooLong);
        }
        let trust_domain_length = rest.find('/').unwrap_or(rest.len());
        let (trust_domain, path) = rest.split_at(trust_domain_length);
        let trust_domain_byte =
            |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_');
        if !(1..=MAX_TRUST_DOMAIN).contains(&trust_domain.len())
            || !trust_domain.bytes().all(trust_domain_byte)
        {
            return Err(InvalidSpiffeId::TrustDomain);
        }
        for segment in path.split('/').skip(1) {
            if matches!(segment, "" | "." | "..") {
                return Err(InvalidSpiffeId::Segment);
            }
            if !segment
                .bytes()
                .all(|byte| trust_domain_byte(byte) || byte.is_ascii_uppercase())
            {
                return Err(InvalidSpiffeId::PathCharacter);
            }
        }
        Ok(Self {
            id: text.into(),
            path_start: SCHEME.len() + trust_domain_length,
        })
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_standard_decides() {
        let long_domain = format!("spiffe://{}/a", "d".repeat(256));
        let long_id = format!("spiffe://d/{}", "p".repeat(2048));
        let table = [
            ("spiffe://example.org/a/b", Ok(("example.org", "/a/b"))),
            ("spiffe://example.org", Ok(("example.org", ""))),
            ("spiffe://a_b-1/A.b_C-9", Ok(("a_b-1", "/A.b_C-9"))),
            ("spiffe://d/...", Ok(("d", "/..."))),
            ("https://example.org/a", Err(InvalidSpiffeId::Scheme)),
            ("SPIFFE://example.org/a", Err(InvalidSpiffeId::Scheme)),
            ("spiffe:/example.org/a", Err(InvalidSpiffeId::Scheme)),
            ("", Err(InvalidSpiffeId::Scheme)),
            ("spiffe://", Err(InvalidSpiffeId::TrustDomain)),
            ("spiffe:///a", Err(InvalidSpiffeId::TrustDomain)),
            ("spiffe://Example.org/a", Err(InvalidSpiffeId::TrustDomain)),
            (
                "spiffe://example.org:80/a",
                Err(InvalidSpiffeId::TrustDomain),
            ),
            (
                "spiffe://user@example.org/a",
                Err(InvalidSpiffeId::TrustDomain),
            ),
            ("spiffe://example.org?x", Err(InvalidSpiffeId::TrustDomain)),
            ("spiffe://example.org/", Err(InvalidSpiffeId::Segment)),
            ("spiffe://example.org/a/", Err(InvalidSpiffeId::Segment)),
            ("spiffe://example.org//a", Err(InvalidSpiffeId::Segment)),
            ("spiffe://example.org/a/../b", Err(InvalidSpiffeId::Segment)),
            ("spiffe://example.org/.", Err(InvalidSpiffeId::Segment)),
            (
                "spiffe://example.org/%61",
                Err(InvalidSpiffeId::PathCharacter),
            ),
            (
                "spiffe://example.org/a?q=1",
                Err(InvalidSpiffeId::PathCharacter),
            ),
            (
                "spiffe://example.org/a#f",
                Err(InvalidSpiffeId::PathCharacter),
            ),
            (
                "spiffe://example.org/ä",
                Err(InvalidSpiffeId::PathCharacter),
            ),
            (long_domain.as_str(), Err(InvalidSpiffeId::TrustDomain)),
            (long_id.as_str(), Err(InvalidSpiffeId::TooLong)),
        ];
        for (text, expected) in table {
            let parsed = text.parse::<SpiffeId>();
            let parts = parsed.as_ref().map(|id| (id.trust_domain(), id.path()));
            assert_eq!(parts.map_err(|error| *error), expected, "{text}");
        }
    }

    #[test]
    fn service_accounts_are_read_from_their_exact_form_only() {
        let service_account = |path: &str| {
            let id: SpiffeId = format!("spiffe://d{path}").parse().unwrap();
            id.service_account()
                .map(|(ns, sa)| (ns.to_owned(), sa.to_owned()))
        };
        assert_eq!(
            service_account("/ns/a/sa/b"),
            Some(("a".to_owned(), "b".to_owned()))
        );
        for other in ["/ns/a/sa/b/c", "/x/ns/a/sa/b", "/ns/a/b/sa/c", "/ns/a", ""] {
            assert_eq!(service_account(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn what_parses_prints_as_itself(text in "spiffe://[a-z0-9._-]{0,8}(/[a-zA-Z0-9._%-]{0,4}){0,4}") {
            if let Ok(id) = text.parse::<SpiffeId>() {
                prop_assert_eq!(id.to_string(), text.clone());
                prop_assert_eq!(format!("spiffe://{}{}", id.trust_domain(), id.path()), text);
            }
        }
    }
}
