//! What lives as long as the process, whatever configurations come and go.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use super::pressure::{Level, Pressure};
use super::room::Room;
use super::telemetry::Admission;
use crate::config::ir::Config;
use crate::filter::StateStore;
use crate::listen::ProcessDoor;
use crate::observe::metrics::Scrape;
use crate::observe::{Counter, Metrics, Observers};

/// State of the process: metrics, plugin state, readiness.
#[derive(Clone)]
pub struct Process(Arc<Inner>);

struct Inner {
    metrics: Metrics,
    store: StateStore,
    observers: Observers,
    shards: usize,
    admission: Arc<Admission>,
    room: Arc<Room>,
    pressure: Arc<Pressure>,
    ready: AtomicBool,
    generation: AtomicU64,
    live_generations: Arc<AtomicUsize>,
    applied: Counter,
    rejected: Counter,
}

impl Process {
    pub(crate) fn new(shards: usize, max_series: usize, observers: Observers) -> Self {
        let metrics = Metrics::new(shards, max_series);
        let reloads = |outcome: &str| {
            metrics.counter(
                "portcullis_config_loads_total",
                "Configurations that went live or were refused.",
                &[("outcome", outcome)],
            )
        };
        let live_generations = Arc::new(AtomicUsize::new(0));
        let (applied, rejected) = (reloads("applied"), reloads("rejected"));
        let live = live_generations.clone();
        let pressure: Arc<Pressure> = Arc::default();
        let memory = pressure.clone();
        metrics
            .on_scrape(move |scrape| {
                if let Some((limit, used)) = memory.usage() {
                    show_memory(scrape, limit, used, memory.level());
                }
                scrape.gauge(
                    "portcullis_config_live_generations",
                    "Generations of the configuration that something still uses; 1 when all is quiet.",
                    &[],
                    live.load(Ordering::Relaxed) as f64,
                );
            })
            .detach();
        Self(Arc::new(Inner {
            store: StateStore::default(),
            observers,
            shards,
            admission: Arc::default(),
            room: Arc::default(),
            pressure,
            ready: AtomicBool::new(false),
            generation: AtomicU64::new(0),
            live_generations,
            applied,
            rejected,
            metrics,
        }))
    }

    /// The metric registry; a user's own metrics can be added to it.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// State of plugins that outlives reloads.
    #[must_use]
    pub fn store(&self) -> &StateStore {
        &self.0.store
    }

    /// Whether a configuration is live, the process is not draining, and its memory suffices for requests.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.0.ready.load(Ordering::Acquire) && !self.is_short_of_memory()
    }

    /// Whether requests are refused because the process uses nearly as much memory as `limits.memory` allows.
    #[must_use]
    pub fn is_short_of_memory(&self) -> bool {
        self.0.pressure.level() == Level::Critical
    }

    /// The number of the configuration that is live; 0 before the first.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.0.generation.load(Ordering::Acquire)
    }

    /// How many generations something still uses.
    #[must_use]
    pub fn live_generations(&self) -> usize {
        self.0.live_generations.load(Ordering::Relaxed)
    }

    pub(crate) fn observers(&self) -> &Observers {
        &self.0.observers
    }

    pub(crate) fn shards(&self) -> usize {
        self.0.shards
    }

    /// The limit of requests in flight over all listeners.
    pub(crate) fn admission(&self) -> &Arc<Admission> {
        &self.0.admission
    }

    /// What the listeners share: places of connections, and memory.
    pub(crate) fn door(&self) -> ProcessDoor {
        ProcessDoor {
            room: self.0.room.clone(),
            pressure: self.0.pressure.clone(),
        }
    }

    /// How short memory is.
    pub(crate) fn pressure(&self) -> &Arc<Pressure> {
        &self.0.pressure
    }

    /// Applies the limits of a configuration that goes live.
    pub(crate) fn limit(&self, config: &Config) {
        self.0.room.set_limit(config.limits.max_connections);
        let requests = config.limits.max_requests_in_flight;
        self.0
            .admission
            .set_limit(requests.map(|limit| limit as u64));
        self.0.pressure.set_limit(config.memory);
    }

    pub(crate) fn set_ready(&self, ready: bool) {
        self.0.ready.store(ready, Ordering::Release);
    }

    pub(crate) fn next_generation(&self) -> Arc<super::snapshot::Generation> {
        super::snapshot::Generation::new(self.generation() + 1, self.0.live_generations.clone())
    }

    pub(crate) fn applied(&self, generation: u64) {
        self.0.generation.store(generation, Ordering::Release);
        self.0.applied.inc();
    }

    pub(crate) fn rejected(&self) {
        self.0.rejected.inc();
    }
}

fn show_memory(scrape: &mut Scrape, limit: u64, used: u64, level: Level) {
    scrape.gauge(
        "portcullis_memory_limit_bytes",
        "Memory that the process may use.",
        &[],
        limit as f64,
    );
    scrape.gauge(
        "portcullis_memory_used_bytes",
        "Memory in use as it counts against the limit.",
        &[],
        used as f64,
    );
    scrape.gauge(
        "portcullis_memory_pressure",
        "1 when connections are refused because memory is short, 2 when requests are too, else 0.",
        &[],
        f64::from(level as u8),
    );
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process")
            .field("generation", &self.generation())
            .field("ready", &self.is_ready())
            .finish_non_exhaustive()
    }
}
