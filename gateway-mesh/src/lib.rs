//! Mesh mode: the gateway beside a workload.
//!
//! [`InboundMode`] stands in front of the workload and says who calls; [`OutboundMode`] stands between
//! the workload and the services it calls. Hand one to `Gateway::builder(..).mode(..)`.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod identity;
mod stack;

pub use identity::{IdentityHeaders, IdentityHeadersLayer};
pub use stack::{InboundMode, OutboundMode};
