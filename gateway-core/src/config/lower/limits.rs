//! Numbers and durations as the data plane counts them.

use std::{num::NonZeroU64, time::Duration};

use crate::config::units::TimeSpan;

/// Stands for "no timeout" where one has to be given: ten years, which timers can still add to now.
pub(super) const NEVER: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// A count in memory; more than fits is no limit that could be reached.
pub(super) fn count(limit: Option<NonZeroU64>) -> Option<usize> {
    limit.map(|limit| usize::try_from(limit.get()).unwrap_or(usize::MAX))
}

/// A timeout that `0s` switches off.
pub(super) fn timeout(span: TimeSpan) -> Option<Duration> {
    let duration = span.get();
    (!duration.is_zero()).then(|| duration.min(NEVER))
}

/// The same, where there is no way to say "off".
pub(super) fn timeout_or_never(span: TimeSpan) -> Duration {
    timeout(span).unwrap_or(NEVER)
}
