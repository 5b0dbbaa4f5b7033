//! The registry: which series exist, and what happens when one comes or goes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::cells::{Buckets, Cell, HistogramCells};
use super::handle::{Counter, Gauge, Histogram};
use super::labels;
use super::scrape::{Callback, Scrape, ScrapeGuard};
use crate::clock::Clock;
use crate::worker::MAX_SHARDS;

/// How many series a family holds unless the configuration says otherwise.
pub const DEFAULT_MAX_SERIES: usize = 10_000;

/// All metrics of the process. Cloning gives another handle of the same registry.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
}

pub(super) struct Registry {
    shards: usize,
    pub(super) max_series: usize,
    /// Seconds since the epoch when the registry was made.
    pub(super) started: f64,
    state: Mutex<State>,
}

/// No [`Series`] may be dropped while this is locked: dropping the last handle locks it again.
#[derive(Default)]
pub(super) struct State {
    pub(super) families: BTreeMap<Arc<str>, Family>,
    /// Values that belong to no series. Never returned to the allocator: bounded by the most series
    /// that ever lived at once.
    free: Vec<Cell>,
    callbacks: BTreeMap<u64, Callback>,
    /// How many label sets went to the `other` series, by family.
    pub(super) overflowed: BTreeMap<Arc<str>, u64>,
    next_id: u64,
}

pub(super) struct Family {
    name: Arc<str>,
    pub(super) kind: Kind,
    pub(super) help: Box<str>,
    /// By label text.
    pub(super) series: BTreeMap<Arc<str>, Entry>,
    /// The label text of the series that takes what goes beyond the bound, while it lives.
    other: Option<Arc<str>>,
}

pub(super) struct Entry {
    id: u64,
    pub(super) series: Weak<Series>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram(Buckets),
}

/// One line of the exposition (a whole group for a histogram); lives while a handle does.
pub(super) struct Series {
    pub(super) store: Store,
    home: Option<Home>,
}

pub(super) enum Store {
    Cell(Cell),
    Histogram(HistogramCells),
    /// The handle is its own store; nothing reads it.
    Nowhere,
}

struct Home {
    registry: Weak<Registry>,
    family: Arc<str>,
    labels: Arc<str>,
    id: u64,
}

impl Metrics {
    /// An empty registry with one shard for each of `workers` (at most [`MAX_SHARDS`]) and at most
    /// `max_series` series in a family ([`DEFAULT_MAX_SERIES`] if in doubt).
    #[must_use]
    pub fn new(workers: usize, max_series: usize) -> Self {
        let started = Clock
            .wall()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0.0, |since| since.as_secs_f64());
        Self {
            registry: Arc::new(Registry {
                shards: workers.clamp(1, MAX_SHARDS).next_power_of_two(),
                max_series: max_series.max(1),
                started,
                state: Mutex::default(),
            }),
        }
    }

    /// The counter `name` with these labels; the same name and labels give the same series.
    ///
    /// The name should end in `_total`, which is appended when it does not. Characters that a name must
    /// not hold become `_`. When `name` is already a metric of another type the counter works but is
    /// not shown, and an error is logged.
    #[must_use]
    pub fn counter(&self, name: &str, help: &str, labels: &[(&str, &str)]) -> Counter {
        let name = labels::counter_name(name);
        let series = self.registry.series(&name, help, Kind::Counter, labels);
        match &series.store {
            Store::Cell(cell) => Counter {
                cell: cell.clone(),
                series,
            },
            _ => Counter::detached(),
        }
    }

    /// The gauge `name` with these labels; otherwise like [`Metrics::counter`].
    #[must_use]
    pub fn gauge(&self, name: &str, help: &str, labels: &[(&str, &str)]) -> Gauge {
        let name = labels::metric_name(name);
        let series = self.registry.series(&name, help, Kind::Gauge, labels);
        match &series.store {
            Store::Cell(cell) => Gauge {
                cell: cell.clone(),
                series,
            },
            _ => Gauge::detached(),
        }
    }

    /// The histogram `name` with these buckets and labels; otherwise like [`Metrics::counter`]. The
    /// name should end in the unit it is shown in, `_seconds` or `_bytes`.
    #[must_use]
    pub fn histogram(
        &self,
        name: &str,
        help: &str,
        buckets: Buckets,
        labels: &[(&str, &str)],
    ) -> Histogram {
        let name = labels::metric_name(name);
        let kind = Kind::Histogram(buckets);
        let series = self.registry.series(&name, help, kind, labels);
        match &series.store {
            Store::Histogram(cells) => Histogram {
                cells: cells.clone(),
                series,
            },
            _ => Histogram::detached(buckets),
        }
    }

    /// Runs `collect` at every scrape, for values that are cheaper to compute then than to keep. It is
    /// called on the thread that scrapes, never on the request path, for as long as the guard lives.
    pub fn on_scrape(&self, collect: impl Fn(&mut Scrape) + Send + Sync + 'static) -> ScrapeGuard {
        let mut state = self.registry.lock();
        let id = state.id();
        state.callbacks.insert(id, Arc::new(collect));
        drop(state);
        ScrapeGuard::new(Arc::downgrade(&self.registry), id)
    }

    /// All metrics in Prometheus text format 0.0.4, families and series sorted, with the process
    /// metrics (Linux) and `portcullis_build_info`.
    #[must_use]
    pub fn render(&self) -> String {
        super::render::render(&self.registry)
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics")
            .field("shards", &self.registry.shards)
            .field("max_series", &self.registry.max_series)
            .finish_non_exhaustive()
    }
}

