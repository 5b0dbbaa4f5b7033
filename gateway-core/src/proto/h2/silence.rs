//! How long an endpoint may say nothing on a stream.

use std::task::{Context, Poll};
use std::time::Duration;

use super::connection::Stream;
use crate::clock::{Clock, Instant};
use crate::proto::h1::earliest;

/// An open stream, and how long its endpoint may be silent while its client is not to blame.
pub(super) struct Silence {
    stream: Stream,
    /// The end of patience, whatever happens until then.
    by: Option<Instant>,
    idle: Option<Duration>,
}

impl Silence {
    /// Nothing has moved yet.
    pub(super) fn new(mut stream: Stream, by: Option<Instant>, idle: Option<Duration>) -> Self {
        stream.timer.set(None);
        Self { stream, by, idle }
    }

    /// Counts anew, up to another end and with another patience.
    pub(super) fn until(mut self, by: Option<Instant>, idle: Option<Duration>) -> Self {
        self.moved();
        self.by = by;
        self.idle = idle;
        self
    }

    /// Something moved.
    pub(super) fn moved(&mut self) {
        self.stream.timer.set(None);
    }

    /// Whether the end of patience has come.
    pub(super) fn is_late(&self) -> bool {
        self.by.is_some_and(|by| by <= Clock.now())
    }

    /// Ready when the endpoint was silent for too long, or at `until`. It is not to blame while `blameless`.
    pub(super) fn poll_over(
        &mut self,
        task: &mut Context<'_>,
        blameless: bool,
        until: Option<Instant>,
    ) -> Poll<()> {
        let timer = &mut self.stream.timer;
        if !timer.is_set() {
            let idle = self.idle.filter(|_| !blameless);
            let idle_by = idle.map(|idle| Clock.now() + idle);
            timer.set(earliest([self.by, idle_by, until]));
        }
        timer.poll_elapsed(task)
    }
}
