//! A document as a tree in which every node knows where it was written.

use std::{fmt, path::Path, sync::Arc};

use serde_json::Value;

use super::{
    diagnostic::{Diagnostic, Diagnostics, Location},
    parse_toml, parse_yaml,
    tree::{Builder, Entry, Flaw, MAX_FILE_BYTES, Mark, NodeId, Payload, Stored, Tree, store_json},
};

/// The notation a document is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// YAML 1.2, core schema, with anchors, aliases and `<<` merges. `yes`, `on` and the like are strings,
    /// and so are numbers with leading zeros (`0644`), which tools disagree about.
    Yaml,
    /// TOML 1.1. Dates are strings.
    Toml,
    /// JSON, read by the YAML reader, which also accepts comments and trailing commas.
    Json,
}

impl Format {
    /// The notation a file name promises: `.yaml`, `.yml`, `.toml` or `.json`.
    #[must_use]
    pub fn from_path(path: impl AsRef<Path>) -> Option<Self> {
        let extension = path.as_ref().extension()?.to_str()?;
        match extension.to_ascii_lowercase().as_str() {
            "yaml" | "yml" => Some(Self::Yaml),
            "toml" => Some(Self::Toml),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

/// What could be read of a text or file.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    pub(super) documents: Vec<Document>,
    pub(super) problems: Diagnostics,
    /// Parts are missing that are not known as flaws of the documents.
    pub(super) cut_short: bool,
}

impl Parsed {
    /// Nothing but what is wrong.
    pub(super) fn nothing(problems: impl Into<Diagnostics>) -> Self {
        Self {
            documents: Vec::new(),
            problems: problems.into(),
            cut_short: true,
        }
    }

    fn complete(self) -> Result<Vec<Document>, Diagnostics> {
        if self.problems.has_errors() {
            Err(self.problems)
        } else {
            Ok(self.documents)
        }
    }
}

/// One document of a configuration file. Cheap to clone: a clone shares the tree.
#[derive(Clone, Debug)]
pub struct Document {
    shared: Arc<Tree>,
}

impl Document {
    /// Reads a text. YAML may hold several documents, separated by `---`; empty ones are left out.
    ///
    /// `file_name` is only used in locations.
    ///
    /// # Errors
    /// Every mistake in the notation that could be found (a reader cannot always go on after one), duplicate
    /// keys included, and texts beyond [`MAX_FILE_BYTES`], [`MAX_DEPTH`](super::MAX_DEPTH), [`MAX_NODES`](super::MAX_NODES) or
    /// [`MAX_EXPANDED_BYTES`](super::MAX_EXPANDED_BYTES).
    pub fn parse(file_name: &str, text: &str, format: Format) -> Result<Vec<Self>, Diagnostics> {
        Self::parse_rest(file_name, text, format).complete()
    }

    /// As [`parse`](Self::parse), but gives what is left when there are mistakes.
    pub(super) fn parse_rest(file_name: &str, text: &str, format: Format) -> Parsed {
        let file: Arc<str> = Arc::from(file_name);
        if text.len() > MAX_FILE_BYTES {
            return Parsed::nothing(too_large(file));
        }
        match format {
            Format::Yaml | Format::Json => parse_yaml::parse(&file, text, format),
            Format::Toml => parse_toml::parse(&file, text),
        }
    }

    /// Reads a file whose name says its [`Format`].
    ///
    /// # Errors
    /// As [`parse`](Self::parse), and when the file cannot be read, is not UTF-8, or has another extension.
    pub fn load(path: &Path) -> Result<Vec<Self>, Diagnostics> {
        Self::load_rest(path).complete()
    }

    /// As [`load`](Self::load), but gives what is left when there are mistakes.
    pub(super) fn load_rest(path: &Path) -> Parsed {
        match read_text(path) {
            Ok((text, format)) => Self::parse_rest(&path.display().to_string(), &text, format),
            Err(problem) => Parsed::nothing(problem),
        }
    }

    /// A document made by a program. Its locations name `origin` and no line.
    ///
    /// # Errors
    /// [`MAX_DEPTH`](super::MAX_DEPTH) or [`MAX_NODES`](super::MAX_NODES) is exceeded.
    pub fn from_json(origin: &str, value: &Value) -> Result<Self, Diagnostics> {
        let file: Arc<str> = Arc::from(origin);
        let mut builder = Builder::default();
        match store_json(&mut builder, value, 1) {
            Ok(root) => Ok(builder.finish(&file, None, root)),
            Err(breach) => Err(Diagnostic::error(breach.to_string())
                .at(Location::new(file, 0, 0))
                .into()),
        }
    }

    /// The top of the tree.
    #[must_use]
    pub fn root(&self) -> NodeRef<'_> {
        self.node(self.shared.root)
    }

    /// Whether the document is a mapping with this key at its top: how dialects recognise their documents.
    #[must_use]
    pub fn has_key(&self, key: &str) -> bool {
        self.root().get(key).is_some()
    }

    /// The file as it was named when it was read.
    #[must_use]
    pub fn file(&self) -> &Arc<str> {
        &self.shared.file
    }

    /// The notation it was read from; `None` for a document made by a program.
    #[must_use]
    pub fn format(&self) -> Option<Format> {
        self.shared.format
    }

    pub(super) fn new(tree: Tree) -> Self {
        Self {
            shared: Arc::new(tree),
        }
    }

    pub(super) fn node(&self, id: NodeId) -> NodeRef<'_> {
        NodeRef { document: self, id }
    }

