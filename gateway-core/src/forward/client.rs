//! One upstream, ready to take requests.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::header::EXPECT;
use http::request::Parts;
use http::{HeaderValue, StatusCode, Version};
use http_body::Body as HttpBody;

use super::adaptive::Adaptive;
use super::affinity::{self, Marks};
use super::channel::Channel;
use super::{HostPolicy, UpstreamSettings, outgoing};
use crate::balance::PickCx;
use crate::body::Body;
use crate::clock::{Clock, Instant};
use crate::connect::SharedConnector;
use crate::error::{ErrorClass, GatewayError, Origin, RetrySafety};
use crate::exchange::Exchange;
use crate::grpc;
use crate::handler::Response;
use crate::http1::BodyFraming;
use crate::hygiene::{Late, accepts_trailers, enter_for_attempt, late};
use crate::pool::{Lease, Pool};
use crate::proto::{h1, h2};
use crate::upgrade::Upgrade;
use crate::upstream::{Endpoint, EndpointId, Outcome, Upstream};

/// An upstream and how it is spoken to. Kept across reloads that leave its configuration alone.
#[derive(Debug)]
pub struct UpstreamClient {
    pub(super) upstream: Arc<Upstream>,
    pub(super) connector: SharedConnector,
    pub(super) settings: UpstreamSettings,
    adaptive: Option<Box<Adaptive>>,
    hashes: bool,
    /// Replies may have to tell the client what to come back with.
    marks: bool,
}

/// What one attempt is told.
#[derive(Clone, Debug, Default)]
pub(crate) struct AttemptCx {
    pub(crate) number: u32,
    pub(crate) tried: Arc<[EndpointId]>,
    pub(crate) head_by: Option<Instant>,
    pub(crate) done_by: Option<Instant>,
    pub(crate) idle: Option<Duration>,
    /// The longest silence before the head of the response.
    pub(crate) silence: Option<Duration>,
    /// The request asks for an upgrade.
    pub(crate) upgrading: bool,
    /// Where the choice is noted, for attempts that are made side by side.
    pub(crate) picked: Option<Arc<OnceLock<Picked>>>,
}

/// Where an attempt went.
#[derive(Clone, Debug)]
pub(crate) struct Picked {
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) endpoint: Arc<Endpoint>,
}

