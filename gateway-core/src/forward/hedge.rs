//! A second attempt beside one that is slow.
//!
//! A request that has waited longer for its reply than most do is sent once more, to another endpoint; the first good
//! reply is taken and the other attempt given up. That bounds what one slow endpoint does to the slowest requests, at
//! the price of some more requests to upstreams, which a budget bounds.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::RetryBudgetLimits;
use super::budget::RetryBudget;

/// When a second attempt is made beside the first.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct HedgePolicy {
    /// After how long.
    pub after: HedgeAfter,
    /// How many there may be compared to requests.
    pub budget: RetryBudgetLimits,
}

/// How long the first attempt has for its reply before there is a second one.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum HedgeAfter {
    /// As long as this.
    Fixed(Duration),
    /// As long as this share of the route's requests took lately, 0 to 1, and never less than `least`. Until enough
    /// requests have shown how long that is, there is no second attempt.
    Percentile {
        /// The share.
        share: f64,
        /// The shortest delay.
        least: Duration,
    },
}

impl HedgePolicy {
    /// A second attempt after `after`, within the default budget.
    #[must_use]
    pub fn new(after: HedgeAfter) -> Self {
        Self {
            after,
            budget: RetryBudgetLimits::default(),
        }
    }
}

/// The policy of a route with what its requests have shown.
#[derive(Debug)]
pub(super) struct Hedge {
    policy: HedgePolicy,
    account: RetryBudget,
    seen: Latencies,
}

impl Hedge {
    pub(super) fn new(policy: HedgePolicy) -> Self {
        Self {
            policy,
            account: RetryBudget::default(),
            seen: Latencies::default(),
        }
    }

    /// A request came in.
    pub(super) fn deposit(&self) {
        self.account.deposit(self.policy.budget);
    }

    /// Takes the right to a second attempt, if there is one left.
    pub(super) fn withdraw(&self) -> bool {
        self.account.withdraw(self.policy.budget)
    }

    /// How long the first attempt is waited for; `None` while that is not known.
    pub(super) fn delay(&self) -> Option<Duration> {
        match self.policy.after {
            HedgeAfter::Fixed(delay) => Some(delay),
            HedgeAfter::Percentile { least, .. } => match self.seen.known.load(Ordering::Relaxed) {
                0 => None,
                micros => Some(Duration::from_micros(micros).max(least)),
            },
        }
    }

    /// Notes how long the first attempt took, or how long it was waited for in vain.
    pub(super) fn record(&self, took: Duration) {
        if let HedgeAfter::Percentile { share, .. } = self.policy.after {
            self.seen.record(took, share);
        }
    }
}

/// Four to an octave, from a microsecond on: the last one begins at two minutes.
const BUCKETS: usize = 4 * 27;
/// The percentile is worked out anew after so many samples.
const EACH: u32 = 64;
/// Samples that are halved to make room for new ones: the last few thousand requests count.
const MOST: u32 = 4096;

/// How long requests took lately, coarsely: a bucket is a fifth wide. Racing threads may lose a sample.
#[derive(Debug)]
struct Latencies {
    buckets: [AtomicU32; BUCKETS],
    samples: AtomicU32,
    /// The percentile in microseconds; 0 before it is known.
    known: AtomicU64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self {
            buckets: std::array::from_fn(|_| AtomicU32::new(0)),
            samples: AtomicU32::new(0),
            known: AtomicU64::new(0),
        }
    }
}

impl Latencies {
    fn record(&self, took: Duration, share: f64) {
        if let Some(bucket) = self.buckets.get(bucket_of(took)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        let samples = self.samples.fetch_add(1, Ordering::Relaxed) + 1;
        if samples.is_multiple_of(EACH) {
            self.known.store(self.percentile(share), Ordering::Relaxed);
        }
        if samples == MOST {
            for bucket in &self.buckets {
                bucket.fetch_sub(bucket.load(Ordering::Relaxed) / 2, Ordering::Relaxed);
            }
            self.samples.fetch_sub(MOST / 2, Ordering::Relaxed);
        }
    }

    /// The upper end of the bucket in which the percentile lies, in microseconds.
    fn percentile(&self, share: f64) -> u64 {
        let counts = self
            .buckets
            .each_ref()
            .map(|bucket| u64::from(bucket.load(Ordering::Relaxed)));
        let total: u64 = counts.iter().sum();
        let rank = (total as f64 * share).ceil() as u64;
        let mut below = 0;
        for (bucket, count) in counts.iter().enumerate() {
            below += count;
            if below >= rank.max(1) {
                return end_of(bucket);
            }
        }
        end_of(BUCKETS - 1)
    }
}

fn bucket_of(took: Duration) -> usize {
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(4);
    let octave = micros.ilog2();
    // The two bits below the highest one.
    let quarter = (micros >> (octave - 2)) & 3;
    ((octave as usize - 2) * 4 + quarter as usize).min(BUCKETS - 1)
}

fn end_of(bucket: usize) -> u64 {
    let (octave, quarter) = (bucket / 4, bucket as u64 % 4);
    (5 + quarter) << octave
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_a_fifth_wide_and_in_order() {
        let mut last = 0;
        for micros in [4, 5, 7, 8, 9, 100, 1000, 33_000, 1_000_000, 100_000_000] {
            let bucket = bucket_of(Duration::from_micros(micros));
            assert!(bucket >= last, "{micros}");
            last = bucket;
            let end = end_of(bucket);
            assert!(
                end > micros && end <= micros * 5 / 4 + 1,
                "{micros} in one that ends at {end}"
            );
        }
        assert_eq!(bucket_of(Duration::ZERO), 0);
        assert_eq!(bucket_of(Duration::MAX), BUCKETS - 1);
    }

    #[test]
    fn the_percentile_is_that_of_the_last_few_thousand() {
        let share = 0.95;
        let hedge = Hedge::new(HedgePolicy::new(HedgeAfter::Percentile {
            share,
            least: Duration::from_millis(1),
        }));
        assert_eq!(hedge.delay(), None, "nothing is known yet");
        let slow_one_in_ten = |number: u64| match number % 10 {
            0 => Duration::from_millis(100),
            _ => Duration::from_millis(10),
        };
        for number in 0..6400 {
            hedge.record(slow_one_in_ten(number));
        }
        let delay = hedge.delay().unwrap();
        assert!((100..=125).contains(&delay.as_millis()), "{delay:?}");
        for _ in 0..32_000 {
            hedge.record(Duration::from_micros(50));
        }
        assert_eq!(hedge.delay(), Some(Duration::from_millis(1)), "never less");
    }
}
