//! Reads YAML and JSON into trees.
//!
//! Works on the parser's events, not on typed values: every node keeps its place, every duplicate key is
//! reported rather than the first, and no input makes anything recurse deeper than [`MAX_DEPTH`].

use std::{collections::HashMap, sync::Arc};

use serde_saphyr::granit_parser::{Event, Marker, Parser, ScalarStyle, Tag};

use super::{
    diagnostic::{Diagnostic, Diagnostics, Location},
    node::{Document, Format, Parsed},
    tree::{Breach, Builder, Entry, Flaw, MAX_DEPTH, Mark, NodeId, Payload},
};

/// Gives every document, and of one that breaks off nothing. Mistakes that leave a document whole are its flaws.
pub(super) fn parse(file: &Arc<str>, text: &str, format: Format) -> Parsed {
    let mut cut_short = false;
    let mut reader = Reader::new(file, format);
    let options = serde_saphyr::granit_parser::options! {
        emit_unresolved_aliases: true,
        emit_comments: false,
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    };
    for event in Parser::new_from_str_with_options(text, options) {
        match event {
            Ok((event, span)) => {
                let mark = mark_of(span.start);
                if let Err(breach) = reader.event(event, mark) {
                    reader.report(Diagnostic::error(breach.to_string()), mark);
                    cut_short = true;
                    break;
                }
            }
            Err(error) => {
                let name = if format == Format::Json {
                    "JSON"
                } else {
                    "YAML"
                };
                let mark = mark_of(*error.marker());
                reader.report(
                    Diagnostic::error(format!("invalid {name}: {}", error.info())),
                    mark,
                );
                reader.abandon();
                cut_short = true;
                break;
            }
        }
    }
    Parsed {
        documents: reader.documents,
        problems: reader.diagnostics,
        cut_short,
    }
}

struct Reader<'f> {
    file: &'f Arc<str>,
    format: Format,
    builder: Builder,
    stack: Vec<Open>,
    /// `None` while the anchored list or mapping is still open.
    anchors: HashMap<usize, Option<NodeId>>,
    root: Option<NodeId>,
    documents: Vec<Document>,
    diagnostics: Diagnostics,
}

/// A list or mapping whose end was not seen yet.
struct Open {
    id: NodeId,
    anchor: usize,
    /// Stands where a key should: reported, read, dropped.
    misplaced: bool,
    content: Content,
}

enum Content {
    Seq(Vec<NodeId>),
    Map {
        entries: Vec<Entry>,
        merges: Vec<NodeId>,
        key: Option<Key>,
    },
}

enum Key {
    Plain(Box<str>, Mark),
    Merge,
    /// Something that cannot be a key; its value is read and dropped.
    Unusable,
}

impl<'f> Reader<'f> {
    fn new(file: &'f Arc<str>, format: Format) -> Self {
        Self {
            file,
            format,
            builder: Builder::default(),
            stack: Vec::new(),
            anchors: HashMap::new(),
            root: None,
            documents: Vec::new(),
            diagnostics: Diagnostics::new(),
        }
    }

