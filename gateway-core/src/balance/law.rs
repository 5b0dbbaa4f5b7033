//! What holds for every [`Balancer`] and [`Picker`], as checks to run an implementation through.
//!
//! Every function panics with a message that says which law was broken.
//!
//! ```
//! use std::sync::Arc;
//! use portcullis_core::balance::{PowerOfTwo, law};
//!
//! law::check_balancer(&|| Arc::new(PowerOfTwo));
//! law::follows_weights(&PowerOfTwo, 0.05);
//! ```

use std::sync::Arc;

use crate::balance::{Balancer, EndpointView, PickCx, Picker, rng};
use crate::upstream::{Endpoint, EndpointId, EndpointSpec, InFlight};

/// Picks per check: enough for shares to settle within a few per cent.
const PICKS: u64 = 20_000;

/// Endpoints with these weights, on made-up addresses that are the same in every call.
#[must_use]
pub fn endpoints(weights: &[u32]) -> Vec<Arc<Endpoint>> {
    let endpoint = |(index, weight): (usize, &u32)| {
        let [_, a, b, c] = (index as u32).to_be_bytes();
        Endpoint::new(EndpointSpec::new(([10, a, b, c], 8080)).with_weight(*weight))
    };
    weights.iter().enumerate().map(endpoint).collect()
}

/// Runs every law that holds for all policies; `make` builds a fresh one each time.
///
/// # Panics
/// When a law is broken.
pub fn check_balancer(make: &dyn Fn() -> Arc<dyn Balancer>) {
    picks_none_only_when_empty(&*make());
    picks_only_from_the_view(&*make());
    avoids_tried(&*make());
    is_safe_to_share(&*make());
}

/// An empty view gives `None`, any other gives an endpoint, whatever was tried.
///
/// # Panics
/// When the law is broken.
pub fn picks_none_only_when_empty(balancer: &dyn Balancer) {
    let empty = balancer.picker(&EndpointView::new(&[]));
    for cx in contexts(20) {
        assert!(
            empty.pick(&cx).is_none(),
            "picked although there are no endpoints"
        );
    }
    for weights in [&[1][..], &[5, 1], &[1, 1, 1, 1, 1, 1, 1]] {
        let endpoints = endpoints(weights);
        let all: Vec<EndpointId> = endpoints.iter().map(|e| e.id()).collect();
        let picker = balancer.picker(&EndpointView::new(&endpoints));
        for cx in contexts(200) {
            assert!(
                picker.pick(&cx).is_some(),
                "no pick from {} endpoints",
                weights.len()
            );
            let cx = cx.with_attempt(all.len() as u32, &all);
            assert!(
                picker.pick(&cx).is_some(),
                "no pick from {} endpoints after all were tried; picking again is right",
                weights.len()
            );
        }
    }
}

/// A picker keeps to the endpoints it was built from, also after the policy built others.
///
/// # Panics
/// When the law is broken.
pub fn picks_only_from_the_view(balancer: &dyn Balancer) {
    let endpoints = endpoints(&[1, 2, 3, 4, 5, 6]);
    let (left, right) = endpoints.split_at(3);
    let pickers = [left, right].map(|half| (half, balancer.picker(&EndpointView::new(half))));
    for (half, picker) in pickers {
        for cx in contexts(500) {
            let picked = picker.pick(&cx).map(|endpoint| endpoint.id());
            assert!(
                half.iter().any(|endpoint| Some(endpoint.id()) == picked),
                "picked an endpoint that is not in the view"
            );
        }
    }
}

/// Tried endpoints are avoided while one remains that was not, for every subset of four endpoints.
///
/// # Panics
/// When the law is broken.
pub fn avoids_tried(balancer: &dyn Balancer) {
    let endpoints = endpoints(&[1, 10, 1, 3]);
    let picker = balancer.picker(&EndpointView::new(&endpoints));
    for subset in 0..15_usize {
        let tried: Vec<EndpointId> = endpoints
            .iter()
            .enumerate()
            .filter(|(index, _)| subset >> index & 1 == 1)
            .map(|(_, endpoint)| endpoint.id())
            .collect();
        for cx in contexts(100) {
            let picked = picker.pick(&cx.with_attempt(tried.len() as u32, &tried));
            assert!(
                picked.is_some_and(|endpoint| !tried.contains(&endpoint.id())),
                "picked an endpoint again although {} of 4 were not tried yet",
                4 - tried.len()
            );
        }
    }
}

/// Many threads pick at once, from one picker, while requests begin and end.
///
/// # Panics
/// When a pick fails or requests in flight do not add up afterwards.
pub fn is_safe_to_share(balancer: &dyn Balancer) {
    let endpoints = endpoints(&[1, 2, 3]);
    let picker = balancer.picker(&EndpointView::new(&endpoints));
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let picker: &dyn Picker = &*picker;
            scope.spawn(move || {
                for round in 0..500 {
                    let cx = PickCx::new().with_hash_key(thread << 32 | round);
                    let picked = picker.pick(&cx).map(Endpoint::begin);
                    assert!(picked.is_some(), "a concurrent pick found no endpoint");
                }
            });
        }
    });
    for endpoint in &endpoints {
        assert_eq!(
            endpoint.stats().in_flight(),
            0,
            "requests in flight do not add up"
        );
    }
}

