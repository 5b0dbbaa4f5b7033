//! Route matching: which route a request takes.
//!
//! A configuration is lowered to a list of [`RouteSpec`]s, whose [`RouteMatch`]es say what they ask of a
//! request, and compiled once into a [`RouteIndex`]. Per request the listener builds a [`RequestView`] and
//! asks [`RouteIndex::select`]; [`RouteIndex::explain`] says why the answer is what it is.
//!
//! # Which route wins
//! Among the routes that match, compared in this order:
//! 1. the higher explicit priority; a route without one has 0;
//! 2. the more specific host: exact, then the longest wildcard (at the same length one label before several),
//!    then a regular expression, then any;
//! 3. the more specific path: exact, then the longest literal text, then none. At the same length a prefix by
//!    segments comes before a prefix of text, and that before a regular expression, whose length is that of
//!    the text that all its matches begin with. So `/api/v[0-9]+` comes before the prefix `/api` and after
//!    the prefix `/api/v`;
//! 4. a route that asks for a method;
//! 5. more headers;
//! 6. more query parameters;
//! 7. the greater sum of the [weights](Matcher::weight) of its matchers;
//! 8. the earlier position in the configuration, and within a route the earlier alternative.
//!
//! This is the order of Gateway API (`HTTPRouteRule.matches`) with an explicit priority in front; Gateway API
//! leaves the place of regular expressions open. A dialect with another order lowers it to priorities, as
//! [`rule::default_priority`] does for Traefik.
//!
//! # Cost
//! Selection looks the host up by hash, then walks one radix tree along the path, so it costs the same with
//! ten routes and with a hundred thousand, unless many of them fit host and path and differ in the rest.
//! It does not allocate, but for error values and to decode what a regular expression on the query asks for.
//! Regular expressions on paths are tried only below the text they begin with; those on hosts, one by one.

use std::error::Error;

pub mod rule;

mod explain;
mod header;
mod host;
mod index;
mod matcher;
#[cfg(any(test, feature = "testing"))]
mod naive;
mod path;
mod pattern;
pub(crate) mod query;
mod rank;
mod spec;
mod table;
mod value;
mod view;

#[cfg(any(test, feature = "testing"))]
pub use self::naive::naive_select;
pub use self::{
    explain::{Mismatch, Outcome, Stage, Verdict},
    header::HeaderMatch,
    host::{HostError, HostPattern, MAX_HOST_BYTES},
    index::{
        CompileError, MAX_COMBINATIONS, MAX_EXCLUSION_DEPTH, RouteIndex, RouteProblem,
        RouteProblemKind,
    },
    matcher::{MatchError, Matcher},
    path::{MAX_PATH_BYTES, PathError, PathPattern},
    pattern::{
        Anchoring, MAX_COMPILED_BYTES, MAX_PATTERN_BYTES, MAX_PATTERN_NESTING, Pattern,
        PatternError,
    },
    query::{QueryMatch, QueryValues},
    rank::RankReason,
    spec::{RouteMatch, RouteSpec},
    table::{MatchedPath, RouteTable, Selected},
    value::ValueTest,
    view::RequestView,
};

/// Any error, as a cause.
pub(crate) type BoxError = Box<dyn Error + Send + Sync>;
