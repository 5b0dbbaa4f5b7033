//! Boolean arithmetic on lists of alternatives.

use std::mem;

use super::{MAX_ALTERNATIVES, MAX_CONDITIONS, RuleErrorKind};
use crate::route::{HostPattern, PathPattern, RouteMatch, host::HostKind, path::PathKind};

/// What an expression stands for: one of these holds. Never empty.
pub(super) type Alternatives = Vec<RouteMatch>;

/// `left || right`.
pub(super) fn either(
    mut left: Alternatives,
    right: Alternatives,
) -> Result<Alternatives, RuleErrorKind> {
    within(size(&left).saturating_add(size(&right)))?;
    for alternative in right {
        let Some(rest) = join(&mut left, alternative) else {
            continue;
        };
        if left.len() == MAX_ALTERNATIVES {
            return Err(RuleErrorKind::TooManyAlternatives);
        }
        left.push(rest);
    }
    Ok(left)
}

/// `left && right`.
pub(super) fn both(
    left: Alternatives,
    mut right: Alternatives,
) -> Result<Alternatives, RuleErrorKind> {
    if left.len().saturating_mul(right.len()) > MAX_ALTERNATIVES {
        return Err(RuleErrorKind::TooManyAlternatives);
    }
    let multiplied = size(&left)
        .saturating_mul(right.len())
        .saturating_add(size(&right).saturating_mul(left.len()));
    within(multiplied)?;
    let Some(last) = right.pop() else {
        return Ok(left);
    };
    let mut multiplied = Vec::with_capacity(left.len().saturating_mul(right.len() + 1));
    for a in left {
        multiplied.extend(right.iter().map(|b| combine(a.clone(), b.clone())));
        multiplied.push(combine(a, last.clone()));
    }
    Ok(multiplied)
}

/// `!negated`.
pub(super) fn none(mut negated: Alternatives) -> Alternatives {
    if let [only] = &mut negated[..]
        && !only.not.is_empty()
        && own_size(only) == 0
    {
        return mem::take(&mut only.not);
    }
    vec![RouteMatch {
        not: negated,
        ..RouteMatch::default()
    }]
}

fn within(conditions: usize) -> Result<(), RuleErrorKind> {
    if conditions > MAX_CONDITIONS {
        return Err(RuleErrorKind::TooManyConditions);
    }
    Ok(())
}

/// How many conditions there are, exclusions and their conditions included.
fn size(alternatives: &[RouteMatch]) -> usize {
    alternatives.iter().map(size_of_one).sum()
}

/// At least one. The nesting of exclusions is bounded by the depth of the rule.
fn size_of_one(alternative: &RouteMatch) -> usize {
    own_size(alternative).max(1)
        + if alternative.not.is_empty() {
            0
        } else {
            size(&alternative.not)
        }
}

fn own_size(alternative: &RouteMatch) -> usize {
    alternative.hosts.len()
        + alternative.paths.len()
        + alternative.methods.len()
        + alternative.headers.len()
        + alternative.query.len()
        + alternative.client_ip.len()
        + alternative.ports.len()
        + alternative.custom.len()
}

/// Lists of which one entry has to hold, so that alternatives can share a list.
#[derive(PartialEq)]
enum Shared {
    Hosts,
    Paths,
    Methods,
    Networks,
}

fn sole(alternative: &RouteMatch) -> Option<Shared> {
    let total = own_size(alternative);
    let candidates = [
        (alternative.hosts.len(), Shared::Hosts),
        (alternative.paths.len(), Shared::Paths),
        (alternative.methods.len(), Shared::Methods),
        (alternative.client_ip.len(), Shared::Networks),
    ];
    candidates
        .into_iter()
        .find(|(length, _)| *length > 0 && *length == total && alternative.not.is_empty())
        .map(|(_, shared)| shared)
}

/// Adds an alternative to one that asks for the same single thing, or gives it back.
fn join(present: &mut [RouteMatch], mut added: RouteMatch) -> Option<RouteMatch> {
    let Some(shared) = sole(&added) else {
        return Some(added);
    };
    let Some(partner) = present
        .iter_mut()
        .find(|m| sole(m).as_ref() == Some(&shared))
    else {
        return Some(added);
    };
    match shared {
        Shared::Hosts => partner.hosts.append(&mut added.hosts),
        Shared::Paths => partner.paths.append(&mut added.paths),
        Shared::Methods => partner.methods.append(&mut added.methods),
        Shared::Networks => partner.client_ip.append(&mut added.client_ip),
    }
    None
}

/// The alternative that asks for what both ask for.
fn combine(mut left: RouteMatch, mut right: RouteMatch) -> RouteMatch {
    // Where both have a list of which one entry has to hold, one list stays, and the other becomes the
    // exclusion of its exclusion. The one that stays is the one that an index can look up.
    if indexable_hosts(&right.hosts) > indexable_hosts(&left.hosts) {
        mem::swap(&mut left.hosts, &mut right.hosts);
    }
    if indexable_paths(&right.paths) > indexable_paths(&left.paths) {
        mem::swap(&mut left.paths, &mut right.paths);
    }
    let mut also = Vec::new();
    let mut ask_also = |rest: RouteMatch| {
        also.push(RouteMatch {
            not: vec![rest],
            ..RouteMatch::default()
        });
    };
    if let Some(hosts) = keep(&mut left.hosts, right.hosts) {
        ask_also(RouteMatch {
            hosts,
            ..RouteMatch::default()
        });
    }
    if let Some(paths) = keep(&mut left.paths, right.paths) {
        ask_also(RouteMatch {
            paths,
            ..RouteMatch::default()
        });
    }
    if let Some(methods) = keep(&mut left.methods, right.methods) {
        ask_also(RouteMatch {
            methods,
            ..RouteMatch::default()
        });
    }
    if let Some(client_ip) = keep(&mut left.client_ip, right.client_ip) {
        ask_also(RouteMatch {
            client_ip,
            ..RouteMatch::default()
        });
    }
    left.headers.append(&mut right.headers);
    left.query.append(&mut right.query);
    left.custom.append(&mut right.custom);
    left.not.append(&mut right.not);
    left.not.append(&mut also);
    left
}

/// Takes over `added` if there is nothing yet, else gives it back.
fn keep<V>(kept: &mut Vec<V>, added: Vec<V>) -> Option<Vec<V>> {
    if added.is_empty() {
        return None;
    }
    if kept.is_empty() {
        *kept = added;
        return None;
    }
    Some(added)
}

fn indexable_hosts(hosts: &[HostPattern]) -> u8 {
    let worth = |host: &HostPattern| match host.kind() {
        HostKind::Any => 1,
        HostKind::Regex(_) => 2,
        HostKind::Wildcard { .. } => 3,
        HostKind::Exact(_) => 4,
    };
    hosts.iter().map(worth).min().unwrap_or(0)
}

fn indexable_paths(paths: &[PathPattern]) -> u8 {
    let worth = |path: &PathPattern| match path.kind() {
        PathKind::Regex(_) => 1,
        PathKind::StringPrefix(_) | PathKind::Prefix(_) => 2,
        PathKind::Exact(_) => 3,
    };
    paths.iter().map(worth).min().unwrap_or(0)
}
