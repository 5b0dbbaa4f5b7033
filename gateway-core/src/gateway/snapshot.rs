//! One generation of the compiled configuration.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A mark that everything of a generation holds; the count of live marks is a metric.
#[derive(Debug)]
pub(crate) struct Generation {
    number: u64,
    live: Arc<AtomicUsize>,
}

impl Generation {
    pub(crate) fn new(number: u64, live: Arc<AtomicUsize>) -> Arc<Self> {
        live.fetch_add(1, Ordering::Relaxed);
        Arc::new(Self { number, live })
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        self.live.fetch_sub(1, Ordering::Relaxed);
    }
}
