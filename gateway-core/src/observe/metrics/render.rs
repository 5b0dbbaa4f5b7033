//! The exposition: Prometheus text format 0.0.4.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use super::cells::HistogramCells;
use super::labels;
use super::process;
use super::registry::{Kind, Registry, Series, Store};
use super::scrape::Scrape;

struct Family {
    kind: &'static str,
    help: String,
    /// By label text.
    samples: BTreeMap<Arc<str>, Sample>,
}

enum Sample {
    Counter(u64),
    Gauge(i64),
    Computed(f64),
    Histogram(Arc<Series>),
}

pub(super) fn render(registry: &Registry) -> String {
    let mut scrape = Scrape::bounded(registry.max_series);
    process::collect(&mut scrape, registry.started);
    for callback in registry.callbacks() {
        callback(&mut scrape);
    }
    registry.note_overflows(&scrape);

    let mut families = BTreeMap::new();
    for (name, kind, help, series) in live(registry, &mut scrape) {
        families.insert(String::from(&*name), family(kind, help, series));
    }
    for (name, scraped) in scrape.families {
        let kind = if scraped.counter { "counter" } else { "gauge" };
        let family = families.entry(name).or_insert_with(|| Family {
            kind,
            help: scraped.help,
            samples: BTreeMap::new(),
        });
        if family.kind == kind {
            for (labels, value) in scraped.samples.into_iter().chain(scraped.other) {
                family
                    .samples
                    .entry(labels.into())
                    .or_insert(Sample::Computed(value));
            }
        }
    }

    let mut text = String::with_capacity(16 * 1024);
    for (name, family) in &families {
        write_family(&mut text, name, family);
    }
    text
}

type Live = (Arc<str>, Kind, String, Vec<(Arc<str>, Arc<Series>)>);

/// What is registered now. Copied out so that no series is dropped while the registry is locked.
fn live(registry: &Registry, scrape: &mut Scrape) -> Vec<Live> {
    let state = registry.lock();
    for (family, count) in &state.overflowed {
        scrape.counter(
            "portcullis_metrics_overflow_total",
            "Label sets that share the series `other` because their family was full.",
            &[("family", family)],
            *count as f64,
        );
    }
    state
        .families
        .iter()
        .map(|(name, family)| {
            let series = family
                .series
                .iter()
                .filter_map(|(labels, entry)| Some((Arc::clone(labels), entry.series.upgrade()?)))
                .collect();
            (
                Arc::clone(name),
                family.kind,
                String::from(&*family.help),
                series,
            )
        })
        .collect()
}

fn family(kind: Kind, help: String, series: Vec<(Arc<str>, Arc<Series>)>) -> Family {
    let samples = series
        .into_iter()
        .filter_map(|(labels, series)| {
            let sample = match (&series.store, kind) {
                (Store::Cell(cell), Kind::Gauge) => Sample::Gauge(cell.sum().cast_signed()),
                (Store::Cell(cell), _) => Sample::Counter(cell.sum()),
                (Store::Histogram(_), _) => Sample::Histogram(series),
                (Store::Nowhere, _) => return None,
            };
            Some((labels, sample))
        })
        .collect();
    let kind = match kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram(_) => "histogram",
    };
    Family {
        kind,
        help,
        samples,
    }
}

fn write_family(text: &mut String, name: &str, family: &Family) {
    if family.samples.is_empty() {
        return;
    }
    let _ = write!(text, "# HELP {name} ");
    labels::escape_help(text, &family.help);
    let _ = writeln!(text, "\n# TYPE {name} {}", family.kind);
    for (labels, sample) in &family.samples {
        match sample {
            Sample::Counter(value) => {
                write_head(text, name, labels);
                let _ = writeln!(text, "{value}");
            }
            Sample::Gauge(value) => {
                write_head(text, name, labels);
                let _ = writeln!(text, "{value}");
            }
            Sample::Computed(value) => {
                write_head(text, name, labels);
                write_float(text, *value);
                text.push('\n');
            }
            Sample::Histogram(series) => {
                if let Store::Histogram(cells) = &series.store {
                    write_histogram(text, name, labels, cells);
                }
            }
        }
    }
}

fn write_head(text: &mut String, name: &str, labels: &str) {
    text.push_str(name);
    if !labels.is_empty() {
        let _ = write!(text, "{{{labels}}}");
    }
    text.push(' ');
}

fn write_histogram(text: &mut String, name: &str, labels: &str, cells: &HistogramCells) {
    let value = cells.read();
    let comma = if labels.is_empty() { "" } else { "," };
    let mut count = 0_u64;
    let bounds = cells.bounds().chain([f64::INFINITY]);
    for (bound, bucket) in bounds.zip(&value.buckets) {
        count = count.wrapping_add(*bucket);
        let _ = write!(text, "{name}_bucket{{{labels}{comma}le=\"");
        write_float(text, bound);
        let _ = writeln!(text, "\"}} {count}");
    }
    write_head(text, &format!("{name}_sum"), labels);
    write_float(text, cells.buckets().exposed(value.sum));
    text.push('\n');
    write_head(text, &format!("{name}_count"), labels);
    let _ = writeln!(text, "{count}");
}

fn write_float(text: &mut String, value: f64) {
    let _ = if value == f64::INFINITY {
        write!(text, "+Inf")
    } else if value == f64::NEG_INFINITY {
        write!(text, "-Inf")
    } else {
        write!(text, "{value}")
    };
}