    /// Tells documents apart while they live.
    pub(super) fn identity(&self) -> usize {
        Arc::as_ptr(&self.shared).addr()
    }

    pub(super) fn node_count(&self) -> usize {
        self.shared.nodes.len()
    }

    /// Nodes that the reader had to make something up for, after it reported why.
    pub(super) fn flaws(&self) -> &[(NodeId, Flaw)] {
        &self.shared.flaws
    }

    fn stored(&self, id: NodeId) -> &Stored {
        // Ids come from the builder of this very tree.
        &self.shared.nodes[id.index()]
    }

    pub(super) fn place(&self, mark: Mark) -> Location {
        Location::new(Arc::clone(&self.shared.file), mark.line, mark.column)
    }
}

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Nothing: `null`, `~`, or no value after a key.
    Null,
    /// `true` or `false`.
    Bool,
    /// A whole number that fits 64 bits, signed or not.
    Int,
    /// Any other finite number.
    Float,
    /// Text.
    String,
    /// A list.
    Seq,
    /// A mapping from text to values, in the order of the file.
    Map,
}

/// A node of a [`Document`].
#[derive(Clone, Copy)]
pub struct NodeRef<'d> {
    document: &'d Document,
    id: NodeId,
}

impl<'d> NodeRef<'d> {
    /// What it is.
    #[must_use]
    pub fn kind(self) -> Kind {
        match self.payload() {
            Payload::Null => Kind::Null,
            Payload::Bool(_) => Kind::Bool,
            Payload::Int(_) | Payload::UInt(_) => Kind::Int,
            Payload::Float(_) => Kind::Float,
            Payload::String(_) => Kind::String,
            Payload::Seq(_) => Kind::Seq,
            Payload::Map(_) => Kind::Map,
        }
    }

    /// The text of a string.
    #[must_use]
    pub fn as_str(self) -> Option<&'d str> {
        match self.payload() {
            Payload::String(text) => Some(text),
            _ => None,
        }
    }

    /// The truth of a boolean.
    #[must_use]
    pub fn as_bool(self) -> Option<bool> {
        match self.payload() {
            Payload::Bool(truth) => Some(*truth),
            _ => None,
        }
    }

    /// A whole number.
    #[must_use]
    pub fn as_int(self) -> Option<i128> {
        match self.payload() {
            Payload::Int(number) => Some(i128::from(*number)),
            Payload::UInt(number) => Some(i128::from(*number)),
            _ => None,
        }
    }

    /// The value of a key, when this is a mapping that has it.
    #[must_use]
    pub fn get(self, key: &str) -> Option<Self> {
        self.raw_entries()
            .iter()
            .find(|entry| *entry.key == *key)
            .map(|entry| self.document.node(entry.value))
    }

    /// Whether this is a mapping with the key.
    #[must_use]
    pub fn has_key(self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// The elements of a list; nothing for anything else.
    pub fn items(self) -> impl ExactSizeIterator<Item = Self> + 'd {
        self.raw_items()
            .iter()
            .map(move |id| self.document.node(*id))
    }

    /// Keys and values of a mapping, in the order of the file; nothing for anything else.
    pub fn entries(self) -> impl ExactSizeIterator<Item = (&'d str, Self)> + 'd {
        self.raw_entries()
            .iter()
            .map(move |entry| (&*entry.key, self.document.node(entry.value)))
    }

    /// Where it was written. An alias is where the alias stands, what it stands for where that was written.
    #[must_use]
    pub fn location(self) -> Location {
        self.document.place(self.document.stored(self.id).mark)
    }

    /// Where the key of this value was written; the value's own place when it has no key.
    #[must_use]
    pub fn key_location(self) -> Location {
        let entry = self
            .parent()
            .and_then(|parent| parent.raw_entries().get(self.position()));
        entry.map_or_else(|| self.location(), |entry| self.document.place(entry.mark))
    }

    /// The way here from the top, such as `routes[2].match.path`; empty at the top.
    #[must_use]
    pub fn path(self) -> String {
        let mut steps = Vec::new();
        let mut node = self;
        while let Some(parent) = node.parent() {
            let step = match parent.payload() {
                Payload::Seq(_) => format!("[{}]", node.position()),
                Payload::Map(entries) => {
                    let entry = entries.get(node.position());
                    key_step(entry.map_or("", |entry| &*entry.key))
                }
                _ => String::new(),
            };
            steps.push(step);
            node = parent;
        }
        let path: String = steps.into_iter().rev().collect();
        path.strip_prefix('.')
            .map_or_else(|| path.clone(), str::to_owned)
    }

    /// The sub-tree without its places. Numbers keep their kind.
    #[must_use]
    pub fn to_json(self) -> Value {
        match self.payload() {
            Payload::Null => Value::Null,
            Payload::Bool(truth) => Value::Bool(*truth),
            Payload::Int(number) => Value::from(*number),
            Payload::UInt(number) => Value::from(*number),
            Payload::Float(number) => Value::from(*number),
            Payload::String(text) => Value::from(&**text),
            Payload::Seq(_) => self.items().map(Self::to_json).collect(),
            Payload::Map(_) => Value::Object(
                self.entries()
                    .map(|(key, value)| (key.to_owned(), value.to_json()))
                    .collect(),
            ),
        }
    }

    /// The document it belongs to.
    #[must_use]
    pub fn document(self) -> &'d Document {
        self.document
    }

    pub(super) fn id(self) -> NodeId {
        self.id
    }

    pub(super) fn payload(self) -> &'d Payload {
        &self.document.stored(self.id).payload
    }

    pub(super) fn raw_items(self) -> &'d [NodeId] {
        match self.payload() {
            Payload::Seq(items) => items,
            _ => &[],
        }
    }

    pub(super) fn raw_entries(self) -> &'d [Entry] {
        match self.payload() {
            Payload::Map(entries) => entries,
            _ => &[],
        }
    }

    fn position(self) -> usize {
        self.document.stored(self.id).position as usize
    }

    pub(super) fn parent(self) -> Option<Self> {
        self.document
            .stored(self.id)
            .parent
            .map(|id| self.document.node(id))
    }
}

