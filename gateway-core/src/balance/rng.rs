//! Fast random numbers per thread. Not for secrets.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

/// Weyl step of SplitMix64 (2^64 divided by the golden ratio, made odd).
pub(crate) const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

thread_local! {
    // RandomState draws from the operating system once per thread
    static STATE: Cell<u64> = Cell::new(RandomState::new().hash_one(STEP));
}

/// A random number from this thread's generator.
pub(crate) fn next() -> u64 {
    STATE.with(|state| {
        let value = state.get().wrapping_add(STEP);
        state.set(value);
        mix(value)
    })
}

/// The finaliser of SplitMix64: a bijection in which every input bit moves about half of the output bits.
pub(crate) fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// Undoes [`mix`].
pub(crate) fn unmix(mut value: u64) -> u64 {
    value = (value ^ (value >> 31) ^ (value >> 62)).wrapping_mul(0x3196_42b2_d24d_8ec3);
    value = (value ^ (value >> 27) ^ (value >> 54)).wrapping_mul(0x96de_1b17_3f11_9089);
    value ^ (value >> 30) ^ (value >> 60)
}

/// Maps `random` to `0..bound` by multiplication; the bias is below `bound / 2^64`.
pub(crate) fn below(random: u64, bound: usize) -> usize {
    ((u128::from(random) * bound as u128) >> 64) as usize
}

/// `random` as a fraction in `0.0..1.0`.
pub(crate) fn fraction(random: u64) -> f64 {
    (random >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_below_the_bound() {
        assert_eq!(below(u64::MAX, 7), 6);
        assert_eq!(below(0, 7), 0);
        assert_eq!(below(u64::MAX, 0), 0);
        assert!(fraction(u64::MAX) < 1.0);
    }

    #[test]
    fn mixing_can_be_undone() {
        for value in [0, 1, 42, u64::MAX, STEP] {
            assert_eq!(unmix(mix(value)), value);
        }
    }

    #[test]
    fn threads_draw_different_numbers() {
        let other = std::thread::spawn(next).join().unwrap();
        assert_ne!(next(), other);
    }
}
