//! Power of two choices over decayed latency and load.

use std::sync::Arc;

use crate::balance::view::untried_from;
use crate::balance::weighted::Weighted;
use crate::balance::{Balancer, EndpointView, PickCx, Picker};
use crate::clock::{Clock, Instant};
use crate::upstream::{Endpoint, Load};

/// The second candidate wins only if it is cheaper by this factor. Without slack the noise of measured
/// latencies alone would decide, and weights would mean nothing for endpoints that are equally fast.
const SLACK: f64 = 1.25;
/// Added to latencies, in seconds, so that differences below it do not outweigh load.
const LATENCY_FLOOR: f64 = 0.000_25;

/// Draws two endpoints and takes the cheaper; the default policy.
///
/// The cost of an endpoint is its decayed latency, times its requests in flight by weight, times a penalty
/// for recent failures. The first candidate is drawn by weight and wins unless the second is clearly
/// cheaper, so equally good endpoints share by weight. An endpoint without measurements is compared by its
/// requests in flight only: a newcomer is neither starved nor flooded.
#[derive(Clone, Copy, Debug, Default)]
pub struct PowerOfTwo;

impl Balancer for PowerOfTwo {
    fn picker(&self, view: &EndpointView<'_>) -> Arc<dyn Picker> {
        let weights: Vec<u32> = view.weights().collect();
        let total: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
        let mean = total / weights.len().max(1) as f64;
        let weighted = view.endpoints().iter().zip(&weights);
        let candidates = weighted.map(|(endpoint, weight)| Candidate {
            endpoint: Arc::clone(endpoint),
            share: mean / f64::from((*weight).max(1)),
        });
        Arc::new(PowerOfTwoPicker {
            candidates: candidates.collect(),
            weighted: Weighted::new(&weights),
        })
    }

    fn name(&self) -> &str {
        "p2c"
    }
}

#[derive(Debug)]
struct Candidate {
    endpoint: Arc<Endpoint>,
    /// Mean weight divided by this weight: what one request in flight counts.
    share: f64,
}

impl Candidate {
    fn load(&self, now: Instant) -> Load {
        self.endpoint.stats().load(now)
    }

    /// Requests in flight and failures; 1 when idle and well.
    fn pressure(&self, load: &Load) -> f64 {
        (1.0 + f64::from(load.in_flight) * self.share) * (1.0 + load.penalty)
    }
}

#[derive(Debug)]
struct PowerOfTwoPicker {
    candidates: Box<[Candidate]>,
    weighted: Weighted,
}

impl PowerOfTwoPicker {
    fn prefers_second(first: &Candidate, second: &Candidate) -> bool {
        let now = Clock.recent();
        let (a, b) = (first.load(now), second.load(now));
        let (mut cost_a, mut cost_b) = (first.pressure(&a), second.pressure(&b));
        if let (Some(latency_a), Some(latency_b)) = (a.latency, b.latency) {
            cost_a *= latency_a.as_secs_f64() + LATENCY_FLOOR;
            cost_b *= latency_b.as_secs_f64() + LATENCY_FLOOR;
        }
        cost_b * SLACK < cost_a
    }

    #[cold]
    fn any_untried(&self, cx: &PickCx<'_>) -> Option<Arc<Endpoint>> {
        let endpoints: Vec<_> = self
            .candidates
            .iter()
            .map(|c| Arc::clone(&c.endpoint))
            .collect();
        untried_from(&endpoints, cx.random_below(endpoints.len()), cx)
    }
}

impl Picker for PowerOfTwoPicker {
    fn pick(&self, cx: &PickCx<'_>) -> Option<Arc<Endpoint>> {
        let len = self.candidates.len();
        if len < 2 {
            return self
                .candidates
                .first()
                .map(|only| Arc::clone(&only.endpoint));
        }
        let index = self.weighted.index(cx.random());
        let other = (index + 1 + cx.random_below(len - 1)) % len;
        let (first, second) = (self.candidates.get(index)?, self.candidates.get(other)?);
        let chosen = match (
            cx.was_tried(&first.endpoint),
            cx.was_tried(&second.endpoint),
        ) {
            (false, false) if Self::prefers_second(first, second) => second,
            (false, _) => first,
            (true, false) => second,
            (true, true) => return self.any_untried(cx),
        };
        Some(Arc::clone(&chosen.endpoint))
    }
}

#[cfg(test)]
mod tests;
