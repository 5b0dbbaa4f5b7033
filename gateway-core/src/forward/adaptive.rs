//! As many requests at a time as an upstream answers without queueing them.
//!
//! A gradient limiter: the upstream's latency now is compared with what it was in the long run. While they are alike the
//! limit grows by the square root of itself, so that there is always a little room to find out more; once requests take
//! longer because they queue, it shrinks in proportion. What is beyond it is refused at once, which keeps the queue, and
//! with it everybody's latency, short.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::clock::{Clock, Instant};

/// A limit that follows the upstream's latency.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct AdaptiveLimit {
    /// The limit at the start.
    pub initial: u32,
    /// The least it becomes.
    pub min: u32,
    /// The most it becomes.
    pub max: u32,
    /// By which factor latency may be above what is usual before the limit shrinks; at least 1.
    pub tolerance: f64,
    /// How often the limit is worked out anew.
    pub window: Duration,
}

impl Default for AdaptiveLimit {
    fn default() -> Self {
        Self {
            initial: 100,
            min: 10,
            max: 1000,
            tolerance: 1.5,
            window: Duration::from_millis(100),
        }
    }
}

/// A window with fewer samples goes on.
const ENOUGH: u32 = 10;
/// Windows that what is usual is averaged over.
const USUAL: f64 = 600.0;
/// Windows until what is usual is an average at all.
const WARM: u32 = 10;
/// How much of a change of the limit is made at once.
const STEP: f64 = 0.2;
/// No window makes the limit smaller than this part of it.
const STEEPEST: f64 = 0.5;

/// The state of one upstream's limit.
#[derive(Debug)]
pub(super) struct Adaptive {
    settings: AdaptiveLimit,
    limit: AtomicU32,
    window: Mutex<Window>,
}

#[derive(Debug)]
struct Window {
    /// The limit before it was rounded.
    limit: f64,
    ends: Option<Instant>,
    samples: u32,
    sum: Duration,
    /// The most requests that were in flight.
    busiest: u32,
    /// The latency that is usual, in seconds, and how many windows went into it.
    usual: f64,
    windows: u32,
}

impl Adaptive {
    pub(super) fn new(settings: AdaptiveLimit) -> Self {
        Self {
            settings,
            limit: AtomicU32::new(settings.initial),
            window: Mutex::new(Window {
                limit: f64::from(settings.initial),
                ends: None,
                samples: 0,
                sum: Duration::ZERO,
                busiest: 0,
                usual: 0.0,
                windows: 0,
            }),
        }
    }

    /// Requests that may be in flight.
    pub(super) fn limit(&self) -> u32 {
        self.limit.load(Ordering::Relaxed)
    }

    /// Notes how long a reply took that began while this many requests were in flight.
    pub(super) fn record(&self, latency: Duration, in_flight: u32) {
        // A sample is not worth waiting for.
        let Ok(mut window) = self.window.try_lock() else {
            return;
        };
        window.samples += 1;
        window.sum += latency;
        window.busiest = window.busiest.max(in_flight);
        let now = Clock.recent();
        let ends = *window.ends.get_or_insert(now + self.settings.window);
        if now >= ends && window.samples >= ENOUGH {
            window.close(&self.settings);
            window.ends = Some(now + self.settings.window);
            self.limit.store(window.limit as u32, Ordering::Relaxed);
        }
    }
}

impl Window {
    /// Works the limit out anew from what came in.
    fn close(&mut self, settings: &AdaptiveLimit) {
        let now = self.sum.as_secs_f64() / f64::from(self.samples);
        let busiest = f64::from(self.busiest);
        (self.samples, self.sum, self.busiest) = (0, Duration::ZERO, 0);
        self.windows = self.windows.saturating_add(1);
        if self.windows <= WARM {
            self.usual += (now - self.usual) / f64::from(self.windows);
        } else {
            self.usual += (now - self.usual) * 2.0 / (USUAL + 1.0);
        }
        // After a long time of trouble what is usual must not stay bad for as long again.
        if now > 0.0 && self.usual / now > 2.0 {
            self.usual *= 0.95;
        }
        let gradient =
            (settings.tolerance * self.usual / now.max(f64::MIN_POSITIVE)).clamp(STEEPEST, 1.0);
        let wanted = self.limit * gradient + self.limit.sqrt();
        let next = self.limit + (wanted - self.limit) * STEP;
        // An upstream with little to do says nothing of how much more it could.
        let most = if busiest < self.limit / 2.0 {
            self.limit
        } else {
            f64::from(settings.max)
        };
        self.limit = next
            .min(most)
            .clamp(f64::from(settings.min), f64::from(settings.max));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An upstream that works on so many requests at a time, each for 10 ms; further ones queue.
    struct Queueing(u32);

    impl Queueing {
        fn latency(&self, in_flight: u32) -> Duration {
            let each = Duration::from_millis(10);
            each.mul_f64((f64::from(in_flight) / f64::from(self.0)).max(1.0))
        }
    }

    /// What the limit becomes when there are always so many clients, within so many seconds.
    async fn settles(adaptive: &Adaptive, upstream: &Queueing, clients: u32, seconds: u32) -> u32 {
        for _ in 0..seconds * 100 {
            let in_flight = clients.min(adaptive.limit());
            for _ in 0..20 {
                adaptive.record(upstream.latency(in_flight), in_flight);
            }
            tokio::time::advance(Duration::from_millis(10)).await;
        }
        adaptive.limit()
    }

    #[tokio::test(start_paused = true)]
    async fn it_grows_while_nothing_queues_and_only_if_it_is_needed() {
        let adaptive = Adaptive::new(AdaptiveLimit::default());
        assert_eq!(settles(&adaptive, &Queueing(10_000), 20, 30).await, 100);
        assert_eq!(settles(&adaptive, &Queueing(10_000), 5000, 120).await, 1000);
    }

    #[tokio::test(start_paused = true)]
    async fn it_shrinks_when_the_upstream_becomes_slower_and_comes_back() {
        let adaptive = Adaptive::new(AdaptiveLimit::default());
        let before = settles(&adaptive, &Queueing(200), 500, 10).await;
        assert!((200..=420).contains(&before), "{before}");
        // It has a tenth of its capacity left.
        let during = settles(&adaptive, &Queueing(20), 500, 10).await;
        assert!(during <= before / 3, "{during}");
        let after = settles(&adaptive, &Queueing(200), 500, 30).await;
        assert!(after > during * 2, "{after} after {during}");
    }

    #[tokio::test(start_paused = true)]
    async fn it_stays_within_its_bounds() {
        let adaptive = Adaptive::new(AdaptiveLimit {
            min: 40,
            ..AdaptiveLimit::default()
        });
        settles(&adaptive, &Queueing(100), 100, 5).await;
        assert_eq!(settles(&adaptive, &Queueing(1), 100, 5).await, 40);
    }
}
