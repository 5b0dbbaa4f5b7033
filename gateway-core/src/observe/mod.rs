//! Seeing what happens: metrics, the access log, trace context and span export, and events.
//!
//! Everything here lives as long as the process and is built so that the request path only adds to
//! memory of its own core: metric handles are resolved when a configuration is compiled, log lines are
//! formatted into a buffer of the worker, and a request that is not sampled pays for one header.
//!
//! | module | holds |
//! |---|---|
//! | [`metrics`] | counters, gauges and histograms, and the Prometheus text that shows them |
//! | [`access_log`] | one line for every request, JSON or text, written by a thread of its own |
//! | [`trace`] | W3C and B3 trace context, sampling, and finished spans (OTLP with feature `otlp`) |
//! | [`event`] | the [`Observer`] contract: what an embedding program can listen to |
//! | [`config`] | the options for all of these as a configuration file spells them |

pub mod access_log;
pub mod config;
pub mod event;
pub mod metrics;
pub mod trace;

pub use access_log::{AccessLog, AccessRecord};
pub use event::{Event, Observer, Observers};
pub use metrics::{Buckets, Counter, Gauge, Histogram, Metrics};
pub use trace::{Propagation, TraceContext, Tracer};
