//! Endpoints that get their share little by little.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Instant;
use crate::upstream::endpoint::Endpoint;

/// Weights are changed so many times within the window.
const STEPS: u32 = 20;
const SHORTEST_STEP: Duration = Duration::from_millis(1);

/// Gives endpoints that are new or came back their share little by little: caches are cold and connections few.
///
/// Not for policies that hash, which would move keys back and forth.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct SlowStart {
    /// How long it takes. 0: no slow start.
    pub window: Duration,
    /// 1: the weight grows evenly. More: faster in the beginning. As a root: after the part `t` of the window the weight is
    /// the part `t^(1/aggression)` of what it will be.
    pub aggression: f64,
    /// The weight in the beginning, in percent of what it will be.
    pub min_percent: u8,
}

impl Default for SlowStart {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(30),
            aggression: 1.0,
            min_percent: 10,
        }
    }
}

/// The weights of endpoints at one time.
#[derive(Debug)]
pub(super) struct Ramp {
    /// `None` when all have the share that they will have.
    pub(super) weights: Option<Vec<u32>>,
    /// When they will be others.
    pub(super) changes: Option<Instant>,
}

impl SlowStart {
    pub(super) fn ramp(&self, endpoints: &[Arc<Endpoint>], now: Instant) -> Ramp {
        let percents: Vec<u32> = endpoints
            .iter()
            .map(|endpoint| {
                self.percent(now.saturating_duration_since(endpoint.stats().usable_since(now)))
            })
            .collect();
        let grows = percents.iter().any(|percent| *percent < 100);
        // all at the same point, as after a start, share as they will
        let uneven = percents.windows(2).any(|pair| pair[0] != pair[1]);
        let weights = uneven.then(|| {
            let weights = endpoints.iter().zip(&percents);
            weights
                .map(|(endpoint, percent)| endpoint.weight().saturating_mul(*percent).max(1))
                .collect()
        });
        Ramp {
            weights,
            changes: grows.then(|| now + (self.window / STEPS).max(SHORTEST_STEP)),
        }
    }

    /// Percent of its weight that an endpoint has after this time, 1 to 100.
    fn percent(&self, age: Duration) -> u32 {
        if age >= self.window {
            return 100;
        }
        let part = age.as_secs_f64() / self.window.as_secs_f64();
        let grown = part.powf(1.0 / self.aggression.max(0.01)) * 100.0;
        (grown as u32).clamp(u32::from(self.min_percent).clamp(1, 100), 100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_grow_by_aggression_from_the_least() {
        let seconds = Duration::from_secs;
        let even = SlowStart::default();
        let at = |slow: SlowStart, at| slow.percent(seconds(at));
        assert_eq!(
            [0, 1, 15, 27, 30, 90].map(|s| at(even, s)),
            [10, 10, 50, 90, 100, 100]
        );
        let eager = SlowStart {
            aggression: 2.0,
            ..even
        };
        assert_eq!(at(eager, 15), 70);
        let none = SlowStart {
            window: Duration::ZERO,
            ..even
        };
        assert_eq!(at(none, 0), 100);
    }
}