/// Shares follow weights within `tolerance` (0.05 = five per cent of all picks), while every endpoint is
/// equally good and requests do not end. For policies that know weights.
///
/// # Panics
/// When the law is broken.
pub fn follows_weights(balancer: &dyn Balancer, tolerance: f64) {
    for weights in [&[1, 1, 1][..], &[1, 3], &[10, 30, 60], &[7, 1, 1, 1]] {
        let endpoints = endpoints(weights);
        let picker = balancer.picker(&EndpointView::new(&endpoints));
        let held: Vec<InFlight> = contexts(PICKS)
            .filter_map(|cx| picker.pick(&cx))
            .map(Endpoint::begin)
            .collect();
        let total: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
        for (endpoint, weight) in endpoints.iter().zip(weights) {
            let share = f64::from(endpoint.stats().in_flight()) / held.len() as f64;
            let wanted = f64::from(*weight) / total;
            assert!(
                (share - wanted).abs() <= tolerance,
                "weight {weight} of {weights:?} got a share of {share:.3} instead of {wanted:.3}"
            );
        }
    }
}

/// Picks are drawn by weight and not only near it: a chi-square test, for policies that know weights, of endpoints that are
/// idle and equally good.
///
/// # Panics
/// When the law is broken.
pub fn draws_by_weight(balancer: &dyn Balancer) {
    let weights = [1, 2, 3, 4, 10];
    let endpoints = endpoints(&weights);
    let picker = balancer.picker(&EndpointView::new(&endpoints));
    let mut counts = [0.0_f64; 5];
    for cx in contexts(PICKS) {
        let picked = picker.pick(&cx).map(|endpoint| endpoint.id());
        let position = endpoints.iter().position(|e| Some(e.id()) == picked);
        if let Some(count) = position.and_then(|position| counts.get_mut(position)) {
            *count += 1.0;
        }
    }
    let chi_square: f64 = counts
        .iter()
        .zip(weights)
        .map(|(count, weight)| {
            let expected = PICKS as f64 * f64::from(weight) / 20.0;
            (count - expected).powi(2) / expected
        })
        .sum();
    // four degrees of freedom: exceeded by chance once in ten thousand, and the random numbers are always the same
    assert!(
        chi_square < 23.5,
        "chi-square is {chi_square:.1} from {counts:?}"
    );
}

/// For consistent policies: one key keeps its endpoint, and when one of fifty endpoints leaves, only its own keys, about
/// a fiftieth, and at most the part `collateral` of the others move.
///
/// # Panics
/// When the law is broken.
pub fn is_consistent(balancer: &dyn Balancer, collateral: f64) {
    const KEYS: u64 = 20_000;
    let endpoints = endpoints(&[1; 50]);
    let before = balancer.picker(&EndpointView::new(&endpoints));
    let after = balancer.picker(&EndpointView::new(&endpoints[..49]));
    let leaving = endpoints[49].id();
    let (mut stayed, mut moved, mut left) = (0_u32, 0_u32, 0_u32);
    for key in 0..KEYS {
        let cx = || PickCx::new().with_hash_key(key);
        let pick = |picker: &Arc<dyn Picker>| picker.pick(&cx()).map(|endpoint| endpoint.id());
        let first = pick(&before);
        assert_eq!(first, pick(&before), "one key went to two endpoints");
        if first == Some(leaving) {
            left += 1;
        } else if first == pick(&after) {
            stayed += 1;
        } else {
            moved += 1;
        }
    }
    let share = f64::from(moved) / f64::from(stayed + moved);
    assert!(
        share <= collateral,
        "{share:.4} of the other keys moved when one of fifty endpoints left, allowed is {collateral}"
    );
    let own = f64::from(left) / KEYS as f64;
    assert!(
        (0.012..0.03).contains(&own),
        "the endpoint that left had {own:.4} of the keys"
    );
}

/// For policies with a bound: no endpoint has more than `factor` times the mean in flight (rounded up), even when all
/// requests have one of very few keys, and while requests come and go.
///
/// # Panics
/// When the law is broken.
pub fn bounds_load(balancer: &dyn Balancer, factor: f64) {
    for (count, hot) in [(3_usize, 1_u64), (10, 2), (100, 5)] {
        let endpoints = endpoints(&vec![1; count]);
        let picker = balancer.picker(&EndpointView::new(&endpoints));
        let mut held: std::collections::VecDeque<InFlight> = std::collections::VecDeque::new();
        for number in 0..3_000_u64 {
            let cx = PickCx::new().with_seed(number).with_hash_key(number % hot);
            held.extend(picker.pick(&cx).map(Endpoint::begin));
            if held.len() > count * 20 {
                // the oldest end, so that the load stays
                held.pop_front();
            }
            let loads = endpoints.iter().map(|e| e.stats().in_flight());
            let most = f64::from(loads.max().unwrap_or_default());
            // sums are taken now and then, see `Bound`; less than a request ends meanwhile for each endpoint
            let mean = (held.len() as f64 + 1.0) / count as f64 + 0.125;
            assert!(
                most <= (factor * mean).ceil(),
                "{most} requests in flight at one of {count} endpoints, the mean is {mean:.2}"
            );
        }
    }
}

/// First attempts with fixed random numbers and spread hash keys.
fn contexts(count: u64) -> impl Iterator<Item = PickCx<'static>> {
    (0..count).map(|number| {
        let seed = rng::mix(number.wrapping_mul(rng::STEP));
        PickCx::new().with_seed(seed).with_hash_key(rng::mix(!seed))
    })
}
