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
/// another type is left out.
#[derive(Debug, Default)]
pub struct Scrape {
    pub(super) families: BTreeMap<String, ScrapedFamily>,
}

#[derive(Debug)]
pub(super) struct ScrapedFamily {
    pub(super) counter: bool,
    pub(super) help: String,
    /// By label text.
    pub(super) samples: BTreeMap<String, f64>,
}

impl Scrape {
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
            });
        if family.counter == counter {
            family.samples.entry(labels::text(labels)).or_insert(value);
        }
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
