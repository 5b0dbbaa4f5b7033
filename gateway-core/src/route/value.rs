//! The test that header and query matches put to a value.

use std::{borrow::Cow, fmt, sync::Arc};

use crate::route::pattern::Pattern;

/// What is asked of a header or query parameter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ValueTest {
    /// There is a value, whatever it is, empty included.
    Present,
    /// There is no value.
    Absent,
    /// The value is this, byte for byte.
    Exact(Arc<str>),
    /// The value begins with this.
    Prefix(Arc<str>),
    /// The value matches. Bytes that are not UTF-8 reach the expression as U+FFFD.
    Regex(Pattern),
}

impl ValueTest {
    /// Whether an existing value passes.
    pub(crate) fn accepts(&self, value: &[u8]) -> bool {
        match self {
            Self::Present => true,
            Self::Absent => false,
            Self::Exact(text) => text.as_bytes() == value,
            Self::Prefix(text) => value.starts_with(text.as_bytes()),
            Self::Regex(pattern) => match String::from_utf8_lossy(value) {
                Cow::Borrowed(text) => pattern.is_match(text),
                Cow::Owned(text) => pattern.is_match(&text),
            },
        }
    }
}

impl fmt::Display for ValueTest {
    /// The kind of test only: values may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Present => "present",
            Self::Absent => "absent",
            Self::Exact(_) => "exact",
            Self::Prefix(_) => "prefix",
            Self::Regex(_) => "regex",
        })
    }
}
