//! Room for connections: how many may be open, on one listener or in the process.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// A number of places, which a reload may change.
#[derive(Debug)]
pub(crate) struct Room {
    limit: AtomicUsize,
    taken: AtomicUsize,
    freed: Notify,
}

impl Default for Room {
    /// No limit.
    fn default() -> Self {
        Self {
            limit: AtomicUsize::new(usize::MAX),
            taken: AtomicUsize::new(0),
            freed: Notify::new(),
        }
    }
}

impl Room {
    /// Changes the limit; what is open stays open.
    pub(crate) fn set_limit(&self, limit: Option<usize>) {
        self.limit
            .store(limit.unwrap_or(usize::MAX), Ordering::Relaxed);
        self.freed.notify_waiters();
    }

    /// Takes a place, when there is one.
    pub(crate) async fn enter(self: &Arc<Self>) -> Occupied {
        loop {
            let mut freed = pin!(self.freed.notified());
            // Waits from here on: a place that is freed after the look below must not be missed.
            freed.as_mut().enable();
            if let Some(entered) = self.try_enter() {
                return entered;
            }
            freed.await;
        }
    }

    /// Takes a place, if there is one now.
    pub(crate) fn try_enter(self: &Arc<Self>) -> Option<Occupied> {
        let limit = self.limit.load(Ordering::Relaxed);
        let entered = self
            .taken
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, |taken| {
                (taken < limit).then_some(taken + 1)
            });
        entered.is_ok().then(|| Occupied(self.clone()))
    }
}

/// A place that is taken until this is dropped.
#[derive(Debug)]
pub(crate) struct Occupied(Arc<Room>);

impl Drop for Occupied {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::AcqRel);
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn lets_in_as_many_as_fit_and_the_next_when_one_leaves() {
        let room = Arc::new(Room::default());
        room.set_limit(Some(1));
        let first = room.enter().await;
        let mut second = Box::pin(room.enter());
        assert!(second.as_mut().now_or_never().is_none());
        drop(first);
        let second = second.await;
        room.set_limit(Some(2));
        assert!(room.enter().now_or_never().is_some());
        drop(second);
    }
}
