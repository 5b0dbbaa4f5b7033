//! Deadlines that cost next to nothing while nothing is late.
//!
//! A connection sets a new deadline for each request, nearly always later than the last one. A
//! [`LazyTimer`] therefore only notes the deadline; the runtime's timer below it is armed once, and when
//! it fires early it is armed again for what is noted by then.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::time::Sleep;

use crate::clock::{Clock, Instant};

/// A deadline that may move at any time.
#[derive(Default)]
pub(crate) struct LazyTimer {
    deadline: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
    /// Whom `sleep` wakes.
    wakes: Option<Waker>,
}

impl LazyTimer {
    /// Notes a deadline; `None` means never.
    pub(crate) fn set(&mut self, deadline: Option<Instant>) {
        self.deadline = deadline;
    }

    /// Notes a deadline unless an earlier one is noted.
    pub(crate) fn pull_in(&mut self, by: Instant) {
        self.deadline = Some(self.deadline.map_or(by, |noted| noted.min(by)));
    }

    /// Whether a deadline is noted.
    pub(crate) fn is_set(&self) -> bool {
        self.deadline.is_some()
    }

    /// Forgets the deadline and whom to wake, so that the timer can be kept for somebody else. False when it was
    /// never armed, and there is nothing to keep.
    pub(crate) fn rest(&mut self) -> bool {
        self.deadline = None;
        let Some(sleep) = &mut self.sleep else {
            return false;
        };
        self.wakes = None;
        // Only the last task that polled is woken.
        let _ = sleep.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        true
    }

    /// Ready once the noted deadline has passed; else the task is woken when it has.
    pub(crate) fn poll_elapsed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = self.deadline else {
            return Poll::Pending;
        };
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        } else if !sleep.is_elapsed()
            && self
                .wakes
                .as_ref()
                .is_some_and(|waker| waker.will_wake(cx.waker()))
        {
            // Armed already, for this task.
            return Poll::Pending;
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if deadline <= Clock.now() {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
        match &mut self.wakes {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}

impl fmt::Debug for LazyTimer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LazyTimer")
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;
    use std::time::Duration;

    use super::*;

    /// Counts how often it is woken.
    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn fires_at_the_last_noted_deadline() {
        let start = Clock.now();
        let mut timer = LazyTimer::default();
        timer.set(Some(start + Duration::from_secs(1)));
        assert!(
            futures_util::FutureExt::now_or_never(poll_fn(|cx| timer.poll_elapsed(cx))).is_none()
        );
        timer.set(Some(start + Duration::from_secs(5)));
        poll_fn(|cx| timer.poll_elapsed(cx)).await;
        assert_eq!(Clock.since(start).as_secs(), 5);
        timer.set(Some(Clock.now() + Duration::from_secs(60)));
        assert!(
            futures_util::FutureExt::now_or_never(poll_fn(|cx| timer.poll_elapsed(cx))).is_none()
        );
        timer.set(Some(Clock.now() + Duration::from_secs(1)));
        poll_fn(|cx| timer.poll_elapsed(cx)).await;
        assert_eq!(Clock.since(start).as_secs(), 6);
    }
    #[tokio::test(start_paused = true)]
    async fn serves_somebody_else_after_a_rest() {
        let start = Clock.now();
        let mut timer = LazyTimer::default();
        assert!(!timer.rest());
        timer.set(Some(start + Duration::from_secs(1)));
        let first = Arc::new(Count::default());
        let waker = Waker::from(first.clone());
        let mut task = Context::from_waker(&waker);
        assert!(timer.poll_elapsed(&mut task).is_pending());
        assert!(timer.rest());
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(first.0.load(Ordering::Relaxed), 0);
        timer.set(Some(start + Duration::from_secs(5)));
        poll_fn(|cx| timer.poll_elapsed(cx)).await;
        assert_eq!(Clock.since(start).as_secs(), 5);
    }
}
