//! A linear model of selection, to hold tables against.

use std::cmp::Ordering;

use crate::route::{
    HostPattern, MatchError, MatchedPath, PathPattern, RequestView, RouteSpec, Selected,
    host::{HostKind, Labels},
    path::PathKind,
    spec::or_any,
};

/// What [`RouteIndex::select`](crate::route::RouteIndex::select) has to answer, found by going through all
/// routes. It shares the conditions with the index, but neither its structure nor its ranks.
///
/// # Errors
/// As the index.
pub fn naive_select<'t, T>(
    routes: &'t [RouteSpec<T>],
    view: &RequestView<'_>,
) -> Result<Option<Selected<'t, T>>, MatchError> {
    let mut best: Option<(Standing, Result<Selected<'t, T>, MatchError>)> = None;
    for route in routes {
        for rule in route.alternatives() {
            for (host, path) in or_any(&rule.hosts)
                .flat_map(|host| or_any(&rule.paths).map(move |path| (host, path)))
            {
                let fits = host.is_none_or(|host| host.matches(view.host))
                    && path.is_none_or(|path| path.matches(view.path));
                if !fits {
                    continue;
                }
                let answer = match rule.first_unmet(view) {
                    Ok(Some(_)) => continue,
                    Ok(None) => Ok(Selected::new(&route.value, &route.name, matched(path))),
                    Err(error) => Err(error.in_route(&route.name)),
                };
                let standing = Standing {
                    priority: route.priority.unwrap_or(0),
                    host: host_standing(host),
                    path: path_standing(path),
                    method: !rule.methods.is_empty(),
                    headers: rule.headers.len(),
                    query: rule.query.len(),
                    weight: rule.custom.iter().map(|m| u32::from(m.weight())).sum(),
                };
                // Earlier ones keep their place against equals.
                let wins = best
                    .as_ref()
                    .is_none_or(|(held, _)| standing.cmp(held) == Ordering::Greater);
                if wins {
                    best = Some((standing, answer));
                }
            }
        }
    }
    best.map(|(_, answer)| answer).transpose()
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Standing {
    priority: i64,
    host: (u8, usize, bool),
    path: (bool, usize, u8),
    method: bool,
    headers: usize,
    query: usize,
    weight: u32,
}

fn host_standing(host: Option<&HostPattern>) -> (u8, usize, bool) {
    match host.map(HostPattern::kind) {
        None | Some(HostKind::Any) => (0, 0, false),
        Some(HostKind::Regex(_)) => (1, 0, false),
        Some(HostKind::Wildcard { suffix, labels }) => {
            (2, suffix.chars().count(), *labels == Labels::One)
        }
        Some(HostKind::Exact(_)) => (3, 0, false),
    }
}

fn path_standing(path: Option<&PathPattern>) -> (bool, usize, u8) {
    match path.map(PathPattern::kind) {
        None => (false, 0, 0),
        Some(PathKind::Regex(pattern)) => (false, pattern.literal_prefix().len(), 1),
        Some(PathKind::StringPrefix(text)) => (false, text.len(), 2),
        Some(PathKind::Prefix(text)) => (false, text.len(), 3),
        Some(PathKind::Exact(_)) => (true, 0, 0),
    }
}

fn matched(path: Option<&PathPattern>) -> MatchedPath<'_> {
    match path.map(PathPattern::kind) {
        None => MatchedPath::Any,
        Some(PathKind::Regex(_)) => MatchedPath::Regex,
        Some(PathKind::Prefix(text) | PathKind::StringPrefix(text)) => MatchedPath::Prefix(text),
        Some(PathKind::Exact(text)) => MatchedPath::Exact(text),
    }
}
