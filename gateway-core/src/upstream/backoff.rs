//! Growing pauses between attempts.

use std::time::Duration;

use crate::balance::rng;

/// Doubles a pause from `first` to `longest`; each is shortened by up to a half at random, so that gateways
/// that lost the same source do not come back to it together.
#[derive(Debug)]
pub(super) struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    pub(super) fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            next: first,
        }
    }

    pub(super) fn next(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.longest);
        pause.mul_f64(1.0 - 0.5 * rng::fraction(rng::next()))
    }

    pub(super) fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_longest_and_starts_again() {
        let second = Duration::from_secs(1);
        let mut backoff = Backoff::new(second, 5 * second);
        for wanted in [1, 2, 4, 5, 5] {
            let pause = backoff.next();
            assert!(pause > wanted * second / 2 - second / 100 && pause <= wanted * second);
        }
        backoff.reset();
        assert!(backoff.next() <= second);
    }
}
