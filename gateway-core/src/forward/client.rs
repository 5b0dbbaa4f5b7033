//! One upstream, ready to take requests.

use std::sync::Arc;
use std::time::Duration;

use http::header::EXPECT;
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use http_body::Body as HttpBody;

use super::{HashKey, HostPolicy, UpstreamSettings, outgoing};
use crate::balance::{PickCx, stable_hash};
use crate::body::Body;
use crate::clock::{Clock, Instant};
use crate::connect::{ConnectCx, ConnectError, SharedConnector};
use crate::error::{ErrorClass, GatewayError, Origin, RetrySafety};
use crate::exchange::Exchange;
use crate::handler::Response;
use crate::http1::BodyFraming;
use crate::pool::{Checkout, Lease, Place, Pool};
use crate::proto::{h1, h2};
use crate::settings::Protocol;
use crate::upgrade::Upgrade;
use crate::upstream::{Endpoint, EndpointId, Outcome, Upstream};

/// An upstream and how it is spoken to. Kept across reloads that leave its configuration alone.
#[derive(Debug)]
pub struct UpstreamClient {
    pub(super) upstream: Arc<Upstream>,
    pub(super) connector: SharedConnector,
    pub(super) settings: UpstreamSettings,
    hashes: bool,
}

/// What one attempt is told.
#[derive(Clone, Debug, Default)]
pub(crate) struct AttemptCx {
    pub(crate) number: u32,
    pub(crate) tried: Arc<[EndpointId]>,
    pub(crate) head_by: Option<Instant>,
    pub(crate) done_by: Option<Instant>,
    pub(crate) idle: Option<Duration>,
    /// The request asks for an upgrade.
    pub(crate) upgrading: bool,
}

/// An attempt that got no response.
#[derive(Debug)]
pub(crate) struct AttemptFailure {
    pub(crate) error: GatewayError,
    /// The body, when nothing was taken from it.
    pub(crate) body: Option<Body>,
}

impl From<GatewayError> for AttemptFailure {
    fn from(error: GatewayError) -> Self {
        Self { error, body: None }
    }
}

impl UpstreamClient {
    /// Speaks to `upstream` over connections that `connector` makes.
    #[must_use]
    pub fn new(
        upstream: Arc<Upstream>,
        connector: SharedConnector,
        settings: UpstreamSettings,
    ) -> Self {
        Self {
            upstream,
            connector,
            settings,
            hashes: false,
        }
    }

    /// Says that the balancer needs a hash of each request.
    #[must_use]
    pub fn hashing(mut self, hashes: bool) -> Self {
        self.hashes = hashes;
        self
    }

    /// The endpoints and what is known of them.
    #[must_use]
    pub fn upstream(&self) -> &Arc<Upstream> {
        &self.upstream
    }

    /// How it is spoken to.
    #[must_use]
    pub fn settings(&self) -> &UpstreamSettings {
        &self.settings
    }

