//! The attempt loop: the one place where requests leave for upstreams, in every mode.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use http::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use http::request::Parts;

use super::affinity::Marks;
use super::budget::RetryBudget;
use super::client::AttemptCx;
use super::hedge::Hedge;
use super::mirror::{self, Mirror};
use super::replay::Replay;
use super::{Backend, HashKey, HedgePolicy, RetryPolicy, Split, UpstreamClient};
use crate::balance::PickCx;
use crate::body::Body;
use crate::clock::{Clock, Instant};
use crate::error::{ErrorClass, GatewayError, RetrySafety};
use crate::exchange::Exchange;
use crate::grpc;
use crate::handler::{BoxFuture, Handler, Request, Response};
use crate::heads;
use crate::http1::decimal;
use crate::hygiene::settle_for;
use crate::proto::h1::earliest;
use crate::upgrade::Upgrade;
use crate::upstream::EndpointId;

/// What Envoy tells upstreams: milliseconds until it gives an attempt up.
const EXPECTED_TIMEOUT: HeaderName = HeaderName::from_static("x-envoy-expected-rq-timeout-ms");

/// How long a request may take on a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RouteTimeouts {
    /// From the request's head to the last byte of the response; `None` for no limit.
    pub total: Option<Duration>,
    /// From the start of an attempt to its response head.
    pub per_try: Option<Duration>,
    /// The longest silence of the upstream, before and within a response.
    pub idle: Option<Duration>,
    /// The longest silence of the upstream before the head of its response; `None`: as `idle`.
    pub head: Option<Duration>,
    /// How long a tunnel may last; `None` for no limit.
    pub stream: Option<Duration>,
    /// How upstreams are told how much time is left.
    pub announce: Announce,
}

/// The fields that tell upstreams how much time is left for an attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Announce {
    /// `grpc-timeout`, for gRPC calls.
    pub grpc: bool,
    /// Envoy's `x-envoy-expected-rq-timeout-ms`.
    pub envoy: bool,
}

impl Default for RouteTimeouts {
    fn default() -> Self {
        Self {
            total: None,
            per_try: None,
            idle: Some(Duration::from_secs(60)),
            head: None,
            stream: None,
            announce: Announce::default(),
        }
    }
}

/// The handler at the end of a route's chain.
#[derive(Debug)]
pub(crate) struct Forward {
    split: Split,
    timeouts: RouteTimeouts,
    /// Boxed, because most routes have none and all are read.
    again: Option<Box<Again>>,
    budget: Arc<RetryBudget>,
    upgrades: bool,
    /// Who gets copies of requests; boxed, because most routes have none.
    mirrors: Option<Box<[Arc<Mirror>]>>,
    /// Filters of backends, or a choice by a header field, look at what upstreams are told of the client.
    sees_forwarded: bool,
}

/// When a request is sent more than once.
#[derive(Debug)]
struct Again {
    /// After a failure.
    policy: RetryPolicy,
    /// While it is not answered.
    hedge: Option<Hedge>,
}

impl Again {
    /// Two attempts cannot share a body that is still on its way.
    fn hedge_for(&self, parts: &Parts, body: &Body) -> Option<&Hedge> {
        let may = http_body::Body::is_end_stream(body) && self.policy.may_repeat(&parts.method);
        self.hedge.as_ref().filter(|_| may)
    }

    /// Whether this request may be sent more than once.
    fn concerns(&self, parts: &Parts, body: &Body) -> bool {
        self.policy.attempts > 0 || self.hedge_for(parts, body).is_some()
    }
}

impl Forward {
    /// Without time-outs of its own, retries and upgrades.
    pub(crate) fn new(split: Split) -> Self {
        let by_header = |backend: &Backend| {
            let settings = backend.client.settings();
            let mut keys = settings.hash.iter();
            keys.any(|key| matches!(key, HashKey::Header(_)))
        };
        let mut forward = Self {
            split,
            timeouts: RouteTimeouts::default(),
            again: None,
            budget: Arc::new(RetryBudget::default()),
            upgrades: false,
            mirrors: None,
            sees_forwarded: false,
        };
        forward.sees_forwarded =
            forward.has_chains() || forward.split.backends().iter().any(by_header);
        forward
    }

