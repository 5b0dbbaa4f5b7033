//! Cookies that the gateway sets itself.

use std::fmt::Write as _;
use std::time::Duration;

use http::HeaderValue;

/// A cookie that the gateway sets (RFC 6265, section 4.1).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CookieSpec {
    /// Its name, a token.
    pub name: String,
    /// How long the client keeps it; `None` for its session.
    pub max_age: Option<Duration>,
    /// `; Path=/` and the others, `Max-Age` not among them.
    attributes: String,
}

/// Whether a cookie comes with requests that other sites caused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SameSite {
    /// Never.
    Strict,
    /// When a link is followed.
    Lax,
    /// Always.
    None,
}

impl CookieSpec {
    /// A cookie for all paths, for the session of the client.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            max_age: None,
            attributes: "; Path=/".to_owned(),
        }
    }

    /// Sent to the paths below this one instead of `/`. What cannot stand in a cookie is the caller's mistake: see
    /// [`is_attribute`](Self::is_attribute).
    #[must_use]
    pub fn path(mut self, path: &str) -> Self {
        self.attributes = self
            .attributes
            .replacen("; Path=/", &format!("; Path={path}"), 1);
        self
    }

    /// Sent to this domain and its subdomains.
    #[must_use]
    pub fn domain(mut self, domain: &str) -> Self {
        let _ = write!(self.attributes, "; Domain={domain}");
        self
    }

    /// Sent over TLS only.
    #[must_use]
    pub fn secure(mut self) -> Self {
        self.attributes.push_str("; Secure");
        self
    }

    /// Hidden from scripts.
    #[must_use]
    pub fn http_only(mut self) -> Self {
        self.attributes.push_str("; HttpOnly");
        self
    }

    /// Whether it comes with requests that other sites caused.
    #[must_use]
    pub fn same_site(mut self, same_site: SameSite) -> Self {
        self.attributes.push_str(match same_site {
            SameSite::Strict => "; SameSite=Strict",
            SameSite::Lax => "; SameSite=Lax",
            SameSite::None => "; SameSite=None",
        });
        self
    }

    /// Whether a text may be the value of an attribute: visible ASCII and spaces, without `;` (RFC 6265, section 4.1.1).
    #[must_use]
    pub fn is_attribute(text: &str) -> bool {
        !text.is_empty() && text.bytes().all(|b| matches!(b, b' '..=b'~') && b != b';')
    }

    /// The field that sets it to `value`, kept for `max_age`. `None` only if name or attributes are no text for a field.
    pub(super) fn set(&self, value: &str, max_age: Option<Duration>) -> Option<HeaderValue> {
        let mut text = String::with_capacity(64 + self.attributes.len());
        let _ = write!(text, "{}={value}", self.name);
        if let Some(max_age) = max_age {
            let _ = write!(text, "; Max-Age={}", max_age.as_secs());
        }
        text.push_str(&self.attributes);
        HeaderValue::from_maybe_shared(bytes::Bytes::from(text)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_stand_behind_the_value() {
        let plain = CookieSpec::new("lb").set("1", None).unwrap();
        assert_eq!(plain, "lb=1; Path=/");
        let full = CookieSpec::new("lb")
            .domain("shop.example")
            .path("/orders")
            .secure()
            .http_only()
            .same_site(SameSite::Lax);
        assert_eq!(
            full.set("1", Some(Duration::from_secs(90))).unwrap(),
            "lb=1; Max-Age=90; Path=/orders; Domain=shop.example; Secure; HttpOnly; SameSite=Lax"
        );
        assert!(!CookieSpec::is_attribute("/a;b") && !CookieSpec::is_attribute("a\nb"));
    }
}
