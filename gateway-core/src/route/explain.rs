//! Says why a request takes the route it takes, for people.

use std::{cmp::Reverse, fmt, sync::Arc};

use serde::Serialize;

use crate::route::{
    HostPattern, MatchError, PathPattern, RankReason, RequestView, RouteIndex, RouteMatch,
    RouteSpec,
    path::PathKind,
    rank::Rank,
    spec::{Unmet, or_any},
};

/// What became of one route for one request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Verdict {
    /// The route's name.
    pub route: Arc<str>,
    /// Its position in the configuration, from 0.
    pub position: usize,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What became of a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Outcome {
    /// The request takes this route.
    Won {
        /// The path condition that matched, in short.
        matched: String,
    },
    /// The route comes before all that match but cannot tell: the request is answered with an error.
    Failed {
        /// The error, with its causes.
        error: String,
    },
    /// The route matches, or cannot tell, but another comes before it.
    Lost {
        /// The route that comes before it.
        to: Arc<str>,
        /// What decided.
        because: RankReason,
    },
    /// The route does not match.
    NotMatched {
        /// The first condition that does not hold, in the alternative that came nearest.
        because: Mismatch,
    },
}

/// A condition that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Mismatch {
    /// Which kind of condition.
    pub stage: Stage,
    /// What was asked, in short. Values of headers and parameters are left out: they may be secrets.
    pub wanted: String,
}

/// Kinds of conditions, in the order in which they are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Stage {
    /// The host.
    Host,
    /// The path.
    Path,
    /// The method.
    Method,
    /// The local port.
    Port,
    /// The client's address.
    ClientIp,
    /// A header.
    Header,
    /// A query parameter.
    Query,
    /// A matcher of the user's own.
    Custom,
    /// An exclusion applies.
    Not,
}

impl<T> RouteIndex<T> {
    /// What becomes of each route: first the one that wins or fails, then those that lose, by rank, then those
    /// that do not match, the nearest first; `limit` at most.
    ///
    /// The first verdict says what [`RouteIndex::select`] answers. This goes through all routes one by one and
    /// asks matchers that `select` would not have to ask, so it is for people, not for the request path.
    #[must_use]
    pub fn explain(&self, view: &RequestView<'_>, limit: usize) -> Vec<Verdict> {
        let routes = self.routes().iter().enumerate();
        let mut findings: Vec<_> = routes
            .map(|(position, route)| Finding {
                name: &route.name,
                position,
                fate: fate(route, view),
            })
            .collect();
        findings.sort_by_key(|finding| (finding.order(), finding.position));
        let winner = match findings.first() {
            Some(&Finding {
                name,
                fate: Fate::Candidate { rank, .. },
                ..
            }) => Some((Arc::clone(name), rank)),
            _ => None,
        };
        let verdicts = findings.into_iter().take(limit).enumerate();
        verdicts
            .map(|(at, finding)| Verdict {
                route: Arc::clone(finding.name),
                position: finding.position,
                outcome: match (finding.fate, &winner) {
                    (Fate::Candidate { rank, .. }, Some((to, best))) if at > 0 => Outcome::Lost {
                        to: Arc::clone(to),
                        because: best.reason_over(rank),
                    },
                    (Fate::Candidate { path, error, .. }, _) => match error {
                        None => Outcome::Won {
                            matched: path.map_or_else(|| "any path".to_owned(), described),
                        },
                        Some(error) => Outcome::Failed {
                            error: with_causes(&error.in_route(finding.name)),
                        },
                    },
                    (Fate::Missed { rule, unmet }, _) => Outcome::NotMatched {
                        because: mismatch(rule, &unmet),
                    },
                },
            })
            .collect()
    }
}

struct Finding<'r> {
    name: &'r Arc<str>,
    position: usize,
    fate: Fate<'r>,
}

enum Fate<'r> {
    /// Matches, or cannot tell.
    Candidate {
        rank: Rank,
        path: Option<&'r PathPattern>,
        error: Option<MatchError>,
    },
    Missed {
        rule: &'r RouteMatch,
        unmet: Miss<'r>,
    },
}

enum Miss<'r> {
    Host,
    Path,
    Other(Unmet<'r>),
}

impl Miss<'_> {
    fn stage(&self) -> Stage {
        match self {
            Self::Host => Stage::Host,
            Self::Path => Stage::Path,
            Self::Other(Unmet::Method) => Stage::Method,
            Self::Other(Unmet::Port) => Stage::Port,
            Self::Other(Unmet::ClientIp) => Stage::ClientIp,
            Self::Other(Unmet::Header(_)) => Stage::Header,
            Self::Other(Unmet::Query(_)) => Stage::Query,
            Self::Other(Unmet::Custom(_)) => Stage::Custom,
            Self::Other(Unmet::Not) => Stage::Not,
        }
    }
}

