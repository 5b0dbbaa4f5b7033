//! Selection: the way of one request through the index.

use super::{Entry, EntryPath, NONE, RouteIndex, trie::Run};
use crate::route::{MatchError, RequestView, Selected, host::Labels};

/// Counts the work of a selection; `()` does not.
pub(super) trait Tally {
    /// A path tree is entered.
    fn tree(&mut self);
    /// An entry is put to the test.
    fn candidate(&mut self);
}

impl Tally for () {
    fn tree(&mut self) {}
    fn candidate(&mut self) {}
}

pub(super) fn select<'t, T>(
    index: &'t RouteIndex<T>,
    view: &RequestView<'_>,
    tally: &mut impl Tally,
) -> Result<Option<Selected<'t, T>>, MatchError> {
    let mut search = Search {
        index,
        view,
        tally,
        best: NONE,
        error: None,
    };
    search.hosts();
    match (search.error, index.entries.get(search.best as usize)) {
        (Some(error), _) => Err(error),
        (None, Some(&entry)) => Ok(Some(index.selected(entry))),
        (None, None) => Ok(None),
    }
}

/// The state of a selection. Trees and entries are visited in the order in which the answer is likely to
/// come early, not in the order of rank: what counts is the least id that matches, or cannot tell.
struct Search<'s, 'v, T, C> {
    index: &'s RouteIndex<T>,
    view: &'s RequestView<'v>,
    tally: &'s mut C,
    best: u32,
    /// Why the entry `best` could not tell.
    error: Option<MatchError>,
}

/// Runs set aside on the way down. Paths that meet more are tested in several goes.
const RUNS: usize = 12;

impl<T, C: Tally> Search<'_, '_, T, C> {
    /// Visits the trees of all host patterns that match, unless they hold nothing better.
    fn hosts(&mut self) {
        let hosts = &self.index.hosts;
        let host = self.view.host;
        if let Some(root) = hosts.exact(host, &self.index.paths) {
            self.tree(root);
        }
        if hosts.best_wildcard < self.best {
            self.wildcards();
        }
        for (pattern, root) in &hosts.patterns {
            if self.index.paths.best(*root) < self.best && pattern.is_match(host) {
                self.tree(*root);
            }
        }
        self.tree(hosts.any);
    }

    /// Looks up what follows each dot of the host.
    fn wildcards(&mut self) {
        let hosts = &self.index.hosts;
        let host = self.view.host;
        // The dot before the longest suffix worth a lookup.
        let start = host.len().saturating_sub(hosts.longest_wildcard + 1);
        let dots = host.as_bytes().iter().enumerate().skip(start);
        for (dot, _) in dots.filter(|&(_, byte)| *byte == b'.') {
            let (front, suffix) = (&host[..dot], &host[dot + 1..]);
            let Some(found) = hosts.wildcards.get(suffix) else {
                continue;
            };
            if found.one != NONE && Labels::One.cover(front) {
                self.tree(found.one);
            }
            if found.more != NONE && Labels::OneOrMore.cover(front) {
                self.tree(found.more);
            }
        }
    }

    /// Tests the entries of one tree that the path leads to, those of the longest keys first: they are the
    /// better ones unless priorities say otherwise.
    fn tree(&mut self, root: u32) {
        if root == NONE {
            return;
        }
        self.tally.tree();
        let mut aside = [Run::EMPTY; RUNS];
        let mut length = 0;
        let mut walk = self.index.paths.walk(root, self.view.path.as_bytes());
        while let Some(runs) = walk.next(self.best) {
            for run in runs.into_iter().filter(|run| !run.is_empty()) {
                if length == RUNS {
                    self.test(&aside);
                    length = 0;
                }
                aside[length] = run;
                length += 1;
            }
        }
        self.test(&aside[..length]);
    }

    fn test(&mut self, runs: &[Run]) {
        for run in runs.iter().rev() {
            for &id in self.index.paths.entries(run) {
                if id >= self.best {
                    break;
                }
                self.tally.candidate();
                let entry = self.index.entries[id as usize];
                match self.matches(entry) {
                    Ok(false) => continue,
                    Ok(true) => self.error = None,
                    Err(error) => {
                        let name = &self.index.routes[entry.route as usize].name;
                        self.error = Some(error.in_route(name));
                    }
                }
                self.best = id;
                break;
            }
        }
    }

    /// Puts what host and path have not decided. A regular expression comes before what may fail: a route
    /// whose path does not match has no say in errors.
    fn matches(&self, entry: Entry) -> Result<bool, MatchError> {
        let pattern = match entry.path {
            EntryPath::Regex(at) => Some(&self.index.patterns[at as usize]),
            _ => None,
        };
        let path_matches = || pattern.is_none_or(|pattern| pattern.is_match(self.view.path));
        // Also so when the route lists no alternative, to which the number below would not lead.
        if entry.plain {
            return Ok(path_matches());
        }
        let route = &self.index.routes[entry.route as usize];
        let rule = &route.matches[entry.alternative as usize];
        if !rule.allows_method(self.view.method) || !path_matches() {
            return Ok(false);
        }
        Ok(rule.first_unmet(self.view)?.is_none())
    }
}