impl Registry {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn callbacks(&self) -> Vec<Callback> {
        self.lock().callbacks.values().cloned().collect()
    }

    /// Counts what a scrape had to add up. It is counted anew at each one, so the most there ever was counts.
    pub(super) fn note_overflows(&self, scrape: &Scrape) {
        let full = scrape.families.iter();
        for (name, family) in full.filter(|(_, family)| family.overflowed > 0) {
            let mut state = self.lock();
            let count = state.overflowed.entry(name.as_str().into()).or_default();
            *count = (*count).max(family.overflowed);
        }
    }

    pub(super) fn forget_callback(&self, id: u64) {
        // Taken out under the lock, dropped after it: the closure may own metric handles.
        let callback = self.lock().callbacks.remove(&id);
        drop(callback);
    }

    fn series(
        self: &Arc<Self>,
        name: &str,
        help: &str,
        kind: Kind,
        labels: &[(&str, &str)],
    ) -> Arc<Series> {
        let mut text: Arc<str> = labels::text(labels).into();
        let mut guard = self.lock();
        let state = &mut *guard;
        let id = state.id();
        let family = state
            .families
            .entry(Arc::from(name))
            .or_insert_with_key(|name| Family {
                name: Arc::clone(name),
                kind,
                help: help.into(),
                series: BTreeMap::new(),
                other: None,
            });
        let name = Arc::clone(&family.name);
        if family.kind != kind {
            let known = family.kind;
            drop(guard);
            tracing::error!(%name, ?known, wanted = ?kind, "metric already registered with another type, not shown");
            return Series::detached();
        }
        if let Some(series) = family.live(&text) {
            return series;
        }
        let own = family.series.len() - usize::from(family.other.is_some());
        if own >= self.max_series {
            *state.overflowed.entry(Arc::clone(&name)).or_default() += 1;
            if let Some(series) = family.other.as_ref().and_then(|other| family.live(other)) {
                return series;
            }
            text = labels::other(labels).into();
            // A label set that spells `other` itself may already have this text.
            if let Some(series) = family.live(&text) {
                return series;
            }
            family.other = Some(Arc::clone(&text));
        }
        let store = match kind {
            Kind::Histogram(buckets) => Store::Histogram(HistogramCells::new(buckets, self.shards)),
            Kind::Counter | Kind::Gauge => {
                let shards = self.shards;
                let free = &mut state.free;
                Store::Cell(free.pop().unwrap_or_else(|| {
                    free.extend(Cell::chunk(shards));
                    free.pop().unwrap_or_else(Cell::single)
                }))
            }
        };
        let series = Arc::new(Series {
            store,
            home: Some(Home {
                registry: Arc::downgrade(self),
                family: name,
                labels: Arc::clone(&text),
                id,
            }),
        });
        let entry = Entry {
            id,
            series: Arc::downgrade(&series),
        };
        family.series.insert(text, entry);
        series
    }

    /// Takes a series whose last handle is gone out of the exposition.
    fn release(&self, home: &Home, store: &Store) {
        let mut guard = self.lock();
        let state = &mut *guard;
        if let Store::Cell(cell) = store {
            cell.set(0);
            state.free.push(cell.clone());
        }
        let Some(family) = state.families.get_mut(&home.family) else {
            return;
        };
        // The same labels may have been registered anew since the last handle went.
        let mine = |entry: &Entry| entry.id == home.id;
        if !family.series.get(&home.labels).is_some_and(mine) {
            return;
        }
        family.series.remove(&home.labels);
        if family.other.as_ref() == Some(&home.labels) {
            family.other = None;
        }
        if family.series.is_empty() {
            state.families.remove(&home.family);
        }
    }
}

impl State {
    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }
}

impl Family {
    fn live(&self, labels: &str) -> Option<Arc<Series>> {
        self.series.get(labels)?.series.upgrade()
    }
}

impl Series {
    pub(super) fn detached() -> Arc<Self> {
        Arc::new(Self {
            store: Store::Nowhere,
            home: None,
        })
    }
}

impl Drop for Series {
    fn drop(&mut self) {
        if let Some(home) = &self.home
            && let Some(registry) = home.registry.upgrade()
        {
            registry.release(home, &self.store);
        }
    }
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.home {
            Some(home) => write!(f, "{}{{{}}}", home.family, home.labels),
            None => f.write_str("detached"),
        }
    }
}
