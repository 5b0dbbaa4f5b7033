//! Compiles routes into an index.

use std::{fmt, sync::Arc};

use super::{
    Entry, EntryPath, RouteIndex,
    hosts::HostsBuilder,
    trie::{Item, Reach, Tries},
};
use crate::route::{
    MAX_HOST_BYTES, PathPattern, RouteMatch, RouteSpec, path::PathKind, rank::Rank, spec::or_any,
};

/// Most combinations of a host with a path in one route, all its alternatives together.
pub const MAX_COMBINATIONS: usize = 1 << 20;
/// Deepest nesting of exclusions in exclusions.
pub const MAX_EXCLUSION_DEPTH: usize = 128;

/// Most entries, and bytes of host and path text, in an index: far below what its 32-bit numbers can count.
const MAX_ENTRIES: usize = 1 << 28;
const MAX_TEXT: usize = 1 << 31;

/// Routes that cannot be compiled.
#[derive(Debug)]
pub struct CompileError {
    problems: Vec<RouteProblem>,
}

/// What is wrong with one route.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("route `{route}` (number {position}): {kind}")]
#[non_exhaustive]
pub struct RouteProblem {
    /// The route's name.
    pub route: Arc<str>,
    /// Its position in the list, from 0.
    pub position: usize,
    /// What is wrong.
    pub kind: RouteProblemKind,
}

/// Kinds of [`RouteProblem`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RouteProblemKind {
    /// More than [`MAX_COMBINATIONS`].
    #[error("its hosts and paths make more than {MAX_COMBINATIONS} combinations")]
    TooManyCombinations,
    /// More than [`MAX_EXCLUSION_DEPTH`].
    #[error("its exclusions nest deeper than {MAX_EXCLUSION_DEPTH} levels")]
    ExclusionsTooDeep,
    /// This route is the first that no longer fits into the table.
    #[error("the table is full")]
    TableFull,
}

impl CompileError {
    /// All problems, in the order of the routes. Never empty.
    #[must_use]
    pub fn problems(&self) -> &[RouteProblem] {
        &self.problems
    }
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("compiling routes")?;
        for (at, problem) in self.problems.iter().enumerate() {
            write!(f, "{} {problem}", if at == 0 { ":" } else { ";" })?;
        }
        Ok(())
    }
}

impl std::error::Error for CompileError {}

/// An entry that has no place in the order yet.
struct Draft<'r> {
    rank: u128,
    /// Counts drafts: the order of the configuration.
    sequence: u32,
    route: u32,
    alternative: u32,
    tree: u32,
    path: Option<&'r PathPattern>,
    plain: bool,
}

pub(super) fn build<T>(routes: Vec<RouteSpec<T>>) -> Result<RouteIndex<T>, CompileError> {
    let problems = check(&routes);
    if !problems.is_empty() {
        return Err(CompileError { problems });
    }
    let mut hosts = HostsBuilder::default();
    let mut drafts = draft(&routes, &mut hosts);
    drafts.sort_unstable_by(|a, b| b.rank.cmp(&a.rank).then(a.sequence.cmp(&b.sequence)));

    let mut entries = Vec::with_capacity(drafts.len());
    let mut items = Vec::with_capacity(drafts.len());
    let (mut literals, mut patterns) = (Vec::new(), Vec::new());
    for (id, draft) in drafts.iter().enumerate() {
        let (key, reach, path) = match draft.path.map(PathPattern::kind) {
            None => (&[][..], Reach::Text, EntryPath::Any),
            Some(PathKind::Exact(text)) => {
                let at = push(&mut literals, Arc::clone(text));
                (text.as_bytes(), Reach::Whole, EntryPath::Exact(at))
            }
            Some(PathKind::Prefix(text)) => {
                let at = push(&mut literals, Arc::clone(text));
                let key = text.trim_end_matches('/').as_bytes();
                (key, Reach::Segment, EntryPath::Prefix(at))
            }
            Some(PathKind::StringPrefix(text)) => {
                let at = push(&mut literals, Arc::clone(text));
                (text.as_bytes(), Reach::Text, EntryPath::Prefix(at))
            }
            Some(PathKind::Regex(pattern)) => {
                let at = push(&mut patterns, pattern.clone());
                (pattern.literal_prefix(), Reach::Text, EntryPath::Regex(at))
            }
        };
        entries.push(Entry {
            route: draft.route,
            alternative: draft.alternative,
            path,
            plain: draft.plain,
        });
        items.push(Item {
            tree: draft.tree,
            key,
            reach,
            entry: number(id),
        });
    }
    let (paths, roots) = Tries::build(items, &hosts.names());
    let hosts = hosts.finish(&roots, &paths);
    drop(drafts);
    let looks_at_headers = routes
        .iter()
        .any(|route| route.matches.iter().any(RouteMatch::looks_at_headers));
    Ok(RouteIndex {
        looks_at_headers,
        routes,
        entries,
        literals,
        patterns,
        hosts,
        paths,
    })
}

