//! API-gateway mode: the gateway in front of APIs.
//!
//! [`ApiMode`] is the order of layers; hand it to `Gateway::builder(..).mode(..)`.

mod latency;
mod stack;

pub use latency::{Latency, LatencyLayer};
pub use stack::ApiMode;
