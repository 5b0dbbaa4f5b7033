//! The bounded queue of full buffers between the workers and the writer, and what else they tell each
//! other.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::{Clock, Instant};

/// A worker hands its buffer over when it holds this many bytes.
pub(super) const FULL: usize = 32 * 1024;

/// Buffers that may wait for the writer; with [`FULL`] some 4 MiB.
pub(super) const CAPACITY: usize = 128;

/// A buffer that one long line made larger than this is not kept for reuse.
const KEEP: usize = 4 * FULL;

/// Lines of one worker, in order.
#[derive(Debug, Default)]
pub(super) struct Block {
    pub(super) bytes: Vec<u8>,
    pub(super) lines: u64,
}

/// What the writer has to do next.
pub(super) enum Work {
    Write(Block),
    /// Open the file anew.
    Reopen,
    /// Ask the workers for what they hold: the tick passed or somebody wants it written now.
    Sweep(Sweep),
}

/// Why the workers are asked, and what follows when their buffers are written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Sweep {
    Tick,
    /// A flush with this number was wanted.
    Flush(u64),
    Stop,
}

#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// Wakes the writer.
    work: Condvar,
    /// Wakes those who wait for a flush or for the end.
    done: Condvar,
}

#[derive(Default)]
struct State {
    blocks: VecDeque<Block>,
    spare: Vec<Vec<u8>>,
    reopen: bool,
    stop: bool,
    finished: bool,
    flush_wanted: u64,
    flush_done: u64,
}

impl Queue {
    /// Takes the lines out of `block` and leaves an empty buffer, or leaves `block` as it is and says
    /// `false` when the queue is full.
    pub(super) fn push(&self, block: &mut Block) -> bool {
        let mut state = self.lock();
        if state.blocks.len() >= CAPACITY || state.finished {
            return false;
        }
        let bytes = state.spare.pop().unwrap_or_default();
        let full = std::mem::replace(block, Block { bytes, lines: 0 });
        state.blocks.push_back(full);
        drop(state);
        self.work.notify_one();
        true
    }

    /// Takes back a buffer that is written.
    pub(super) fn recycle(&self, mut bytes: Vec<u8>) {
        if bytes.capacity() <= KEEP {
            bytes.clear();
            let mut state = self.lock();
            if state.spare.len() < CAPACITY {
                state.spare.push(bytes);
            }
        }
    }

    /// The block at the head, if there is one.
    pub(super) fn pop(&self) -> Option<Block> {
        self.lock().blocks.pop_front()
    }

    /// Waits for something to do, at most until `tick`. Called by the writer only.
    pub(super) fn next(&self, tick: Instant) -> Work {
        let mut state = self.lock();
        loop {
            if state.reopen {
                state.reopen = false;
                return Work::Reopen;
            }
            if state.stop {
                return Work::Sweep(Sweep::Stop);
            }
            if state.flush_wanted > state.flush_done {
                return Work::Sweep(Sweep::Flush(state.flush_wanted));
            }
            let wait = tick.saturating_duration_since(Clock.now());
            if wait.is_zero() {
                return Work::Sweep(Sweep::Tick);
            }
            if let Some(block) = state.blocks.pop_front() {
                return Work::Write(block);
            }
            state = self
                .work
                .wait_timeout(state, wait)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Says that all that the sweep asked for is written.
    pub(super) fn swept(&self, sweep: Sweep) {
        match sweep {
            Sweep::Tick => return,
            Sweep::Flush(number) => self.lock().flush_done = number,
            Sweep::Stop => {
                let mut state = self.lock();
                state.flush_done = u64::MAX;
                state.finished = true;
            }
        }
        self.done.notify_all();
    }

    pub(super) fn reopen(&self) {
        self.lock().reopen = true;
        self.work.notify_one();
    }

    pub(super) fn stop(&self) {
        self.lock().stop = true;
        self.work.notify_one();
    }

    pub(super) fn stopping(&self) -> bool {
        self.lock().stop
    }

    /// Waits until what was handed over before is written; `false` when `timeout` passes first.
    pub(super) fn flush(&self, timeout: Duration) -> bool {
        let mut state = self.lock();
        state.flush_wanted = state.flush_wanted.saturating_add(1);
        let number = state.flush_wanted;
        self.work.notify_one();
        self.wait(state, timeout, |state| state.flush_done >= number)
    }

    /// Waits until the writer has ended; `false` when `timeout` passes first.
    pub(super) fn wait_finished(&self, timeout: Duration) -> bool {
        self.wait(self.lock(), timeout, |state| state.finished)
    }

    fn wait(
        &self,
        state: MutexGuard<'_, State>,
        timeout: Duration,
        until: impl Fn(&State) -> bool,
    ) -> bool {
        let (state, _) = self
            .done
            .wait_timeout_while(state, timeout, |state| !until(state))
            .unwrap_or_else(PoisonError::into_inner);
        until(&state)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