fn draft<'r, T>(routes: &'r [RouteSpec<T>], hosts: &mut HostsBuilder) -> Vec<Draft<'r>> {
    let mut drafts = Vec::with_capacity(routes.len());
    for (position, route) in routes.iter().enumerate() {
        for (alternative, rule) in route.alternatives().iter().enumerate() {
            let plain = rule.is_plain();
            for host in or_any(&rule.hosts) {
                let tree = hosts.tree(host);
                for path in or_any(&rule.paths) {
                    drafts.push(Draft {
                        rank: Rank::new(route.priority, rule, host, path).packed(),
                        sequence: number(drafts.len()),
                        route: number(position),
                        alternative: number(alternative),
                        tree,
                        path,
                        plain,
                    });
                }
            }
        }
    }
    drafts
}

fn check<T>(routes: &[RouteSpec<T>]) -> Vec<RouteProblem> {
    let mut problems = Vec::new();
    let (mut entries, mut text) = (0_usize, 0_usize);
    for (position, route) in routes.iter().enumerate() {
        let mut refuse = |kind| {
            problems.push(RouteProblem {
                route: Arc::clone(&route.name),
                position,
                kind,
            });
        };
        let combinations = route.alternatives().iter().fold(0_usize, |sum, rule| {
            let here = rule
                .hosts
                .len()
                .max(1)
                .saturating_mul(rule.paths.len().max(1));
            sum.saturating_add(here)
        });
        if combinations > MAX_COMBINATIONS {
            refuse(RouteProblemKind::TooManyCombinations);
            continue;
        }
        if route.alternatives().iter().any(too_deep) {
            refuse(RouteProblemKind::ExclusionsTooDeep);
        }
        let fitted = entries <= MAX_ENTRIES && text <= MAX_TEXT;
        entries = entries.saturating_add(combinations.max(1));
        for rule in route.alternatives() {
            let keys: usize = rule.paths.iter().map(key_bytes).sum();
            let trees = rule.hosts.len().max(1);
            text = text.saturating_add(trees.saturating_mul(keys.saturating_add(MAX_HOST_BYTES)));
        }
        if fitted && (entries > MAX_ENTRIES || text > MAX_TEXT) {
            refuse(RouteProblemKind::TableFull);
        }
    }
    problems
}

fn key_bytes(path: &PathPattern) -> usize {
    match path.kind() {
        PathKind::Exact(text) | PathKind::Prefix(text) | PathKind::StringPrefix(text) => text.len(),
        PathKind::Regex(pattern) => pattern.literal_prefix().len(),
    }
}

/// Whether exclusions nest too deep, found without a call stack of that depth.
fn too_deep(rule: &RouteMatch) -> bool {
    let mut level: Vec<&RouteMatch> = vec![rule];
    for _ in 0..=MAX_EXCLUSION_DEPTH {
        level = level.iter().flat_map(|rule| &rule.not).collect();
        if level.is_empty() {
            return false;
        }
    }
    true
}

fn push<V>(values: &mut Vec<V>, value: V) -> u32 {
    values.push(value);
    number(values.len() - 1)
}

/// Checked before: no count exceeds [`MAX_ENTRIES`].
fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
