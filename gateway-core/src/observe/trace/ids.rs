//! Fresh identifiers.
//!
//! Each thread numbers its draws and hashes the number with SipHash under a key of its own, which the
//! standard library takes from the operating system. Without the key nobody can tell the next identifier
//! from those before, and two threads or processes never share a sequence. Identifiers are no secrets
//! and no capability: they need to be unique and hard to guess in advance, not more.

use std::cell::Cell;
use std::hash::{BuildHasher as _, RandomState};

struct Source {
    key: RandomState,
    drawn: Cell<u64>,
}

thread_local! {
    static SOURCE: Source = Source {
        key: RandomState::new(),
        drawn: const { Cell::new(0) },
    };
}

/// A trace id, not all zero.
pub(super) fn trace_id() -> [u8; 16] {
    let (high, low) = (draw(), draw());
    (u128::from(high) << 64 | u128::from(low)).to_be_bytes()
}

/// A span id, not all zero.
pub(super) fn span_id() -> [u8; 8] {
    draw().to_be_bytes()
}

/// Never zero, so that no part of an identifier is.
fn draw() -> u64 {
    SOURCE.with(|source| {
        let number = source.drawn.get().wrapping_add(1);
        source.drawn.set(number);
        source.key.hash_one(number).max(1)
    })
}
