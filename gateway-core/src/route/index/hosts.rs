//! Finds the path trees of a host.

use std::{
    collections::{HashMap, hash_map},
    hash::BuildHasher,
    sync::Arc,
};

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::{
    NONE,
    trie::{Root, Tries},
};
use crate::route::{
    Anchoring, HostPattern, Pattern,
    host::{HostKind, Labels},
};

type ByName<V> = HashMap<Arc<str>, V, RandomState>;

/// Root nodes of path trees by host.
#[derive(Debug)]
pub(super) struct Hosts {
    /// Trees that bear the name of their host.
    exact: HashTable<Root>,
    hashing: RandomState,
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

/// Numbers trees as they turn up.
#[derive(Debug, Default)]
pub(super) struct HostsBuilder {
    exact: ByName<u32>,
    wildcards: ByName<Wildcard>,
    patterns: Vec<(Pattern, u32)>,
    known_patterns: HashMap<(String, Anchoring), u32, RandomState>,
    any: Option<u32>,
    trees: u32,
}

impl Hosts {
    /// The tree for exactly this host.
    pub(super) fn exact(&self, host: &str, tries: &Tries) -> Option<u32> {
        let host = host.as_bytes();
        let hash = self.hashing.hash_one(host);
        let found = self.exact.find(hash, |&root| tries.name(root) == host)?;
        Some(found.node)
    }
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

    /// What each tree is to be called: its host if that is a single one, else nothing.
    pub(super) fn names(&self) -> Vec<&str> {
        let mut names = vec![""; self.trees as usize];
        for (name, &tree) in &self.exact {
            names[tree as usize] = name;
        }
        names
    }

    /// Exchanges tree numbers for the roots of the trees.
    pub(super) fn finish(mut self, roots: &[Root], tries: &Tries) -> Hosts {
        let hashing = self.exact.hasher().clone();
        let hash = |root: &Root| hashing.hash_one(tries.name(*root));
        let mut exact = HashTable::with_capacity(self.exact.len());
        for &tree in self.exact.values() {
            let root = roots[tree as usize];
            exact.insert_unique(hash(&root), root, hash);
        }
        let node = |tree: &mut u32| {
            // `NONE` is no tree's number.
            if let Some(root) = roots.get(*tree as usize) {
                *tree = root.node;
            }
        };
        let mut best_wildcard = NONE;
        for both in self.wildcards.values_mut() {
            for tree in [&mut both.one, &mut both.more] {
                if *tree != NONE {
                    node(tree);
                    best_wildcard = best_wildcard.min(tries.best(*tree));
                }
            }
        }
        self.patterns.iter_mut().for_each(|(_, tree)| node(tree));
        let mut any = self.any.unwrap_or(NONE);
        node(&mut any);
        let longest_wildcard = self.wildcards.keys().map(|name| name.len()).max();
        Hosts {
            exact,
            hashing,
            longest_wildcard: longest_wildcard.unwrap_or(0),
            best_wildcard,
            wildcards: self.wildcards,
            patterns: self.patterns,
            any,
        }
    }
}
