//! Fast random numbers per thread. Not for secrets.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

thread_local! {
    // RandomState draws 128 bits from the operating system once per thread. The state is wider than an id, so
    // that the sequences of two threads do not meet.
    static STATE: Cell<[u64; 4]> = Cell::new({
        let source = RandomState::new();
        [1_u64, 2, 3, 4].map(|word| source.hash_one(word))
    });
}

/// A random number from this thread's generator (xoshiro256++ of Blackman and Vigna).
pub(crate) fn next() -> u64 {
    STATE.with(|state| {
        let [mut a, mut b, mut c, mut d] = state.get();
        let value = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let shifted = b << 17;
        c ^= a;
        d ^= b;
        b ^= c;
        a ^= d;
        c ^= shifted;
        d = d.rotate_left(45);
        state.set([a, b, c, d]);
        value
    })
}
