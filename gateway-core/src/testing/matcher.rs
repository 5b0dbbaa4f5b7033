//! What holds for every matcher.
//!
//! ```
//! use portcullis_core::route::{MatchError, Matcher, RequestView};
//! use portcullis_core::testing::matcher::check_matcher;
//!
//! #[derive(Debug)]
//! struct HasQuery;
//!
//! impl Matcher for HasQuery {
//!     fn matches(&self, view: &RequestView<'_>) -> Result<bool, MatchError> {
//!         Ok(view.query.is_some())
//!     }
//! }
//!
//! check_matcher(&HasQuery);
//! ```

use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method};

use crate::route::{Matcher, RequestView};

/// Asks a matcher about odd requests, twice each and from several threads at once.
///
/// The laws: nothing panics, whatever the request; the same request gets the same answer (or an error both
/// times), and the weight stays the same.
///
/// # Panics
/// When a law is broken.
pub fn check_matcher(matcher: &dyn Matcher) {
    assert_eq!(matcher.weight(), matcher.weight(), "the weight changes");
    let first = answers(matcher);
    assert_eq!(first, answers(matcher), "the same request got two answers");
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let beside = answers(matcher);
                assert_eq!(
                    first, beside,
                    "the same request got two answers in two threads"
                );
            });
        }
    });
}

/// The answer to each view, `None` for an error.
fn answers(matcher: &dyn Matcher) -> Vec<Option<bool>> {
    let methods = [
        Method::GET,
        Method::HEAD,
        Method::OPTIONS,
        Method::from_bytes(b"BREW").unwrap_or_default(),
    ];
    let long = format!("/{}", "a/".repeat(4096));
    let paths = ["/", "*", "//", "/a%2Fb/%C3%A4", "/a;b=c", &*long];
    let hosts = ["", "shop.example", "2001:db8::1", "xn--caf-dma.example"];
    let queries = [None, Some(""), Some("a=b&a&=&%zz&%"), Some("a=%00%FF")];
    let (extensions, maps) = (Extensions::new(), odd_headers());
    let mut answers = Vec::new();
    for (number, path) in paths.iter().enumerate() {
        for host in hosts {
            for (headers, query) in maps.iter().zip(queries.iter().cycle().skip(number)) {
                let method = &methods[number % methods.len()];
                let bare = RequestView::new(method, host, path, headers, &extensions);
                let known = bare
                    .with_query(*query)
                    .with_client_ip(Some([192, 0, 2, 7].into()))
                    .with_local_port(Some(443));
                answers.extend([bare, known].map(|view| matcher.matches(&view).ok()));
            }
        }
    }
    answers
}

/// No fields, fields that are no text, fields given several times, a huge field.
fn odd_headers() -> [HeaderMap; 4] {
    let names = [
        "cookie",
        "accept",
        "authorization",
        "x-tenant",
        "content-type",
    ];
    let with = |values: &[&[u8]]| {
        let mut headers = HeaderMap::new();
        for name in names.map(HeaderName::from_static) {
            for value in values {
                if let Ok(value) = HeaderValue::from_bytes(value) {
                    headers.append(name.clone(), value);
                }
            }
        }
        headers
    };
    let huge = vec![b'x'; 65_536];
    [
        with(&[]),
        with(&[b"\xff\xfe=;,\x80"]),
        with(&[b"a=b", b"", b"c;q=2,,"]),
        with(&[&huge]),
    ]
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::route::MatchError;

    #[derive(Debug)]
    struct Is(fn(&RequestView<'_>) -> Result<bool, MatchError>);

    impl Matcher for Is {
        fn matches(&self, view: &RequestView<'_>) -> Result<bool, MatchError> {
            (self.0)(view)
        }
    }

    #[derive(Debug)]
    struct Flips(AtomicBool);

    impl Matcher for Flips {
        fn matches(&self, view: &RequestView<'_>) -> Result<bool, MatchError> {
            Ok(view.path == "*" && self.0.swap(true, Ordering::Relaxed))
        }
    }

    #[test]
    fn steady_matchers_obey() {
        check_matcher(&Is(|view| Ok(view.path.len() > 1)));
        check_matcher(&Is(|_| Err(MatchError::new("unknown"))));
    }

    #[test]
    #[should_panic = "the same request got two answers"]
    fn a_matcher_that_changes_its_mind_is_found() {
        check_matcher(&Flips(AtomicBool::new(false)));
    }

    #[test]
    #[should_panic = "called `Option::unwrap()`"]
    fn trust_in_a_field_is_found() {
        check_matcher(&Is(|view| {
            Ok(view.headers.get("cookie").unwrap().is_empty())
        }));
    }
}
