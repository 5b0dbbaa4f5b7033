//! The rounds: run, note the mistake, leave the node out, run again.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
};

use serde::de::DeserializeOwned;

use super::NodeDe;
use crate::config::{
    damage::Lost,
    diagnostic::{Diagnostic, Diagnostics, did_you_mean},
    fault::{Cause, Fault},
    node::{Document, NodeRef},
    tree::{Entry, Flaw, NodeId},
};

/// Mistakes that one [`decode`] reports; it stops looking for more.
pub const MAX_MISTAKES: usize = 200;

/// Nodes that all rounds together may visit: bounds the time a large document with many mistakes takes.
const WORK: usize = 20_000_000;

/// Decodes a tree.
///
/// `None` means that at least one error was added to `diagnostics`, and `Some` that none was.
///
/// Every mistake is reported at its place, with the path and, where one can be guessed, a hint: unknown keys
/// (where the type denies them), missing keys, wrong kinds of value, values that a type refuses. A message of
/// a `Deserialize` implementation may carry a hint behind `\nhint: `. At most [`MAX_MISTAKES`] are reported.
pub fn decode<T: DeserializeOwned>(node: NodeRef<'_>, diagnostics: &mut Diagnostics) -> Option<T> {
    decode_hiding(node, None, diagnostics)
}

/// As [`decode`], without one key of the top mapping.
pub(in crate::config) fn decode_hiding<T: DeserializeOwned>(
    node: NodeRef<'_>,
    hidden: Option<&str>,
    diagnostics: &mut Diagnostics,
) -> Option<T> {
    let recovered = recover(node, hidden, diagnostics);
    recovered.value.filter(|_| recovered.clean)
}

/// What could be read of a tree.
pub(crate) struct Recovered<T> {
    /// The value, without what was wrong; something stands in for keys that must be there. `None` when too
    /// much was wrong to make one.
    pub(crate) value: Option<T>,
    /// Whether nothing was wrong.
    pub(crate) clean: bool,
    /// What the value lacks.
    pub(in crate::config) lost: Lost,
}

/// As [`decode_hiding`], and gives what is left when there are mistakes: for stages that look for mistakes of
/// other kinds.
///
/// A key that is probably misspelt is read as the one that was probably meant, if that fits.
pub(in crate::config) fn recover<T: DeserializeOwned>(
    node: NodeRef<'_>,
    hidden: Option<&str>,
    diagnostics: &mut Diagnostics,
) -> Recovered<T> {
    let flawed = flaws_in(node);
    let state = State {
        skipped: unreadable(&flawed).collect(),
        ..State::default()
    };
    let session = Session {
        document: node.document(),
        top: node.id(),
        hidden,
        state: RefCell::new(state),
    };
    let rounds =
        (WORK / session.document.node_count().max(1)).clamp(MAX_MISTAKES / 4, MAX_MISTAKES * 4);
    let (mut left_over, mut value) = (true, None);
    for _ in 0..rounds {
        match T::deserialize(NodeDe::new(&session, node.id())) {
            Ok(found) => {
                value = Some(found);
                left_over = false;
                break;
            }
            Err(fault) => {
                if !session.note(&fault) {
                    left_over = false;
                    break;
                }
            }
        }
        if session.is_full() {
            break;
        }
    }
    let clean = value.is_some() && session.is_clean() && flawed.is_empty();
    let mut lost = session.lost();
    for (id, _) in &flawed {
        lost.node(node.document().node(*id));
    }
    let state = session.state.into_inner();
    let count = state.found.len();
    diagnostics.extend(state.found);
    if left_over {
        let message = format!("stopped looking after {count} mistakes");
        diagnostics.push(
            Diagnostic::error(message)
                .at(node.location())
                .path(node.path()),
        );
    } else if count == 0 && !clean && flawed.is_empty() {
        diagnostics.push(
            Diagnostic::error("cannot be decoded")
                .at(node.location())
                .path(node.path()),
        );
    }
    Recovered { value, clean, lost }
}

/// The nodes of a tree that the reader of the document had to make something up for.
fn flaws_in(top: NodeRef<'_>) -> Vec<(NodeId, Flaw)> {
    let document = top.document();
    let is_in = |id: NodeId| {
        let mut above = std::iter::successors(Some(document.node(id)), |node| node.parent());
        above.any(|node| node.id() == top.id())
    };
    let all = document.flaws().iter().copied();
    all.filter(|(id, _)| is_in(*id)).collect()
}

