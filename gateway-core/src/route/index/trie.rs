//! Radix trees over path bytes, all in one arena: one tree for each host pattern.

use std::{ops::Range, slice};

use super::NONE;

/// How a key has to meet the path for its entry to be a candidate. In the order of a node's entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reach {
    /// The path begins with the key.
    Text,
    /// The path is the key, or goes on with a slash.
    Segment,
    /// The path is the key.
    Whole,
}

/// An entry to be put into a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Item<'k> {
    pub(super) tree: u32,
    pub(super) key: &'k [u8],
    pub(super) reach: Reach,
    pub(super) entry: u32,
}

#[derive(Debug, Default)]
pub(super) struct Tries {
    nodes: Vec<Node>,
    /// The first byte of each node's label, so that siblings can be searched in one place.
    first: Vec<u8>,
    labels: Vec<u8>,
    entries: Vec<u32>,
}

/// Siblings are neighbours, and come after their parent. Aligned so that a node never costs two cache lines.
#[derive(Clone, Copy, Debug)]
#[repr(align(32))]
struct Node {
    label: u32,
    /// Keys have fewer than 2^16 bytes.
    label_length: u16,
    /// At most one for each byte.
    children: u16,
    child: u32,
    /// Where the entries begin, and where those of each [`Reach`] end.
    entries: u32,
    text_end: u32,
    segment_end: u32,
    whole_end: u32,
    /// The best entry of this node and all below.
    best: u32,
}

impl Tries {
    /// Builds a tree for each of `names` and gives their roots. Every tree has an item.
    ///
    /// The name of a tree, empty for most kinds, is kept next to the label of its root, where it costs a
    /// selection that compares both no further cache line.
    pub(super) fn build(mut items: Vec<Item<'_>>, names: &[&str]) -> (Self, Vec<Root>) {
        items.sort_unstable();
        let mut tries = Self::default();
        let mut roots = Vec::with_capacity(names.len());
        let mut queue = Vec::new();
        for (tree, name) in items.chunk_by(|a, b| a.tree == b.tree).zip(names) {
            let start = number(tries.labels.len());
            tries.labels.extend_from_slice(name.as_bytes());
            roots.push(Root {
                name: start,
                name_end: number(tries.labels.len()),
                node: tries.grow(tree, &mut queue),
            });
        }
        for at in (0..tries.nodes.len()).rev() {
            let node = tries.nodes[at];
            let own = tries.entries[range(node.entries, node.whole_end)].iter();
            let below = tries.nodes[node.child_range()].iter();
            let best = own.copied().chain(below.map(|child| child.best)).min();
            tries.nodes[at].best = best.unwrap_or(NONE);
        }
        (tries, roots)
    }

    /// Adds one tree. Breadth first, which makes siblings neighbours and needs no call stack: a tree may be
    /// as deep as paths are long.
    fn grow<'i, 'k>(&mut self, tree: &'i [Item<'k>], queue: &mut Vec<Pending<'i, 'k>>) -> u32 {
        queue.clear();
        let root = self.add_node(tree, 0);
        let mut next = 0;
        queue.push(root);
        while let Some(&Pending { node, items, depth }) = queue.get(next) {
            next += 1;
            let here = items.partition_point(|item| item.key.len() == depth);
            let (own, below) = items.split_at(here);
            let [entries, text_end, segment_end, whole_end] = self.add_entries(own);
            let child = number(self.nodes.len());
            for branch in below.chunk_by(|a, b| a.key[depth] == b.key[depth]) {
                let pending = self.add_node(branch, depth);
                queue.push(pending);
            }
            let children = self.nodes.len() - child as usize;
            let node = &mut self.nodes[node as usize];
            (node.child, node.children) = (child, short(children));
            (node.entries, node.text_end) = (entries, text_end);
            (node.segment_end, node.whole_end) = (segment_end, whole_end);
        }
        root.node
    }

    /// Adds a node whose label is what the keys of `items` have in common from byte `depth` on. Sorted keys
    /// have in common what the first and the last have.
    fn add_node<'i, 'k>(&mut self, items: &'i [Item<'k>], depth: usize) -> Pending<'i, 'k> {
        let first = items.first().map_or(&[][..], |item| &item.key[depth..]);
        let last = items.last().map_or(&[][..], |item| &item.key[depth..]);
        let common = first.iter().zip(last).take_while(|(a, b)| a == b).count();
        let node = number(self.nodes.len());
        let label = number(self.labels.len());
        self.labels.extend_from_slice(&first[..common]);
        self.first.push(first.first().copied().unwrap_or(0));
        self.nodes.push(Node {
            label,
            label_length: short(common),
            children: 0,
            child: 0,
            entries: 0,
            text_end: 0,
            segment_end: 0,
            whole_end: 0,
            best: NONE,
        });
        Pending {
            node,
            items,
            depth: depth + common,
        }
    }

    fn add_entries(&mut self, own: &[Item<'_>]) -> [u32; 4] {
        let start = number(self.entries.len());
        self.entries.extend(own.iter().map(|item| item.entry));
        let end_of = |reach| start + number(own.partition_point(|item| item.reach <= reach));
        [
            start,
            end_of(Reach::Text),
            end_of(Reach::Segment),
            end_of(Reach::Whole),
        ]
    }

    /// The best entry of a tree.
    pub(super) fn best(&self, root: u32) -> u32 {
        self.nodes[root as usize].best
    }

    /// The name of the tree with this root.
    pub(super) fn name(&self, root: Root) -> &[u8] {
        &self.labels[range(root.name, root.name_end)]
    }

    /// The entries of a run that [`Walk::next`] gave, best first.
    pub(super) fn entries<'e>(&'e self, run: &'e Run) -> &'e [u32] {
        match run {
            Run::One(entry) => slice::from_ref(entry),
            Run::Range(start, end) => &self.entries[range(*start, *end)],
        }
    }

    /// Goes along `path` from `root` down.
    pub(super) fn walk<'t>(&'t self, root: u32, path: &'t [u8]) -> Walk<'t> {
        Walk {
            tries: self,
            node: root,
            rest: path,
        }
    }

    fn child(&self, node: &Node, byte: u8) -> u32 {
        let siblings = &self.first[node.child_range()];
        let found = if siblings.len() <= 16 {
            siblings.iter().position(|&first| first == byte)
        } else {
            siblings.binary_search(&byte).ok()
        };
        found.map_or(NONE, |at| node.child + number(at))
    }
}

