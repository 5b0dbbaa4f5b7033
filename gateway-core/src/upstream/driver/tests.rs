use std::sync::Mutex;

use futures_util::stream;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use super::*;
use crate::balance::PickCx;
use crate::upstream::{EndpointSpec, Outcome, OutlierConfig, StaticDiscovery};

type Item = Result<EndpointUpdate, DiscoveryError>;

/// Streams that the test feeds; each call of `watch` takes the next.
#[derive(Debug)]
struct Scripted {
    streams: Mutex<Vec<Option<UnboundedReceiver<Item>>>>,
    watched: Mutex<Vec<Instant>>,
}

impl Scripted {
    /// `None` is a stream that ends at once; after the last they all do.
    fn new(mut streams: Vec<Option<UnboundedReceiver<Item>>>) -> Arc<Self> {
        streams.reverse();
        Arc::new(Self {
            streams: Mutex::new(streams),
            watched: Mutex::default(),
        })
    }

    fn one() -> (Arc<Self>, UnboundedSender<Item>) {
        let (feed, stream) = mpsc::unbounded_channel();
        (Self::new(vec![Some(stream)]), feed)
    }
}

impl Discovery for Scripted {
    fn watch(&self) -> BoxStream<'static, Item> {
        self.watched.lock().unwrap().push(Instant::now());
        match self.streams.lock().unwrap().pop().flatten() {
            Some(feed) => Box::pin(stream::unfold(feed, |mut feed| async move {
                Some((feed.recv().await?, feed))
            })),
            None => Box::pin(stream::empty()),
        }
    }
}

fn spec(port: u16) -> EndpointSpec {
    EndpointSpec::new(([127, 0, 0, 1], port))
}

fn replace(ports: &[u16]) -> Item {
    Ok(EndpointUpdate::Replace(
        ports.iter().copied().map(spec).collect(),
    ))
}

fn ports(upstream: &Upstream) -> Vec<u16> {
    let snapshot = upstream.snapshot();
    let addresses = snapshot.endpoints().iter().map(|e| e.address().socket());
    addresses.map(|address| address.unwrap().port()).collect()
}

fn driven(discovery: Arc<dyn Discovery>) -> Arc<Upstream> {
    let upstream = Upstream::builder("test", discovery).build();
    tokio::spawn(drive(&upstream));
    upstream
}

async fn seconds(count: u64) {
    tokio::time::sleep(Duration::from_secs(count)).await;
}

