//! The nodes of a document, and what collects them while a text is read.

use std::{collections::HashMap, fmt, sync::Arc};

use serde_json::Value;

use super::node::{Document, Format};

/// Largest file that is read, in bytes (8 MiB). A larger one is refused before it is parsed.
pub const MAX_FILE_BYTES: usize = 8 * 1024 * 1024;
/// Deepest nesting of lists and mappings, aliases followed.
pub const MAX_DEPTH: usize = 128;
/// Most values in one file, counting what YAML aliases stand for.
pub const MAX_NODES: usize = 1_000_000;
/// Most text that the YAML aliases of one file may stand for, in bytes (32 MiB).
pub const MAX_EXPANDED_BYTES: usize = 32 * 1024 * 1024;

/// Index of a node in its document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct NodeId(u32);

impl NodeId {
    pub(super) const fn index(self) -> usize {
        self.0 as usize
    }
}

#[derive(Debug, Clone)]
pub(super) enum Payload {
    Null,
    Bool(bool),
    Int(i64),
    /// Only above `i64::MAX`.
    UInt(u64),
    /// Always finite: other spellings stay strings.
    Float(f64),
    String(Box<str>),
    Seq(Vec<NodeId>),
    Map(Vec<Entry>),
}

#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: Box<str>,
    pub(super) mark: Mark,
    pub(super) value: NodeId,
}

/// Line and column, from 1; 0 for nowhere.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Mark {
    pub(super) line: u32,
    pub(super) column: u32,
}

#[derive(Debug)]
pub(super) struct Stored {
    pub(super) payload: Payload,
    pub(super) mark: Mark,
    pub(super) parent: Option<NodeId>,
    /// Its position among the parts of its parent: long lists are not to be searched for each of theirs.
    pub(super) position: u32,
}

/// What stops a document from being stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Breach {
    Nodes,
    Depth,
    Expansion,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nodes => write!(f, "the file holds more than {MAX_NODES} values"),
            Self::Depth => write!(f, "values are nested more than {MAX_DEPTH} deep"),
            Self::Expansion => {
                write!(
                    f,
                    "aliases stand for more than {} MiB of text",
                    MAX_EXPANDED_BYTES >> 20
                )
            }
        }
    }
}

/// What a mistake in the notation did to a node, which was reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    /// What stands there is not what was meant.
    Unreadable,
    /// Its key was given again: there may be more to it.
    Ambiguous,
}

/// Collects nodes while a document is read. The budget spans all documents of a file.
#[derive(Debug, Default)]
pub(super) struct Builder {
    nodes: Vec<Stored>,
    flaws: Vec<(NodeId, Flaw)>,
    /// The first flaw of each node that has any.
    flawed: HashMap<NodeId, Flaw>,
    spent: usize,
    expanded: usize,
}

impl Builder {
    pub(super) fn push(&mut self, payload: Payload, mark: Mark) -> Result<NodeId, Breach> {
        if self.spent >= MAX_NODES {
            return Err(Breach::Nodes);
        }
        self.spent += 1;
        // MAX_NODES keeps the index far below u32::MAX.
        let id = NodeId(u32::try_from(self.nodes.len()).map_err(|_| Breach::Nodes)?);
        self.nodes.push(Stored {
            payload,
            mark,
            parent: None,
            position: 0,
        });
        Ok(id)
    }

    pub(super) fn payload(&self, id: NodeId) -> &Payload {
        &self.nodes[id.index()].payload
    }

    pub(super) fn mark(&self, id: NodeId) -> Mark {
        self.nodes[id.index()].mark
    }

    /// Notes that a node is not to be judged by what stands there.
    pub(super) fn flaw(&mut self, id: NodeId, flaw: Flaw) {
        self.flaws.push((id, flaw));
        self.flawed.entry(id).or_insert(flaw);
    }

    /// Gives a list or mapping its content and becomes the parent of what is in it.
    pub(super) fn fill(&mut self, id: NodeId, payload: Payload) {
        let mut adopt = |(position, child): (u32, NodeId)| {
            let child = &mut self.nodes[child.index()];
            (child.parent, child.position) = (Some(id), position);
        };
        match &payload {
            Payload::Seq(items) => (0..).zip(items.iter().copied()).for_each(&mut adopt),
            Payload::Map(entries) => (0..)
                .zip(entries.iter().map(|entry| entry.value))
                .for_each(&mut adopt),
            _ => {}
        }
        self.nodes[id.index()].payload = payload;
    }