    pub(crate) fn timeouts(mut self, timeouts: RouteTimeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    pub(crate) fn again(mut self, retry: Option<RetryPolicy>, hedge: Option<HedgePolicy>) -> Self {
        let never = RetryPolicy {
            attempts: 0,
            ..RetryPolicy::default()
        };
        self.again = (retry.is_some() || hedge.is_some()).then(|| {
            Box::new(Again {
                policy: retry.unwrap_or(never),
                hedge: hedge.map(Hedge::new),
            })
        });
        self
    }

    /// Who gets copies of requests.
    pub(crate) fn mirrors(mut self, mirrors: Vec<Arc<Mirror>>) -> Self {
        self.mirrors = (!mirrors.is_empty()).then(|| mirrors.into());
        self
    }

    /// Whether requests to upgrade are passed on as such.
    pub(crate) fn upgrades(mut self, allowed: bool) -> Self {
        self.upgrades = allowed;
        self
    }

    /// Whether a backend has filters.
    pub(crate) fn has_chains(&self) -> bool {
        let mut backends = self.split.backends().iter();
        backends.any(|backend| backend.chain.is_some())
    }
}

// Not an `async fn`, so that the future holds no copy of the request beside its parts.
impl Handler for Forward {
    fn handle(
        &self,
        mut request: Request,
    ) -> impl Future<Output = Result<Response, GatewayError>> + Send {
        let exchange = Exchange::of(&mut request);
        if !self.upgrades && Upgrade::of(&request).is_some() {
            Upgrade::withdraw(&mut request);
            // The body stands for the tunnel that is not to be: as an ordinary request this one has none.
            *request.body_mut() = Body::empty();
        }
        let upgrading = Upgrade::of(&request).is_some();
        if self.sees_forwarded {
            settle_for(request.headers_mut(), &exchange);
        }
        let (parts, mut body) = request.into_parts();
        if let Some(mirrors) = &self.mirrors
            && !upgrading
        {
            body = mirror::copy(mirrors, &parts, body, &exchange);
        }
        let done_by = self.deadline(&parts, &exchange, upgrading);
        match &self.again {
            // An upgraded body is a conversation: it cannot be held back and said again.
            Some(again) if !upgrading && again.concerns(&parts, &body) => {
                self.budget.deposit(again.policy.budget);
                // In a box of its own: requests that are sent once need not be as large as those.
                let repeating: BoxFuture<'_, _> =
                    Box::pin(self.repeat(again, parts, body, done_by, exchange));
                repeating.left_future()
            }
            _ => {
                let mut cx = self.attempt(0, Arc::default(), done_by);
                cx.upgrading = upgrading;
                self.once(parts, body, cx, exchange).right_future()
            }
        }
    }
}

impl Forward {
    /// A tunnel has no total: it ends when its sides end it, or when it has lasted for too long.
    fn deadline(&self, parts: &Parts, exchange: &Exchange, upgrading: bool) -> Option<Instant> {
        if upgrading {
            return self.timeouts.stream.map(|limit| exchange.started() + limit);
        }
        let told = if grpc::is_grpc(&parts.headers) {
            grpc::timeout(&parts.headers)
        } else {
            None
        };
        let total = match (self.timeouts.total, told) {
            (Some(ours), Some(theirs)) => Some(ours.min(theirs)),
            (ours, theirs) => ours.or(theirs),
        };
        total.map(|total| exchange.started() + total)
    }

    pub(super) fn attempt(
        &self,
        number: u32,
        tried: Arc<[EndpointId]>,
        done_by: Option<Instant>,
    ) -> AttemptCx {
        AttemptCx {
            number,
            tried,
            head_by: self.timeouts.per_try.map(|limit| Clock.recent() + limit),
            done_by,
            idle: self.timeouts.idle,
            silence: self.timeouts.head.or(self.timeouts.idle),
            upgrading: false,
            picked: None,
        }
    }

    pub(super) fn choose(
        &self,
        parts: &Parts,
        exchange: &Exchange,
    ) -> Result<&Backend, GatewayError> {
        let chosen = self.split.choose(&parts.headers, exchange);
        chosen.ok_or_else(|| {
            GatewayError::new(
                ErrorClass::NoEndpoint,
                "choosing a backend: the route has none with a weight",
            )
            .with_reason("no_backend")
        })
    }

    /// The request as it tells how much time is left for another attempt beside the first; `None` if it tells nothing.
    pub(super) fn told(&self, parts: &Parts, cx: &AttemptCx) -> Option<Parts> {
        let announce = self.timeouts.announce;
        (announce != Announce::default()).then(|| {
            let mut parts = parts.clone();
            announce.enter(&mut parts.headers, cx);
            parts
        })
    }

