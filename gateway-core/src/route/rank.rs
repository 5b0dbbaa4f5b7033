//! The order in which matching routes win.

use std::fmt;

use serde::Serialize;

use crate::route::{
    HostPattern, PathPattern, RouteMatch,
    host::{HostKind, Labels},
    path::PathKind,
};

/// How specific one combination of alternative, host and path is. Fields in the order in which they decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    priority: i64,
    /// Bits 9-10: any, regex, wildcard, exact. Below: twice the wildcard's length, plus one for one label.
    host: u16,
    /// Bit 16: exact. Bits 2-15: literal length. Bits 0-1: any, regex, text prefix, segment prefix.
    path: u32,
    method: bool,
    headers: u16,
    query: u16,
    weight: u16,
}

/// Why one matching route was preferred to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum RankReason {
    /// Its explicit priority is higher.
    Priority,
    /// Its host is more specific.
    Host,
    /// Its path is more specific.
    Path,
    /// It asks for a method.
    Method,
    /// It asks for more headers.
    Headers,
    /// It asks for more query parameters.
    Query,
    /// Its matchers weigh more.
    Matchers,
    /// It comes earlier in the configuration.
    Order,
}

impl fmt::Display for RankReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Priority => "whose priority is higher",
            Self::Host => "whose host is more specific",
            Self::Path => "whose path is more specific",
            Self::Method => "which asks for a method",
            Self::Headers => "which asks for more headers",
            Self::Query => "which asks for more query parameters",
            Self::Matchers => "whose matchers weigh more",
            Self::Order => "which comes earlier in the configuration",
        })
    }
}

const PATH_LENGTH_MAX: usize = (1 << 14) - 1;
const COUNT_HEADERS_MAX: usize = (1 << 10) - 1;
const COUNT_QUERY_MAX: usize = (1 << 9) - 1;

impl Rank {
    pub(crate) fn new(
        priority: Option<i64>,
        rule: &RouteMatch,
        host: Option<&HostPattern>,
        path: Option<&PathPattern>,
    ) -> Self {
        Self {
            priority: priority.unwrap_or(0),
            host: host.map_or(0, host_rank),
            path: path.map_or(0, path_rank),
            method: !rule.methods.is_empty(),
            headers: capped(rule.headers.len(), COUNT_HEADERS_MAX),
            query: capped(rule.query.len(), COUNT_QUERY_MAX),
            weight: rule
                .custom
                .iter()
                .fold(0, |sum, matcher| sum.saturating_add(matcher.weight())),
        }
    }

    /// The rank as one number of the same order: 64 + 11 + 17 + 1 + 10 + 9 + 16 bits.
    pub(crate) fn packed(self) -> u128 {
        let priority = self.priority.cast_unsigned() ^ (1 << 63);
        let mut key = u128::from(priority);
        key = key << 11 | u128::from(self.host);
        key = key << 17 | u128::from(self.path);
        key = key << 1 | u128::from(self.method);
        key = key << 10 | u128::from(self.headers);
        key = key << 9 | u128::from(self.query);
        key << 16 | u128::from(self.weight)
    }

    /// Why a route of this rank was preferred to one of rank `other`.
    pub(crate) fn reason_over(self, other: Self) -> RankReason {
        if self.priority != other.priority {
            RankReason::Priority
        } else if self.host != other.host {
            RankReason::Host
        } else if self.path != other.path {
            RankReason::Path
        } else if self.method != other.method {
            RankReason::Method
        } else if self.headers != other.headers {
            RankReason::Headers
        } else if self.query != other.query {
            RankReason::Query
        } else if self.weight != other.weight {
            RankReason::Matchers
        } else {
            RankReason::Order
        }
    }
}

