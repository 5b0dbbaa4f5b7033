//! Time in nanoseconds, and waking up at one.

use std::io;

use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;

/// Nanoseconds in a second.
pub(crate) const SECOND: u64 = 1_000_000_000;

/// Nanoseconds of the monotonic clock.
pub(crate) fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    u64::try_from(time.tv_sec).unwrap_or(0) * SECOND + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// Nanoseconds of a number of seconds, which must not be negative.
pub(crate) fn seconds(seconds: f64) -> u64 {
    (seconds * 1e9) as u64
}

/// Wakes up within microseconds. Timers of tokio count milliseconds, which at 20,000 requests per second would send
/// them in bursts of 20.
#[derive(Debug)]
pub(crate) struct Alarm {
    /// A timer of the kernel. It is no pipe, but read like one, and tokio has no other safe way to wait for it.
    timer: Receiver,
}

impl Alarm {
    pub(crate) fn new() -> io::Result<Self> {
        let timer = timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
        )?;
        Ok(Self {
            timer: Receiver::from_owned_fd_unchecked(timer)?,
        })
    }

    /// Waits until [`now`] is at least `due`.
    pub(crate) async fn sleep_until(&mut self, due: u64) -> io::Result<()> {
        let at = Itimerspec {
            it_interval: Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            },
            it_value: Timespec {
                tv_sec: i64::try_from(due / SECOND).unwrap_or(i64::MAX),
                tv_nsec: i64::try_from(due % SECOND).unwrap_or(0),
            },
        };
        while now() < due {
            timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &at)?;
            // It gives 8 bytes, the number of times it fired. Room for more tells tokio that this was all.
            let _read = self.timer.read(&mut [0; 16]).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_alarm_wakes_at_its_time_again_and_again() {
        let mut alarm = Alarm::new().unwrap();
        for _ in 0..20 {
            let due = now() + SECOND / 2_000;
            alarm.sleep_until(due).await.unwrap();
            assert!(now() >= due);
        }
        alarm.sleep_until(0).await.unwrap();
    }
}