    fn event(&mut self, event: Event<'_>, mark: Mark) -> Result<(), Breach> {
        match event {
            Event::DocumentStart(..) => {
                self.anchors.clear();
                self.root = None;
            }
            Event::DocumentEnd => self.end_document(),
            Event::Scalar(text, style, anchor, tag) => {
                self.scalar(&text, style, anchor, tag.as_deref(), mark)?;
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.open(
                    anchor,
                    tag.as_deref(),
                    "seq",
                    Content::Seq(Vec::new()),
                    mark,
                )?;
            }
            Event::MappingStart(_, anchor, tag) => {
                let content = Content::Map {
                    entries: Vec::new(),
                    merges: Vec::new(),
                    key: None,
                };
                self.open(anchor, tag.as_deref(), "map", content, mark)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(anchor) => self.alias(anchor, mark)?,
            Event::UnresolvedAlias(name) => {
                let message = format!("no anchor `&{name}` before this alias");
                if self.expects_key() {
                    let key = self.unusable_key(&message, mark);
                    self.set_key(key);
                } else {
                    self.report(Diagnostic::error(message), mark);
                    let id = self.unreadable(mark)?;
                    self.attach(id);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn end_document(&mut self) {
        // A comment between two separators is a document of one implicit null.
        let root = self
            .root
            .take()
            .filter(|root| !matches!(self.builder.payload(*root), Payload::Null));
        match root {
            Some(root) => {
                let document = self.builder.finish(self.file, Some(self.format), root);
                self.documents.push(document);
            }
            None => self.builder.discard(),
        }
    }

    /// Reports what can be said about mappings whose end will not come.
    fn abandon(&mut self) {
        for open in std::mem::take(&mut self.stack) {
            if let Content::Map { entries, .. } = open.content {
                // What it keeps goes with the document.
                self.without_duplicates(entries);
            }
        }
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<&Tag>,
        mark: Mark,
    ) -> Result<(), Breach> {
        let plain = style == ScalarStyle::Plain;
        if self.expects_key() {
            if anchor != 0 {
                let id = self.builder.push(Payload::String(text.into()), mark)?;
                self.anchors.insert(anchor, Some(id));
            }
            let key = match text {
                "<<" if plain => Key::Merge,
                // The parser writes a key that is not there as the second.
                "" | "~" if plain => self.unusable_key("a key cannot be empty", mark),
                _ => Key::Plain(text.into(), mark),
            };
            self.set_key(key);
            return Ok(());
        }
        let resolved = self.resolve(text, plain, tag, mark);
        let id = match resolved {
            Some(payload) => self.builder.push(payload, mark)?,
            None => self.unreadable(mark)?,
        };
        if anchor != 0 {
            self.anchors.insert(anchor, Some(id));
        }
        self.attach(id);
        Ok(())
    }

    /// The value of a scalar by the core schema of YAML 1.2 (section 10.3), tags first.
    fn resolve(
        &mut self,
        text: &str,
        plain: bool,
        tag: Option<&Tag>,
        mark: Mark,
    ) -> Option<Payload> {
        let string = || Payload::String(text.into());
        let Some(tag) = tag else {
            return Some(if plain { core_schema(text) } else { string() });
        };
        let known = matches!(tag.parts(), ("", "!") | ("!", "")) || tag.original() == "!";
        let wanted = if known {
            Some("str")
        } else {
            tag.core_suffix()
        };
        let value = core_schema(text);
        match (wanted, value) {
            (Some("str"), _) => Some(string()),
            (Some("null"), value @ Payload::Null)
            | (Some("bool"), value @ Payload::Bool(_))
            | (Some("int"), value @ (Payload::Int(_) | Payload::UInt(_)))
            | (Some("float"), value @ (Payload::Int(_) | Payload::UInt(_) | Payload::Float(_))) => {
                Some(value)
            }
            (wanted, _) => {
                let message = match wanted {
                    Some(_) => format!("{text:?} does not fit its tag `{}`", tag.original()),
                    None => format!("the tag `{}` is not supported", tag.original()),
                };
                self.report(Diagnostic::error(message), mark);
                None
            }
        }
    }

    fn open(
        &mut self,
        anchor: usize,
        tag: Option<&Tag>,
        fitting: &str,
        content: Content,
        mark: Mark,
    ) -> Result<(), Breach> {
        if self.stack.len() >= MAX_DEPTH {
            return Err(Breach::Depth);
        }
        if let Some(tag) = tag.filter(|tag| !tag.is_yaml_core_schema_tag(fitting)) {
            self.report(
                Diagnostic::error(format!("the tag `{}` does not fit here", tag.original())),
                mark,
            );
        }
        let misplaced = self.expects_key();
        if misplaced {
            self.unusable_key("a list or mapping cannot be a key", mark);
        }
        let id = self.builder.push(Payload::Null, mark)?;
        if anchor != 0 {
            self.anchors.insert(anchor, None);
        }
        self.stack.push(Open {
            id,
            anchor,
            misplaced,
            content,
        });
        Ok(())
    }

    fn close(&mut self) {
        let Some(open) = self.stack.pop() else { return };
        let payload = match open.content {
            Content::Seq(items) => Payload::Seq(items),
            Content::Map {
                entries, merges, ..
            } => {
                let mut entries = self.without_duplicates(entries);
                if !self.merge(&mut entries, merges) {
                    self.builder.flaw(open.id, Flaw::Unreadable);
                }
                Payload::Map(entries)
            }
        };
        self.builder.fill(open.id, payload);
        if open.anchor != 0 {
            self.anchors.insert(open.anchor, Some(open.id));
        }
        if open.misplaced {
            self.set_key(Key::Unusable);
        } else {
            self.attach(open.id);
        }
    }

    fn alias(&mut self, anchor: usize, mark: Mark) -> Result<(), Breach> {
        let target = self.anchors.get(&anchor).copied().flatten();
        if self.expects_key() {
            let text = target.and_then(|id| match self.builder.payload(id) {
                Payload::String(text) => Some(text.clone()),
                _ => None,
            });
            let key = match text {
                Some(text) => Key::Plain(text, mark),
                None => self.unusable_key("only an alias of a string can be a key", mark),
            };
            self.set_key(key);
            return Ok(());
        }
        let id = match target {
            Some(id) => self.builder.copy(id, mark, self.stack.len() + 1)?,
            None => {
                self.report(
                    Diagnostic::error("this alias stands inside of what it refers to"),
                    mark,
                );
                self.unreadable(mark)?
            }
        };
        self.attach(id);
        Ok(())
    }

    /// A node for something that was reported.
    fn unreadable(&mut self, mark: Mark) -> Result<NodeId, Breach> {
        let id = self.builder.push(Payload::Null, mark)?;
        self.builder.flaw(id, Flaw::Unreadable);
        Ok(id)
    }

    /// Reports what stands where a key should: nobody knows what its mapping was to be.
    fn unusable_key(&mut self, message: &str, mark: Mark) -> Key {
        self.report(Diagnostic::error(message), mark);
        if let Some(map) = self.stack.last() {
            self.builder.flaw(map.id, Flaw::Unreadable);
        }
        Key::Unusable
    }

    fn expects_key(&self) -> bool {
        self.stack
            .last()
            .is_some_and(|open| matches!(open.content, Content::Map { key: None, .. }))
    }

    fn set_key(&mut self, new: Key) {
        if let Some(Open {
            content: Content::Map { key, .. },
            ..
        }) = self.stack.last_mut()
        {
            *key = Some(new);
        }
    }

    /// Puts a finished value where it belongs.
    fn attach(&mut self, id: NodeId) {
        match self.stack.last_mut().map(|open| &mut open.content) {
            None => self.root = Some(id),
            Some(Content::Seq(items)) => items.push(id),
            Some(Content::Map {
                entries,
                merges,
                key,
            }) => match key.take() {
                Some(Key::Plain(key, mark)) => entries.push(Entry {
                    key,
                    mark,
                    value: id,
                }),
                Some(Key::Merge) => merges.push(id),
                Some(Key::Unusable) | None => {}
            },
        }
    }

    fn without_duplicates(&mut self, entries: Vec<Entry>) -> Vec<Entry> {
        let mut first: HashMap<Box<str>, (u32, NodeId)> = HashMap::with_capacity(entries.len());
        let mut kept = Vec::with_capacity(entries.len());
        for entry in entries {
            if let Some((line, value)) = first.get(&entry.key) {
                self.builder.flaw(*value, Flaw::Ambiguous);
                let diagnostic = Diagnostic::error(format!("duplicate key `{}`", entry.key))
                    .hint(format!("it was first written in line {line}"));
                self.report(diagnostic, entry.mark);
            } else {
                first.insert(entry.key.clone(), (entry.mark.line, entry.value));
                kept.push(entry);
            }
        }
        kept
    }

    /// `<<: *a` and `<<: [*a, *b]`: keys of the mapping itself win, then those of the earlier source. Whether
    /// that worked.
    fn merge(&mut self, entries: &mut Vec<Entry>, merges: Vec<NodeId>) -> bool {
        if merges.is_empty() {
            return true;
        }
        let mut worked = true;
        let mut seen: HashMap<Box<str>, ()> = entries.iter().map(|e| (e.key.clone(), ())).collect();
        for source in merges {
            let parts = match self.builder.payload(source) {
                Payload::Seq(items) => items.clone(),
                _ => vec![source],
            };
            for part in parts {
                let Payload::Map(merged) = self.builder.payload(part) else {
                    let mark = self.builder.mark(part);
                    self.report(Diagnostic::error("`<<` merges mappings only"), mark);
                    worked = false;
                    continue;
                };
                for entry in merged.clone() {
                    if seen.insert(entry.key.clone(), ()).is_none() {
                        entries.push(entry);
                    }
                }
            }
        }
        worked
    }

    fn report(&mut self, diagnostic: Diagnostic, mark: Mark) {
        /// A file with more mistakes in its notation than this is not read by a person.
        const MOST: usize = 100;
        if self.diagnostics.len() < MOST {
            let at = Location::new(Arc::clone(self.file), mark.line, mark.column);
            self.diagnostics.push(diagnostic.at(at));
        }
    }
}

fn mark_of(marker: Marker) -> Mark {
    let small = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    Mark {
        line: small(marker.line()),
        column: small(marker.col()).saturating_add(1),
    }
}

/// The value of a plain scalar. Spellings that YAML tools disagree about, and numbers that are not finite,
/// stay strings.
fn core_schema(text: &str) -> Payload {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Payload::Null,
        "true" | "True" | "TRUE" => return Payload::Bool(true),
        "false" | "False" | "FALSE" => return Payload::Bool(false),
        _ => {}
    }
    number(text).unwrap_or_else(|| Payload::String(text.into()))
}

fn number(text: &str) -> Option<Payload> {
    let radix = |digits: &str, radix: u32| {
        let plain = digits.bytes().all(|b| b.is_ascii_alphanumeric());
        let number = u64::from_str_radix(digits, radix).ok().filter(|_| plain)?;
        Some(i64::try_from(number).map_or(Payload::UInt(number), Payload::Int))
    };
    if let Some(digits) = text.strip_prefix("0x") {
        return radix(digits, 16);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return radix(digits, 8);
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let bytes = unsigned.as_bytes();
    let decimal = |b: &u8| b.is_ascii_digit();
    if bytes.first().is_none_or(|b| !decimal(b) && *b != b'.') {
        return None;
    }
    let ambiguous = bytes.len() > 1 && bytes[0] == b'0' && bytes[1].is_ascii_digit();
    if bytes.iter().all(decimal) {
        if ambiguous {
            return None;
        }
        if let Ok(number) = text.parse() {
            return Some(Payload::Int(number));
        }
        if let Ok(number) = text.parse() {
            return Some(Payload::UInt(number));
        }
    }
    let mantissa = unsigned.split(['e', 'E']).next().unwrap_or_default();
    let has_digit = mantissa.bytes().any(|b| b.is_ascii_digit());
    let shape = bytes
        .iter()
        .all(|b| decimal(b) || matches!(b, b'.' | b'e' | b'E' | b'-' | b'+'));
    if ambiguous || !has_digit || !shape {
        return None;
    }
    text.parse()
        .ok()
        .filter(|number: &f64| number.is_finite())
        .map(Payload::Float)
}

#[cfg(test)]
mod tests;
