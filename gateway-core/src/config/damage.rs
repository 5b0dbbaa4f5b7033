//! What is missing from a configuration that was read in spite of mistakes, so that nobody is told of what only
//! follows from them.

use std::collections::{HashMap, HashSet};

use super::{
    capture::Located,
    node::{Document, NodeRef},
    tree::NodeId,
};

/// What decoding left out of one document.
#[derive(Debug, Default)]
pub(super) struct Lost {
    /// Values that were left out.
    nodes: HashSet<NodeId>,
    /// Lists and mappings that lack something anywhere in them.
    around: HashSet<NodeId>,
    /// Keys that a mapping lacks although it may have been meant to have them.
    keys: HashSet<(NodeId, &'static str)>,
    /// Values of misspelt keys, read as those of the right ones.
    renamed: HashMap<(NodeId, &'static str), NodeId>,
}

impl Lost {
    /// Notes a value that was left out.
    pub(super) fn node(&mut self, node: NodeRef<'_>) {
        self.nodes.insert(node.id());
        self.reaches(node.parent());
    }

    /// Notes a key that is missing, or written in a way that is not understood.
    pub(super) fn key(&mut self, map: NodeRef<'_>, key: &'static str) {
        self.keys.insert((map.id(), key));
        self.reaches(Some(map));
    }

    /// Notes that `value` was read as the value of `key`, though its own key is another.
    pub(super) fn renamed(&mut self, map: NodeRef<'_>, key: &'static str, value: NodeId) {
        self.renamed.insert((map.id(), key), value);
    }

    /// Whether nothing was left out or guessed.
    pub(super) fn is_nothing(&self) -> bool {
        self.around.is_empty() && self.nodes.is_empty() && self.renamed.is_empty()
    }

    fn reaches(&mut self, mut next: Option<NodeRef<'_>>) {
        while let Some(node) = next {
            if !self.around.insert(node.id()) {
                break;
            }
            next = node.parent();
        }
    }

    /// The value that was read for a key.
    pub(super) fn get<'d>(&self, map: NodeRef<'d>, key: &str) -> Option<NodeRef<'d>> {
        let renamed = || self.renamed.get(&(map.id(), key));
        map.get(key)
            .or_else(|| renamed().map(|value| map.document().node(*value)))
    }

    fn lacks(&self, map: NodeRef<'_>, key: &str) -> bool {
        self.keys.contains(&(map.id(), key))
    }

    /// Whether anything of the value under `keys` was left out, or is only believed to be the one.
    pub(super) fn lost(&self, object: NodeRef<'_>, keys: &[&str]) -> bool {
        let mut node = object;
        for key in keys {
            let guessed = self.renamed.contains_key(&(node.id(), key));
            if self.nodes.contains(&node.id()) || self.lacks(node, key) || guessed {
                return true;
            }
            match node.get(key) {
                Some(below) => node = below,
                None => return false,
            }
        }
        self.nodes.contains(&node.id()) || self.around.contains(&node.id())
    }

    /// Whether the list under a key is not the one that was written: it, or whole elements of it, were left out.
    fn is_short(&self, object: NodeRef<'_>, key: &str) -> bool {
        if self.nodes.contains(&object.id()) || self.lacks(object, key) {
            return true;
        }
        self.get(object, key).is_some_and(|list| {
            self.nodes.contains(&list.id())
                || list.items().any(|item| self.nodes.contains(&item.id()))
        })
    }
}

/// What is missing from a whole configuration.
#[derive(Debug, Default)]
pub(crate) struct Damage {
    /// By the identity of the document.
    documents: HashMap<usize, (Document, Lost)>,
    /// Files or documents could not be used at all: anything may have been in them.
    incomplete: bool,
}

impl Damage {
    /// Notes what one document lost.
    pub(super) fn add(&mut self, document: &Document, lost: Lost) {
        if !lost.is_nothing() {
            self.documents
                .insert(document.identity(), (document.clone(), lost));
        }
    }

    /// Notes that a whole document or file could not be used.
    pub(super) fn set_incomplete(&mut self) {
        self.incomplete = true;
    }

    /// Whether a whole document or file could not be used.
    pub(super) fn is_incomplete(&self) -> bool {
        self.incomplete
    }

    /// Whether elements of a list at the top, such as `upstreams`, may be missing.
    pub(crate) fn is_short(&self, list: &str) -> bool {
        let mut documents = self.documents.values();
        self.incomplete || documents.any(|(document, lost)| lost.is_short(document.root(), list))
    }

    /// Whether anything under `keys`, seen from the top of a document, is missing.
    pub(super) fn lost_at_top(&self, keys: &[&str]) -> bool {
        let mut documents = self.documents.values();
        documents.any(|(document, lost)| lost.lost(document.root(), keys))
    }

    /// Whether anything under `keys` is missing, in the object that `name` is a value of.
    pub(crate) fn lost<T>(&self, name: &Located<T>, keys: &[&str]) -> bool {
        let Some(object) = name.parent().filter(|_| !self.documents.is_empty()) else {
            return false;
        };
        self.documents
            .get(&object.document().identity())
            .is_some_and(|(_, lost)| lost.lost(object, keys))
    }
}

#[cfg(test)]
mod tests;
