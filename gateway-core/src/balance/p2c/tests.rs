use std::time::Duration;

use super::*;
use crate::balance::law;
use crate::upstream::Outcome;

/// Serves `requests` one after the other, each taking its endpoint's latency, and counts per endpoint.
async fn simulate(latencies_ms: &[u64], requests: usize, seed: u64) -> Vec<usize> {
    let endpoints = law::endpoints(&vec![1; latencies_ms.len()]);
    let picker = PowerOfTwo.picker(&EndpointView::new(&endpoints));
    let mut counts = vec![0; endpoints.len()];
    for request in 0..requests {
        let cx =
            PickCx::new().with_seed(seed.wrapping_add(request as u64).wrapping_mul(0x9e37_79b9));
        let picked = picker.pick(&cx).unwrap();
        let index = endpoints
            .iter()
            .position(|e| e.id() == picked.id())
            .unwrap();
        counts[index] += 1;
        let latency = Duration::from_millis(latencies_ms[index]);
        let guard = picked.begin();
        tokio::time::advance(Duration::from_millis(1)).await;
        guard.finish(Outcome::Success, latency);
    }
    counts
}

#[tokio::test(start_paused = true)]
async fn equally_fast_endpoints_share_evenly() {
    for count in simulate(&[10, 10, 10, 10], 4000, 1).await {
        assert!((900..1100).contains(&count), "{count} of 4000");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_endpoint_gets_less() {
    let counts = simulate(&[10, 10, 10, 200], 4000, 2).await;
    assert!(counts[3] < 200, "slow endpoint got {counts:?}");
    assert!(
        counts[3] > 0,
        "it is still measured now and then: {counts:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_failing_endpoint_gets_less_although_it_answers_fast() {
    let endpoints = law::endpoints(&[1, 1, 1]);
    let picker = PowerOfTwo.picker(&EndpointView::new(&endpoints));
    let mut failing = 0;
    for seed in 0..3000_u64 {
        tokio::time::advance(Duration::from_millis(1)).await;
        let cx = PickCx::new().with_seed(seed.wrapping_mul(0x9e37_79b9));
        let picked = picker.pick(&cx).unwrap();
        if picked.id() == endpoints[0].id() {
            failing += 1;
            picked
                .begin()
                .finish(Outcome::ServerError, Duration::from_micros(100));
        } else {
            picked
                .begin()
                .finish(Outcome::Success, Duration::from_millis(10));
        }
    }
    assert!(
        failing < 300,
        "{failing} of 3000 went to the failing endpoint"
    );
}

#[test]
fn a_newcomer_is_not_flooded() {
    let endpoints = law::endpoints(&[1, 1]);
    Arc::clone(&endpoints[0])
        .begin()
        .finish(Outcome::Success, Duration::from_millis(50));
    let picker = PowerOfTwo.picker(&EndpointView::new(&endpoints));
    let mut held = Vec::new();
    for seed in 0..1000 {
        held.push(
            picker
                .pick(&PickCx::new().with_seed(seed * 977))
                .unwrap()
                .begin(),
        );
    }
    let newcomer = endpoints[1].stats().in_flight();
    assert!(
        (400..600).contains(&newcomer),
        "newcomer got {newcomer} of 1000"
    );
}

#[test]
fn keeps_the_laws() {
    law::check_balancer(&|| Arc::new(PowerOfTwo));
    law::follows_weights(&PowerOfTwo, 0.05);
    law::draws_by_weight(&PowerOfTwo);
}