    /// Sends one request to one endpoint. `parts` is only read, so that a failed attempt can be repeated.
    pub(crate) async fn send(
        &self,
        parts: &Parts,
        body: Body,
        cx: &AttemptCx,
        exchange: &Exchange,
    ) -> Result<Response, AttemptFailure> {
        let Some(endpoint) = self.pick(parts, cx, exchange) else {
            return Err(AttemptFailure {
                error: GatewayError::new(
                    ErrorClass::NoEndpoint,
                    format!("choosing an endpoint of upstream {}", self.upstream.name()),
                )
                .with_retry(RetrySafety::NotSent),
                body: Some(body),
            });
        };
        let started = Clock.recent();
        {
            let mut state = exchange.state();
            state.upstream = Some(self.upstream.clone());
            state.endpoint = Some(endpoint.clone());
            state.attempts = cx.number + 1;
            state.upstream_started = Some(started - exchange.started());
        }
        if let Some(limit) = self.settings.max_requests
            && in_flight(&self.upstream) >= u64::from(limit)
        {
            return Err(AttemptFailure {
                error: GatewayError::new(
                    ErrorClass::Overloaded,
                    format!(
                        "sending to upstream {}: {limit} requests are in flight",
                        self.upstream.name()
                    ),
                )
                .with_reason("upstream_max_requests")
                .with_retry_after(1),
                body: Some(body),
            });
        }
        let mut in_flight = endpoint.clone().begin();
        let sent = self.send_to(&endpoint, parts, body, cx, exchange).await;
        let ended = Clock.now();
        let latency = ended - started;
        match sent {
            Ok(mut response) => {
                let outcome = match response.status() {
                    StatusCode::BAD_GATEWAY
                    | StatusCode::SERVICE_UNAVAILABLE
                    | StatusCode::GATEWAY_TIMEOUT => Outcome::GatewayError,
                    status if status.is_server_error() => Outcome::ServerError,
                    _ => Outcome::Success,
                };
                in_flight.record(outcome, latency);
                exchange.state().upstream_head = Some(ended - exchange.started());
                // Counted against its endpoint until the response's body is gone.
                response.body_mut().carry(in_flight);
                Ok(response)
            }
            Err(failure) => {
                let outcome = match failure.error.class() {
                    ErrorClass::Connect | ErrorClass::ConnectTimeout => Outcome::ConnectFailure,
                    _ if failure.error.origin() == Origin::Upstream => Outcome::GatewayError,
                    _ => Outcome::Cancelled,
                };
                in_flight.finish(outcome, latency);
                Err(failure)
            }
        }
    }

    fn pick(&self, parts: &Parts, cx: &AttemptCx, exchange: &Exchange) -> Option<Arc<Endpoint>> {
        let mut pick = PickCx::new().with_attempt(cx.number, &cx.tried);
        if self.hashes
            && let Some(key) = self.hash(parts, exchange)
        {
            pick = pick.with_hash_key(key);
        }
        self.upstream.pick(&pick)
    }

    fn hash(&self, parts: &Parts, exchange: &Exchange) -> Option<u64> {
        match &self.settings.hash {
            HashKey::ClientIp => exchange
                .client_ip()
                .map(|address| stable_hash(address.to_canonical().to_string().as_bytes())),
            HashKey::Header(name) => parts
                .headers
                .get(name)
                .map(|value| stable_hash(value.as_bytes())),
            HashKey::Cookie(name) => {
                outgoing::cookie(&parts.headers, name).map(|value| stable_hash(value.as_bytes()))
            }
            HashKey::Path => Some(stable_hash(parts.uri.path().as_bytes())),
        }
    }

    async fn send_to(
        &self,
        endpoint: &Arc<Endpoint>,
        parts: &Parts,
        body: Body,
        cx: &AttemptCx,
        exchange: &Exchange,
    ) -> Result<Response, AttemptFailure> {
        let pool = self.pool(endpoint);
        let mut body = body;
        loop {
            let channel = match self.at_hand(pool, cx) {
                Some(channel) => Ok(channel),
                // Boxed: making connections takes much more room than using them, and is rare.
                None => Box::pin(self.route_to(endpoint, pool, cx)).await,
            };
            match channel {
                Ok(Channel::Http1(lease)) => {
                    let sent = self.send_http1(endpoint, lease, parts, body, cx, exchange);
                    match sent.await {
                        Ok(response) => return Ok(response),
                        // A connection that had gone stale says nothing about the endpoint: the request moves
                        // on to the next one, and in the end to a fresh one. One that may have arrived does so
                        // only if it may be carried out twice.
                        Err(h1::SendFailure {
                            body: Some(whole),
                            stale: true,
                            unsent,
                            ..
                        }) if unsent || super::retry::is_idempotent(&parts.method) => body = whole,
                        Err(h1::SendFailure { error, body, .. }) => {
                            return Err(AttemptFailure { error, body });
                        }
                    }
                }
                Ok(Channel::Http2 { sender, reused }) => {
                    if let Some(upgrade) = Upgrade::of_parts(parts) {
                        let request =
                            self.http2_request(endpoint, parts, body, sender.is_secure())?;
                        return Ok(h2::open_tunnel(sender, request, upgrade, cx).await?);
                    }
                    let request = self.http2_request(endpoint, parts, body, sender.is_secure())?;
                    match h2::send(sender, request, cx, exchange).await {
                        // The connection was about to go: the next one is a better one, in the end a fresh one.
                        Err(AttemptFailure {
                            error,
                            body: Some(untouched),
                        }) if reused => {
                            tracing::debug!(%error, "an http/2 connection went away");
                            body = untouched;
                        }
                        outcome => return outcome,
                    }
                }
                Err(error) => {
                    return Err(AttemptFailure {
                        error,
                        body: Some(body),
                    });
                }
            }
        }
    }