struct Pending<'i, 'k> {
    node: u32,
    items: &'i [Item<'k>],
    /// Bytes of the keys up to the end of the node's label.
    depth: usize,
}

impl Clone for Pending<'_, '_> {
    fn clone(&self) -> Self {
        *self
    }
}

impl Copy for Pending<'_, '_> {}

/// Where a tree begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Root {
    pub(super) node: u32,
    name: u32,
    name_end: u32,
}

/// Entries of one node that the path reaches in one way.
#[derive(Clone, Copy, Debug)]
pub(super) enum Run {
    /// The only entry of a node without children, which the node itself names.
    One(u32),
    /// From and to.
    Range(u32, u32),
}

/// The way along a path, node by node.
#[derive(Debug)]
pub(super) struct Walk<'t> {
    tries: &'t Tries,
    node: u32,
    rest: &'t [u8],
}

impl Walk<'_> {
    /// The runs of the next node that the path reaches, some of them empty. Nothing once no entry below can
    /// be better than `bound`.
    pub(super) fn next(&mut self, bound: u32) -> Option<[Run; 3]> {
        if self.node == NONE {
            return None;
        }
        let node = &self.tries.nodes[self.node as usize];
        if node.best >= bound {
            return None;
        }
        let label_end = node.label + u32::from(node.label_length);
        let label = &self.tries.labels[range(node.label, label_end)];
        self.rest = self.rest.strip_prefix(label)?;
        let following = self.rest.first().copied();
        self.node = match following {
            Some(byte) if node.children > 0 => self.tries.child(node, byte),
            _ => NONE,
        };
        let single = node.children == 0 && node.whole_end - node.entries == 1;
        let run = |start, end, reached: bool| match (single, reached) {
            (true, true) if start < end => Run::One(node.best),
            (_, true) => Run::Range(start, end),
            (_, false) => Run::Range(start, start),
        };
        Some([
            run(node.entries, node.text_end, true),
            run(
                node.text_end,
                node.segment_end,
                matches!(following, None | Some(b'/')),
            ),
            run(node.segment_end, node.whole_end, following.is_none()),
        ])
    }
}

impl Node {
    fn child_range(&self) -> Range<usize> {
        range(self.child, self.child + u32::from(self.children))
    }
}

impl Run {
    pub(super) const EMPTY: Self = Self::Range(0, 0);

    pub(super) fn is_empty(self) -> bool {
        matches!(self, Self::Range(start, end) if start == end)
    }
}

fn range(start: u32, end: u32) -> Range<usize> {
    start as usize..end as usize
}

/// Counts stay within `u32`: the builder refuses more entries, and labels are parts of their keys.
fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(NONE)
}

fn short(count: usize) -> u16 {
    u16::try_from(count).unwrap_or(u16::MAX)
}
