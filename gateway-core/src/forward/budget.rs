//! A cap on retries, so that they cannot turn trouble into an outage.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use super::retry::RetryBudgetLimits;
use crate::clock::{Clock, Instant};

/// Retries that may be saved up, in thousandths.
const CAP: i64 = 100_000;

/// The retries of one route. The limits are given with each call, so that a reload keeps the account.
#[derive(Debug, Default)]
pub(crate) struct RetryBudget {
    /// Retries earned by requests and not used yet, in thousandths.
    saved: AtomicI64,
    /// The second (upper half, counted from the first retry) and the retries that were free in it (lower half).
    free: AtomicU64,
    origin: OnceLock<Instant>,
}

impl RetryBudget {
    /// A request came in.
    pub(crate) fn deposit(&self, limits: RetryBudgetLimits) {
        // A load first keeps the full account free of writes. Racing requests overshoot by one each at most.
        if self.saved.load(Ordering::Relaxed) < CAP {
            self.saved
                .fetch_add(i64::from(limits.percent) * 10, Ordering::Relaxed);
        }
    }

    /// Takes one retry, if there is one.
    pub(crate) fn withdraw(&self, limits: RetryBudgetLimits) -> bool {
        self.take_free(limits.min_per_second) || self.take_saved()
    }

    fn take_free(&self, per_second: u32) -> bool {
        let origin = *self.origin.get_or_init(|| Clock.now());
        // Wraps after a century.
        let second = Clock.since(origin).as_secs() << 32;
        self.free
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| {
                let used = if held >> 32 == second >> 32 {
                    held & u64::from(u32::MAX)
                } else {
                    0
                };
                (used < u64::from(per_second)).then_some(second | (used + 1))
            })
            .is_ok()
    }

    fn take_saved(&self) -> bool {
        self.saved
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| {
                (held >= 1000).then_some(held - 1000)
            })
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn granted(budget: &RetryBudget, limits: RetryBudgetLimits) -> usize {
        (0..1000).filter(|_| budget.withdraw(limits)).count()
    }

    #[tokio::test(start_paused = true)]
    async fn requests_earn_retries_up_to_a_bound() {
        let limits = RetryBudgetLimits {
            percent: 20,
            min_per_second: 0,
        };
        let budget = RetryBudget::default();
        assert_eq!(granted(&budget, limits), 0);
        for _ in 0..50 {
            budget.deposit(limits);
        }
        assert_eq!(granted(&budget, limits), 10);
        for _ in 0..100_000 {
            budget.deposit(limits);
        }
        assert_eq!(granted(&budget, limits), 100);
    }

    #[tokio::test(start_paused = true)]
    async fn some_retries_are_free_in_each_second() {
        let limits = RetryBudgetLimits {
            percent: 0,
            min_per_second: 3,
        };
        let budget = RetryBudget::default();
        for _ in 0..3 {
            budget.deposit(limits);
            assert_eq!(granted(&budget, limits), 3);
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(
            granted(
                &budget,
                RetryBudgetLimits {
                    min_per_second: 0,
                    ..limits
                }
            ),
            0
        );
    }
}
