//! Numbers and durations as the data plane counts them.

use std::{num::NonZeroU64, time::Duration};

use crate::config::raw::RawTcpKeepalive;
use crate::config::units::TimeSpan;
use crate::socket::TcpKeepalive;

/// Stands for "no timeout" where one has to be given: ten years, which timers can still add to now.
pub(super) const NEVER: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// What systems take for a number of probes.
const MOST_PROBES: u32 = 127;
/// The longest time between probes and before them: half of what Linux takes (32767 seconds).
const LONGEST_SILENCE: Duration = Duration::from_secs(16_383);

/// `usual` is the user time-out where none is written.
pub(super) fn tcp_keepalive(
    raw: &RawTcpKeepalive,
    usual: impl FnOnce(&TcpKeepalive) -> Option<Duration>,
) -> TcpKeepalive {
    // Systems count in whole seconds, and none is no time.
    let seconds = |span: Duration| {
        let whole = span.as_secs() + u64::from(span.subsec_nanos() > 0);
        Duration::from_secs(whole.max(1)).min(LONGEST_SILENCE)
    };
    let mut keepalive = TcpKeepalive {
        idle: timeout(raw.idle).map(seconds),
        interval: seconds(raw.interval.get()),
        probes: raw.probes.get().min(MOST_PROBES),
        user_timeout: None,
    };
    keepalive.user_timeout = match raw.user_timeout {
        Some(span) => timeout(span),
        None => usual(&keepalive),
    }
    .map(|span| span.min(LONGEST_SILENCE));
    keepalive
}

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