fn host_rank(host: &HostPattern) -> u16 {
    match host.kind() {
        HostKind::Any => 0,
        HostKind::Regex(_) => 1 << 9,
        HostKind::Wildcard { suffix, labels } => {
            let one = u16::from(*labels == Labels::One);
            2 << 9 | capped(suffix.chars().count(), 255) << 1 | one
        }
        HostKind::Exact(_) => 3 << 9,
    }
}

fn path_rank(path: &PathPattern) -> u32 {
    // Normalised text is ASCII, so bytes are characters.
    let literal = |length: usize, kind: u32| u32::from(capped(length, PATH_LENGTH_MAX)) << 2 | kind;
    match path.kind() {
        PathKind::Exact(_) => 1 << 16,
        PathKind::Prefix(text) => literal(text.len(), 3),
        PathKind::StringPrefix(text) => literal(text.len(), 2),
        PathKind::Regex(pattern) => literal(pattern.literal_prefix().len(), 1),
    }
}

fn capped(count: usize, most: usize) -> u16 {
    u16::try_from(count.min(most)).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::Pattern;

    #[test]
    fn hosts_rank_exact_then_longest_wildcard_then_regex_then_any() {
        let ordered = [
            "a.example".parse().unwrap(),
            "*.long.example".parse().unwrap(),
            HostPattern::one_label("*.example").unwrap(),
            "*.example".parse().unwrap(),
            HostPattern::regex(Pattern::search("example").unwrap()),
            HostPattern::any(),
        ];
        assert!(
            ordered
                .windows(2)
                .all(|pair| host_rank(&pair[0]) > host_rank(&pair[1]))
        );
    }

    #[test]
    fn paths_rank_exact_then_by_literal_length_then_kind() {
        let ordered = [
            PathPattern::exact("/").unwrap(),
            PathPattern::prefix("/abc/").unwrap(),
            PathPattern::string_prefix("/abc").unwrap(),
            PathPattern::regex("/abc.*").unwrap(),
            PathPattern::prefix("/ab").unwrap(),
            PathPattern::prefix("/").unwrap(),
            PathPattern::string_prefix("/").unwrap(),
            PathPattern::regex("/.*").unwrap(),
            PathPattern::regex(".*").unwrap(),
        ];
        assert!(
            ordered
                .windows(2)
                .all(|pair| path_rank(&pair[0]) > path_rank(&pair[1]))
        );
        assert!(path_rank(&ordered[8]) > 0);
    }

    #[test]
    fn packing_keeps_the_order_and_the_first_difference_decides() {
        let base = Rank {
            priority: 0,
            host: 0,
            path: 0,
            method: false,
            headers: 0,
            query: 0,
            weight: 0,
        };
        let ordered = [
            (
                Rank {
                    priority: i64::MIN,
                    host: 3 << 9,
                    ..base
                },
                RankReason::Priority,
            ),
            (
                Rank {
                    priority: -1,
                    path: 1 << 16,
                    ..base
                },
                RankReason::Priority,
            ),
            (base, RankReason::Matchers),
            (
                Rank {
                    weight: u16::MAX,
                    ..base
                },
                RankReason::Query,
            ),
            (Rank { query: 511, ..base }, RankReason::Headers),
            (
                Rank {
                    headers: 1023,
                    ..base
                },
                RankReason::Method,
            ),
            (
                Rank {
                    method: true,
                    ..base
                },
                RankReason::Path,
            ),
            (
                Rank {
                    path: 1 << 16,
                    ..base
                },
                RankReason::Host,
            ),
            (
                Rank {
                    host: 3 << 9,
                    ..base
                },
                RankReason::Priority,
            ),
            (
                Rank {
                    priority: i64::MAX,
                    ..base
                },
                RankReason::Order,
            ),
        ];
        for pair in ordered.windows(2) {
            let ((worse, why), (better, _)) = (pair[0], pair[1]);
            assert!(better > worse && better.packed() > worse.packed());
            assert_eq!(better.reason_over(worse), why);
        }
        assert_eq!(base.reason_over(base), RankReason::Order);
    }
}
