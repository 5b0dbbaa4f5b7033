//! Highest random weight.

use std::sync::Arc;

use crate::balance::random::RandomPicker;
use crate::balance::{Balancer, EndpointView, PickCx, Picker, combine_hashes, rng};
use crate::upstream::Endpoint;

/// Picks by hash key: the endpoint whose hash together with the key is the highest, by weight.
///
/// After Thaler and Ravishankar, "A Name-Based Mapping Scheme for Rendezvous", 1996; weights after Schindelhauer and
/// Schomaker, "Weighted Distributed Hash Tables", SPAA 2005. Shares are exact and an endpoint that leaves gives away its
/// own keys only, evenly to all others; so does an attempt after a failed one. There is no table: **a pick looks at every
/// endpoint**, which is right for a few dozen of them. For hundreds take [`Maglev`](crate::balance::Maglev). Requests
/// without a key are spread at random by weight.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rendezvous;

impl Balancer for Rendezvous {
    fn picker(&self, view: &EndpointView<'_>) -> Arc<dyn Picker> {
        let endpoints = view.endpoints();
        let uniform = endpoints
            .windows(2)
            .all(|pair| pair[0].weight() == pair[1].weight());
        let places = endpoints.iter().map(|endpoint| Place {
            fingerprint: endpoint.fingerprint(),
            weight: f64::from(endpoint.weight()),
        });
        Arc::new(RendezvousPicker {
            places: places.collect(),
            uniform,
            random: RandomPicker::new(view),
        })
    }

    fn name(&self) -> &str {
        "rendezvous"
    }
}

#[derive(Clone, Copy, Debug)]
struct Place {
    fingerprint: u64,
    weight: f64,
}

#[derive(Debug)]
struct RendezvousPicker {
    /// Apart from the endpoints, whose memory a pick does not touch but for the one it picks.
    places: Box<[Place]>,
    /// All weigh the same: the hash alone decides, without logarithms.
    uniform: bool,
    random: RandomPicker,
}

impl RendezvousPicker {
    fn best(&self, key: u64, allowed: impl Fn(usize) -> bool) -> Option<&Arc<Endpoint>> {
        let hashes = self.places.iter().enumerate().filter_map(|(index, place)| {
            let hash = combine_hashes(place.fingerprint, key);
            allowed(index).then_some((index, hash, place.weight))
        });
        let best = if self.uniform {
            hashes.max_by_key(|(_, hash, _)| *hash)
        } else {
            let score = |hash: u64, weight: f64| {
                // above 0, or the logarithm is none
                let fraction = rng::fraction(hash).max(f64::MIN_POSITIVE);
                -weight / fraction.ln()
            };
            hashes.max_by(|a, b| score(a.1, a.2).total_cmp(&score(b.1, b.2)))
        };
        self.random.endpoints().get(best?.0)
    }
}

impl Picker for RendezvousPicker {
    fn pick(&self, cx: &PickCx<'_>) -> Option<Arc<Endpoint>> {
        let Some(key) = cx.hash_key else {
            return self.random.pick(cx);
        };
        let key = rng::mix(key);
        let first = self.best(key, |_| true)?;
        if !cx.was_tried(first) {
            return Some(Arc::clone(first));
        }
        let fresh = |index: usize| {
            let endpoint = self.random.endpoints().get(index);
            endpoint.is_some_and(|endpoint| !cx.was_tried(endpoint))
        };
        Some(Arc::clone(self.best(key, fresh).unwrap_or(first)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::law;

    #[test]
    fn keeps_the_laws() {
        law::check_balancer(&|| Arc::new(Rendezvous));
        law::follows_weights(&Rendezvous, 0.02);
        law::draws_by_weight(&Rendezvous);
        law::is_consistent(&Rendezvous, 0.0);
    }

    #[test]
    fn the_order_of_discovery_does_not_matter() {
        let mut endpoints = law::endpoints(&[1, 2, 3]);
        let keys = |endpoints: &[Arc<Endpoint>]| -> Vec<_> {
            let picker = Rendezvous.picker(&EndpointView::new(endpoints));
            (0..200)
                .map(|key| picker.pick(&PickCx::new().with_hash_key(key)).unwrap().id())
                .collect()
        };
        let before = keys(&endpoints);
        endpoints.reverse();
        assert_eq!(keys(&endpoints), before);
    }
}