    /// A copy of a whole sub-tree, its top placed at `mark`: what an alias stands for.
    pub(super) fn copy(&mut self, id: NodeId, mark: Mark, depth: usize) -> Result<NodeId, Breach> {
        if depth > MAX_DEPTH {
            return Err(Breach::Depth);
        }
        let bytes = match self.payload(id) {
            Payload::String(text) => text.len(),
            Payload::Map(entries) => entries.iter().map(|entry| entry.key.len()).sum(),
            _ => 0,
        };
        self.expanded += bytes;
        if self.expanded > MAX_EXPANDED_BYTES {
            return Err(Breach::Expansion);
        }
        let mut payload = self.payload(id).clone();
        let below = depth + 1;
        match &mut payload {
            Payload::Seq(items) => {
                for item in items {
                    *item = self.copy(*item, self.nodes[item.index()].mark, below)?;
                }
            }
            Payload::Map(entries) => {
                for entry in entries {
                    let at = self.nodes[entry.value.index()].mark;
                    entry.value = self.copy(entry.value, at, below)?;
                }
            }
            _ => {}
        }
        let copy = self.push(Payload::Null, mark)?;
        self.fill(copy, payload);
        if let Some(flaw) = self.flawed.get(&id).copied() {
            self.flaw(copy, flaw);
        }
        Ok(copy)
    }

    /// Ends a document and starts the next one of the same file.
    pub(super) fn finish(
        &mut self,
        file: &Arc<str>,
        format: Option<Format>,
        root: NodeId,
    ) -> Document {
        self.flawed.clear();
        Document::new(Tree {
            file: Arc::clone(file),
            format,
            nodes: std::mem::take(&mut self.nodes),
            flaws: std::mem::take(&mut self.flaws),
            root,
        })
    }

    /// Drops what was collected for a document that turned out to be empty.
    pub(super) fn discard(&mut self) {
        self.nodes.clear();
        self.flaws.clear();
        self.flawed.clear();
    }
}

#[derive(Debug)]
pub(super) struct Tree {
    pub(super) file: Arc<str>,
    pub(super) format: Option<Format>,
    pub(super) nodes: Vec<Stored>,
    /// Nodes that the reader had to make something up for. Empty when there were no mistakes.
    pub(super) flaws: Vec<(NodeId, Flaw)>,
    pub(super) root: NodeId,
}

/// Stores a value made by a program.
pub(super) fn store_json(
    builder: &mut Builder,
    value: &Value,
    depth: usize,
) -> Result<NodeId, Breach> {
    if depth > MAX_DEPTH {
        return Err(Breach::Depth);
    }
    let payload = match value {
        Value::Null => Payload::Null,
        Value::Bool(truth) => Payload::Bool(*truth),
        Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(whole), _, _) => Payload::Int(whole),
            (_, Some(whole), _) => Payload::UInt(whole),
            (_, _, Some(number)) if number.is_finite() => Payload::Float(number),
            _ => Payload::String(number.to_string().into()),
        },
        Value::String(text) => Payload::String(text.as_str().into()),
        Value::Array(_) | Value::Object(_) => Payload::Null,
    };
    let id = builder.push(payload, Mark::default())?;
    match value {
        Value::Array(items) => {
            let items = items
                .iter()
                .map(|item| store_json(builder, item, depth + 1));
            let items = items.collect::<Result<_, _>>()?;
            builder.fill(id, Payload::Seq(items));
        }
        Value::Object(entries) => {
            let entries = entries.iter().map(|(key, value)| {
                let value = store_json(builder, value, depth + 1)?;
                Ok(Entry {
                    key: key.as_str().into(),
                    mark: Mark::default(),
                    value,
                })
            });
            let entries = entries.collect::<Result<_, _>>()?;
            builder.fill(id, Payload::Map(entries));
        }
        _ => {}
    }
    Ok(id)
}
