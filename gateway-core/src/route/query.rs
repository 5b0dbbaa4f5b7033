//! Matches on query parameters.

use std::{borrow::Cow, sync::Arc};

use crate::route::{
    path::hex,
    pattern::{Pattern, PatternError},
    value::ValueTest,
};

/// A condition on one query parameter. Names are case-sensitive.
///
/// The query is read as form data: pairs split at `&`, names and values at the first `=`, `+` is a space,
/// and percent-encodings are decoded. A broken encoding stands for itself. Nothing is decoded unless a
/// route asks, and only what it asks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct QueryMatch {
    name: Arc<str>,
    test: ValueTest,
    values: QueryValues,
}

/// Which value counts when the request repeats a parameter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum QueryValues {
    /// The first one (Gateway API, Istio).
    #[default]
    First,
    /// Any one (Traefik).
    Any,
}

impl QueryMatch {
    /// Puts `test` to the first value of the parameter `name`.
    #[must_use]
    pub fn new(name: &str, test: ValueTest) -> Self {
        Self {
            name: name.into(),
            test,
            values: QueryValues::First,
        }
    }

    /// The first value is exactly this.
    #[must_use]
    pub fn exact(name: &str, value: &str) -> Self {
        Self::new(name, ValueTest::Exact(value.into()))
    }

    /// The parameter is there, with or without a value.
    #[must_use]
    pub fn present(name: &str) -> Self {
        Self::new(name, ValueTest::Present)
    }

    /// The expression matches the first value as a whole.
    ///
    /// # Errors
    /// As [`Pattern::new`].
    pub fn regex(name: &str, source: &str) -> Result<Self, PatternError> {
        Ok(Self::new(name, ValueTest::Regex(Pattern::whole(source)?)))
    }

    /// Says which value counts when the parameter is repeated.
    #[must_use]
    pub fn with_values(mut self, values: QueryValues) -> Self {
        self.values = values;
        self
    }

    /// Whether the raw query passes; `None` is a request without one.
    #[must_use]
    pub fn matches(&self, query: Option<&str>) -> bool {
        let mut found = query
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .filter(|(name, _)| decodes_to(name, &self.name))
            .map(|(_, value)| value);
        if self.test == ValueTest::Absent {
            return found.next().is_none();
        }
        match self.values {
            QueryValues::First => found.next().is_some_and(|raw| self.accepts(raw)),
            QueryValues::Any => found.any(|raw| self.accepts(raw)),
        }
    }

    /// The parameter's name, decoded.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is asked of its value.
    #[must_use]
    pub fn test(&self) -> &ValueTest {
        &self.test
    }

    fn accepts(&self, raw: &str) -> bool {
        match &self.test {
            ValueTest::Exact(wanted) => decodes_to(raw, wanted),
            test => test.accepts(&decoded(raw)),
        }
    }
}

/// The first value of the parameter `name`, decoded; empty if it has none.
pub(crate) fn first_value<'q>(query: &'q str, name: &str) -> Option<Cow<'q, [u8]>> {
    let mut pairs = query.split('&').filter(|pair| !pair.is_empty());
    let (_, value) = pairs
        .by_ref()
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .find(|(found, _)| decodes_to(found, name))?;
    Some(decoded(value))
}

/// Compares without building the decoded text.
fn decodes_to(raw: &str, wanted: &str) -> bool {
    DecodedBytes(raw.as_bytes()).eq(wanted.bytes())
}

fn decoded(raw: &str) -> Cow<'_, [u8]> {
    if raw.bytes().any(|b| matches!(b, b'%' | b'+')) {
        Cow::Owned(DecodedBytes(raw.as_bytes()).collect())
    } else {
        Cow::Borrowed(raw.as_bytes())
    }
}

struct DecodedBytes<'a>(&'a [u8]);

impl Iterator for DecodedBytes<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        match (first, rest) {
            (b'+', _) => Some(b' '),
            (b'%', [high, low, tail @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    self.0 = tail;
                    Some(high << 4 | low)
                }
                _ => Some(first),
            },
            _ => Some(first),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_value_wins_unless_any_is_asked_for() {
        let query = Some("a=1&b=x&a=2");
        assert!(QueryMatch::exact("a", "1").matches(query));
        assert!(!QueryMatch::exact("a", "2").matches(query));
        assert!(
            QueryMatch::exact("a", "2")
                .with_values(QueryValues::Any)
                .matches(query)
        );
        assert!(!QueryMatch::exact("A", "1").matches(query));
        assert!(!QueryMatch::exact("a", "1").matches(None));
    }

    #[test]
    fn decodes_names_and_values() {
        assert!(QueryMatch::exact("a b", "c d").matches(Some("a+b=c%20d")));
        assert!(QueryMatch::exact("k", "a=b&c").matches(Some("k=a=b%26c")));
        assert!(QueryMatch::exact("k", "100%").matches(Some("k=100%")));
        assert!(QueryMatch::exact("k", "%zz").matches(Some("k=%zz")));
        let regex = QueryMatch::regex("k", "a.c").unwrap();
        assert!(regex.matches(Some("%6B=a%20c")));
        assert!(!regex.matches(Some("k=xa%20cx")));
    }

    #[test]
    fn presence_does_not_ask_for_a_value() {
        for query in ["k", "k=", "k=1", "a&&k"] {
            assert!(QueryMatch::present("k").matches(Some(query)), "{query}");
        }
        assert!(!QueryMatch::present("k").matches(Some("kk=1")));
        assert!(!QueryMatch::present("").matches(Some("&&")));
        let absent = QueryMatch::new("k", ValueTest::Absent);
        assert!(absent.matches(None) && absent.matches(Some("a=k")));
        assert!(!absent.matches(Some("k")));
    }
}
