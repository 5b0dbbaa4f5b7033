//! What a listener is made of at this moment, swapped whole when a configuration goes live.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::gateway::snapshot::Generation;
use crate::gateway::telemetry::Telemetry;
use crate::handler::SharedService;
use crate::l4::{ConnHandler, Layer4};
use crate::settings::HttpSettings;
use crate::tls::ServerTls;
use crate::worker;

/// A listener of one generation: its stack and its settings.
#[derive(Debug)]
pub(crate) struct ListenerEntry {
    pub(crate) service: SharedService,
    pub(crate) settings: HttpSettings,
    pub(crate) tls: Option<Arc<ServerTls>>,
    pub(crate) handler: Option<Arc<dyn ConnHandler>>,
    /// What comes before HTTP; `None` where nothing does.
    pub(crate) layer4: Option<Arc<Layer4>>,
    /// HTTP is spoken, whatever else.
    pub(crate) http: bool,
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) _generation: Arc<Generation>,
}

/// Holds the current entry of a listener, once for each worker.
///
/// A request takes the lock of its own worker, which nobody else wants, and one reference count. A swap
/// visits every slot, so idle workers and connections pin nothing old.
pub(crate) struct ListenerCell {
    name: Arc<str>,
    slots: Box<[Slot]>,
}

/// Kept apart in memory, so that workers do not share cache lines.
#[repr(align(128))]
struct Slot(Mutex<Arc<ListenerEntry>>);

impl ListenerCell {
    pub(crate) fn new(name: Arc<str>, entry: Arc<ListenerEntry>, workers: usize) -> Self {
        Self {
            name,
            slots: (0..workers.clamp(1, worker::MAX_SHARDS))
                .map(|_| Slot(Mutex::new(entry.clone())))
                .collect(),
        }
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The entry that answers a request that starts now.
    pub(crate) fn current(&self) -> Arc<ListenerEntry> {
        let slot = &self.slots[worker::index() % self.slots.len()];
        slot.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Makes `entry` current for every worker.
    pub(crate) fn replace(&self, entry: &Arc<ListenerEntry>) {
        for slot in &self.slots {
            let old = std::mem::replace(
                &mut *slot.0.lock().unwrap_or_else(PoisonError::into_inner),
                entry.clone(),
            );
            // The last reference frees a whole generation: not while a worker waits for the lock.
            drop(old);
        }
    }
}

impl fmt::Debug for ListenerCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListenerCell")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
