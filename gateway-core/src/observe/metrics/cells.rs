//! Where metric values live: lines of atomics, one line per worker.
//!
//! Sixteen values of the same worker share one line of memory, and no line is written by two workers,
//! so that an addition never waits for another core and a series costs eight bytes per worker.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::worker;

/// Values in one line.
const SLOTS: usize = 16;

/// 128 bytes: two cache lines, because processors fetch them in pairs.
#[derive(Default)]
#[repr(align(128))]
struct Line([AtomicU64; SLOTS]);

fn lines(count: usize) -> Arc<[Line]> {
    (0..count).map(|_| Line::default()).collect()
}

/// One 64-bit value, kept once per shard.
#[derive(Clone)]
pub(super) struct Cell {
    /// One line per shard; the length is a power of two.
    lines: Arc<[Line]>,
    /// Position in each line, below [`SLOTS`].
    slot: usize,
}

impl Cell {
    /// Sixteen fresh values that share their lines. `shards` must be a power of two.
    pub(super) fn chunk(shards: usize) -> impl Iterator<Item = Self> {
        let lines = lines(shards);
        (0..SLOTS).map(move |slot| Self {
            lines: Arc::clone(&lines),
            slot,
        })
    }

    /// A value of one shard outside any registry.
    pub(super) fn single() -> Self {
        Self {
            lines: lines(1),
            slot: 0,
        }
    }

    pub(super) fn add(&self, amount: u64) {
        let shard = worker::index() & (self.lines.len() - 1);
        self.lines[shard].0[self.slot].fetch_add(amount, Ordering::Relaxed);
    }

    /// Puts `value` in the first shard and zero in all others.
    pub(super) fn set(&self, value: u64) {
        for (shard, line) in self.lines.iter().enumerate() {
            let value = if shard == 0 { value } else { 0 };
            line.0[self.slot].store(value, Ordering::Relaxed);
        }
    }

    /// The sum over all shards, wrapping.
    pub(super) fn sum(&self) -> u64 {
        self.lines.iter().fold(0, |sum, line| {
            sum.wrapping_add(line.0[self.slot].load(Ordering::Relaxed))
        })
    }
}

/// The upper bounds of a histogram's buckets, in whole raw units, and how many raw units make one unit
/// of the exposition.
///
/// A value counts in the first bucket whose bound is not below it. The bucket `+Inf` is implied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buckets {
    bounds: &'static [u64],
    divisor: u64,
}

impl Buckets {
    /// Latencies: recorded in nanoseconds and shown in seconds, with bounds at 0.5, 1, 2.5, 5, 10, 25,
    /// 50, 100, 250 and 500 ms and at 1, 2.5, 10 and 60 s. With the sum they fill one line of memory.
    pub const LATENCY: Self = Self::new(
        &[
            500_000,
            1_000_000,
            2_500_000,
            5_000_000,
            10_000_000,
            25_000_000,
            50_000_000,
            100_000_000,
            250_000_000,
            500_000_000,
            1_000_000_000,
            2_500_000_000,
            10_000_000_000,
            60_000_000_000,
        ],
        1_000_000_000,
    );

    /// Message sizes in bytes, by powers of four from 256 bytes to 1 GiB.
    pub const SIZE: Self = Self::new(
        &[
            1 << 8,
            1 << 10,
            1 << 12,
            1 << 14,
            1 << 16,
            1 << 18,
            1 << 20,
            1 << 22,
            1 << 24,
            1 << 26,
            1 << 28,
            1 << 30,
        ],
        1,
    );

    /// Own bounds: ascending raw values, and the number of raw units in one unit of the exposition
    /// (`1_000_000_000` for values recorded in nanoseconds and shown in seconds; zero counts as one).
    #[must_use]
    pub const fn new(bounds: &'static [u64], divisor: u64) -> Self {
        let divisor = if divisor == 0 { 1 } else { divisor };
        Self { bounds, divisor }
    }

    /// A raw value in the unit of the exposition.
    pub(super) fn exposed(self, raw: u64) -> f64 {
        // Precision lost above 2^53 is below what a scrape can show.
        raw as f64 / self.divisor as f64
    }
}

/// Buckets and sum of one histogram, kept once per shard.
///
/// A shard is a run of lines: the buckets in order, `+Inf`, then the sum. The count is the sum of the
/// buckets, so that a scrape never shows a count that contradicts them.
#[derive(Clone)]
pub(super) struct HistogramCells {
    lines: Arc<[Line]>,
    /// Lines per shard.
    stride: usize,
    /// Shards minus one; shards are a power of two.
    mask: usize,
    buckets: Buckets,
}

/// What a histogram held when it was read, summed over the shards.
pub(super) struct HistogramValue {
    /// Not cumulative: one entry per bound, then `+Inf`.
    pub(super) buckets: Vec<u64>,
    /// In raw units, wrapping.
    pub(super) sum: u64,
}

impl HistogramCells {
    /// `shards` must be a power of two.
    pub(super) fn new(buckets: Buckets, shards: usize) -> Self {
        let stride = (buckets.bounds.len() + 2).div_ceil(SLOTS);
        Self {
            lines: lines(stride * shards),
            stride,
            mask: shards - 1,
            buckets,
        }
    }

    pub(super) fn observe(&self, raw: u64) {
        let first = (worker::index() & self.mask) * self.stride;
        let bounds = self.buckets.bounds;
        let bucket = bounds.partition_point(|bound| *bound < raw);
        self.word(first, bucket).fetch_add(1, Ordering::Relaxed);
        self.word(first, bounds.len() + 1)
            .fetch_add(raw, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> HistogramValue {
        let sum_at = self.buckets.bounds.len() + 1;
        let mut buckets = vec![0_u64; sum_at];
        let mut sum = 0_u64;
        for shard in 0..=self.mask {
            let first = shard * self.stride;
            for (index, bucket) in buckets.iter_mut().enumerate() {
                *bucket = bucket.wrapping_add(self.word(first, index).load(Ordering::Relaxed));
            }
            sum = sum.wrapping_add(self.word(first, sum_at).load(Ordering::Relaxed));
        }
        HistogramValue { buckets, sum }
    }

    pub(super) fn bounds(&self) -> impl Iterator<Item = f64> {
        let buckets = self.buckets;
        buckets.bounds.iter().map(move |raw| buckets.exposed(*raw))
    }

    pub(super) fn buckets(&self) -> Buckets {
        self.buckets
    }

    fn word(&self, first: usize, index: usize) -> &AtomicU64 {
        &self.lines[first + index / SLOTS].0[index % SLOTS]
    }
}