impl UpstreamClient {
    /// Speaks to `upstream` over connections that `connector` makes.
    #[must_use]
    pub fn new(
        upstream: Arc<Upstream>,
        connector: SharedConnector,
        settings: UpstreamSettings,
    ) -> Self {
        let marks = settings.keeps_clients();
        Self {
            upstream,
            connector,
            adaptive: settings
                .adaptive
                .map(|limit| Box::new(Adaptive::new(limit))),
            settings,
            hashes: false,
            marks,
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
    #[expect(
        clippy::manual_async_fn,
        reason = "an async fn keeps two copies of each argument that outlives an await"
    )]
    pub(crate) fn send(
        &self,
        parts: &Parts,
        body: Body,
        cx: &AttemptCx,
        exchange: &Exchange,
    ) -> impl Future<Output = Result<Response, GatewayError>> + Send {
        async move {
            let Some(endpoint) = self.pick(parts, cx, exchange) else {
                return Err(GatewayError::new(
                    ErrorClass::NoEndpoint,
                    format!("choosing an endpoint of upstream {}", self.upstream.name()),
                )
                .with_retry(RetrySafety::NotSent));
            };
            if let Some(picked) = &cx.picked {
                let _ = picked.set(Picked {
                    upstream: self.upstream.clone(),
                    endpoint: endpoint.clone(),
                });
            }
            let started = Clock.recent();
            {
                let mut state = exchange.state();
                state.upstream = Some(self.upstream.clone());
                state.endpoint = Some(endpoint.clone());
                state.attempts = cx.number + 1;
                state.upstream_started = Some(started - exchange.started());
            }
            self.admit()?;
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
                    if let Some(adaptive) = &self.adaptive {
                        adaptive.record(latency, self.in_flight());
                    }
                    exchange.state().upstream_head = Some(ended - exchange.started());
                    if cx.done_by.is_some() && ends_with_status(parts, &response) {
                        response.body_mut().end_late(exchange);
                    }
                    if self.marks {
                        Marks::write_endpoint(exchange, response.headers_mut());
                    }
                    // Counted against its endpoint until the response's body is gone.
                    response.body_mut().carry(in_flight);
                    Ok(response)
                }
                Err(error) => {
                    let outcome = match error.class() {
                        ErrorClass::Connect | ErrorClass::ConnectTimeout => Outcome::ConnectFailure,
                        _ if error.origin() == Origin::Upstream => Outcome::GatewayError,
                        _ => Outcome::Cancelled,
                    };
                    in_flight.finish(outcome, latency);
                    Err(error)
                }
            }
        }
    }

    /// Requests in flight over all endpoints.
    pub(super) fn in_flight(&self) -> u32 {
        let snapshot = self.upstream.snapshot();
        let each = snapshot.endpoints().iter();
        each.map(|endpoint| endpoint.stats().in_flight()).sum()
    }

    /// Refuses a request that is more than the upstream may have at a time.
    fn admit(&self) -> Result<(), GatewayError> {
        let fixed = self.settings.max_requests;
        let adaptive = self.adaptive.as_ref().map(|adaptive| adaptive.limit());
        let (limit, reason) = match (fixed, adaptive) {
            (None, None) => return Ok(()),
            (Some(fixed), adaptive) if adaptive.is_none_or(|adaptive| fixed <= adaptive) => {
                (fixed, "upstream_max_requests")
            }
            (fixed, adaptive) => (
                adaptive.or(fixed).unwrap_or(u32::MAX),
                "upstream_adaptive_limit",
            ),
        };
        if self.in_flight() < limit {
            return Ok(());
        }
        let message = format!(
            "sending to upstream {}: {limit} requests are in flight",
            self.upstream.name()
        );
        Err(GatewayError::new(ErrorClass::Overloaded, message)
            .with_reason(reason)
            .with_retry(RetrySafety::NotSent)
            .with_retry_after(1))
    }

    fn pick(&self, parts: &Parts, cx: &AttemptCx, exchange: &Exchange) -> Option<Arc<Endpoint>> {
        if self.marks {
            Marks::begin_attempt(exchange);
        }
        let Some(sticky) = self.settings.sticky.as_deref() else {
            return self.pick_any(parts, cx, exchange);
        };
        let pin = sticky.pin(&parts.headers);
        let pinned = pin.and_then(|pin| Some((pin, self.upstream.pinned(pin.to)?)));
        let (endpoint, mark) = match pinned {
            Some((pin, endpoint)) if !cx.tried.contains(&endpoint.id()) => {
                let mark = sticky.renew(pin);
                (endpoint, mark)
            }
            _ => {
                let endpoint = self.pick_any(parts, cx, exchange)?;
                let mark = sticky.issue(endpoint.fingerprint());
                (endpoint, mark)
            }
        };
        if mark.is_some() {
            Marks::of(&mut exchange.state()).endpoint = mark;
        }
        Some(endpoint)
    }

    fn pick_any(
        &self,
        parts: &Parts,
        cx: &AttemptCx,
        exchange: &Exchange,
    ) -> Option<Arc<Endpoint>> {
        let mut pick = PickCx::new().with_attempt(cx.number, &cx.tried);
        if self.hashes
            && let Some(key) = affinity::hash(&self.settings.hash, parts, exchange)
        {
            pick = pick.with_hash_key(key);
        }
        self.upstream.pick(&pick)
    }

    #[expect(
        clippy::manual_async_fn,
        reason = "an async fn keeps two copies of each argument that outlives an await"
    )]
    fn send_to(
        &self,
        endpoint: &Arc<Endpoint>,
        parts: &Parts,
        mut body: Body,
        cx: &AttemptCx,
        exchange: &Exchange,
    ) -> impl Future<Output = Result<Response, GatewayError>> + Send {
        async move {
            let pool = self.pool(endpoint);
            let mut early = false;
            loop {
                let channel = match self.at_hand(pool, cx) {
                    Some(channel) => channel,
                    // Boxed: making connections takes much more room than using them, and is rare.
                    None => Box::pin(self.route_to(endpoint, pool, cx)).await?,
                };
                match channel {
                    Channel::Http1(lease) => {
                        match self
                            .send_http1(endpoint, lease, parts, body, cx, exchange)
                            .await
                        {
                            Ok(response) => return Ok(response),
                            // A connection that had gone stale says nothing about the endpoint: the request moves
                            // on to the next one, and in the end to a fresh one. One that may have arrived does so
                            // only if it may be carried out twice.
                            Err(h1::SendFailure {
                                body: Some(whole),
                                stale: true,
                                unsent,
                                ..
                            }) if unsent || super::retry::is_idempotent(&parts.method) => {
                                body = whole
                            }
                            Err(failure) => return Err(failure.error),
                        }
                    }
                    Channel::Http2 { sender, reused } => {
                        // Boxed, so that requests over HTTP/1 are smaller.
                        let sent = self.send_http2(endpoint, sender, parts, body, cx, exchange);
                        let sent = Box::pin(sent).await;
                        let failure = match sent {
                            Ok(response) => return Ok(response),
                            Err(failure) => failure,
                        };
                        // The next connection is a better one, in the end a fresh one.
                        let moves = |why: h2::Again| match why {
                            h2::Again::Leaving => reused,
                            h2::Again::Early => !early,
                            h2::Again::Stale => {
                                reused && super::retry::is_idempotent(&parts.method)
                            }
                        };
                        match failure.again {
                            Some((untouched, why)) if moves(why) => {
                                let error = &failure.error;
                                tracing::debug!(%error, "an http/2 connection did not take a request");
                                early |= why == h2::Again::Early;
                                body = untouched;
                            }
                            _ => return Err(failure.error),
                        }
                    }
                }
            }
        }
    }

    pub(super) fn send_http1<'a>(
        &self,
        endpoint: &Endpoint,
        lease: Lease,
        parts: &'a Parts,
        body: Body,
        cx: &'a AttemptCx,
        exchange: &'a Exchange,
    ) -> impl Future<Output = Result<Response, h1::SendFailure>> + Send + use<'a> {
        let upgrade = Upgrade::of_parts(parts);
        let framing = match body.size_hint().exact() {
            _ if upgrade.is_some() => BodyFraming::Empty,
            Some(0) => BodyFraming::Empty,
            Some(length) => BodyFraming::Length(length),
            None => BodyFraming::Chunked,
        };
        let mut rewritten = outgoing::http1_headers(parts, &self.settings.host, endpoint, upgrade);
        let late = late(&parts.headers, exchange);
        if matches!(late, Late::Fields) {
            let headers = rewritten.get_or_insert_with(|| parts.headers.clone());
            enter_for_attempt(headers, exchange);
        }
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
            late: match &late {
                Late::Lines(lines) => Some(lines),
                Late::Nothing | Late::Fields => None,
            },
        };
        h1::send(lease, &outgoing, body, cx, exchange)
    }

    pub(super) async fn send_http2(
        &self,
        endpoint: &Endpoint,
        sender: h2::Sender,
        parts: &Parts,
        body: Body,
        cx: &AttemptCx,
        exchange: &Exchange,
    ) -> Result<Response, h2::SendFailure> {
        let host = &self.settings.host;
        let mut request = outgoing::http2_request(parts, body, host, endpoint, sender.is_secure())
            .map_err(|error| {
                let error = GatewayError::internal("building an HTTP/2 request").with_source(error);
                h2::SendFailure { error, again: None }
            })?;
        enter_for_attempt(request.headers_mut(), exchange);
        match Upgrade::of_parts(parts) {
            Some(upgrade) => h2::open_tunnel(sender, request, upgrade, cx, exchange).await,
            None => h2::send(sender, request, cx, exchange).await,
        }
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

/// Whether a reply is that to a gRPC call whose client learns its status from trailers.
fn ends_with_status(parts: &Parts, response: &Response) -> bool {
    grpc::is_grpc(&parts.headers)
        && grpc::is_grpc(response.headers())
        && (parts.version == Version::HTTP_2 || accepts_trailers(&parts.headers))
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
