//! Values that are computed when somebody scrapes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Weak};

use super::labels;
use super::registry::Registry;

pub(super) type Callback = Arc<dyn Fn(&mut Scrape) + Send + Sync>;

/// Takes the values that a callback of [`Metrics::on_scrape`](super::Metrics::on_scrape) reports.
///
/// Of two samples with the same name and labels the first is kept; a sample whose name is a metric of
/// another type is left out. What goes beyond the bound of a family is added up in one sample whose labels all say
/// `other`.
#[derive(Debug, Default)]
pub struct Scrape {
    pub(super) families: BTreeMap<String, ScrapedFamily>,
    /// How many samples a family may have; `None` for no limit.
    max_series: Option<usize>,
}

#[derive(Debug)]
pub(super) struct ScrapedFamily {
    pub(super) counter: bool,
    pub(super) help: String,
    /// By label text.
    pub(super) samples: BTreeMap<String, f64>,
    /// The sum of the samples beyond the limit, and the labels it is shown with.
    pub(super) other: Option<(String, f64)>,
    /// How many they are.
    pub(super) overflowed: u64,
}

impl Scrape {
    pub(super) fn bounded(max_series: usize) -> Self {
        Self {
            max_series: Some(max_series),
            ..Self::default()
        }
    }

    /// Reports the gauge `name`.
    pub fn gauge(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: f64) {
        self.sample(&labels::metric_name(name), help, false, labels, value);
    }

    /// Reports the counter `name`; `_total` is appended when it lacks it.
    pub fn counter(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: f64) {
        self.sample(&labels::counter_name(name), help, true, labels, value);
    }

    fn sample(
        &mut self,
        name: &str,
        help: &str,
        counter: bool,
        labels: &[(&str, &str)],
        value: f64,
    ) {
        let family = self
            .families
            .entry(name.into())
            .or_insert_with(|| ScrapedFamily {
                counter,
                help: help.into(),
                samples: BTreeMap::new(),
                other: None,
                overflowed: 0,
            });
        if family.counter != counter {
            return;
        }
        let text = labels::text(labels);
        let full = self
            .max_series
            .is_some_and(|most| family.samples.len() >= most);
        if !full || labels.is_empty() || family.samples.contains_key(&text) {
            family.samples.entry(text).or_insert(value);
            return;
        }
        family.overflowed += 1;
        let other = &mut family.other;
        other.get_or_insert_with(|| (labels::other(labels), 0.0)).1 += value;
    }
}

/// Keeps a callback registered; dropping it ends the calls.
#[must_use = "the callback is called only while the guard lives"]
pub struct ScrapeGuard {
    registry: Weak<Registry>,
    id: u64,
}

impl ScrapeGuard {
    pub(super) fn new(registry: Weak<Registry>, id: u64) -> Self {
        Self { registry, id }
    }

    /// Keeps the callback for as long as the registry lives.
    pub fn detach(mut self) {
        self.registry = Weak::new();
    }
}

impl Drop for ScrapeGuard {
    fn drop(&mut self) {
        if let Some(registry) = self.registry.upgrade() {
            registry.forget_callback(self.id);
        }
    }
}

impl fmt::Debug for ScrapeGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ScrapeGuard({})", self.id)
    }
}
