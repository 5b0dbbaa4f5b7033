//! What HTTP means, on both sides of the gateway: framing, fields that belong to one hop, interim replies,
//! targets and bodies.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops where something unexpected happens"
)]

mod bodies;
mod fields;
mod forwarded;
mod framing;
mod interim;
mod targets;
