//! The one source of time.
//!
//! Everything in the data plane reads time through [`Clock`], so that a test that pauses tokio's clock
//! pauses all of it, and so that a coarser source can replace the system call without touching callers.

use std::time::{Duration, SystemTime};

pub use tokio::time::Instant;

/// Reads time. Zero-sized: a value only documents that its owner depends on time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock;

impl Clock {
    /// The monotonic time, as tokio sees it (pausable in tests).
    #[must_use]
    pub fn now(self) -> Instant {
        Instant::now()
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
