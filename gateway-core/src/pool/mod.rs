//! Connections to one endpoint, kept for the next request.
//!
//! One shard per worker: a request takes and returns connections of its own core under a lock that
//! nobody else wants. Limits are per endpoint, over all shards.

mod http2;
mod lease;

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::clock::{Clock, Instant};
use crate::proto::h1::Connection;
use crate::proto::h2::Sender;
use crate::worker;

pub(crate) use http2::Http2Slot;
pub(crate) use lease::Lease;

/// Limits of the connections to one endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolLimits {
    /// Connections at most, idle ones included; `None` for no limit.
    pub max_connections: Option<usize>,
    /// Requests that may wait for a connection at that limit.
    pub max_pending: usize,
    /// Idle connections kept per worker.
    pub max_idle: usize,
    /// How long a connection may be idle.
    pub idle_timeout: Duration,
}

impl Default for PoolLimits {
    fn default() -> Self {
        Self {
            max_connections: None,
            max_pending: 1024,
            max_idle: 256,
            idle_timeout: Duration::from_secs(60),
        }
    }
}

/// The connections to one endpoint.
pub(crate) struct Pool {
    shards: Box<[Shard]>,
    limits: PoolLimits,
    tally: Arc<Tally>,
}

/// How many connections there are, and who waits for one. Apart from the pool: connections that are kept in it
/// must not own it, or those of a removed endpoint would never close.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    open: AtomicUsize,
    waiting: AtomicUsize,
    freed: Notify,
}

impl Tally {
    /// A connection, or a stream of one, is free.
    pub(crate) fn wake_one(&self) {
        if self.waiting.load(Ordering::Relaxed) > 0 {
            self.freed.notify_one();
        }
    }
}

/// Kept apart in memory, so that cores do not share cache lines.
#[repr(align(128))]
#[derive(Default)]
struct Shard(Mutex<ShardState>);

#[derive(Default)]
pub(crate) struct ShardState {
    /// Oldest first; the youngest is used next, so that the others age and go.
    idle: VecDeque<Idle>,
    pub(crate) http2: Http2Slot,
}

struct Idle {
    connection: Box<Pooled>,
    since: Instant,
}

/// A connection and its place in the endpoint's count.
#[derive(Debug)]
pub(crate) struct Pooled {
    connection: Connection,
    _place: Place,
}

/// One of the connections an endpoint may have.
#[derive(Debug)]
pub(crate) struct Place(Arc<Tally>);

impl Place {
    /// Where it is counted.
    pub(crate) fn tally(&self) -> Arc<Tally> {
        self.0.clone()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
        self.0.wake_one();
    }
}

/// What a request that needs a connection gets.
#[derive(Debug)]
pub(crate) enum Checkout {
    /// One that was idle.
    Idle(Box<Pooled>),
    /// The right to open one.
    Open(Place),
    /// One that is shared and takes another stream.
    Shared(Sender),
    /// Neither: the endpoint has as many as it may.
    Exhausted,
}

impl Pool {
    pub(crate) fn new(limits: PoolLimits, shards: usize) -> Self {
        Self {
            shards: (0..shards.clamp(1, worker::MAX_SHARDS))
                .map(|_| Shard::default())
                .collect(),
            limits,
            tally: Arc::default(),
        }
    }

    /// Connections that exist, idle or in use.
    pub(crate) fn open(&self) -> usize {
        self.tally.open.load(Ordering::Relaxed)
    }

