//! What lowering found, next to what is missing from what it looked at.

use crate::config::{
    capture::Located,
    damage::Damage,
    diagnostic::{Diagnostic, Diagnostics},
};

/// Collects problems, and knows which values are missing because they were wrong already: what only follows
/// from that is not to be reported.
#[derive(Debug)]
pub(super) struct Findings<'d> {
    pub(super) list: Diagnostics,
    damage: &'d Damage,
}

impl<'d> Findings<'d> {
    pub(super) fn new(damage: &'d Damage) -> Self {
        Self {
            list: Diagnostics::new(),
            damage,
        }
    }

    pub(super) fn push(&mut self, problem: Diagnostic) {
        self.list.push(problem);
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether anything under `keys` was left out of the object that `name` belongs to.
    pub(super) fn lost<T>(&self, name: &Located<T>, keys: &[&str]) -> bool {
        self.damage.lost(name, keys)
    }

    /// Whether any of these keys of the object lost something.
    pub(super) fn lost_any<T>(&self, name: &Located<T>, keys: &[&str]) -> bool {
        keys.iter().any(|key| self.lost(name, &[key]))
    }

    /// Whether objects of a list at the top, such as `upstreams`, may be missing.
    pub(super) fn is_short(&self, list: &str) -> bool {
        self.damage.is_short(list)
    }

    /// Whether something of a section at the top, such as `admin`, was left out.
    pub(super) fn lost_section(&self, section: &str) -> bool {
        self.damage.lost_at_top(&[section])
    }

    /// Whether sections may be missing because whole documents are.
    pub(super) fn lacks_documents(&self) -> bool {
        self.damage.is_incomplete()
    }
}
