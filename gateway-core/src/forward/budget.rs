//! A cap on retries, so that they cannot turn trouble into an outage.

use std::sync::atomic::{AtomicI64, Ordering};

/// What one request adds, in thousandths of a retry: a fifth, as Envoy's and Linkerd's budgets do.
const PER_REQUEST: i64 = 200;
/// Retries that may be saved up.
const CAP: i64 = 100_000;
/// Retries a route starts with, so that low traffic is not without.
const START: i64 = 10_000;

/// Retries left, in thousandths.
#[derive(Debug)]
pub(crate) struct RetryBudget(AtomicI64);

impl Default for RetryBudget {
    fn default() -> Self {
        Self(AtomicI64::new(START))
    }
}

impl RetryBudget {
    /// A request came in.
    pub(crate) fn deposit(&self) {
        // A lost update costs a fifth of a retry; a load first keeps the full budget free of writes.
        let held = self.0.load(Ordering::Relaxed);
        if held < CAP {
            self.0.fetch_add(PER_REQUEST, Ordering::Relaxed);
        }
    }

    /// Takes one retry, if there is one.
    pub(crate) fn withdraw(&self) -> bool {
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| {
                (held >= 1000).then_some(held - 1000)
            })
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allows_a_fifth_of_the_requests_after_the_start() {
        let budget = RetryBudget::default();
        while budget.withdraw() {}
        for _ in 0..50 {
            budget.deposit();
        }
        assert_eq!((0..50).filter(|_| budget.withdraw()).count(), 10);
    }
}
