//! Connections to endpoints for what is not HTTP.

use std::sync::Arc;

use super::UpstreamClient;
use crate::clock::Clock;
use crate::config::raw::ProxyVersion;
use crate::connect::{ConnectCx, ConnectError};
use crate::transport::Transport;
use crate::upstream::Endpoint;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StreamError {
    /// It could not be made.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Not in time.
    #[error("connecting takes too long")]
    Timeout,
}

impl UpstreamClient {
    /// Makes a connection of its own to `endpoint`, beside the pool. `first` is what the endpoint is told before
    /// anything else, TLS included.
    pub(crate) async fn open_stream(
        &self,
        endpoint: &Arc<Endpoint>,
        first: &[u8],
    ) -> Result<Transport, StreamError> {
        let limit = self.settings.connect_timeout;
        let mut cx = ConnectCx::new(self.upstream.name());
        cx.deadline = Some(Clock.now() + limit);
        cx.first = first;
        cx.http = false;
        match tokio::time::timeout(limit, self.connector.connect(endpoint, cx)).await {
            Ok(connected) => Ok(connected?.transport),
            Err(_) => Err(StreamError::Timeout),
        }
    }

    /// Whether its endpoints are told of clients, and how.
    pub(crate) fn proxy_protocol(&self) -> Option<ProxyVersion> {
        self.settings.proxy_protocol
    }

    /// Whether as many requests and connections are under way as may be.
    pub(crate) fn is_full(&self) -> bool {
        self.settings
            .max_requests
            .is_some_and(|limit| self.in_flight() >= limit)
    }

    /// Whether `endpoint` has as many connections as it may, as far as streams know.
    pub(crate) fn is_endpoint_full(&self, endpoint: &Endpoint) -> bool {
        self.settings
            .pool
            .max_connections
            .is_some_and(|limit| endpoint.stats().in_flight() as usize >= limit)
    }
}
