//! Memory: how much of what the process may use is in use, and what is refused when it gets short.
//!
//! Requests pay nothing for it: a task beside the data plane looks at the memory now and then, more often when it is
//! nearly used up, and moves a level, which the data plane reads where it looks for other limits already.

use std::sync::Weak;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use super::cgroup::Cgroup;
use super::compile::Controller;
use crate::clock::{Clock, Instant};
use crate::observe::metrics::resident_bytes;

/// How often memory is looked at.
const EVERY: Duration = Duration::from_millis(100);
/// How often above [`NEAR`] percent. What is taken meanwhile may go beyond the limit.
const EVERY_NEAR: Duration = Duration::from_millis(10);
const NEAR: u64 = 65;
/// From which part of the limit on, in percent, connections are refused.
const HIGH: u64 = 85;
/// From which part on requests are refused.
const CRITICAL: u64 = 95;
/// Below which part requests are taken again.
const CRITICAL_ENDS: u64 = 90;
/// Below which part everything is as usual again.
const HIGH_ENDS: u64 = 80;
/// How long the load has to be less until what is in use counts as kept by the allocator.
const SETTLED: Duration = Duration::from_secs(1);

/// How short memory is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Level {
    #[default]
    Calm,
    /// No new connections; idle ones are closed.
    High,
    /// No new requests either.
    Critical,
}

/// The limit of memory, and how near it is.
#[derive(Debug)]
pub(crate) struct Pressure {
    level: AtomicU8,
    used: AtomicU64,
    limit: watch::Sender<Option<MemoryLimit>>,
}

/// How much the process may use.
#[derive(Clone, Debug)]
struct MemoryLimit {
    bytes: u64,
    /// Where the limit comes from, when nobody wrote it: its other members count too.
    cgroup: Option<Cgroup>,
}

impl Default for Pressure {
    fn default() -> Self {
        Self {
            level: AtomicU8::new(0),
            used: AtomicU64::new(0),
            limit: watch::Sender::new(None),
        }
    }
}

impl Pressure {
    pub(crate) fn level(&self) -> Level {
        match self.level.load(Ordering::Relaxed) {
            0 => Level::Calm,
            1 => Level::High,
            _ => Level::Critical,
        }
    }

    /// The limit, and what of it was in use when last looked at, in bytes. `None` without a limit.
    pub(crate) fn usage(&self) -> Option<(u64, u64)> {
        let limit = self.limit.borrow().as_ref()?.bytes;
        Some((limit, self.used.load(Ordering::Relaxed)))
    }

    /// Changes the limit: bytes, 0 for none; `None` for that of the cgroup, if it has one.
    pub(crate) fn set_limit(&self, configured: Option<u64>) {
        let limit = match configured {
            Some(0) => None,
            Some(bytes) => Some(MemoryLimit {
                bytes,
                cgroup: None,
            }),
            None => Cgroup::of_this_process().map(|cgroup| MemoryLimit {
                bytes: cgroup.limit(),
                cgroup: Some(cgroup),
            }),
        };
        self.limit.send_replace(limit);
    }
}

impl MemoryLimit {
    fn used(&self) -> Option<u64> {
        let own = resident_bytes()?;
        let all = self.cgroup.as_ref().and_then(|cgroup| cgroup.used());
        Some(own.max(all.unwrap_or(0)))
    }
}

/// Follows the memory of the process until the gateway is gone.
pub(super) async fn watch(controller: Weak<Controller>) {
    let Some(mut limits) = controller
        .upgrade()
        .map(|controller| controller.process.pressure().limit.subscribe())
    else {
        return;
    };
    let mut scale = Scale::default();
    loop {
        let limit = limits.borrow_and_update().clone();
        let next = {
            let Some(controller) = controller.upgrade() else {
                return;
            };
            match limit
                .as_ref()
                .and_then(|limit| Some((limit, limit.used()?)))
            {
                Some((limit, used)) => {
                    let level = scale.judge(used, limit.bytes, controller.load(), Clock.now());
                    controller.feel(level, used, limit.bytes);
                    let near = used >= limit.bytes / 100 * NEAR;
                    Some(if near { EVERY_NEAR } else { EVERY })
                }
                None => {
                    scale = Scale::default();
                    controller.feel(Level::Calm, 0, 0);
                    None
                }
            }
        };
        let changed = limits.changed();
        let alive = match next {
            Some(pause) => match tokio::time::timeout(pause, changed).await {
                Ok(changed) => changed.is_ok(),
                Err(_) => true,
            },
            None => changed.await.is_ok(),
        };
        if !alive {
            return;
        }
    }
}

impl Controller {
    /// What uses memory: connections, and requests being answered.
    fn load(&self) -> u64 {
        let state = self.state();
        let requests: i64 = state
            .listeners
            .values()
            .map(|live| live.telemetry().in_flight.value())
            .sum();
        drop(state);
        self.open_connections() as u64 + u64::try_from(requests).unwrap_or(0)
    }

