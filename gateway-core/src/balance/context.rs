//! What a picker may know about the attempt.

use std::cell::Cell;

use crate::balance::rng;
use crate::upstream::{Endpoint, EndpointId};

/// Facts about one attempt, and a source of random numbers.
///
/// Built on the stack right before picking and dropped right after; it must not live across an await.
#[derive(Debug)]
#[non_exhaustive]
pub struct PickCx<'a> {
    /// Number of the attempt for this request, 0 for the first.
    pub attempt: u32,
    /// Endpoints that earlier attempts used.
    pub tried: &'a [EndpointId],
    /// What consistent policies hash by, computed by the caller from a header, cookie or address (see
    /// [`stable_hash`](crate::balance::stable_hash)). Without it they pick at random.
    pub hash_key: Option<u64>,
    random: Cell<u64>,
}

impl Default for PickCx<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a> PickCx<'a> {
    /// A first attempt about which nothing else is known.
    #[must_use]
    pub fn new() -> Self {
        Self {
            attempt: 0,
            tried: &[],
            hash_key: None,
            random: Cell::new(rng::next()),
        }
    }

    /// Attempt number `attempt`, after attempts at the endpoints in `tried`.
    #[must_use]
    pub fn with_attempt(mut self, attempt: u32, tried: &'a [EndpointId]) -> Self {
        self.attempt = attempt;
        self.tried = tried;
        self
    }

    /// The key consistent policies hash by.
    #[must_use]
    pub fn with_hash_key(mut self, key: u64) -> Self {
        self.hash_key = Some(key);
        self
    }

    /// Fixes the random numbers, for tests and simulations.
    #[must_use]
    pub fn with_seed(self, seed: u64) -> Self {
        self.random.set(seed);
        self
    }

    /// Whether an earlier attempt used `endpoint`.
    #[must_use]
    pub fn was_tried(&self, endpoint: &Endpoint) -> bool {
        // the usual first attempt does not touch the endpoint's memory
        !self.tried.is_empty() && self.tried.contains(&endpoint.id())
    }

    /// The next random number. Not for secrets.
    pub fn random(&self) -> u64 {
        let state = self.random.get().wrapping_add(rng::STEP);
        self.random.set(state);
        rng::mix(state)
    }

    /// A random number below `bound`; 0 when `bound` is 0.
    pub fn random_below(&self, bound: usize) -> usize {
        rng::below(self.random(), bound)
    }
}
