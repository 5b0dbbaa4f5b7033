//! What a thread keeps of one kind to use again.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

/// Things of one kind that a thread keeps: the one given back last, which is the warmest, and others.
pub(crate) struct Kept<T> {
    last: Cell<Option<T>>,
    others: RefCell<VecDeque<T>>,
}

impl<T> Kept<T> {
    /// How many others are kept.
    const OTHERS: usize = 32;

    pub(crate) const fn new() -> Self {
        Self {
            last: Cell::new(None),
            others: RefCell::new(VecDeque::new()),
        }
    }

    pub(crate) fn take(&self) -> Option<T> {
        self.last
            .take()
            .or_else(|| self.others.borrow_mut().pop_back())
    }

    pub(crate) fn keep(&self, thing: T) {
        if let Some(before) = self.last.replace(Some(thing)) {
            let mut others = self.others.borrow_mut();
            if others.len() < Self::OTHERS {
                others.push_back(before);
            }
        }
    }

    /// The one that has been kept for longest, of all but the last.
    pub(crate) fn take_oldest(&self) -> Option<T> {
        self.others.borrow_mut().pop_front()
    }
}
