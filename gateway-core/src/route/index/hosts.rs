//! Finds the path trees of a host.

use std::{
    collections::{HashMap, hash_map},
    sync::Arc,
};

use foldhash::fast::RandomState;

use super::NONE;
use crate::route::{
    Anchoring, HostPattern, Pattern,
    host::{HostKind, Labels},
};

type ByName<V> = HashMap<Arc<str>, V, RandomState>;

/// Path trees by host. While building, trees are numbered as they turn up; [`Hosts::resolve`] exchanges the
/// numbers for root nodes.
#[derive(Debug)]
pub(super) struct Hosts {
    pub(super) exact: ByName<u32>,
    pub(super) wildcards: ByName<Wildcard>,
    /// Bytes in the longest name of `wildcards`: longer ends of a host need no lookup.
    pub(super) longest_wildcard: usize,
    /// The best entry in all trees of `wildcards`.
    pub(super) best_wildcard: u32,
    pub(super) patterns: Vec<(Pattern, u32)>,
    pub(super) any: u32,
}

/// The trees of `*.name`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wildcard {
    /// For exactly one label in place of the star.
    pub(super) one: u32,
    /// For one label or more.
    pub(super) more: u32,
}

/// Numbers trees.
#[derive(Debug, Default)]
pub(super) struct HostsBuilder {
    exact: ByName<u32>,
    wildcards: ByName<Wildcard>,
    patterns: Vec<(Pattern, u32)>,
    known_patterns: HashMap<(String, Anchoring), u32, RandomState>,
    any: Option<u32>,
    trees: u32,
}

impl HostsBuilder {
    /// The number of the tree for this pattern; the same for the same pattern.
    pub(super) fn tree(&mut self, host: Option<&HostPattern>) -> u32 {
        let next = self.trees;
        let tree = match host.map(HostPattern::kind) {
            None | Some(HostKind::Any) => *self.any.get_or_insert(next),
            Some(HostKind::Exact(name)) => *self.exact.entry(Arc::clone(name)).or_insert(next),
            Some(HostKind::Wildcard { suffix, labels }) => {
                let both = self.wildcards.entry(Arc::clone(suffix));
                let both = both.or_insert(Wildcard {
                    one: NONE,
                    more: NONE,
                });
                let slot = match labels {
                    Labels::One => &mut both.one,
                    Labels::OneOrMore => &mut both.more,
                };
                if *slot == NONE {
                    *slot = next;
                }
                *slot
            }
            Some(HostKind::Regex(pattern)) => {
                let key = (pattern.source().to_owned(), pattern.anchoring());
                match self.known_patterns.entry(key) {
                    hash_map::Entry::Occupied(known) => *known.get(),
                    hash_map::Entry::Vacant(vacant) => {
                        self.patterns.push((pattern.clone(), next));
                        *vacant.insert(next)
                    }
                }
            }
        };
        if tree == next {
            self.trees += 1;
        }
        tree
    }

    pub(super) fn trees(&self) -> usize {
        self.trees as usize
    }

    /// Exchanges tree numbers for `roots`, whose best entries `best` tells.
    pub(super) fn finish(mut self, roots: &[u32], best: impl Fn(u32) -> u32) -> Hosts {
        let root = |tree: &mut u32| {
            // `NONE` is no tree's number.
            if let Some(&root) = roots.get(*tree as usize) {
                *tree = root;
            }
        };
        self.exact.values_mut().for_each(root);
        let mut best_wildcard = NONE;
        for both in self.wildcards.values_mut() {
            for tree in [&mut both.one, &mut both.more] {
                if *tree != NONE {
                    root(tree);
                    best_wildcard = best_wildcard.min(best(*tree));
                }
            }
        }
        self.patterns.iter_mut().for_each(|(_, tree)| root(tree));
        let mut any = self.any.unwrap_or(NONE);
        root(&mut any);
        Hosts {
            longest_wildcard: self
                .wildcards
                .keys()
                .map(|name| name.len())
                .max()
                .unwrap_or(0),
            best_wildcard,
            exact: self.exact,
            wildcards: self.wildcards,
            patterns: self.patterns,
            any,
        }
    }
}