impl fmt::Debug for NodeRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "NodeRef({:?} at {} {})",
            self.kind(),
            self.location(),
            self.path()
        )
    }
}

/// Equal content; places, and the order of keys, do not matter.
impl PartialEq for NodeRef<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self.payload(), other.payload()) {
            (Payload::Null, Payload::Null) => true,
            (Payload::Bool(a), Payload::Bool(b)) => a == b,
            (Payload::Int(a), Payload::Int(b)) => a == b,
            (Payload::UInt(a), Payload::UInt(b)) => a == b,
            (Payload::Float(a), Payload::Float(b)) => a.total_cmp(b).is_eq(),
            (Payload::String(a), Payload::String(b)) => a == b,
            (Payload::Seq(a), Payload::Seq(b)) => {
                a.len() == b.len() && self.items().eq(other.items())
            }
            (Payload::Map(a), Payload::Map(b)) => {
                a.len() == b.len()
                    && (self.entries().eq(other.entries()) || sorted(*self).eq(&sorted(*other)))
            }
            _ => false,
        }
    }
}

impl Eq for NodeRef<'_> {}

fn sorted(node: NodeRef<'_>) -> Vec<(&str, NodeRef<'_>)> {
    let mut entries: Vec<_> = node.entries().collect();
    entries.sort_by_key(|(key, _)| *key);
    entries
}

fn key_step(key: &str) -> String {
    let plain = !key.is_empty()
        && key
            .chars()
            .all(|c| c.is_alphanumeric() || c == '_' || c == '-');
    if plain {
        format!(".{key}")
    } else {
        format!("[{key:?}]")
    }
}

fn too_large(file: Arc<str>) -> Diagnostic {
    Diagnostic::error(format!(
        "the file is larger than {} MiB",
        MAX_FILE_BYTES >> 20
    ))
    .at(Location::new(file, 0, 0))
    .hint("split it into several files")
}

/// The text of a file whose name says its notation.
fn read_text(path: &Path) -> Result<(String, Format), Diagnostic> {
    let file: Arc<str> = Arc::from(path.display().to_string());
    let fail =
        |message: String| Diagnostic::error(message).at(Location::new(Arc::clone(&file), 0, 0));
    let Some(format) = Format::from_path(path) else {
        let problem = fail("unknown kind of file".to_owned());
        return Err(problem.hint("name it .yaml, .yml, .toml or .json"));
    };
    let bytes =
        read_limited(path).map_err(|error| fail(format!("cannot read the file: {error}")))?;
    if bytes.len() > MAX_FILE_BYTES {
        return Err(too_large(file));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        fail(format!("the file is not UTF-8 text (byte {offset})"))
    })?;
    Ok((text, format))
}

/// Reads at most one byte more than is allowed, whatever the file system says about the size.
fn read_limited(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let limit = MAX_FILE_BYTES as u64 + 1;
    std::fs::File::open(path)?
        .take(limit)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
