//! The handles that code on the request path holds.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::cells::{Buckets, Cell, HistogramCells};
use super::registry::Series;

/// A number that only grows. Cloning gives another handle of the same series.
#[derive(Clone)]
pub struct Counter {
    pub(super) cell: Cell,
    pub(super) series: Arc<Series>,
}

impl Counter {
    /// A counter that no registry shows, for code that runs without one.
    #[must_use]
    pub fn detached() -> Self {
        let cell = Cell::single();
        let series = Series::detached();
        Self { cell, series }
    }

    /// Adds one.
    pub fn inc(&self) {
        self.cell.add(1);
    }

    /// Adds `amount`.
    pub fn add(&self, amount: u64) {
        self.cell.add(amount);
    }

    /// The value now: the sum over all workers.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.cell.sum()
    }
}

impl fmt::Debug for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Counter({} = {})", self.series, self.value())
    }
}

/// A whole number that goes up and down. Cloning gives another handle of the same series.
///
/// A gauge is either moved (`inc`, `dec`, `add`) or set: [`Gauge::set`] while other threads move it
/// loses some of their moves.
#[derive(Clone)]
pub struct Gauge {
    pub(super) cell: Cell,
    pub(super) series: Arc<Series>,
}

impl Gauge {
    /// A gauge that no registry shows, for code that runs without one.
    #[must_use]
    pub fn detached() -> Self {
        let cell = Cell::single();
        let series = Series::detached();
        Self { cell, series }
    }

    /// Adds one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Takes one away. The worker may be another than the one that added it.
    pub fn dec(&self) {
        self.add(-1);
    }

    /// Moves by `amount`.
    pub fn add(&self, amount: i64) {
        self.cell.add(amount.cast_unsigned());
    }

    /// Replaces the value.
    pub fn set(&self, value: i64) {
        self.cell.set(value.cast_unsigned());
    }

    /// The value now: the sum over all workers.
    #[must_use]
    pub fn value(&self) -> i64 {
        self.cell.sum().cast_signed()
    }
}

impl fmt::Debug for Gauge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gauge({} = {})", self.series, self.value())
    }
}

/// Counts values by size in fixed [`Buckets`]. Cloning gives another handle of the same series.
#[derive(Clone)]
pub struct Histogram {
    pub(super) cells: HistogramCells,
    pub(super) series: Arc<Series>,
}

impl Histogram {
    /// A histogram that no registry shows, for code that runs without one.
    #[must_use]
    pub fn detached(buckets: Buckets) -> Self {
        let cells = HistogramCells::new(buckets, 1);
        let series = Series::detached();
        Self { cells, series }
    }

    /// Records a value in the raw unit of the buckets (nanoseconds for [`Buckets::LATENCY`], bytes for
    /// [`Buckets::SIZE`]).
    pub fn observe(&self, raw: u64) {
        self.cells.observe(raw);
    }

    /// Records a duration, in nanoseconds.
    pub fn observe_duration(&self, duration: Duration) {
        self.observe(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }

    /// How many values were recorded.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.cells.read().buckets.iter().sum()
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Histogram({}, {} values)", self.series, self.count())
    }
}
