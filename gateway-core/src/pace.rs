//! How long a client may take for the body of its request.

use std::time::Duration;

use crate::clock::{Clock, Instant};
use crate::settings::{BodyLimits, HttpSettings};

/// Longer than anything lasts.
const FOREVER: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// The patience with one body. Only time in which the gateway waits for the client is counted: while an upstream takes
/// nothing, nobody waits for more.
#[derive(Debug)]
pub(crate) struct Pace {
    /// Between two pieces.
    idle: Duration,
    total: Option<Duration>,
    min_rate: Option<std::num::NonZeroU64>,
    /// How long was waited already. Not counted unless the whole has a limit.
    waited: Duration,
    since: Option<Instant>,
}

impl Pace {
    pub(crate) fn new(settings: &HttpSettings) -> Self {
        let BodyLimits {
            total, min_rate, ..
        } = settings.body;
        Self {
            idle: settings.timeouts.body_idle,
            total,
            min_rate,
            waited: Duration::ZERO,
            since: None,
        }
    }

    /// Silence alone ends nothing: for conversations.
    pub(crate) fn patient(mut self) -> Self {
        self.idle = FOREVER;
        self
    }

    /// Waiting for more begins, `received` bytes of the body being there: the end of patience.
    pub(crate) fn wait(&mut self, received: u64) -> Instant {
        let now = Clock.now();
        let Some(allowed) = self.allowed(received) else {
            return now + self.idle;
        };
        self.since = Some(now);
        now + self.idle.min(allowed.saturating_sub(self.waited))
    }

    /// Something came.
    pub(crate) fn arrived(&mut self) {
        if let Some(since) = self.since.take() {
            self.waited += Clock.since(since);
        }
    }

    /// How long the body may be waited for all together.
    fn allowed(&self, received: u64) -> Option<Duration> {
        let earned = self
            .min_rate
            .map(|rate| Duration::from_millis(received.saturating_mul(1000) / rate));
        match (self.total, earned) {
            (None, None) => None,
            (total, earned) => {
                let base = total.unwrap_or(self.idle);
                Some(base.saturating_add(earned.unwrap_or_default()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn pace(total: Option<u64>, min_rate: Option<u64>) -> Pace {
        let mut settings = HttpSettings::default();
        settings.timeouts.body_idle = 10 * SECOND;
        settings.body.total = total.map(Duration::from_secs);
        settings.body.min_rate = min_rate.and_then(NonZeroU64::new);
        Pace::new(&settings)
    }

    /// How long a body is waited for that comes in pieces of `size` bytes, one every `gap`; at most an hour.
    async fn patience(mut pace: Pace, size: u64, gap: Duration) -> Duration {
        let mut received = 0;
        let mut waited = Duration::ZERO;
        while waited < 3600 * SECOND {
            let left = pace.wait(received) - Clock.now();
            if left <= gap {
                return waited + left;
            }
            tokio::time::advance(gap).await;
            waited += gap;
            pace.arrived();
            received += size;
            // The upstream takes its time; that is not the client's.
            tokio::time::advance(60 * SECOND).await;
        }
        waited
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_it_and_drops_do_not() {
        assert_eq!(
            patience(pace(None, None), 1, 11 * SECOND).await,
            10 * SECOND
        );
        assert_eq!(
            patience(pace(None, None), 1, 9 * SECOND).await,
            3600 * SECOND
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_total_ends_drops_too() {
        assert_eq!(
            patience(pace(Some(30), None), 1 << 30, SECOND).await,
            30 * SECOND
        );
        assert_eq!(
            patience(pace(Some(30), None), 1, 11 * SECOND).await,
            10 * SECOND
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_lets_through_who_keeps_it() {
        // Fast enough, half as fast, and drops.
        assert_eq!(
            patience(pace(Some(30), Some(100)), 100, SECOND).await,
            3600 * SECOND
        );
        let half = patience(pace(Some(30), Some(100)), 50, SECOND).await;
        assert!((58..=60).contains(&half.as_secs()), "{half:?}");
        assert_eq!(
            patience(pace(None, Some(100)), 1, SECOND).await.as_secs(),
            10
        );
    }
}
