//! Blind choice by weight.

use std::sync::Arc;

use crate::balance::view::untried_from;
use crate::balance::weighted::Weighted;
use crate::balance::{Balancer, EndpointView, PickCx, Picker};
use crate::upstream::Endpoint;

/// Draws of an endpoint that was already tried before the search turns linear.
const REDRAWS: usize = 3;

/// Picks at random, each endpoint as often as its weight says.
#[derive(Clone, Copy, Debug, Default)]
pub struct Random;

impl Balancer for Random {
    fn picker(&self, view: &EndpointView<'_>) -> Arc<dyn Picker> {
        Arc::new(RandomPicker::new(view))
    }

    fn name(&self) -> &str {
        "random"
    }
}

/// Also the fallback of the consistent policies for requests without a key.
#[derive(Debug)]
pub(super) struct RandomPicker {
    endpoints: Box<[Arc<Endpoint>]>,
    weighted: Weighted,
}

impl RandomPicker {
    pub(super) fn new(view: &EndpointView<'_>) -> Self {
        let weights: Vec<u32> = view.weights().collect();
        Self {
            endpoints: view.endpoints().into(),
            weighted: Weighted::new(&weights),
        }
    }

    pub(super) fn endpoints(&self) -> &[Arc<Endpoint>] {
        &self.endpoints
    }
}

impl Picker for RandomPicker {
    fn pick(&self, cx: &PickCx<'_>) -> Option<Arc<Endpoint>> {
        for _ in 0..=REDRAWS {
            let endpoint = self.endpoints.get(self.weighted.index(cx.random()))?;
            if !cx.was_tried(endpoint) {
                return Some(Arc::clone(endpoint));
            }
        }
        let start = cx.random_below(self.endpoints.len());
        untried_from(&self.endpoints, start, cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::law;

    #[test]
    fn keeps_the_laws() {
        law::check_balancer(&|| Arc::new(Random));
        law::follows_weights(&Random, 0.05);
        law::draws_by_weight(&Random);
    }
}
