//! What a thread keeps of one kind to use again.

use std::cell::{Cell, RefCell};

/// Things of one kind that a thread keeps: the one given back last, which is the warmest, and others.
pub(crate) struct Kept<T> {
    last: Cell<Option<T>>,
    others: RefCell<Vec<T>>,
}

impl<T> Kept<T> {
    /// How many others are kept.
    const OTHERS: usize = 32;

    pub(crate) const fn new() -> Self {
        Self {
            last: Cell::new(None),
            others: RefCell::new(Vec::new()),
        }
    }

    pub(crate) fn take(&self) -> Option<T> {
        self.last.take().or_else(|| self.others.borrow_mut().pop())
    }

    pub(crate) fn keep(&self, thing: T) {
        if let Some(before) = self.last.replace(Some(thing)) {
            let mut others = self.others.borrow_mut();
            if others.len() < Self::OTHERS {
                others.push(before);
            }
        }
    }
}