    /// Connections that wait for a request.
    pub(crate) fn idle(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).idle.len()).sum()
    }

    pub(crate) fn shard(&self) -> MutexGuard<'_, ShardState> {
        lock(&self.shards[worker::index() % self.shards.len()])
    }

    /// Takes an idle connection of this worker.
    pub(crate) fn take_idle(&self) -> Option<Box<Pooled>> {
        // A stale connection is dropped outside the lock, because its drop wakes waiters.
        loop {
            let mut connection = self.shard().idle.pop_back()?.connection;
            if connection.connection.is_usable() {
                return Some(connection);
            }
        }
    }

    /// Takes an idle connection of this worker, or the right to open one.
    pub(crate) fn checkout(&self) -> Checkout {
        if let Some(idle) = self.take_idle() {
            return Checkout::Idle(idle);
        }
        match self.place() {
            Some(place) => Checkout::Open(place),
            None => self.steal().map_or(Checkout::Exhausted, Checkout::Idle),
        }
    }

    /// At the limit any HTTP/2 connection is better than none, whichever worker opened it, as long as the
    /// endpoint permits another stream on it.
    pub(crate) fn any_http2(&self) -> Option<Sender> {
        let senders = self
            .shards
            .iter()
            .filter_map(|shard| lock(shard).http2.least_used());
        senders.min_by_key(Sender::streams)
    }

    /// At the limit an idle connection of another worker is better than none.
    fn steal(&self) -> Option<Box<Pooled>> {
        self.shards.iter().find_map(|shard| {
            let mut idle = lock(shard).idle.pop_front()?;
            idle.connection
                .connection
                .is_usable()
                .then_some(idle.connection)
        })
    }

    pub(crate) fn place(&self) -> Option<Place> {
        let limit = self.limits.max_connections.unwrap_or(usize::MAX);
        self.tally
            .open
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |open| {
                (open < limit).then_some(open + 1)
            })
            .ok()
            .map(|_| Place(self.tally.clone()))
    }

    /// Waits until a connection is free, or a stream if `shared` connections will do; `None` when too many wait
    /// already.
    pub(crate) async fn wait(&self, shared: bool) -> Option<Checkout> {
        let _waiting = Waiting::enter(self)?;
        loop {
            let mut freed = std::pin::pin!(self.tally.freed.notified());
            // Waits from here on: what is freed after the look below must not be missed.
            freed.as_mut().enable();
            match self.checkout() {
                Checkout::Exhausted => {}
                found => return Some(found),
            }
            if shared && let Some(sender) = self.any_http2() {
                return Some(Checkout::Shared(sender));
            }
            freed.await;
        }
    }

    fn put_back(&self, mut connection: Box<Pooled>) {
        if !connection.connection.recycle() {
            return;
        }
        let mut shard = self.shard();
        if shard.idle.len() < self.limits.max_idle {
            shard.idle.push_back(Idle {
                connection,
                since: Clock.recent(),
            });
            drop(shard);
            self.tally.wake_one();
        }
    }

    /// Closes connections that are idle for too long or that the endpoint closed.
    pub(crate) fn reap(&self) {
        let now = Clock.now();
        for shard in &self.shards {
            let (expired, unused) = {
                let mut state = lock(shard);
                let unused = state.http2.reap(now, self.limits.idle_timeout);
                let (keep, drop): (VecDeque<_>, Vec<_>) = std::mem::take(&mut state.idle)
                    .into_iter()
                    .partition_map(|mut idle| {
                        let old =
                            now.saturating_duration_since(idle.since) >= self.limits.idle_timeout;
                        (!old && idle.connection.connection.is_usable(), idle)
                    });
                state.idle = keep;
                (drop, unused)
            };
            drop((expired, unused));
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("open", &self.open())
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

fn lock(shard: &Shard) -> MutexGuard<'_, ShardState> {
    shard.0.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One request that waits for a connection.
struct Waiting<'a>(&'a Pool);

impl<'a> Waiting<'a> {
    fn enter(pool: &'a Pool) -> Option<Self> {
        let before = pool.tally.waiting.fetch_add(1, Ordering::Relaxed);
        let this = Self(pool);
        (before < pool.limits.max_pending).then_some(this)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.tally.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// `partition` that decides and passes on in one step.
trait PartitionMap: Iterator + Sized {
    fn partition_map<T>(self, decide: impl FnMut(Self::Item) -> (bool, T))
    -> (VecDeque<T>, Vec<T>);
}

impl<I: Iterator> PartitionMap for I {
    fn partition_map<T>(self, decide: impl FnMut(I::Item) -> (bool, T)) -> (VecDeque<T>, Vec<T>) {
        let mut keep = VecDeque::new();
        let mut rest = Vec::new();
        for (kept, item) in self.map(decide) {
            if kept {
                keep.push_back(item);
            } else {
                rest.push(item);
            }
        }
        (keep, rest)
    }
}
