//! The contract of a route table and what it answers.

use std::{fmt::Debug, sync::Arc};

use crate::route::{MatchError, RequestView};

/// Chooses the route for a request. [`RouteIndex`](crate::route::RouteIndex) is the stock table; a gateway
/// may bring another, which it then replaces as a whole.
///
/// # Contract
/// `select` runs on the request path, from many threads at once: it neither blocks nor waits. It gives the
/// same answer for the same view as long as the table lives. `Ok(None)` is answered with 404, an error with
/// the error; a table that cannot decide must not answer `Ok(None)`.
pub trait RouteTable<T>: Send + Sync + Debug + 'static {
    /// The best route for the request, if any.
    ///
    /// # Errors
    /// When a route that comes before every matching one cannot tell whether it matches.
    fn select<'t>(&'t self, view: &RequestView<'_>) -> Result<Option<Selected<'t, T>>, MatchError>;

    /// Whether a route may ask for header fields. Without, those that the gateway adds are written faster.
    fn looks_at_headers(&self) -> bool {
        true
    }
}

/// The chosen route.
#[derive(Debug)]
#[non_exhaustive]
pub struct Selected<'t, T> {
    /// What the route leads to.
    pub value: &'t T,
    /// The route's name.
    pub name: &'t Arc<str>,
    /// What the path was matched by.
    pub matched: MatchedPath<'t>,
}

/// What the path was matched by; rewriting a prefix needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MatchedPath<'t> {
    /// The whole path, which is this text.
    Exact(&'t Arc<str>),
    /// This text at the start of the path, without trailing slash for a prefix by segments, whose root is `/`.
    Prefix(&'t Arc<str>),
    /// A regular expression.
    Regex,
    /// Nothing was asked of the path.
    Any,
}

impl<'t, T> Selected<'t, T> {
    /// An answer.
    #[must_use]
    pub fn new(value: &'t T, name: &'t Arc<str>, matched: MatchedPath<'t>) -> Self {
        Self {
            value,
            name,
            matched,
        }
    }
}

// Derived impls would ask the same of `T`, although only a reference is copied.

impl<T> Clone for Selected<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Selected<'_, T> {}
