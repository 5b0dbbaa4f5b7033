//! The one source of time.
//!
//! Everything in the data plane reads time through [`Clock`], so that a test that pauses tokio's clock
//! pauses all of it, and so that a coarser source can replace the system call without touching callers.

use std::cell::Cell;
use std::time::{Duration, SystemTime};

pub use tokio::time::Instant;

thread_local! {
    /// The last reading of this thread, where [`Clock::forget`] is called before the thread sleeps.
    static LAST: Cell<Last> = const { Cell::new(Last::Unused) };
}

#[derive(Clone, Copy)]
enum Last {
    /// Nobody says when the thread sleeps: a reading is old at once.
    Unused,
    Forgotten,
    Read(Instant),
}

/// Reads time. Zero-sized: a value only documents that its owner depends on time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock;

impl Clock {
    /// The monotonic time, as tokio sees it (pausable in tests).
    #[must_use]
    pub fn now(self) -> Instant {
        let now = Instant::now();
        LAST.with(|last| {
            if !matches!(last.get(), Last::Unused) {
                last.set(Last::Read(now));
            }
        });
        now
    }

    /// The monotonic time when this worker last read it, for deadlines and ages: no older than the work since the
    /// worker last slept. Costs no call of the system's clock. On other threads it is [`now`](Self::now).
    #[must_use]
    pub fn recent(self) -> Instant {
        match LAST.with(Cell::get) {
            Last::Read(instant) => instant,
            Last::Unused | Last::Forgotten => self.now(),
        }
    }

    /// Called by a worker before it sleeps: what was read before is old afterwards.
    pub(crate) fn forget() {
        LAST.with(|last| last.set(Last::Forgotten));
    }

    /// The wall-clock time, for log lines, dates and certificate checks.
    #[must_use]
    pub fn wall(self) -> SystemTime {
        SystemTime::now()
    }

    /// Time passed since `earlier`, zero when `earlier` lies in the future.
    #[must_use]
    pub fn since(self, earlier: Instant) -> Duration {
        self.now().saturating_duration_since(earlier)
    }
}
