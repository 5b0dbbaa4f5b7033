//! Predicates of a user's own, beside what the index knows.

use std::{
    borrow::Cow,
    fmt::{self, Debug},
    sync::Arc,
};

use crate::route::{BoxError, RequestView};

/// A predicate on requests that a route asks for beside host, path and the other built-in conditions.
///
/// # Contract
/// - A matcher is asked only about requests whose host, path, method, addresses, headers and query already
///   fit one of its route's alternatives, so a costly test is rarely run. It may be asked more than once
///   per request, and about requests that another route answers in the end; it must not change anything.
/// - It runs on the request path: no blocking, no locks held for long, no input or output. Look things up
///   beforehand, in a filter of the listener chain, and read the result from
///   [`RequestView::extensions`].
/// - `Ok(false)` means *this request is not meant*, and selection goes on with the next route. A matcher
///   that cannot tell returns an error: unless a better route matches, the request is then answered with
///   that error and reaches no route, so that a failure never opens a route that was to be closed.
///
/// ```
/// # use portcullis_core::route::{MatchError, Matcher, RequestView};
/// # #[derive(Clone, Debug)]
/// # struct Tenant(String);
/// # #[derive(Debug)]
/// # struct TenantIs(String);
/// impl Matcher for TenantIs {
///     fn matches(&self, view: &RequestView<'_>) -> Result<bool, MatchError> {
///         // wrong: `Ok(view.extensions.get::<Tenant>().is_some_and(|t| t.0 == self.0))`
///         // hides that nobody determined the tenant, and a route `not: [TenantIs("evil")]` would open.
///         let tenant = view
///             .extensions
///             .get::<Tenant>()
///             .ok_or(MatchError::new("the tenant of the request is unknown"))?;
///         Ok(tenant.0 == self.0)
///     }
/// }
/// # let (headers, mut known) = (http::HeaderMap::new(), http::Extensions::new());
/// # let gold = TenantIs("gold".into());
/// # let unknown = http::Extensions::new();
/// # assert!(gold.matches(&RequestView::new(&http::Method::GET, "", "/", &headers, &unknown)).is_err());
/// # known.insert(Tenant("gold".into()));
/// # assert!(gold.matches(&RequestView::new(&http::Method::GET, "", "/", &headers, &known)).unwrap());
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot decide whether a route matches a request",
    label = "this is not a `Matcher`",
    note = "implement `Matcher` for a `Debug + Send + Sync + 'static` type and pass it as `Arc<dyn Matcher>`"
)]
pub trait Matcher: Send + Sync + Debug + 'static {
    /// Whether the request is meant.
    ///
    /// # Errors
    /// When the matcher cannot tell; the request is then answered with the error.
    fn matches(&self, view: &RequestView<'_>) -> Result<bool, MatchError>;

    /// How specific the predicate is, as the last tie-break between routes before the order of the
    /// configuration. Read once, when routes are compiled; a route's weights add up.
    fn weight(&self) -> u16 {
        1
    }
}

/// A route could not be told to match or not. The request has to be answered with an error.
#[derive(Debug)]
pub struct MatchError {
    reason: Cow<'static, str>,
    route: Option<Arc<str>>,
    source: Option<BoxError>,
}

impl MatchError {
    /// An error that says what is missing or failed, in lower case and without full stop.
    #[must_use]
    pub fn new(reason: impl Into<Cow<'static, str>>) -> Self {
        Self {
            reason: reason.into(),
            route: None,
            source: None,
        }
    }

    /// Attaches the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The route whose match failed, once selection has noted it.
    #[must_use]
    pub fn route(&self) -> Option<&str> {
        self.route.as_deref()
    }

    pub(crate) fn in_route(mut self, name: &Arc<str>) -> Self {
        self.route = Some(Arc::clone(name));
        self
    }
}

impl fmt::Display for MatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.route {
            Some(route) => write!(f, "matching route `{route}`: {}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

impl std::error::Error for MatchError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
