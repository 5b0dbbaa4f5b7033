//! Metrics that cost one uncontended atomic addition on the request path.
//!
//! A [`Metrics`] registry lives as long as the process. Code that compiles a configuration asks it for
//! [`Counter`], [`Gauge`] and [`Histogram`] handles by name and labels and stores them in the route,
//! upstream or listener they describe; the request path then adds to the handle and never looks up a
//! label. Every value is kept once per worker (see [`crate::worker`]) and summed when somebody scrapes.
//!
//! A series is shown as long as a handle for it exists. A reload that wants its counters to go on takes
//! the new handles before it drops the old ones; the series of a route that is gone disappears with it.
//!
//! Label values often come from outside, so the number of series in a family is bounded
//! ([`DEFAULT_MAX_SERIES`]); what goes beyond shares one series whose labels all say `other`, and
//! `portcullis_metrics_overflow_total` counts how often that happened.
//!
//! ```
//! use portcullis_core::observe::metrics::{Buckets, Metrics};
//! use std::time::Duration;
//!
//! let metrics = Metrics::new(2, 10_000);
//! let requests = metrics.counter("demo_requests_total", "Requests seen.", &[("route", "orders")]);
//! let latency = metrics.histogram("demo_duration_seconds", "Time to answer.", Buckets::LATENCY, &[]);
//!
//! requests.inc();
//! latency.observe_duration(Duration::from_millis(3));
//!
//! let text = metrics.render();
//! assert!(text.contains("demo_requests_total{route=\"orders\"} 1\n"));
//! assert!(text.contains("demo_duration_seconds_bucket{le=\"0.005\"} 1\n"));
//! ```

mod cells;
mod handle;
mod labels;
mod process;
mod registry;
mod render;
mod scrape;

pub use handle::{Counter, Gauge, Histogram};
pub(crate) use process::resident_bytes;
pub use registry::{DEFAULT_MAX_SERIES, Metrics};
pub use scrape::{Scrape, ScrapeGuard};

pub use cells::Buckets;

/// The `Content-Type` of [`Metrics::render`]: Prometheus text format 0.0.4.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

#[cfg(test)]
mod tests;
