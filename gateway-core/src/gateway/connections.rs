//! The open client connections of a listener: counted, limited, and told to close when it drains.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::conn::ConnHandle;
use crate::worker;

/// The open connections of one listener.
#[derive(Default)]
pub(crate) struct Connections {
    shards: [Shard; 16],
    open: AtomicUsize,
    next: AtomicUsize,
    draining: AtomicBool,
    hurried: AtomicBool,
    changed: Notify,
}

#[derive(Default)]
#[repr(align(128))]
struct Shard(Mutex<HashMap<usize, Arc<ConnHandle>>>);

impl Connections {
    /// Adds a connection; it is removed when the guard is dropped.
    pub(crate) fn enter(self: &Arc<Self>) -> Guard {
        let handle = Arc::new(ConnHandle::default());
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let shard = worker::index() % self.shards.len();
        self.open.fetch_add(1, Ordering::Relaxed);
        self.shards[shard]
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id, handle.clone());
        // Whoever drains sets the flag first and then visits the shards: one of both sees the other.
        if self.draining.load(Ordering::SeqCst) {
            handle.close();
        }
        if self.hurried.load(Ordering::SeqCst) {
            handle.hurry(true);
        }
        Guard {
            set: self.clone(),
            handle,
            shard,
            id,
        }
    }

    /// How many are open.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Tells all of them to finish what they do and close.
    pub(crate) fn close_all(&self) {
        self.draining.store(true, Ordering::SeqCst);
        self.each(ConnHandle::close);
    }

    /// Whether those that are idle have to close soon, because memory is short.
    pub(crate) fn hurry(&self, hurry: bool) {
        if self.hurried.swap(hurry, Ordering::SeqCst) != hurry {
            self.each(|handle| handle.hurry(hurry));
        }
    }

    fn each(&self, tell: impl Fn(&ConnHandle)) {
        for shard in &self.shards {
            let open = shard.0.lock().unwrap_or_else(PoisonError::into_inner);
            open.values().for_each(|handle| tell(handle));
        }
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections")
            .field("open", &self.open())
            .finish()
    }
}

/// One connection's place among the open ones.
#[derive(Debug)]
pub(crate) struct Guard {
    set: Arc<Connections>,
    pub(crate) handle: Arc<ConnHandle>,
    shard: usize,
    id: usize,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.set.shards[self.shard]
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.id);
        self.set.open.fetch_sub(1, Ordering::Relaxed);
        self.set.changed.notify_waiters();
    }
}
