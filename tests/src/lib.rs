//! What the integration suites share: a gateway on ephemeral ports, upstreams that follow a script byte by
//! byte, and clients that show exactly what came back.
//!
//! Nothing here sleeps: a test waits for what it expects and fails when that takes longer than [`PATIENCE`].
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a test stops where something unexpected happens"
)]

mod frames;
mod gateway;
mod http2;
mod peer;
mod tls;
mod upstream;

use std::future::Future;
use std::time::Duration;

pub use frames::{Frame, FramePeer, farewell, frame, http2_client, kind, next_frame};
pub use gateway::{Ended, TestGateway, listener, route_to};
pub use http2::{H2Client, H2Reply, h2_upstream, h2_upstream_with};
pub use peer::{Message, Peer};
pub use tls::{alpn, client_config, server_config, tls_client, tls_upstream};
pub use upstream::{Upstream, free_port};

/// How long anything may take before a test fails.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// Waits for `future`; the test fails when it takes too long.
pub async fn within<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(output) => output,
        Err(_) => panic!("{what} took longer than {PATIENCE:?}"),
    }
}