    pub(super) async fn send_http1(
        &self,
        endpoint: &Endpoint,
        lease: Lease,
        parts: &Parts,
        body: Body,
        cx: &AttemptCx,
        exchange: &Exchange,
    ) -> Result<Response, h1::SendFailure> {
        let upgrade = Upgrade::of_parts(parts);
        let framing = match body.size_hint().exact() {
            _ if upgrade.is_some() => BodyFraming::Empty,
            Some(0) => BodyFraming::Empty,
            Some(length) => BodyFraming::Length(length),
            None => BodyFraming::Chunked,
        };
        let rewritten = outgoing::http1_headers(parts, &self.settings.host, endpoint, upgrade);
        let headers = rewritten.as_ref().unwrap_or(&parts.headers);
        let target = parts
            .uri
            .path_and_query()
            .map_or("/", |target| target.as_str());
        let outgoing = h1::Outgoing {
            method: &parts.method,
            target,
            headers,
            framing,
            expect_continue: framing != BodyFraming::Empty && headers.contains_key(EXPECT),
            upgrade: upgrade.is_some(),
        };
        let limits = h1::SendLimits {
            head_by: cx.head_by,
            done_by: cx.done_by,
            idle: cx.idle,
        };
        h1::send(lease, &outgoing, body, limits, exchange).await
    }

    pub(super) fn http2_request(
        &self,
        endpoint: &Endpoint,
        parts: &Parts,
        body: Body,
        secure: bool,
    ) -> Result<crate::handler::Request, AttemptFailure> {
        outgoing::http2_request(parts, body, &self.settings.host, endpoint, secure).map_err(
            |error| AttemptFailure {
                error: GatewayError::internal("building an HTTP/2 request").with_source(error),
                body: None,
            },
        )
    }

    /// Whether HTTP/1.1 has to be spoken although the endpoint may know better: upgrades leave it only there.
    fn needs_http1(&self, cx: &AttemptCx) -> bool {
        cx.upgrading && self.settings.protocol == Protocol::Auto
    }

