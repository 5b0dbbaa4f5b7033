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
    case(serde_json::json!({ "type": policy }), count)
}

/// The same with bounded loads.
fn bounded(policy: &str, count: u32) -> Case {
    case(
        serde_json::json!({ "type": policy, "bounded_load": {} }),
        count,
    )
}

fn case(policy: serde_json::Value, count: u32) -> Case {
    let endpoints = endpoints(&vec![1; count as usize]);
    for (number, endpoint) in (1..).zip(&endpoints) {
        endpoint.record(Outcome::Success, Duration::from_millis(number));
    }
    let busy = endpoints.iter().step_by(2).cloned();
    let in_flight = busy.map(Endpoint::begin).collect();
    let config: BalanceConfig = serde_json::from_value(policy).unwrap();
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
#[bench::p2c_10(among("p2c", 10))]
#[bench::p2c_1_000(among("p2c", 1000))]
#[bench::round_robin_10(among("round-robin", 10))]
#[bench::round_robin_1_000(among("round-robin", 1000))]
#[bench::least_requests_10(among("least-requests", 10))]
#[bench::least_requests_16(among("least-requests", 16))]
#[bench::least_requests_1_000(among("least-requests", 1000))]
#[bench::random_10(among("random", 10))]
#[bench::random_1_000(among("random", 1000))]
#[bench::ring_hash_10(among("ring-hash", 10))]
#[bench::ring_hash_1_000(among("ring-hash", 1000))]
#[bench::maglev_10(among("maglev", 10))]
#[bench::maglev_1_000(among("maglev", 1000))]
#[bench::ring_hash_bounded_10(bounded("ring-hash", 10))]
#[bench::ring_hash_bounded_1_000(bounded("ring-hash", 1000))]
#[bench::maglev_bounded_10(bounded("maglev", 10))]
#[bench::maglev_bounded_1_000(bounded("maglev", 1000))]
#[bench::rendezvous_10(among("rendezvous", 10))]
fn picks_32(case: Case) -> Case {
    for cx in &case.1 {
        black_box(case.0.pick(cx));
    }
    case
}

library_benchmark_group!(name = picks, benchmarks = [picks_32]);
