//! Choosing endpoints for requests: 32 times, because what a choice costs depends a little on the time.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use gungraun::prelude::*;
use portcullis::balance::{BalanceConfig, EndpointView, PickCx, Picker, stable_hash};
use portcullis::testing::balancer::endpoints;
use portcullis::upstream::{Endpoint, InFlight, Outcome};

/// What is picked from, what for, and requests that are in flight already.
type Case = (Arc<dyn Picker>, Vec<PickCx<'static>>, Vec<InFlight>);

const PICKS: u64 = 32;

/// A picker among so many endpoints, each of which has answered and some of which are at work.
fn among(policy: &str, count: u32) -> Case {
    let endpoints = endpoints(&vec![1; count as usize]);
    for (number, endpoint) in (1..).zip(&endpoints) {
        endpoint.record(Outcome::Success, Duration::from_millis(number));
    }
    let busy = endpoints.iter().step_by(2).cloned();
    let in_flight = busy.map(Endpoint::begin).collect();
    let config: BalanceConfig =
        serde_json::from_value(serde_json::json!({ "type": policy })).unwrap();
    let picker = config.build().picker(&EndpointView::new(&endpoints));
    for cx in first_attempts() {
        picker.pick(&cx);
    }
    (picker, first_attempts().collect(), in_flight)
}

fn first_attempts() -> impl Iterator<Item = PickCx<'static>> {
    // Only policies that hash look at the key.
    (0..PICKS).map(|seed| {
        let key = stable_hash(&seed.to_be_bytes());
        PickCx::new().with_hash_key(key).with_seed(seed)
    })
}

#[library_benchmark]
#[bench::p2c_3(among("p2c", 3))]
#[bench::p2c_100(among("p2c", 100))]
#[bench::round_robin_3(among("round-robin", 3))]
#[bench::round_robin_100(among("round-robin", 100))]
#[bench::least_requests_3(among("least-requests", 3))]
#[bench::least_requests_100(among("least-requests", 100))]
#[bench::random_3(among("random", 3))]
#[bench::random_100(among("random", 100))]
#[bench::ring_hash_3(among("ring-hash", 3))]
#[bench::ring_hash_100(among("ring-hash", 100))]
#[bench::maglev_3(among("maglev", 3))]
#[bench::maglev_100(among("maglev", 100))]
fn picks_32(case: Case) -> Case {
    for cx in &case.1 {
        black_box(case.0.pick(cx));
    }
    case
}

library_benchmark_group!(name = picks, benchmarks = [picks_32]);