    #[expect(
        clippy::manual_async_fn,
        reason = "an async fn keeps two copies of each argument that outlives an await"
    )]
    fn once(
        &self,
        mut parts: Parts,
        body: Body,
        cx: AttemptCx,
        exchange: Exchange,
    ) -> impl Future<Output = Result<Response, GatewayError>> + Send {
        async move {
            let backend = self.choose(&parts, &exchange)?;
            self.timeouts.announce.enter(&mut parts.headers, &cx);
            let outcome = match &backend.chain {
                None => {
                    let outcome = backend.client.send(&parts, body, &cx, &exchange).await;
                    heads::keep_header_map(parts.headers);
                    heads::keep_extensions(parts.extensions);
                    outcome
                }
                Some(chain) => chain.call(for_chain(parts, body, cx)).await,
            };
            self.marked(outcome, &exchange)
        }
    }

    /// Has the reply tell the client which backend it was on.
    fn marked(
        &self,
        outcome: Result<Response, GatewayError>,
        exchange: &Exchange,
    ) -> Result<Response, GatewayError> {
        let mut response = outcome?;
        if self.split.marks() && rendered(&response).is_none() {
            Marks::write_backend(exchange, response.headers_mut());
        }
        Ok(response)
    }

    async fn repeat(
        &self,
        again: &Again,
        mut parts: Parts,
        body: Body,
        done_by: Option<Instant>,
        exchange: Exchange,
    ) -> Result<Response, GatewayError> {
        let policy = &again.policy;
        let hedge = again.hedge_for(&parts, &body);
        let replay = Replay::new(body, policy.buffer);
        let mut tried: Vec<EndpointId> = Vec::new();
        let mut number = 0;
        loop {
            let cx = self.attempt(number, tried.as_slice().into(), done_by);
            self.timeouts.announce.enter(&mut parts.headers, &cx);
            let outcome = match hedge {
                Some(hedge) => self.race(hedge, &parts, cx, &exchange).await,
                None => {
                    let backend = self.choose(&parts, &exchange)?;
                    backend.send(&parts, replay.attempt(), cx, &exchange).await
                }
            };
            let wanted = match &outcome {
                Ok(response) => match rendered(response) {
                    Some((class, safety)) => policy.wants_error(class, safety, &parts.method),
                    None => policy.wants_reply(response, &parts.method),
                },
                Err(error) => {
                    policy.wants_error(error.class(), error.retry_safety(), &parts.method)
                }
            };
            let asked = outcome.as_ref().ok().and_then(retry_after);
            let pause = match policy.pause(number, PickCx::new().random(), asked) {
                Some(pause) if wanted && number < policy.attempts => pause,
                _ => return self.marked(outcome, &exchange),
            };
            let next = Clock.now() + pause;
            if !replay.is_whole()
                || done_by.is_some_and(|by| by <= next)
                || !self.budget.withdraw(policy.budget)
            {
                return self.marked(outcome, &exchange);
            }
            {
                let mut state = exchange.state();
                tried.extend(state.endpoint.as_ref().map(|endpoint| endpoint.id()));
                // Filters of the backend had the failure rendered, which wrote it down; it is not the end.
                state.reason = None;
                state.error = None;
            }
            // The response that is not wanted must go before the next attempt: it holds a connection.
            drop(outcome);
            tokio::time::sleep_until(next).await;
            number += 1;
        }
    }
}

impl Announce {
    /// Writes down how much time is left for the attempt.
    fn enter(self, headers: &mut HeaderMap, cx: &AttemptCx) {
        if self == Self::default() {
            return;
        }
        let Some(by) = earliest([cx.head_by, cx.done_by]) else {
            // What a client says there is not what the gateway would.
            if self.envoy {
                headers.remove(EXPECTED_TIMEOUT);
            }
            return;
        };
        let left = by.saturating_duration_since(Clock.now());
        if self.grpc && grpc::is_grpc(headers) {
            headers.insert(grpc::GRPC_TIMEOUT, grpc::timeout_value(left));
        }
        if self.envoy {
            let millis = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
            headers.insert(EXPECTED_TIMEOUT, HeaderValue::from(millis.max(1)));
        }
    }
}

/// The seconds of `Retry-After` (RFC 9110 10.2.3). A date is none: the clocks of two machines differ by more than what
/// is worth waiting for.
fn retry_after(response: &Response) -> Option<Duration> {
    let value = response.headers().get(RETRY_AFTER)?;
    decimal(value.as_bytes()).map(Duration::from_secs)
}

/// What went wrong, if a reply is an error of the gateway's that the filters of a backend have rendered.
pub(super) fn rendered(response: &Response) -> Option<(ErrorClass, RetrySafety)> {
    let extensions = response.extensions();
    Some((*extensions.get()?, *extensions.get()?))
}

impl Backend {
    pub(super) async fn send(
        &self,
        parts: &Parts,
        body: Body,
        cx: AttemptCx,
        exchange: &Exchange,
    ) -> Result<Response, GatewayError> {
        match &self.chain {
            None => self.client.send(parts, body, &cx, exchange).await,
            Some(chain) => chain.call(for_chain(parts.clone(), body, cx)).await,
        }
    }
}

/// The request as the filters of a backend get it; what the attempt is told travels with it to [`SendOnce`].
fn for_chain(parts: Parts, body: Body, cx: AttemptCx) -> Request {
    let mut request = Request::from_parts(parts, body);
    request.extensions_mut().insert(cx);
    request
}

/// The handler at the end of a backend's chain: one attempt.
#[derive(Debug)]
pub(crate) struct SendOnce {
    pub(crate) client: Arc<UpstreamClient>,
}

impl Handler for SendOnce {
    async fn handle(&self, mut request: Request) -> Result<Response, GatewayError> {
        let exchange = Exchange::of(&mut request);
        let cx = request
            .extensions_mut()
            .remove::<AttemptCx>()
            .unwrap_or_default();
        let (parts, body) = request.into_parts();
        self.client.send(&parts, body, &cx, &exchange).await
    }
}
