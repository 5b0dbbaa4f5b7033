//! Asking one endpoint how it is.

use std::sync::Arc;

use http::{HeaderValue, StatusCode};

use super::HostPolicy;
use super::channel::connect_failed;
use super::client::{AttemptCx, UpstreamClient, host_for};
use crate::body::Body;
use crate::connect::ConnectCx;
use crate::error::GatewayError;
use crate::exchange::Exchange;
use crate::pool::{Lease, Pool, PoolLimits};
use crate::proto::{h1, h2};
use crate::settings::Protocol;
use crate::upstream::Endpoint;

impl UpstreamClient {
    /// Asks one endpoint for `path` on a connection of its own, for a health check. The caller bounds the time.
    ///
    /// # Errors
    /// Why there was no answer.
    pub(crate) async fn probe(
        &self,
        endpoint: &Endpoint,
        path: &str,
    ) -> Result<StatusCode, GatewayError> {
        let connected = self
            .connector
            .connect(endpoint, ConnectCx::new(self.upstream.name()))
            .await
            .map_err(connect_failed)?;
        let mut parts = http::Request::new(()).into_parts().0;
        parts.uri = path.parse().map_err(|error: http::uri::InvalidUri| {
            GatewayError::internal("reading the path of a health check").with_source(error)
        })?;
        let host = host_for(&self.settings.host, endpoint)
            .or_else(|| host_for(&HostPolicy::Endpoint, endpoint))
            .unwrap_or(HeaderValue::from_static("localhost"));
        parts.headers.insert(http::header::HOST, host);
        parts.headers.insert(
            http::header::USER_AGENT,
            HeaderValue::from_static("portcullis-health"),
        );
        // Not the endpoint's pool: a probe tells whether new connections work, and leaves none behind.
        let own = PoolLimits {
            max_idle: 0,
            ..PoolLimits::default()
        };
        let pool = Arc::new(Pool::new(own, 1));
        let Some(place) = pool.place() else {
            return Err(GatewayError::internal("making room for a health check"));
        };
        let exchange = Exchange::new(Arc::default());
        let cx = AttemptCx::default();
        let http2 = match self.settings.protocol {
            Protocol::Http1 => false,
            Protocol::Http2 => true,
            Protocol::Auto => connected.http2,
        };
        let sent = if http2 {
            let sender =
                h2::connect(connected.transport, place, &self.settings.limits, None).await?;
            self.send_http2(endpoint, sender, &parts, Body::empty(), &cx, &exchange)
                .await
                .map_err(|failure| failure.error)
        } else {
            let connection = h1::Connection::new(connected.transport, self.settings.limits);
            let lease = Lease::fresh(connection, place, pool);
            self.send_http1(endpoint, lease, &parts, Body::empty(), &cx, &exchange)
                .await
                .map_err(|failure| failure.error)
        };
        sent.map(|response| response.status())
    }
}
