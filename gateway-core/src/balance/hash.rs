//! Hashes that are the same in every process and every version.

use crate::balance::rng;

/// Hashes `bytes` for consistent balancing and for cookies that name an endpoint.
///
/// FNV-1a over 64 bit with a final mix. The result is part of what users see (which endpoint serves which
/// key, across restarts and across gateway instances), so it never changes. It is no defence against a
/// client who chooses keys on purpose.
#[must_use]
pub fn stable_hash(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in bytes {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    rng::mix(hash)
}

/// Combines two hashes into one, in order: for keys made of several parts.
#[must_use]
pub fn combine_hashes(first: u64, second: u64) -> u64 {
    rng::mix(first.rotate_left(23).wrapping_mul(rng::STEP) ^ second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_pinned_for_ever() {
        assert_eq!(stable_hash(b""), rng::mix(0xcbf2_9ce4_8422_2325));
        assert_eq!(stable_hash(b"a"), rng::mix(0xaf63_dc4c_8601_ec8c));
    }

    #[test]
    fn order_matters_when_combining() {
        assert_ne!(combine_hashes(1, 2), combine_hashes(2, 1));
    }
}