fn unreadable(flaws: &[(NodeId, Flaw)]) -> impl Iterator<Item = NodeId> {
    let unreadable = flaws.iter().filter(|(_, flaw)| *flaw == Flaw::Unreadable);
    unreadable.map(|(id, _)| *id)
}

/// What one call of [`decode`] has learned so far.
pub(in crate::config) struct Session<'s> {
    document: &'s Document,
    top: NodeId,
    hidden: Option<&'s str>,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    found: Vec<Diagnostic>,
    /// Nodes that are left out because they are wrong, or because something they need is.
    skipped: HashSet<NodeId>,
    /// Values whose key nothing knows.
    unknown: HashSet<NodeId>,
    /// The ones among them that are read as the value of another key.
    renamed: HashMap<NodeId, &'static str>,
    /// Keys of mappings that were probably meant by unknown ones, whose values do not fit them.
    missed: Vec<(NodeId, &'static str)>,
    /// Missing keys of mappings, to be filled with a placeholder so that the next missing one shows.
    assumed: HashMap<NodeId, Vec<&'static str>>,
    /// Types that were seen to refuse unknown keys, by name and keys: theirs need no round each.
    strict: HashSet<(&'static str, &'static [&'static str])>,
}

impl<'s> Session<'s> {
    pub(super) fn node(&self, id: NodeId) -> NodeRef<'s> {
        self.document.node(id)
    }

    pub(super) fn is_skipped(&self, id: NodeId) -> bool {
        self.state.borrow().skipped.contains(&id)
    }

    pub(super) fn is_hidden(&self, map: NodeId, entry: &Entry) -> bool {
        map == self.top && self.hidden == Some(&*entry.key)
    }

    pub(super) fn assumed(&self, map: NodeId) -> Vec<&'static str> {
        self.state
            .borrow()
            .assumed
            .get(&map)
            .cloned()
            .unwrap_or_default()
    }

    /// The key under which a value is read.
    pub(super) fn key<'e>(&self, entry: &'e Entry) -> &'e str {
        let renamed = self.state.borrow().renamed.get(&entry.value).copied();
        renamed.unwrap_or(&entry.key)
    }

    /// A type refused a key: all its mappings are checked from now on.
    pub(super) fn learn_strict(&self, name: &'static str, keys: &'static [&'static str]) {
        self.state.borrow_mut().strict.insert((name, keys));
    }

    /// Reports and leaves out a key that a strict type does not know. Whether it did.
    pub(super) fn refuses(
        &self,
        name: &'static str,
        known: &'static [&'static str],
        entry: &Entry,
    ) -> bool {
        if known.contains(&self.key(entry)) || !self.state.borrow().strict.contains(&(name, known))
        {
            return false;
        }
        self.report_key(
            entry.value,
            &Cause::UnknownKey {
                key: entry.key.to_string(),
                known,
            },
        );
        self.is_skipped(entry.value)
    }

    fn is_clean(&self) -> bool {
        let state = self.state.borrow();
        state.found.is_empty() && state.skipped.is_empty() && state.assumed.is_empty()
    }

    /// What the value of the last round lacks.
    fn lost(&self) -> Lost {
        let state = self.state.borrow();
        let mut lost = Lost::default();
        for id in state.skipped.difference(&state.unknown) {
            lost.node(self.node(*id));
        }
        let assumed = state.assumed.iter();
        let assumed = assumed.flat_map(|(map, keys)| keys.iter().map(|key| (*map, *key)));
        for (map, key) in assumed.chain(state.missed.iter().copied()) {
            lost.key(self.node(map), key);
        }
        for (value, key) in &state.renamed {
            if let Some(map) = self.node(*value).parent() {
                lost.renamed(map, key, *value);
            }
        }
        lost
    }

    fn is_full(&self) -> bool {
        self.state.borrow().found.len() >= MAX_MISTAKES
    }

    /// Takes in why a round failed; whether another one makes sense.
    fn note(&self, fault: &Fault) -> bool {
        let id = fault.node().unwrap_or(self.top);
        // The guess was wrong; that its key is unknown was reported.
        if self.forget_guess(id) {
            return true;
        }
        match fault.cause() {
            cause if fault.is_at_key() => return self.report_key(id, cause),
            Cause::MissingKey(key) => return self.note_missing(id, key),
            // Raised from a buffer, without the place of the key.
            Cause::UnknownKey { key, .. } => match self.node(id).get(key) {
                Some(value) if !self.is_skipped(value.id()) => {
                    return self.report_key(value.id(), fault.cause());
                }
                _ => self.report(id, fault.cause()),
            },
            Cause::Consequence => {}
            Cause::Message(_) if self.forget_guesses_in(id) => return true,
            // What a type says about a whole may be about a part that was left out.
            Cause::Message(_) if self.lacks_part(id) => {}
            // About what stands in for a missing part, which a buffer kept until its place was forgotten.
            Cause::Message(_) | Cause::Expected { .. } if self.lacks_key(id) => {}
            cause => self.report(id, cause),
        }
        self.give_up_on(id)
    }

    /// Leaves a node out; whether that left anything to look at, and anything new.
    fn give_up_on(&self, id: NodeId) -> bool {
        self.state.borrow_mut().skipped.insert(id) && id != self.top
    }

    fn lacks_part(&self, id: NodeId) -> bool {
        let node = self.node(id);
        let mut parts = node.items().chain(node.entries().map(|(_, value)| value));
        parts.any(|part| self.is_skipped(part.id()))
    }

    fn lacks_key(&self, id: NodeId) -> bool {
        self.state.borrow().assumed.contains_key(&id)
    }

    fn note_missing(&self, id: NodeId, key: &'static str) -> bool {
        // It is there but wrong, or there under a misspelt name.
        let left_out = self.node(id).raw_entries().iter().any(|entry| {
            let unknown = self.state.borrow().unknown.contains(&entry.value);
            let meant = || unknown && did_you_mean(&entry.key, [key]).is_some();
            self.is_skipped(entry.value) && (*entry.key == *key || meant())
        });
        let first_time = {
            let mut state = self.state.borrow_mut();
            let assumed = state.assumed.entry(id).or_default();
            let first_time = !assumed.contains(&key);
            if first_time {
                assumed.push(key);
            }
            first_time
        };
        if !first_time {
            // The placeholder did not help: give up on this mapping.
            return self.give_up_on(id);
        }
        if !left_out {
            self.report(id, &Cause::MissingKey(key));
        }
        true
    }

    fn report(&self, id: NodeId, cause: &Cause) {
        let node = self.node(id);
        self.push(|| cause.describe().at(node.location()).path(node.path()));
    }

    /// Reports a key and leaves its entry out; whether it was there until now.
    fn report_key(&self, value: NodeId, cause: &Cause) -> bool {
        let node = self.node(value);
        let describe = || cause.describe().at(node.key_location()).path(node.path());
        let Cause::UnknownKey { key, known } = cause else {
            let new = self.give_up_on(value);
            if new {
                self.push(describe);
            }
            return new;
        };
        let meant = did_you_mean(key, known.iter().copied());
        let map = node.parent();
        if meant.is_none() && map.is_some_and(|map| self.forget_guess(map.id())) {
            self.give_up_on(value);
            return true;
        }
        if !self.state.borrow_mut().unknown.insert(value) {
            return self.give_up_on(value);
        }
        self.push(describe);
        let guessed = map.zip(meant);
        guessed.is_some_and(|(map, meant)| self.guess(map, meant, value)) || self.give_up_on(value)
    }

    /// Reads a value of an unknown key as that of the key that was probably meant, if that is free.
    fn guess(&self, map: NodeRef<'_>, meant: &'static str, value: NodeId) -> bool {
        let mut state = self.state.borrow_mut();
        let taken = map
            .raw_entries()
            .iter()
            .any(|entry| *entry.key == *meant || state.renamed.get(&entry.value) == Some(&meant));
        if taken {
            state.missed.push((map.id(), meant));
        } else {
            state.renamed.insert(value, meant);
        }
        !taken
    }

    /// Leaves a value out that was read under another key than its own. Whether it was.
    fn forget_guess(&self, id: NodeId) -> bool {
        let mut state = self.state.borrow_mut();
        let Some(meant) = state.renamed.remove(&id) else {
            return false;
        };
        if let Some(map) = self.node(id).parent() {
            state.missed.push((map.id(), meant));
        }
        state.skipped.insert(id)
    }

    fn forget_guesses_in(&self, id: NodeId) -> bool {
        let parts = self.node(id).raw_entries().iter();
        // All of them: no short cut at the first.
        parts.filter(|entry| self.forget_guess(entry.value)).count() > 0
    }

    /// Paths are not cheap in long lists: none is worked out for a mistake beyond the bound.
    fn push(&self, diagnostic: impl FnOnce() -> Diagnostic) {
        if !self.is_full() {
            let diagnostic = diagnostic();
            self.state.borrow_mut().found.push(diagnostic);
        }
    }
}
