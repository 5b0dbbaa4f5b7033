//! Upstreams that are down, slow or talk nonsense, and more load than is allowed: the right status, the right
//! reason code, and nothing left behind.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops where something unexpected happens"
)]

mod caps;
mod deadlines;
mod hedging;
mod replies;
mod retries;
mod slow_clients;
mod stale;
mod stalling;