#[tokio::test(start_paused = true)]
async fn endpoints_appear_once_discovered() {
    let (discovery, feed) = Scripted::one();
    let upstream = driven(discovery);
    assert!(!upstream.is_discovered());
    feed.send(replace(&[1, 2])).unwrap();
    upstream.discovered().await;
    assert_eq!(ports(&upstream), [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn an_empty_first_update_counts_as_discovered() {
    let (discovery, feed) = Scripted::one();
    let upstream = driven(discovery);
    feed.send(replace(&[])).unwrap();
    upstream.discovered().await;
    assert!(upstream.pick(&PickCx::new()).is_none());
}

#[tokio::test(start_paused = true)]
async fn errors_keep_the_last_endpoints_and_show_how_stale_they_are() {
    let (discovery, feed) = Scripted::one();
    let upstream = driven(discovery);
    feed.send(replace(&[1])).unwrap();
    for _ in 0..3 {
        feed.send(Err(
            DiscoveryError::new("asking the registry").caused_by("no answer")
        ))
        .unwrap();
    }
    seconds(5).await;
    assert_eq!(ports(&upstream), [1]);
    assert_eq!(upstream.stale_for(), Some(Duration::from_secs(5)));
    let report = upstream.report().discovery;
    assert_eq!(
        report.last_error.as_deref(),
        Some("asking the registry: no answer")
    );
    feed.send(replace(&[2])).unwrap();
    seconds(1).await;
    assert_eq!((ports(&upstream), upstream.stale_for()), (vec![2], None));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_ends_is_watched_again_with_growing_pauses() {
    let (feed, stream) = mpsc::unbounded_channel();
    let (again, second) = mpsc::unbounded_channel();
    let discovery = Scripted::new(vec![Some(stream), None, None, None, Some(second)]);
    let upstream = driven(Arc::clone(&discovery) as _);
    feed.send(replace(&[1])).unwrap();
    drop(feed);
    seconds(60).await;
    assert_eq!(ports(&upstream), [1], "the last endpoints stay");
    again.send(replace(&[1, 2])).unwrap();
    seconds(1).await;
    assert_eq!(ports(&upstream), [1, 2]);
    let watched = discovery.watched.lock().unwrap().clone();
    let pauses: Vec<u128> = watched
        .windows(2)
        .map(|pair| (pair[1] - pair[0]).as_millis())
        .collect();
    assert_eq!(pauses.len(), 4);
    for (pause, longest) in pauses.iter().zip([100, 200, 400, 800]) {
        assert!((longest / 2..=longest + 1).contains(pause), "{pauses:?}");
    }
    assert_eq!(upstream.report().discovery.resubscriptions, 4);
}

#[derive(Debug)]
struct PanicsOnce(Mutex<bool>);

impl Discovery for PanicsOnce {
    fn watch(&self) -> BoxStream<'static, Item> {
        let first = std::mem::replace(&mut *self.0.lock().unwrap(), false);
        assert!(!first, "a bug in a user's discovery");
        StaticDiscovery::new([spec(1)]).watch()
    }
}

#[tokio::test(start_paused = true)]
async fn a_discovery_that_panics_is_watched_again() {
    // the panic happens outside of the lock, so that the mutex is not poisoned
    let upstream = driven(Arc::new(PanicsOnce(Mutex::new(true))));
    upstream.discovered().await;
    assert_eq!(ports(&upstream), [1]);
}

#[tokio::test(start_paused = true)]
async fn updates_that_wait_become_one_picker() {
    let (discovery, feed) = Scripted::one();
    feed.send(replace(&[1])).unwrap();
    for port in 2..100 {
        feed.send(Ok(EndpointUpdate::Upsert(vec![spec(port)])))
            .unwrap();
    }
    let upstream = driven(discovery);
    let before = upstream.snapshot().version();
    seconds(1).await;
    assert_eq!(ports(&upstream).len(), 99);
    assert_eq!(upstream.snapshot().version(), before + 1);
}

#[tokio::test(start_paused = true)]
async fn gone_takes_all_endpoints_until_they_come_back() {
    let (discovery, feed) = Scripted::one();
    let upstream = driven(discovery);
    for (item, left, gone) in [
        (replace(&[1]), vec![1], false),
        (Ok(EndpointUpdate::Gone), vec![], true),
        (replace(&[2]), vec![2], false),
    ] {
        feed.send(item).unwrap();
        seconds(1).await;
        assert_eq!(
            (ports(&upstream), upstream.report().discovery.gone),
            (left, gone)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn ends_when_the_upstream_is_dropped() {
    let (discovery, _feed) = Scripted::one();
    let upstream = Upstream::builder("test", discovery).build();
    let driver = tokio::spawn(drive(&upstream));
    seconds(1).await;
    assert!(!driver.is_finished());
    drop(upstream);
    driver.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn only_one_driver_runs_at_a_time() {
    let (discovery, _feed) = Scripted::one();
    let upstream = Upstream::builder("test", discovery).build();
    let first = tokio::spawn(drive(&upstream));
    seconds(1).await;
    drive(&upstream).await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    let next = tokio::spawn(drive(&upstream));
    seconds(1).await;
    assert!(
        !next.is_finished(),
        "an aborted driver gives its claim back"
    );
}

#[tokio::test(start_paused = true)]
async fn an_ejected_endpoint_is_skipped_until_its_time_is_over() {
    let upstream = Upstream::builder("test", Arc::new(StaticDiscovery::new([1, 2].map(spec))))
        .outlier(OutlierConfig::default())
        .build();
    tokio::spawn(drive(&upstream));
    let bad = upstream.snapshot().endpoints()[0].clone();
    for _ in 0..5 {
        bad.record(Outcome::ConnectFailure, Duration::ZERO);
    }
    seconds(1).await;
    let picks_bad = || (0..100).any(|_| upstream.pick(&PickCx::new()).unwrap().id() == bad.id());
    assert!(!picks_bad());
    assert_eq!(upstream.report().endpoints[0].ejected_for_ms, Some(29_000));
    seconds(28).await;
    assert!(!picks_bad());
    let version = upstream.snapshot().version();
    seconds(2).await;
    assert_eq!(upstream.snapshot().version(), version + 1);
    assert_eq!(upstream.snapshot().candidate_count(), 2);
}