    /// A connection that can be used at once.
    fn at_hand(&self, pool: &Arc<Pool>, cx: &AttemptCx) -> Option<Channel> {
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

    /// Finds or makes a connection.
    async fn route_to(
        &self,
        endpoint: &Arc<Endpoint>,
        pool: &Arc<Pool>,
        cx: &AttemptCx,
    ) -> Result<Channel, GatewayError> {
        if self.settings.protocol == Protocol::Http1 || self.needs_http1(cx) {
            return self.route_to_http1(endpoint, pool, cx).await;
        }
        let (sender, spoken, connecting) = {
            let slot = &mut pool.shard().http2;
            (slot.sender(), slot.is_spoken(), slot.connecting())
        };
        if let Some(sender) = sender {
            return Ok(Channel::Http2 {
                sender,
                reused: true,
            });
        }
        if self.settings.protocol == Protocol::Auto && !spoken {
            return self.route_to_http1(endpoint, pool, cx).await;
        }
        let Ok(_one) = tokio::time::timeout_at(self.connect_by(cx), connecting.lock()).await else {
            return Err(self.connect_timeout(endpoint));
        };
        // Somebody else may have made it meanwhile.
        if let Some(sender) = pool.shard().http2.sender() {
            return Ok(Channel::Http2 {
                sender,
                reused: true,
            });
        }
        match pool.checkout() {
            Checkout::Idle(pooled) => Ok(Channel::Http1(Lease::reused(pooled, pool.clone()))),
            Checkout::Open(place) => self.open(endpoint, pool, place, cx).await,
            Checkout::Exhausted => match pool.any_http2() {
                Some(sender) => Ok(Channel::Http2 {
                    sender,
                    reused: true,
                }),
                None => self.route_to_http1(endpoint, pool, cx).await,
            },
        }
    }

    /// Finds or makes a connection that one request uses at a time; it may turn out to be another kind.
    async fn route_to_http1(
        &self,
        endpoint: &Arc<Endpoint>,
        pool: &Arc<Pool>,
        cx: &AttemptCx,
    ) -> Result<Channel, GatewayError> {
        let place = match pool.checkout() {
            Checkout::Idle(pooled) => {
                return Ok(Channel::Http1(Lease::reused(pooled, pool.clone())));
            }
            Checkout::Open(place) => place,
            Checkout::Exhausted => match self.wait(pool, cx).await? {
                Checkout::Idle(pooled) => {
                    return Ok(Channel::Http1(Lease::reused(pooled, pool.clone())));
                }
                Checkout::Open(place) => place,
                Checkout::Exhausted => return Err(self.exhausted()),
            },
        };
        self.open(endpoint, pool, place, cx).await
    }

    async fn wait(&self, pool: &Arc<Pool>, cx: &AttemptCx) -> Result<Checkout, GatewayError> {
        let by = self.connect_by(cx);
        match tokio::time::timeout_at(by, pool.wait()).await {
            Ok(Some(checkout)) => Ok(checkout),
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
            let sender = h2::connect(connected.transport, place, &self.settings.limits)
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

    pub(crate) fn pool<'a>(&self, endpoint: &'a Endpoint) -> &'a Arc<Pool> {
        endpoint.attached(|| Arc::new(Pool::new(self.settings.pool, self.settings.shards)))
    }

    /// Closes connections that are idle for too long.
    pub(crate) fn reap(&self) {
        for endpoint in self.upstream.snapshot().endpoints() {
            if let Some(pool) = endpoint.attachments().find::<Arc<Pool>>() {
                pool.reap();
            }
        }
    }
}

enum Channel {
    Http1(Lease),
    Http2 {
        sender: h2::Sender,
        /// It was there before this request.
        reused: bool,
    },
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

/// Requests in flight over all endpoints.
fn in_flight(upstream: &Upstream) -> u64 {
    upstream
        .snapshot()
        .endpoints()
        .iter()
        .map(|endpoint| u64::from(endpoint.stats().in_flight()))
        .sum()
}

/// The `Host` an upstream sees, where it differs from what the client sent.
pub(super) fn host_for(policy: &HostPolicy, endpoint: &Endpoint) -> Option<HeaderValue> {
    match policy {
        HostPolicy::Preserve => None,
        HostPolicy::Fixed(value) => Some(value.clone()),
        HostPolicy::Endpoint => {
            let text = match (
                endpoint.spec().hostname.as_deref(),
                endpoint.address().socket(),
            ) {
                (Some(host), Some(address)) => format!("{host}:{}", address.port()),
                (Some(host), None) => host.to_owned(),
                (None, Some(address)) => address.to_string(),
                (None, None) => "localhost".to_owned(),
            };
            HeaderValue::from_str(&text).ok()
        }
    }
}