impl Finding<'_> {
    /// Candidates by rank, then the others by how far they came.
    fn order(&self) -> (Reverse<Option<u128>>, Reverse<Option<Stage>>) {
        match &self.fate {
            Fate::Candidate { rank, .. } => (Reverse(Some(rank.packed())), Reverse(None)),
            Fate::Missed { unmet, .. } => (Reverse(None), Reverse(Some(unmet.stage()))),
        }
    }
}

fn fate<'r, T>(route: &'r RouteSpec<T>, view: &RequestView<'_>) -> Fate<'r> {
    let mut best: Option<Fate<'r>> = None;
    for rule in route.alternatives() {
        let found = fate_of_alternative(route.priority, rule, view);
        let better = match (&best, &found) {
            (None, _) | (Some(Fate::Missed { .. }), Fate::Candidate { .. }) => true,
            (Some(Fate::Candidate { .. }), Fate::Missed { .. }) => false,
            (Some(Fate::Candidate { rank: old, .. }), Fate::Candidate { rank, .. }) => rank > old,
            (Some(Fate::Missed { unmet: old, .. }), Fate::Missed { unmet, .. }) => {
                unmet.stage() > old.stage()
            }
        };
        if better {
            best = Some(found);
        }
    }
    best.unwrap_or(Fate::Candidate {
        rank: Rank::new(route.priority, &RouteMatch::default(), None, None),
        path: None,
        error: None,
    })
}

fn fate_of_alternative<'r>(
    priority: Option<i64>,
    rule: &'r RouteMatch,
    view: &RequestView<'_>,
) -> Fate<'r> {
    let missed = |unmet| Fate::Missed { rule, unmet };
    if !rule.allows_host(view.host) {
        return missed(Miss::Host);
    }
    if !rule.allows_path(view.path) {
        return missed(Miss::Path);
    }
    let error = match rule.first_unmet(view) {
        Ok(None) => None,
        Ok(Some(unmet)) => return missed(Miss::Other(unmet)),
        Err(error) => Some(error),
    };
    let hosts = || or_any(&rule.hosts).filter(|h| h.is_none_or(|h| h.matches(view.host)));
    let paths = or_any(&rule.paths).filter(|p| p.is_none_or(|p| p.matches(view.path)));
    paths
        .flat_map(|path| hosts().map(move |host| (Rank::new(priority, rule, host, path), path)))
        .max_by_key(|(rank, _)| *rank)
        .map_or_else(
            || missed(Miss::Host),
            |(rank, path)| Fate::Candidate { rank, path, error },
        )
}

fn described(path: &PathPattern) -> String {
    match path.kind() {
        PathKind::Exact(text) => format!("path {text}"),
        PathKind::Prefix(text) => format!("prefix {text}"),
        PathKind::StringPrefix(text) => format!("text prefix {text}"),
        PathKind::Regex(pattern) => format!("regex {pattern}"),
    }
}

fn mismatch(rule: &RouteMatch, unmet: &Miss<'_>) -> Mismatch {
    let wanted = match unmet {
        Miss::Host => listed(rule.hosts.iter().map(HostPattern::to_string)),
        Miss::Path => listed(rule.paths.iter().map(described)),
        Miss::Other(unmet) => match unmet {
            Unmet::Method => listed(rule.methods.iter()),
            Unmet::Port => listed(rule.ports.iter()),
            Unmet::ClientIp => listed(rule.client_ip.iter()),
            Unmet::Header(header) => format!("{} ({})", header.name(), header.test()),
            Unmet::Query(query) => format!("{} ({})", query.name(), query.test()),
            Unmet::Custom(matcher) => format!("{matcher:?}"),
            Unmet::Not => "an exclusion applies".to_owned(),
        },
    };
    Mismatch {
        stage: unmet.stage(),
        wanted,
    }
}

/// The first few, and how many more.
fn listed(items: impl ExactSizeIterator<Item = impl fmt::Display>) -> String {
    const SHOWN: usize = 4;
    let more = items.len().saturating_sub(SHOWN);
    let shown: Vec<_> = items.take(SHOWN).map(|item| item.to_string()).collect();
    let mut text = shown.join(" or ");
    if more > 0 {
        text.push_str(&format!(" or {more} more"));
    }
    text
}

fn with_causes(error: &MatchError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Won { matched } => write!(f, "won by {matched}"),
            Self::Failed { error } => write!(f, "failed: {error}"),
            Self::Lost { to, because } => write!(f, "lost to {to}, {because}"),
            Self::NotMatched { because } => write!(f, "did not match: {because}"),
        }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match self.stage {
            Stage::Host => "host",
            Stage::Path => "path",
            Stage::Method => "method",
            Stage::Port => "port",
            Stage::ClientIp => "client address",
            Stage::Header => "header",
            Stage::Query => "query",
            Stage::Custom => "matcher",
            Stage::Not => return f.write_str(&self.wanted),
        };
        write!(f, "{stage} is not {}", self.wanted)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.route, self.outcome)
    }
}

#[cfg(test)]
mod tests;
