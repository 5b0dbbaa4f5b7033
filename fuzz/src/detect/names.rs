//! Hosts, in authorities and in patterns.

use portcullis_core::route::HostPattern;
use portcullis_core::testing::fuzz::bare_host;

/// Takes the text for an authority and for a pattern.
pub(super) fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let host = bare_host(text);
    assert!(!host.bytes().any(|byte| byte.is_ascii_uppercase()));
    assert!(text.to_ascii_lowercase().starts_with(&*host));
    // `http` lets anything stand around brackets.
    let around = text.rsplit_once(']').map_or("", |(_, behind)| behind);
    let odd =
        text.rfind('[').is_some_and(|at| at > 0) || !around.is_empty() && !around.starts_with(':');
    if let Ok(authority) = text.parse::<http::uri::Authority>()
        && !odd
        && !text.contains('@')
    {
        let named = authority.host().to_ascii_lowercase();
        assert_eq!(*host, *named.strip_suffix('.').unwrap_or(&named));
    }
    for pattern in [text.parse(), HostPattern::one_label(text)]
        .into_iter()
        .flatten()
    {
        let shown = pattern.to_string();
        let again: HostPattern = shown.parse().expect("a pattern that is shown can be read");
        assert_eq!(again.to_string(), shown);
        if let Some(name) = pattern.as_exact() {
            assert!(pattern.matches(name) && again == pattern);
        }
        if let Some(suffix) = pattern.wildcard_suffix() {
            assert!(pattern.matches(&format!("a.{suffix}")));
            assert!(!pattern.matches(suffix) && !pattern.matches(&format!("a{suffix}")));
            assert!(!pattern.matches(&format!(".{suffix}")));
        }
        assert_eq!(pattern.is_any(), text == "*");
    }
}

/// A name of the domain name system in its one spelling.
pub(super) fn assert_dns(name: &str) {
    assert!((1..=253).contains(&name.len()), "{name}");
    assert!(name.parse::<std::net::IpAddr>().is_err(), "{name}");
    for label in name.split('.') {
        let inner =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
        assert!(
            (1..=63).contains(&label.len()) && label.bytes().all(inner),
            "{name}"
        );
        assert!(!label.starts_with('-') && !label.ends_with('-'), "{name}");
    }
}
