//! Fewest requests in flight per weight.

use std::sync::Arc;

use crate::balance::view::untried_from;
use crate::balance::weighted::Weighted;
use crate::balance::{Balancer, EndpointView, PickCx, Picker};
use crate::upstream::Endpoint;

/// Up to this many endpoints all are compared.
const COMPARE_ALL: usize = 16;
/// How many are compared in larger sets, unless configured.
const SAMPLE: usize = 8;

/// Picks the endpoint with the fewest requests in flight, divided by its weight.
///
/// The search starts at an endpoint drawn by weight and moves only to one that is strictly better, so an
/// idle upstream spreads by weight instead of always using the first. Up to 16 endpoints are all compared;
/// in larger sets a sample is, because reading every endpoint's counter costs more than it gains.
#[derive(Clone, Copy, Debug, Default)]
pub struct LeastRequests {
    choices: Option<u32>,
}

impl LeastRequests {
    /// Compares `choices` endpoints drawn at random, at least two, whatever the number of endpoints.
    #[must_use]
    pub fn sampling(choices: u32) -> Self {
        Self {
            choices: Some(choices.max(2)),
        }
    }
}

impl Balancer for LeastRequests {
    fn picker(&self, view: &EndpointView<'_>) -> Arc<dyn Picker> {
        let len = view.endpoints().len();
        let compare = match self.choices {
            Some(choices) => len.min(choices as usize),
            None if len <= COMPARE_ALL => len,
            None => SAMPLE,
        };
        let weights: Vec<u32> = view.weights().collect();
        Arc::new(LeastPicker {
            weighted: Weighted::new(&weights),
            weights: weights.into(),
            endpoints: view.endpoints().into(),
            compare,
        })
    }

    fn name(&self) -> &str {
        "least-requests"
    }
}

#[derive(Debug)]
struct LeastPicker {
    endpoints: Box<[Arc<Endpoint>]>,
    weights: Box<[u32]>,
    weighted: Weighted,
    compare: usize,
}

impl LeastPicker {
    /// The candidates in the order they are looked at: the weighted draw, then neighbours or further draws.
    fn candidates(&self, cx: &PickCx<'_>) -> impl Iterator<Item = usize> {
        let len = self.endpoints.len();
        let start = self.weighted.index(cx.random());
        (0..self.compare).map(move |step| match step {
            0 => start,
            _ if self.compare == len => (start + step) % len,
            _ => cx.random_below(len),
        })
    }
}

impl Picker for LeastPicker {
    fn pick(&self, cx: &PickCx<'_>) -> Option<Arc<Endpoint>> {
        let mut best: Option<(&Arc<Endpoint>, u64, u64)> = None;
        for index in self.candidates(cx) {
            let endpoint = self.endpoints.get(index)?;
            if cx.was_tried(endpoint) {
                continue;
            }
            let weight = self.weights.get(index).copied().map_or(1, u64::from);
            let load = u64::from(endpoint.stats().in_flight());
            // compares load / weight without dividing
            let better = best.is_none_or(|(_, theirs, other)| load * other < theirs * weight);
            if better {
                best = Some((endpoint, load, weight));
            }
        }
        match best {
            Some((endpoint, ..)) => Some(Arc::clone(endpoint)),
            None => untried_from(&self.endpoints, cx.random_below(self.endpoints.len()), cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::law;

    #[test]
    fn picks_the_idle_one() {
        let endpoints = law::endpoints(&[1, 1, 1]);
        let _busy = [
            Arc::clone(&endpoints[0]).begin(),
            Arc::clone(&endpoints[2]).begin(),
        ];
        let picker = LeastRequests::default().picker(&EndpointView::new(&endpoints));
        for _ in 0..50 {
            assert_eq!(picker.pick(&PickCx::new()).unwrap().id(), endpoints[1].id());
        }
    }

    #[test]
    fn weighs_load_by_weight() {
        let endpoints = law::endpoints(&[1, 4]);
        let _light = Arc::clone(&endpoints[0]).begin();
        let _heavy = [(); 3].map(|()| Arc::clone(&endpoints[1]).begin());
        let picker = LeastRequests::default().picker(&EndpointView::new(&endpoints));
        assert_eq!(picker.pick(&PickCx::new()).unwrap().id(), endpoints[1].id());
    }

    #[test]
    fn keeps_the_laws() {
        law::check_balancer(&|| Arc::new(LeastRequests::default()));
        law::check_balancer(&|| Arc::new(LeastRequests::sampling(2)));
        law::follows_weights(&LeastRequests::default(), 0.05);
        law::draws_by_weight(&LeastRequests::default());
    }
}
