//! The compiled route table.

use std::{fmt, sync::Arc};

use crate::route::{
    MatchError, MatchedPath, Pattern, RequestView, RouteSpec, RouteTable, Selected,
};

mod build;
mod hosts;
mod select;
mod trie;

pub use self::build::{
    CompileError, MAX_COMBINATIONS, MAX_EXCLUSION_DEPTH, RouteProblem, RouteProblemKind,
};

/// Routes compiled for selection in flat time. Immutable: a new configuration is a new index.
///
/// ```
/// use http::{Extensions, HeaderMap, Method};
/// use portcullis_core::route::{
///     MatchedPath, PathPattern, RequestView, RouteIndex, RouteMatch, RouteSpec,
/// };
///
/// let on = |path: &str| PathPattern::prefix(path).map(|path| RouteMatch {
///     paths: vec![path],
///     ..RouteMatch::default()
/// });
/// let index = RouteIndex::compile(vec![
///     RouteSpec::new("all", 1).or_match(on("/")?),
///     RouteSpec::new("orders", 2).or_match(on("/orders")?),
/// ])?;
///
/// let (headers, extensions) = (HeaderMap::new(), Extensions::new());
/// let view = RequestView::new(&Method::GET, "shop.example", "/orders/7", &headers, &extensions);
/// let selected = index.select(&view)?.ok_or("no route")?;
/// assert_eq!((&**selected.name, *selected.value), ("orders", 2));
/// assert_eq!(selected.matched, MatchedPath::Prefix(&"/orders".into()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct RouteIndex<T> {
    routes: Vec<RouteSpec<T>>,
    /// Best first: the position of an entry is its rank, and what the rest of the index calls its id.
    entries: Vec<Entry>,
    literals: Vec<Arc<str>>,
    patterns: Vec<Pattern>,
    hosts: hosts::Hosts,
    paths: trie::Tries,
    looks_at_headers: bool,
}

/// One combination of an alternative with one of its hosts and one of its paths.
#[derive(Clone, Copy, Debug)]
struct Entry {
    route: u32,
    alternative: u32,
    path: EntryPath,
    /// Nothing is asked beyond host and path.
    plain: bool,
}

/// What is left to say about the path once the index has led to an entry.
#[derive(Clone, Copy, Debug)]
enum EntryPath {
    Any,
    /// Position in `literals`.
    Exact(u32),
    /// Position in `literals`.
    Prefix(u32),
    /// Position in `patterns`; it still has to match.
    Regex(u32),
}

/// Stands for no entry and no node; comes after all.
const NONE: u32 = u32::MAX;

impl<T> RouteIndex<T> {
    /// Compiles routes. Their order is their age: between equals the earlier wins.
    ///
    /// # Errors
    /// When routes are too large to index, all of them listed.
    pub fn compile(routes: Vec<RouteSpec<T>>) -> Result<Self, CompileError> {
        build::build(routes)
    }

    /// The best route for the request, if any; the order is in the [module documentation](crate::route).
    ///
    /// # Errors
    /// When a route that comes before every matching one cannot tell whether it matches.
    pub fn select(&self, view: &RequestView<'_>) -> Result<Option<Selected<'_, T>>, MatchError> {
        select::select(self, view, &mut ())
    }

    /// The routes, in the order of the configuration.
    #[must_use]
    pub fn routes(&self) -> &[RouteSpec<T>] {
        &self.routes
    }

    fn selected(&self, entry: Entry) -> Selected<'_, T> {
        let route = &self.routes[entry.route as usize];
        let matched = match entry.path {
            EntryPath::Any => MatchedPath::Any,
            EntryPath::Exact(at) => MatchedPath::Exact(&self.literals[at as usize]),
            EntryPath::Prefix(at) => MatchedPath::Prefix(&self.literals[at as usize]),
            EntryPath::Regex(_) => MatchedPath::Regex,
        };
        Selected::new(&route.value, &route.name, matched)
    }
}

impl<T: Send + Sync + 'static> RouteTable<T> for RouteIndex<T> {
    fn select<'t>(&'t self, view: &RequestView<'_>) -> Result<Option<Selected<'t, T>>, MatchError> {
        Self::select(self, view)
    }

    fn looks_at_headers(&self) -> bool {
        self.looks_at_headers
    }
}

impl<T> fmt::Debug for RouteIndex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RouteIndex")
            .field("routes", &self.routes.len())
            .field("entries", &self.entries.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