    /// Acts on a level.
    fn feel(&self, level: Level, used: u64, limit: u64) {
        let pressure = self.process.pressure();
        let before = pressure.level();
        pressure.used.store(used, Ordering::Relaxed);
        pressure.level.store(level as u8, Ordering::Relaxed);
        self.process.admission().shed(level == Level::Critical);
        let state = self.state();
        let live = state
            .listeners
            .values()
            .filter_map(|live| live.running.as_ref());
        for running in live.chain(&state.draining) {
            running.connections.hurry(level > Level::Calm);
        }
        drop(state);
        if level != before {
            const MIB: u64 = 1024 * 1024;
            let (used, limit) = (used / MIB, limit / MIB);
            match level {
                Level::Calm => tracing::info!(used, limit, "memory (MiB) suffices again"),
                Level::High => tracing::warn!(
                    used,
                    limit,
                    "memory (MiB) is short: connections are refused"
                ),
                Level::Critical => {
                    tracing::warn!(used, limit, "memory (MiB) is short: requests are refused");
                }
            }
        }
    }
}

/// Judges what is seen of the memory, with hysteresis.
///
/// Allocators keep much of what was freed. That is no shortage: new requests use it again. So when at most half of
/// the load of the worst time is left and the memory does not go down, what is in use then is taken for kept,
/// and the marks move up by it.
#[derive(Debug, Default)]
struct Scale {
    level: Level,
    /// The most load since the level rose.
    worst: u64,
    /// Since when at most half of it is left.
    relieved: Option<Instant>,
    /// By how much the marks are moved, in bytes.
    kept: u64,
}

impl Scale {
    fn judge(&mut self, used: u64, limit: u64, load: u64, now: Instant) -> Level {
        let mark = |percent: u64| limit / 100 * percent;
        if used < mark(HIGH_ENDS) {
            self.kept = 0;
        }
        let above = |percent: u64| used >= mark(percent) + self.kept;
        self.level = match self.level {
            _ if above(CRITICAL) => Level::Critical,
            Level::Critical if above(CRITICAL_ENDS) => Level::Critical,
            Level::Calm if above(HIGH) => Level::High,
            Level::High | Level::Critical if above(HIGH_ENDS) => Level::High,
            _ => Level::Calm,
        };
        if self.level == Level::Calm {
            (self.worst, self.relieved) = (0, None);
            return self.level;
        }
        self.worst = self.worst.max(load);
        if load > self.worst / 2 {
            self.relieved = None;
            return self.level;
        }
        let since = *self.relieved.get_or_insert(now);
        if now.saturating_duration_since(since) >= SETTLED {
            self.kept = used.saturating_sub(mark(HIGH_ENDS - 1));
            (self.worst, self.relieved) = (0, None);
            self.level = Level::Calm;
        }
        self.level
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn levels_rise_at_their_marks_and_fall_below_them() {
        let mut scale = Scale::default();
        let mut at = |used| scale.judge(used, 1000, 10, Clock.now());
        assert_eq!(at(849), Level::Calm);
        assert_eq!(at(850), Level::High);
        assert_eq!(at(810), Level::High);
        assert_eq!(at(950), Level::Critical);
        assert_eq!(at(900), Level::Critical);
        assert_eq!(at(899), Level::High);
        assert_eq!(at(800), Level::High);
        assert_eq!(at(799), Level::Calm);
        assert_eq!(at(2000), Level::Critical);
        assert_eq!(at(100), Level::Calm);
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_allocator_keeps_is_no_shortage() {
        let mut scale = Scale::default();
        let mut at = |used, load| scale.judge(used, 1000, load, Clock.now());
        assert_eq!(at(960, 100), Level::Critical);
        // More than half of the load is left: nothing is known to be free.
        assert_eq!(at(930, 50), Level::Critical);
        tokio::time::advance(SETTLED / 2).await;
        assert_eq!(at(930, 51), Level::Critical);
        tokio::time::advance(SETTLED).await;
        assert_eq!(at(930, 50), Level::Critical);
        tokio::time::advance(SETTLED).await;
        assert_eq!(at(930, 50), Level::Calm);
        // It is used again; only more than that is a shortage.
        assert_eq!(at(930, 100), Level::Calm);
        assert_eq!(at(980, 100), Level::Calm);
        assert_eq!(at(990, 100), Level::High);
        assert_eq!(at(1090, 100), Level::Critical);
        // Once it was given back, the marks are the old ones.
        assert_eq!(at(700, 100), Level::Calm);
        assert_eq!(at(850, 100), Level::High);
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_is_large_from_the_start_serves() {
        let mut scale = Scale::default();
        assert_eq!(scale.judge(970, 1000, 0, Clock.now()), Level::Critical);
        tokio::time::advance(SETTLED).await;
        assert_eq!(scale.judge(970, 1000, 0, Clock.now()), Level::Calm);
    }
}
