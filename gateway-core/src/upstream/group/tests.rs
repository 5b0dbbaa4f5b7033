use super::*;
use crate::balance::{EndpointView, Picker, RoundRobin};
use crate::upstream::{Health, Outcome};

fn spec(port: u16) -> EndpointSpec {
    EndpointSpec::new(([127, 0, 0, 1], port))
}

fn upstream(ports: impl IntoIterator<Item = u16>) -> Arc<Upstream> {
    Upstream::fixed("test", ports.into_iter().map(spec))
}

fn picked_ports(upstream: &Upstream) -> Vec<u16> {
    let mut ports: Vec<u16> = (0..200)
        .filter_map(|_| upstream.pick(&PickCx::new()))
        .map(|endpoint| endpoint.address().socket().unwrap().port())
        .collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

#[test]
fn picks_follow_updates_on_every_worker() {
    let upstream = upstream([1]);
    let on_workers = |upstream: &Upstream| -> Vec<Vec<u16>> {
        std::thread::scope(|scope| {
            let picks = |index| {
                move || {
                    worker::enter(index);
                    picked_ports(upstream)
                }
            };
            let threads: Vec<_> = (0..3).map(|index| scope.spawn(picks(index))).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        })
    };
    assert_eq!(on_workers(&upstream), vec![vec![1]; 3]);
    upstream.apply(EndpointUpdate::Replace(vec![spec(2)]));
    assert_eq!(on_workers(&upstream), vec![vec![2]; 3]);
}

#[test]
fn idle_workers_do_not_keep_removed_endpoints_alive() {
    let upstream = upstream([1]);
    let removed = Arc::downgrade(&upstream.pick(&PickCx::new()).unwrap());
    upstream.apply(EndpointUpdate::Replace(vec![spec(2)]));
    assert!(removed.upgrade().is_none());
}

#[test]
fn statistics_survive_updates_and_inheritance() {
    let old = upstream([1, 2]);
    let endpoint = old.snapshot().endpoints()[0].clone();
    endpoint.record(Outcome::Success, Duration::from_millis(3));
    old.apply(EndpointUpdate::Replace(vec![
        spec(3),
        spec(1).with_weight(4),
    ]));
    let discovery = Arc::new(StaticDiscovery::new([spec(1), spec(4)]));
    let new = Upstream::builder("test", discovery).inherit(&old).build();
    let kept = new.endpoint(endpoint.id()).unwrap();
    assert_eq!((kept.stats().successes(), kept.weight()), (1, 1));
    assert_eq!(picked_ports(&new), [1, 4]);
}

#[test]
fn unhealthy_endpoints_are_skipped_until_none_is_left() {
    let upstream = upstream([1, 2, 3]);
    for (index, left) in [(0, vec![2, 3]), (1, vec![3]), (2, vec![1, 2, 3])] {
        upstream.snapshot().endpoints()[index].set_health(Health::Unhealthy);
        upstream.refresh();
        assert_eq!(picked_ports(&upstream), left);
    }
    assert!(upstream.snapshot().in_panic());
    upstream.snapshot().endpoints()[1].set_health(Health::Healthy);
    upstream.refresh();
    assert_eq!(picked_ports(&upstream), [2]);
}

#[test]
fn a_panic_threshold_spreads_earlier_and_never_refuses() {
    let build = |panic| {
        let discovery = Arc::new(StaticDiscovery::new([1, 2, 3].map(spec)));
        Upstream::builder("test", discovery)
            .panic_policy(panic)
            .build()
    };
    let fail = |upstream: &Upstream, count: usize| {
        for endpoint in &upstream.snapshot().endpoints()[..count] {
            endpoint.set_health(Health::Unhealthy);
        }
        upstream.refresh();
    };
    let half = build(PanicPolicy::BelowPercent(50));
    fail(&half, 1);
    assert_eq!(picked_ports(&half), [2, 3]);
    fail(&half, 2);
    assert_eq!(picked_ports(&half), [1, 2, 3]);
    let never = build(PanicPolicy::Never);
    fail(&never, 3);
    assert!(never.pick(&PickCx::new()).is_none());
}

#[test]
fn a_weight_of_zero_takes_an_endpoint_out() {
    let upstream = upstream([1]);
    upstream.apply(EndpointUpdate::Upsert(vec![spec(2).with_weight(0)]));
    assert_eq!(picked_ports(&upstream), [1]);
    upstream.apply(EndpointUpdate::Upsert(vec![spec(1).with_weight(0)]));
    assert!(upstream.pick(&PickCx::new()).is_none());
}

#[test]
fn clients_stay_pinned_while_their_endpoint_is_usable() {
    let upstream = upstream(1..20);
    let endpoint = upstream.pick(&PickCx::new()).unwrap();
    let pinned = |upstream: &Upstream| upstream.pinned(endpoint.fingerprint()).map(|e| e.id());
    assert_eq!(pinned(&upstream), Some(endpoint.id()));
    endpoint.set_health(Health::Unhealthy);
    upstream.refresh();
    assert_eq!(pinned(&upstream), None);
}

#[test]
fn concurrent_picks_and_updates_always_find_an_endpoint() {
    let discovery = Arc::new(StaticDiscovery::new([spec(1)]));
    let balancer = Arc::new(RoundRobin::default());
    let upstream = Upstream::builder("test", discovery)
        .balancer(balancer)
        .build();
    std::thread::scope(|scope| {
        for index in 0..4 {
            let upstream = &upstream;
            scope.spawn(move || {
                worker::enter(index % 3);
                for _ in 0..2_000 {
                    assert!(upstream.pick(&PickCx::new()).is_some());
                }
            });
        }
        for port in 2..200 {
            upstream.apply(EndpointUpdate::Replace(vec![spec(port), spec(port + 1)]));
        }
    });
    assert_eq!(picked_ports(&upstream), [199, 200]);
}

#[derive(Debug)]
struct Panics;

impl Balancer for Panics {
    fn picker(&self, _: &EndpointView<'_>) -> Arc<dyn Picker> {
        panic!("a bug in a user's policy")
    }
}

#[test]
fn a_policy_that_panics_is_replaced() {
    let discovery = Arc::new(StaticDiscovery::new([spec(1)]));
    let upstream = Upstream::builder("test", discovery)
        .balancer(Arc::new(Panics))
        .build();
    assert_eq!(picked_ports(&upstream), [1]);
}

#[test]
fn the_report_is_complete() {
    let upstream = Upstream::fixed(
        "orders",
        [spec(1).with_zone("a").with_hostname("o.example")],
    );
    let mut in_flight = upstream.pick(&PickCx::new()).unwrap().begin();
    in_flight.record(Outcome::Success, Duration::from_millis(4));
    let mut json = serde_json::to_value(upstream.report()).unwrap();
    assert!(json["endpoints"][0]["latency_ms"].take().as_f64().unwrap() > 3.0);
    let wanted = serde_json::json!({
        "name": "orders", "balancer": "p2c", "discovered": true, "panic": false,
        "discovery": { "updates": 1, "resubscriptions": 0, "gone": false, "stale_ms": null, "last_error": null },
        "endpoints": [{
            "address": "127.0.0.1:1", "hostname": "o.example", "zone": "a", "weight": 1, "priority": 0,
            "health": "unknown", "available": true, "ejected_for_ms": null, "ejections": 0,
            "in_flight": 1, "latency_ms": null, "successes": 1, "failures": 0, "cancelled": 0,
            "consecutive_failures": 0, "probe_error": null,
        }],
    });
    assert_eq!(json, wanted);
}

/// How many of 2,000 picks go to each of these ports.
fn shares(upstream: &Upstream, ports: &[u16]) -> Vec<usize> {
    let mut counts = vec![0; ports.len()];
    for seed in 0..2_000_u64 {
        let cx = PickCx::new().with_seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let port = upstream
            .pick(&cx)
            .unwrap()
            .address()
            .socket()
            .unwrap()
            .port();
        counts[ports.iter().position(|known| *known == port).unwrap()] += 1;
    }
    counts
}

fn set_health(upstream: &Upstream, port: u16, health: Health) {
    for endpoint in upstream.snapshot().endpoints() {
        if endpoint.address().socket().unwrap().port() == port {
            endpoint.set_health(health);
        }
    }
    upstream.refresh();
}

fn random(specs: impl IntoIterator<Item = EndpointSpec>) -> UpstreamBuilder {
    let discovery = Arc::new(StaticDiscovery::new(specs));
    Upstream::builder("test", discovery).balancer(Arc::new(crate::balance::Random))
}

#[test]
fn endpoints_of_the_next_priority_take_what_the_first_cannot() {
    let near = (1..=4).map(spec);
    let specs = near.chain([spec(8).with_priority(1), spec(9).with_priority(1)]);
    let upstream = random(specs).build();
    let second = |upstream: &Upstream| {
        let counts = shares(upstream, &[1, 2, 3, 4, 8, 9]);
        counts[4] + counts[5]
    };
    assert_eq!(second(&upstream), 0);
    set_health(&upstream, 1, Health::Unhealthy);
    assert_eq!(second(&upstream), 0, "three of four are enough");
    set_health(&upstream, 2, Health::Unhealthy);
    let spilt = second(&upstream);
    assert!(
        (500..700).contains(&spilt),
        "1.4 * 50 % stay, {spilt} of 2000 left"
    );
    set_health(&upstream, 3, Health::Unhealthy);
    set_health(&upstream, 4, Health::Unhealthy);
    assert_eq!(second(&upstream), 2_000);
    assert!(!upstream.report().panic);
}

#[test]
fn a_retry_reaches_the_endpoints_of_other_priorities() {
    let upstream = random([spec(1), spec(2).with_priority(5)]).build();
    let tried = [upstream.pick(&PickCx::new()).unwrap().id()];
    let second = upstream.pick(&PickCx::new().with_attempt(1, &tried));
    assert_ne!(second.unwrap().id(), tried[0]);
}

#[test]
fn the_own_zone_comes_first_and_spills_over() {
    let zones = ["a", "a", "b", "b"];
    let specs = (1..)
        .zip(zones)
        .map(|(port, zone)| spec(port).with_zone(zone));
    let upstream = random(specs).zone("b").build();
    let counts = |upstream: &Upstream| shares(upstream, &[1, 2, 3, 4]);
    assert_eq!(counts(&upstream)[..2], [0, 0]);
    set_health(&upstream, 3, Health::Unhealthy);
    let spilt: usize = counts(&upstream)[..2].iter().sum();
    assert!((500..700).contains(&spilt), "{spilt}");
    set_health(&upstream, 4, Health::Unhealthy);
    assert_eq!(counts(&upstream)[2..], [0, 0]);
}

#[test]
fn a_zone_without_endpoints_takes_them_all() {
    let specs = [spec(1).with_zone("a"), spec(2)];
    let upstream = random(specs).zone("elsewhere").build();
    assert!(shares(&upstream, &[1, 2]).iter().all(|count| *count > 800));
}

#[test]
fn health_is_ignored_below_the_threshold_only() {
    let upstream = |panic| random((1..=4).map(spec)).panic_policy(panic).build();
    let sick = |upstream: &Upstream, ports: std::ops::RangeInclusive<u16>| {
        ports.for_each(|port| set_health(upstream, port, Health::Unhealthy));
    };
    let half = upstream(PanicPolicy::BelowPercent(50));
    sick(&half, 1..=2);
    assert_eq!(picked_ports(&half), [3, 4]);
    sick(&half, 3..=3);
    assert_eq!(picked_ports(&half), [1, 2, 3, 4]);
    let never = upstream(PanicPolicy::Never);
    sick(&never, 1..=4);
    assert!(never.pick(&PickCx::new()).is_none());
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_is_new_or_back_gets_its_share_little_by_little() {
    let slow = SlowStart {
        window: Duration::from_secs(10),
        ..SlowStart::default()
    };
    let upstream = random([spec(1), spec(2)]).slow_start(slow).build();
    let driver = tokio::spawn(crate::upstream::drive(&upstream));
    let of_third = |upstream: &Upstream| shares(upstream, &[1, 2, 3])[2];
    let even = shares(&upstream, &[1, 2]);
    assert!(
        even.iter().all(|count| *count > 900),
        "a start is no slow start: {even:?}"
    );
    let pass = async |time| {
        // the driver changes weights in steps
        for _ in 0..40 {
            tokio::time::sleep(time / 40).await;
        }
    };
    pass(Duration::from_secs(20)).await;
    upstream.apply(EndpointUpdate::Upsert(vec![spec(3)]));
    let first = of_third(&upstream);
    assert!((60..140).contains(&first), "10 of 210: {first}");
    pass(Duration::from_secs(5)).await;
    let half = of_third(&upstream);
    assert!((330..470).contains(&half), "50 of 250: {half}");
    pass(Duration::from_secs(6)).await;
    let whole = of_third(&upstream);
    assert!((600..730).contains(&whole), "a third: {whole}");
    set_health(&upstream, 3, Health::Unhealthy);
    pass(Duration::from_secs(1)).await;
    set_health(&upstream, 3, Health::Healthy);
    let back = of_third(&upstream);
    assert!((60..140).contains(&back), "10 of 210 again: {back}");
    driver.abort();
}
