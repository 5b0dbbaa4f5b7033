//! Finding or making the connection that a request is sent on.

use std::sync::Arc;

use super::client::{AttemptCx, UpstreamClient};
use crate::clock::{Clock, Instant};
use crate::connect::{ConnectCx, ConnectError};
use crate::error::{ErrorClass, GatewayError, RetrySafety};
use crate::pool::{Checkout, Lease, Place, Pool};
use crate::proto::{h1, h2};
use crate::settings::Protocol;
use crate::upstream::Endpoint;

/// What a request is sent on.
pub(super) enum Channel {
    Http1(Lease),
    Http2 {
        sender: h2::Sender,
        /// It was there before this request.
        reused: bool,
    },
}

impl UpstreamClient {
    /// Whether HTTP/1.1 has to be spoken although the endpoint may know better: upgrades leave it only there.
    fn needs_http1(&self, cx: &AttemptCx) -> bool {
        cx.upgrading && self.settings.protocol == Protocol::Auto
    }

    /// A connection that can be used at once.
    pub(super) fn at_hand(&self, pool: &Arc<Pool>, cx: &AttemptCx) -> Option<Channel> {
        if self.settings.protocol != Protocol::Http1 && !self.needs_http1(cx) {
            let slot = &mut pool.shard().http2;
            if let Some(sender) = slot.sender() {
                return Some(Channel::Http2 {
                    sender,
                    reused: true,
                });
            }
            if self.settings.protocol == Protocol::Http2 || slot.is_spoken() {
                return None;
            }
        }
        let pooled = pool.take_idle()?;
        Some(Channel::Http1(Lease::reused(pooled, pool.clone())))
    }

    /// Makes or waits for a connection, when there is none [at hand](Self::at_hand).
    pub(super) async fn route_to(
        &self,
        endpoint: &Arc<Endpoint>,
        pool: &Arc<Pool>,
        cx: &AttemptCx,
    ) -> Result<Channel, GatewayError> {
        if self.settings.protocol == Protocol::Http1 || self.needs_http1(cx) {
            return self.route_to_http1(endpoint, pool, cx).await;
        }
        let (spoken, connecting) = {
            let slot = &mut pool.shard().http2;
            (slot.is_spoken(), slot.connecting())
        };
        if self.settings.protocol == Protocol::Auto && !spoken {
            return self.route_to_http1(endpoint, pool, cx).await;
        }
        let Ok(one) = tokio::time::timeout_at(self.connect_by(cx), connecting.lock()).await else {
            return Err(self.connect_timeout(endpoint));
        };
        // Somebody else may have made it meanwhile.
        if let Some(sender) = pool.shard().http2.sender() {
            return Ok(Channel::Http2 {
                sender,
                reused: true,
            });
        }
        let found = match pool.checkout() {
            Checkout::Exhausted => match pool.any_http2() {
                Some(sender) => Checkout::Shared(sender),
                None => {
                    drop(one);
                    return self.wait(endpoint, pool, cx, true).await;
                }
            },
            found => found,
        };
        self.take(endpoint, pool, found, cx).await
    }

    /// Finds or makes a connection that one request uses at a time; it may turn out to be another kind.
    async fn route_to_http1(
        &self,
        endpoint: &Arc<Endpoint>,
        pool: &Arc<Pool>,
        cx: &AttemptCx,
    ) -> Result<Channel, GatewayError> {
        match pool.checkout() {
            Checkout::Exhausted => {
                let shared = self.settings.protocol == Protocol::Auto && !self.needs_http1(cx);
                self.wait(endpoint, pool, cx, shared).await
            }
            found => self.take(endpoint, pool, found, cx).await,
        }
    }

    async fn take(
        &self,
        endpoint: &Arc<Endpoint>,
        pool: &Arc<Pool>,
        found: Checkout,
        cx: &AttemptCx,
    ) -> Result<Channel, GatewayError> {
        match found {
            Checkout::Idle(pooled) => Ok(Channel::Http1(Lease::reused(pooled, pool.clone()))),
            Checkout::Shared(sender) => Ok(Channel::Http2 {
                sender,
                reused: true,
            }),
            Checkout::Open(place) => self.open(endpoint, pool, place, cx).await,
            Checkout::Exhausted => Err(self.exhausted()),
        }
    }

    /// Waits for a connection, or for a stream if a `shared` one will do.
    async fn wait(
        &self,
        endpoint: &Arc<Endpoint>,
        pool: &Arc<Pool>,
        cx: &AttemptCx,
        shared: bool,
    ) -> Result<Channel, GatewayError> {
        let by = self.connect_by(cx);
        match tokio::time::timeout_at(by, pool.wait(shared)).await {
            Ok(Some(found)) => self.take(endpoint, pool, found, cx).await,
            Ok(None) | Err(_) => Err(self.exhausted()),
        }
    }

    fn exhausted(&self) -> GatewayError {
        GatewayError::new(
            ErrorClass::Overloaded,
            format!(
                "waiting for a connection of upstream {}",
                self.upstream.name()
            ),
        )
        .with_reason("upstream_max_connections")
        .with_retry(RetrySafety::NotSent)
        .with_retry_after(1)
    }

    fn connect_timeout(&self, endpoint: &Endpoint) -> GatewayError {
        GatewayError::new(
            ErrorClass::ConnectTimeout,
            format!(
                "connecting to {} of upstream {}",
                endpoint.address(),
                self.upstream.name()
            ),
        )
        .with_retry(RetrySafety::NotSent)
    }

    fn connect_by(&self, cx: &AttemptCx) -> Instant {
        let by = Clock.now() + self.settings.connect_timeout;
        [cx.head_by, cx.done_by]
            .into_iter()
            .flatten()
            .fold(by, Instant::min)
    }

    async fn open(
        &self,
        endpoint: &Arc<Endpoint>,
        pool: &Arc<Pool>,
        place: Place,
        cx: &AttemptCx,
    ) -> Result<Channel, GatewayError> {
        let by = self.connect_by(cx);
        let mut connect = ConnectCx::new(self.upstream.name());
        connect.deadline = Some(by);
        connect.http1_only = self.needs_http1(cx);
        let connected =
            match tokio::time::timeout_at(by, self.connector.connect(endpoint, connect)).await {
                Ok(Ok(connected)) => connected,
                Ok(Err(error)) => return Err(connect_failed(error)),
                Err(_) => return Err(self.connect_timeout(endpoint)),
            };
        let http2 = match self.settings.protocol {
            Protocol::Http1 => false,
            Protocol::Http2 => true,
            Protocol::Auto => connected.http2 && !self.needs_http1(cx),
        };
        if http2 {
            let streams = pool.shard().http2.limit();
            let sender = h2::connect(connected.transport, place, &self.settings.limits, streams)
                .await
                .map_err(|error| error.with_retry(RetrySafety::NotSent))?;
            pool.shard().http2.keep(sender.clone(), Clock.now());
            return Ok(Channel::Http2 {
                sender,
                reused: false,
            });
        }
        let connection = h1::Connection::new(connected.transport, self.settings.limits);
        Ok(Channel::Http1(Lease::fresh(
            connection,
            place,
            pool.clone(),
        )))
    }
}

pub(super) fn connect_failed(error: ConnectError) -> GatewayError {
    let reason = match &error {
        ConnectError::Tls { .. } => "upstream_tls_failed",
        _ => "upstream_connect_failed",
    };
    GatewayError::new(ErrorClass::Connect, "connecting to the upstream")
        .with_reason(reason)
        .with_source(error)
        .with_retry(RetrySafety::NotSent)
}
