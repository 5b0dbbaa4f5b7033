//! Keeps an upstream up to date.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};

use crate::clock::{Clock, Instant};
use crate::upstream::backoff::Backoff;
use crate::upstream::discovery::{BoxStream, Discovery, DiscoveryError, EndpointUpdate};
use crate::upstream::group::Upstream;
use crate::upstream::outlier::Signal;

/// Pauses before a source that ended is watched again.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A stream that lived this long was not the fault of the attempt: pauses start from the first again.
const STEADY: Duration = Duration::from_secs(10);
/// Guards against sources that return errors in a tight loop.
const ERROR_PAUSE: Duration = Duration::from_millis(100);
/// Updates that are applied before a picker is built from them.
const MAX_BATCH: usize = 256;

/// Applies what the upstream's discovery reports, and carries out changes of health and ends of ejections.
///
/// Ends when the upstream is dropped, and never before: errors keep the last endpoints, a stream that ends
/// or panics is watched again after a pause that grows up to 30 s. It holds the upstream only weakly. The
/// caller spawns it, on a runtime with time. A second call for the same upstream ends at once while the
/// first is running.
///
/// # Cancel safety
/// May be dropped and called again; the upstream keeps its endpoints meanwhile.
pub fn drive(upstream: &Arc<Upstream>) -> impl Future<Output = ()> + Send + use<> {
    let mut source = Source::new(Arc::clone(upstream.discovery()));
    let signal = Arc::clone(upstream.signal());
    let upstream = Arc::downgrade(upstream);
    async move {
        let Some(_claim) = Claim::new(&signal) else {
            return;
        };
        while let Some(expires) = upstream.upgrade().map(|live| live.snapshot().expires()) {
            let event = tokio::select! {
                biased;
                () = signal.changed() => None,
                () = until(expires) => None,
                event = source.next() => Some(event),
            };
            let Some(live) = upstream.upgrade() else {
                return;
            };
            match event {
                None => live.refresh(),
                Some(event) => {
                    if take_batch(&live, event, &mut source) == MAX_BATCH {
                        drop(live);
                        // a source that always has more must not keep the thread
                        tokio::task::yield_now().await;
                    }
                }
            }
        }
    }
}

/// Applies `event` and whatever else is there already, then builds one picker. Returns how many there were.
fn take_batch(upstream: &Upstream, event: Event, source: &mut Source) -> usize {
    let (mut next, mut count, mut changed) = (Some(event), 0, false);
    while let Some(event) = next {
        match event {
            Event::Update(update) => changed |= upstream.absorb(update),
            Event::Failed(error) => upstream.discovery_failed(&error),
            Event::Ended(why) => upstream.discovery_ended(why),
        }
        count += 1;
        next = if count < MAX_BATCH {
            source.next().now_or_never()
        } else {
            None
        };
    }
    if changed {
        upstream.refresh();
    }
    count
}

/// Waits for `deadline`, or for ever.
async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// The right to drive an upstream.
struct Claim(Arc<Signal>);

impl Claim {
    fn new(signal: &Arc<Signal>) -> Option<Self> {
        signal.claim().then(|| Self(Arc::clone(signal)))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.0.release();
    }
}

#[derive(Debug)]
enum Event {
    Update(EndpointUpdate),
    Failed(DiscoveryError),
    Ended(&'static str),
}

/// A discovery that is watched again and again.
struct Source {
    discovery: Arc<dyn Discovery>,
    stream: Option<Watched>,
    resume: Option<Instant>,
    backoff: Backoff,
}

struct Watched {
    stream: BoxStream<'static, Result<EndpointUpdate, DiscoveryError>>,
    since: Instant,
}

impl Source {
    fn new(discovery: Arc<dyn Discovery>) -> Self {
        Self {
            discovery,
            stream: None,
            resume: None,
            backoff: Backoff::new(FIRST_PAUSE, LONGEST_PAUSE),
        }
    }

    /// The next event. May be dropped while it waits without losing one.
    async fn next(&mut self) -> Event {
        if let Some(resume) = self.resume {
            tokio::time::sleep_until(resume).await;
            self.resume = None;
        }
        // discoveries are users' code: a panic counts as the end of the stream
        let discovery = &self.discovery;
        let watched = &mut self.stream;
        let polled = AssertUnwindSafe(async {
            let watched = watched.get_or_insert_with(|| Watched {
                stream: discovery.watch(),
                since: Clock.now(),
            });
            watched.stream.next().await
        });
        match polled.catch_unwind().await {
            Ok(Some(Ok(update))) => Event::Update(update),
            Ok(Some(Err(error))) => {
                self.resume = Some(Clock.now() + ERROR_PAUSE);
                Event::Failed(error)
            }
            Ok(None) => self.ended("the discovery stream ended"),
            Err(_) => self.ended("the discovery panicked"),
        }
    }

    fn ended(&mut self, why: &'static str) -> Event {
        let watched = self.stream.take();
        if watched.is_some_and(|watched| Clock.since(watched.since) >= STEADY) {
            self.backoff.reset();
        }
        self.resume = Some(Clock.now() + self.backoff.next());
        Event::Ended(why)
    }
}

#[cfg(test)]
mod tests;
