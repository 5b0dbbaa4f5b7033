//! Paths of requests and of patterns.

use portcullis_core::hygiene::{PathPolicy, normalize};
use portcullis_core::route::PathPattern;

/// The spelling of a request's path, if it has one; what holds for it is checked.
pub(super) fn spelling(path: &str) -> Option<String> {
    let mut merging = PathPolicy::default();
    merging.merge_slashes = true;
    let merged = one_spelling(path, merging);
    if let Some(merged) = &merged {
        assert!(!merged.contains("//"), "{merged}");
    }
    let normal = one_spelling(path, PathPolicy::default());
    assert_eq!(normal.is_some(), merged.is_some(), "{path}");
    normal
}

fn one_spelling(path: &str, policy: PathPolicy) -> Option<String> {
    let once = normalize(path, policy).ok()?;
    let twice = normalize(&once, policy).expect("a normal path is accepted");
    assert_eq!(once, twice, "another spelling the second time: {path}");
    if path.starts_with('/') {
        assert!(once.starts_with('/'), "{path}");
        assert!(!once.split('/').any(|part| matches!(part, "." | "..")));
        assert!(
            once.bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b'\\')
        );
        for (at, _) in once.match_indices('%') {
            let code = u8::from_str_radix(&once[at + 1..at + 3], 16).expect("an escape is whole");
            assert!(!code.is_ascii_control() && code != b'\\', "{once}");
            assert!(
                !code.is_ascii_alphanumeric() && !b"-._~".contains(&code),
                "{once}"
            );
            assert!(!once[at..at + 3].contains(char::is_lowercase), "{once}");
        }
    }
    Some(once.into_owned())
}

/// Patterns mean the text that they are made of, spelt as requests are.
pub(super) fn patterns(text: &str, normal: Option<&str>) {
    let Ok(exact) = PathPattern::exact(text) else {
        assert!(PathPattern::prefix(text).is_err() && PathPattern::string_prefix(text).is_err());
        return;
    };
    let prefix = PathPattern::prefix(text).expect("it is a path");
    let start = PathPattern::string_prefix(text).expect("it is a path");
    let Some(normal) = normal else { return };
    let dots = text.to_ascii_lowercase().replace("%2e", ".");
    if dots.split('/').any(|part| matches!(part, "." | "..")) {
        return;
    }
    assert!(exact.matches(normal), "{text} does not match {normal}");
    assert!(prefix.matches(normal) && start.matches(normal));
    assert!(start.matches(&format!("{normal}x")) && !exact.matches(&format!("{normal}x")));
    assert!(prefix.matches(&format!("{normal}/x")));
    let bare = normal.trim_end_matches('/');
    if !bare.is_empty() {
        assert!(prefix.matches(bare) && !prefix.matches(&format!("{bare}x")));
    }
}
