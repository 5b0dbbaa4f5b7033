//! Pointing at parts of an object that do not remember their own place.

use std::error::Error;

use crate::config::{
    capture::Located,
    diagnostic::Diagnostic,
    node::{Kind, NodeRef},
};

/// An object of the configuration, known by its name, for pointing at what was written in it.
#[derive(Clone, Copy)]
pub(super) struct Place<'r> {
    name: &'r Located<String>,
}

impl<'r> Place<'r> {
    pub(super) fn of(name: &'r Located<String>) -> Self {
        Self { name }
    }

    /// Puts `diagnostic` at the value under `keys` (positions in lists are numbers), or as close to it as
    /// something was written.
    pub(super) fn mark(self, keys: &[&str], diagnostic: Diagnostic) -> Diagnostic {
        match self.name.parent() {
            Some(object) => {
                let node = descend(object, keys);
                diagnostic.at(node.location()).path(node.path())
            }
            None => diagnostic.at(self.name.at.clone()),
        }
    }

    pub(super) fn error(self, keys: &[&str], message: impl Into<String>) -> Diagnostic {
        self.mark(keys, Diagnostic::error(message))
    }

    pub(super) fn warning(self, keys: &[&str], message: impl Into<String>) -> Diagnostic {
        self.mark(keys, Diagnostic::warning(message))
    }
}

fn descend<'d>(from: NodeRef<'d>, keys: &[&str]) -> NodeRef<'d> {
    let mut node = from;
    for key in keys {
        let below = match node.kind() {
            Kind::Seq => key.parse().ok().and_then(|index| node.items().nth(index)),
            _ => node.get(key),
        };
        match below {
            Some(below) => node = below,
            None => break,
        }
    }
    node
}

/// An error and its causes in one line. Parsers draw a picture over several lines; the last one says it.
pub(super) fn explain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(current) = cause {
        let said = current.to_string();
        let last = said
            .lines()
            .rev()
            .map(str::trim)
            .find(|line| !line.is_empty())
            .unwrap_or_default();
        let last = last.strip_prefix("error: ").unwrap_or(last);
        if !text.contains(last) {
            text = format!("{text}: {last}");
        }
        cause = current.source();
    }
    text
}
