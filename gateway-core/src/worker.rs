//! Which worker runs the current code.
//!
//! A worker is one runtime thread of the data plane. Sharded state (pools, counters, log buffers) is
//! an array with one slot per worker, so that a request touches only memory of its own core.

use std::cell::Cell;

/// The most shards that sharded state allocates; worker numbers are reduced modulo this.
pub const MAX_SHARDS: usize = 64;

thread_local! {
    static INDEX: Cell<usize> = const { Cell::new(0) };
}

/// The number of the worker this thread belongs to; 0 on threads that are no worker.
#[must_use]
pub fn index() -> usize {
    INDEX.with(Cell::get)
}

/// Makes the current thread worker `index`. Called once by the runtime that starts the thread.
pub fn enter(index: usize) {
    INDEX.with(|slot| slot.set(index % MAX_SHARDS));
}
