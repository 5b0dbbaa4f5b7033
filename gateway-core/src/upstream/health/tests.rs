use std::collections::HashMap;
use std::sync::Mutex;

use super::*;
use crate::balance::PickCx;
use crate::clock::Instant;
use crate::upstream::{EndpointSpec, EndpointUpdate, StaticDiscovery, drive};

/// Answers by port, and notes when it was asked.
#[derive(Debug, Default)]
struct Scripted {
    broken: Mutex<HashSet<u16>>,
    asked: Mutex<HashMap<u16, Vec<Instant>>>,
    hangs: bool,
}

impl Scripted {
    fn set_broken(&self, ports: &[u16]) {
        *self.broken.lock().unwrap() = ports.iter().copied().collect();
    }

    fn asked(&self, port: u16) -> usize {
        self.asked.lock().unwrap().get(&port).map_or(0, Vec::len)
    }
}

impl Probe for Scripted {
    fn probe<'a>(&'a self, endpoint: &'a Endpoint) -> BoxFuture<'a, Result<(), ProbeError>> {
        Box::pin(async move {
            let port = endpoint.address().socket().unwrap().port();
            self.asked
                .lock()
                .unwrap()
                .entry(port)
                .or_default()
                .push(Instant::now());
            if self.hangs {
                std::future::pending::<()>().await;
            }
            match self.broken.lock().unwrap().contains(&port) {
                true => Err(ProbeError::Status { status: 503 }),
                false => Ok(()),
            }
        })
    }
}

fn spec(port: u16) -> EndpointSpec {
    EndpointSpec::new(([127, 0, 0, 1], port))
}

fn config() -> ActiveHealth {
    ActiveHealth {
        jitter_percent: 0,
        ..ActiveHealth::default()
    }
}

fn checked(probe: &Arc<Scripted>, config: ActiveHealth) -> Arc<Upstream> {
    let upstream =
        Upstream::builder("test", Arc::new(StaticDiscovery::new([1, 2].map(spec)))).build();
    tokio::spawn(drive(&upstream));
    tokio::spawn(check_health(&upstream, Arc::clone(probe) as _, config));
    upstream
}

fn health(upstream: &Upstream) -> Vec<&'static str> {
    upstream
        .report()
        .endpoints
        .iter()
        .map(|endpoint| endpoint.health)
        .collect()
}

async fn seconds(count: u64) {
    tokio::time::sleep(Duration::from_secs(count)).await;
}

#[tokio::test(start_paused = true)]
async fn the_first_good_probe_is_enough() {
    let probe = Arc::new(Scripted::default());
    let upstream = checked(&probe, config());
    seconds(1).await;
    assert_eq!(health(&upstream), ["healthy", "healthy"]);
}

#[tokio::test(start_paused = true)]
async fn thresholds_decide_when_health_changes() {
    let probe = Arc::new(Scripted::default());
    probe.set_broken(&[2]);
    let upstream = checked(&probe, config());
    seconds(15).await; // probes at 0 and 10
    assert_eq!(health(&upstream), ["healthy", "unknown"]);
    assert_eq!(
        upstream.report().endpoints[1].probe_error.as_deref(),
        Some("unexpected status 503")
    );
    seconds(10).await;
    assert_eq!(health(&upstream), ["healthy", "unhealthy"]);
    let all_to_first = || {
        (0..50).all(|_| {
            let picked = upstream.pick(&PickCx::new()).unwrap();
            picked.address().socket().unwrap().port() == 1
        })
    };
    assert!(all_to_first());
    probe.set_broken(&[]);
    seconds(10).await;
    assert!(all_to_first(), "one good probe is not enough");
    seconds(10).await;
    assert_eq!(health(&upstream), ["healthy", "healthy"]);
    assert_eq!(upstream.snapshot().candidate_count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_hangs_is_cut_off() {
    let probe = Arc::new(Scripted {
        hangs: true,
        ..Scripted::default()
    });
    let upstream = checked(
        &probe,
        ActiveHealth {
            unhealthy_threshold: 1,
            ..config()
        },
    );
    seconds(3).await;
    assert_eq!(health(&upstream), ["unhealthy", "unhealthy"]);
    assert!(
        upstream.pick(&PickCx::new()).is_some(),
        "nothing else is left"
    );
    let error = upstream.report().endpoints[0].probe_error.clone();
    assert_eq!(error.as_deref(), Some("no answer within 2000 ms"));
}

#[tokio::test(start_paused = true)]
async fn endpoints_that_join_are_probed_and_those_that_leave_are_not() {
    let probe = Arc::new(Scripted::default());
    let upstream = checked(&probe, config());
    seconds(1).await;
    upstream.apply(EndpointUpdate::Replace(vec![spec(2), spec(3)]));
    seconds(64).await;
    assert_eq!((probe.asked(1), probe.asked(2), probe.asked(3)), (1, 7, 7));
}

#[tokio::test(start_paused = true)]
async fn unhealthy_endpoints_have_an_interval_of_their_own() {
    let probe = Arc::new(Scripted::default());
    probe.set_broken(&[2]);
    let unhealthy_interval = Some(Duration::from_secs(1));
    let config = ActiveHealth {
        unhealthy_interval,
        unhealthy_threshold: 1,
        ..config()
    };
    let _upstream = checked(&probe, config);
    tokio::time::sleep(Duration::from_millis(10_500)).await;
    assert_eq!((probe.asked(1), probe.asked(2)), (2, 11));
}

#[tokio::test(start_paused = true)]
async fn jitter_keeps_probes_apart() {
    let probe = Arc::new(Scripted::default());
    let _upstream = checked(&probe, ActiveHealth::default());
    seconds(100).await;
    let asked = probe.asked.lock().unwrap();
    let pauses: Vec<Duration> = asked[&1].windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(
        pauses
            .iter()
            .all(|pause| (7..=13).contains(&pause.as_secs())),
        "{pauses:?}"
    );
    assert!(
        pauses.windows(2).any(|pair| pair[0] != pair[1]),
        "{pauses:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn checking_ends_when_the_upstream_is_dropped() {
    let probe = Arc::new(Scripted::default());
    let upstream = Upstream::fixed("test", [spec(1)]);
    let checks = tokio::spawn(check_health(&upstream, probe, config()));
    seconds(1).await;
    assert!(!checks.is_finished());
    drop(upstream);
    checks.await.unwrap();
}

#[tokio::test]
async fn the_tcp_probe_connects() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Endpoint::new(EndpointSpec::new(listener.local_addr().unwrap()));
    assert!(TcpProbe.probe(&endpoint).await.is_ok());
    drop(listener);
    let refused = TcpProbe.probe(&endpoint).await;
    assert!(matches!(refused, Err(ProbeError::Connect { .. })));
}
