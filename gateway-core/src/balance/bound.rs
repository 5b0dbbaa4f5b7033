//! How much one endpoint may have in flight beside the others.
//!
//! After Mirrokni, Thorup and Zadimoghaddam, "Consistent Hashing with Bounded Loads", SODA 2018: a key whose endpoint is
//! full goes to the next one that is not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::balance::EndpointView;
use crate::upstream::Endpoint;

/// Requests in flight are added up again after as many picks as an eighth of the endpoints, so that a pick costs the same
/// whatever their number; the sum is then too large by an eighth of a request for each endpoint at most.
const REFRESHES: usize = 8;

/// The bound of an upstream's endpoints.
#[derive(Debug)]
pub(super) struct Bound {
    factor: f64,
    weights: f64,
    every: u64,
    state: State,
}

/// Apart from its neighbours, because every worker writes it.
#[derive(Debug, Default)]
#[repr(align(128))]
struct State {
    picks: AtomicU64,
    in_flight: AtomicU64,
}

/// What fits at the time of one pick.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    per_weight: f64,
}

impl Bound {
    /// Up to `percent` of the mean load by weight.
    pub(super) fn new(percent: u32, view: &EndpointView<'_>) -> Self {
        let weights = view.endpoints().iter();
        Self {
            factor: f64::from(percent.max(100)) / 100.0,
            weights: weights.map(|e| f64::from(e.weight())).sum(),
            every: (view.endpoints().len() / REFRESHES).max(1) as u64,
            state: State::default(),
        }
    }

    /// What fits now, with one more request.
    pub(super) fn room(&self, endpoints: &[Arc<Endpoint>]) -> Room {
        let pick = self.state.picks.fetch_add(1, Ordering::Relaxed);
        let since = pick % self.every;
        let in_flight = if since == 0 {
            let all = endpoints.iter();
            let sum = all.map(|e| u64::from(e.stats().in_flight())).sum();
            self.state.in_flight.store(sum, Ordering::Relaxed);
            sum
        } else {
            self.state.in_flight.load(Ordering::Relaxed) + since
        };
        Room {
            per_weight: self.factor * (in_flight + 1) as f64 / self.weights.max(1.0),
        }
    }
}

impl Room {
    /// Whether one more request fits.
    pub(super) fn has(self, endpoint: &Endpoint) -> bool {
        let limit = (self.per_weight * f64::from(endpoint.weight())).ceil();
        f64::from(endpoint.stats().in_flight()) + 1.0 <= limit
    }
}
