//! Matches on request headers.

use http::{HeaderMap, HeaderName};

use crate::route::{
    pattern::{Pattern, PatternError},
    value::ValueTest,
};

/// A condition on one header. When the request repeats the header, one passing line is enough; lines are
/// neither joined nor split at commas.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HeaderMatch {
    name: HeaderName,
    test: ValueTest,
}

impl HeaderMatch {
    /// Puts `test` to the header `name`.
    #[must_use]
    pub fn new(name: HeaderName, test: ValueTest) -> Self {
        Self { name, test }
    }

    /// One line has exactly this value.
    #[must_use]
    pub fn exact(name: HeaderName, value: &str) -> Self {
        Self::new(name, ValueTest::Exact(value.into()))
    }

    /// The header is there.
    #[must_use]
    pub fn present(name: HeaderName) -> Self {
        Self::new(name, ValueTest::Present)
    }

    /// The header is not there.
    #[must_use]
    pub fn absent(name: HeaderName) -> Self {
        Self::new(name, ValueTest::Absent)
    }

    /// The expression matches one line as a whole (Gateway API, Istio).
    ///
    /// # Errors
    /// As [`Pattern::new`].
    pub fn regex(name: HeaderName, source: &str) -> Result<Self, PatternError> {
        Ok(Self::new(name, ValueTest::Regex(Pattern::whole(source)?)))
    }

    /// Whether the headers pass.
    #[must_use]
    pub fn matches(&self, headers: &HeaderMap) -> bool {
        match &self.test {
            ValueTest::Present => headers.contains_key(&self.name),
            ValueTest::Absent => !headers.contains_key(&self.name),
            test => headers
                .get_all(&self.name)
                .iter()
                .any(|value| test.accepts(value.as_bytes())),
        }
    }

    /// The header's name.
    #[must_use]
    pub fn name(&self) -> &HeaderName {
        &self.name
    }

    /// What is asked of its value.
    #[must_use]
    pub fn test(&self) -> &ValueTest {
        &self.test
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn any_line_of_a_repeated_header_may_pass() {
        let name = HeaderName::from_static("x-tenant");
        let mut headers = HeaderMap::new();
        assert!(HeaderMatch::absent(name.clone()).matches(&headers));
        assert!(!HeaderMatch::present(name.clone()).matches(&headers));
        assert!(
            !HeaderMatch::regex(name.clone(), ".*")
                .unwrap()
                .matches(&headers)
        );
        headers.append(name.clone(), HeaderValue::from_static("silver"));
        headers.append(name.clone(), HeaderValue::from_static("gold,x"));
        assert!(HeaderMatch::present(name.clone()).matches(&headers));
        assert!(!HeaderMatch::absent(name.clone()).matches(&headers));
        assert!(HeaderMatch::exact(name.clone(), "silver").matches(&headers));
        assert!(HeaderMatch::exact(name.clone(), "gold,x").matches(&headers));
        assert!(!HeaderMatch::exact(name.clone(), "gold").matches(&headers));
        assert!(
            HeaderMatch::regex(name.clone(), "gold.*")
                .unwrap()
                .matches(&headers)
        );
        assert!(
            !HeaderMatch::regex(name.clone(), "gold")
                .unwrap()
                .matches(&headers)
        );
        let prefix = HeaderMatch::new(name, ValueTest::Prefix("gol".into()));
        assert!(prefix.matches(&headers));
    }

    #[test]
    fn values_that_are_not_utf8_are_still_tested() {
        let name = HeaderName::from_static("x-raw");
        let mut headers = HeaderMap::new();
        headers.append(name.clone(), HeaderValue::from_bytes(b"a\xff").unwrap());
        assert!(
            HeaderMatch::regex(name.clone(), "a.")
                .unwrap()
                .matches(&headers)
        );
        assert!(!HeaderMatch::exact(name, "a").matches(&headers));
    }
}
