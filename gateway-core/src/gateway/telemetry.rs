//! What is counted and logged of requests.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use http::StatusCode;

use crate::clock::Clock;
use crate::exchange::{Exchange, ExchangeState};
use crate::observe::trace::{SpanKind, SpanRecord, SpanSink};
use crate::observe::{
    AccessLog, AccessRecord, Buckets, Counter, Event, Gauge, Histogram, Metrics, Observers,
};

/// The metric handles of a route, resolved when the route was compiled.
#[derive(Debug)]
pub struct RouteMetrics {
    by_class: [Counter; 6],
    duration: Histogram,
    received: Counter,
    sent: Counter,
}

impl RouteMetrics {
    /// The handles for `route`.
    #[must_use]
    pub fn new(metrics: &Metrics, route: &str) -> Self {
        let class = |code: &str| {
            metrics.counter(
                "portcullis_requests_total",
                "Requests that ended, by route and class of status; `aborted` got no complete reply, `upgrade` became a tunnel.",
                &[("route", route), ("class", code)],
            )
        };
        let bytes = |name: &str, help: &str| metrics.counter(name, help, &[("route", route)]);
        Self {
            by_class: ["aborted", "upgrade", "2xx", "3xx", "4xx", "5xx"].map(class),
            duration: metrics.histogram(
                "portcullis_request_duration_seconds",
                "Time from a request's head to the end of its reply.",
                Buckets::LATENCY,
                &[("route", route)],
            ),
            received: bytes(
                "portcullis_request_body_bytes_total",
                "Bytes of request bodies.",
            ),
            sent: bytes(
                "portcullis_response_body_bytes_total",
                "Bytes of response bodies.",
            ),
        }
    }

    /// Handles that nobody sees.
    pub(crate) fn detached() -> Self {
        Self {
            by_class: std::array::from_fn(|_| Counter::detached()),
            duration: Histogram::detached(Buckets::LATENCY),
            received: Counter::detached(),
            sent: Counter::detached(),
        }
    }

    fn end(&self, outcome: &Outcome, duration: std::time::Duration) {
        let class = match outcome.status {
            // The only final status below 200 is 101.
            Some(status) if !outcome.aborted => usize::from(status.as_u16() / 100).min(5),
            _ => 0,
        };
        self.by_class[class].inc();
        self.duration.observe_duration(duration);
        if outcome.received > 0 {
            self.received.add(outcome.received);
        }
        if outcome.sent > 0 {
            self.sent.add(outcome.sent);
        }
    }
}

struct Outcome {
    status: Option<StatusCode>,
    received: u64,
    sent: u64,
    aborted: bool,
}

/// What a listener counts, and where its requests are reported.
pub(crate) struct Telemetry {
    pub(crate) listener: Arc<str>,
    /// Requests that matched no route.
    pub(crate) unrouted: RouteMetrics,
    pub(crate) in_flight: Gauge,
    pub(crate) connections: Counter,
    pub(crate) handshakes_failed: Counter,
    pub(crate) refused: Refusals,
    pub(crate) dropped: Drops,
    pub(crate) access_log: Option<AccessLog>,
    pub(crate) log_query: bool,
    pub(crate) observers: Observers,
    pub(crate) spans: Option<Arc<dyn SpanSink>>,
    pub(crate) admission: Option<Admission>,
    /// The limit of the whole process.
    pub(crate) process: Arc<Admission>,
}

/// Why a connection or a request was turned away at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Connections,
    ConnectionsPerAddress,
    ConnectionsForMemory,
    Requests,
    RequestsForMemory,
}

impl Refusal {
    /// The limit that was reached.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Connections => "max_connections",
            Self::ConnectionsPerAddress => "max_connections_per_address",
            Self::Requests => "max_requests_in_flight",
            Self::ConnectionsForMemory | Self::RequestsForMemory => "memory",
        }
    }
}

/// What a listener has turned away.
#[derive(Debug)]
pub(crate) struct Refusals([Counter; 5]);

impl Refusals {
    pub(crate) fn new(metrics: &Metrics, listener: &str) -> Self {
        let connections = |refusal: Refusal| {
            metrics.counter(
                "portcullis_connections_refused_total",
                "Client connections that were closed at once because of a limit.",
                &[("listener", listener), ("reason", refusal.reason())],
            )
        };
        let requests = |refusal: Refusal| {
            metrics.counter(
                "portcullis_requests_refused_total",
                "Requests that were answered with 503 because of a limit of the listener or the process.",
                &[("listener", listener), ("reason", refusal.reason())],
            )
        };
        Self([
            connections(Refusal::Connections),
            connections(Refusal::ConnectionsPerAddress),
            connections(Refusal::ConnectionsForMemory),
            requests(Refusal::Requests),
            requests(Refusal::RequestsForMemory),
        ])
    }

    /// Counters that nobody sees.
    pub(crate) fn detached() -> Self {
        Self(std::array::from_fn(|_| Counter::detached()))
    }

    pub(crate) fn count(&self, refusal: Refusal) {
        self.0[refusal as usize].inc();
    }
}

/// Why a connection or datagram below HTTP was dropped for what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dropped {
    ProxyUntrusted,
    ProxyMalformed,
    ProxyMissing,
    PerAddress,
    ClientHello,
    StartTls,
    NoRoute,
    Timeout,
}

impl Dropped {
    const ALL: [Self; 8] = [
        Self::ProxyUntrusted,
        Self::ProxyMalformed,
        Self::ProxyMissing,
        Self::PerAddress,
        Self::ClientHello,
        Self::StartTls,
        Self::NoRoute,
        Self::Timeout,
    ];

    /// The reason code.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::ProxyUntrusted => "proxy_protocol_untrusted",
            Self::ProxyMalformed => "proxy_protocol_malformed",
            Self::ProxyMissing => "proxy_protocol_missing",
            Self::PerAddress => "max_connections_per_address",
            Self::ClientHello => "client_hello_malformed",
            Self::StartTls => "starttls_early_data",
            Self::NoRoute => "no_route",
            Self::Timeout => "detect_timeout",
        }
    }
}

/// What a listener has dropped.
#[derive(Debug)]
pub(crate) struct Drops([Counter; Dropped::ALL.len()]);

impl Drops {
    pub(crate) fn new(metrics: &Metrics, listener: &str) -> Self {
        Self(Dropped::ALL.map(|dropped| {
            metrics.counter(
                "portcullis_connections_dropped_total",
                "Client connections that were closed before any protocol was served, for what they began with.",
                &[("listener", listener), ("reason", dropped.reason())],
            )
        }))
    }

    /// Counters that nobody sees.
    pub(crate) fn detached() -> Self {
        Self(std::array::from_fn(|_| Counter::detached()))
    }

    pub(crate) fn count(&self, dropped: Dropped) {
        self.0[dropped as usize].inc();
    }
}

/// Whether a request may be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admitted {
    Yes,
    /// As many as may be are in flight.
    Full,
    ShortOfMemory,
}

/// A limit of requests in flight.
#[derive(Debug)]
pub(crate) struct Admission {
    /// `NO_LIMIT`, or how many there may be.
    limit: AtomicU64,
    now: AtomicU64,
    /// Memory is short: nothing is admitted.
    shedding: AtomicBool,
}

/// Requests are not even counted then: all workers would write the same line of memory.
const NO_LIMIT: u64 = u64::MAX;

impl Default for Admission {
    fn default() -> Self {
        Self::new(NO_LIMIT)
    }
}

impl Admission {
    pub(crate) fn new(limit: u64) -> Self {
        Self {
            limit: AtomicU64::new(limit),
            now: AtomicU64::new(0),
            shedding: AtomicBool::new(false),
        }
    }

    /// Whether requests are turned away because memory is short.
    pub(crate) fn shed(&self, shed: bool) {
        self.shedding.store(shed, Ordering::Relaxed);
    }

    /// Changes the limit. Requests that began without one are not counted.
    pub(crate) fn set_limit(&self, limit: Option<u64>) {
        let limit = limit.unwrap_or(NO_LIMIT);
        if limit == NO_LIMIT {
            self.now.store(0, Ordering::Relaxed);
        }
        self.limit.store(limit, Ordering::Relaxed);
    }

    fn begin(&self) -> bool {
        let limit = self.limit.load(Ordering::Relaxed);
        limit == NO_LIMIT || self.now.fetch_add(1, Ordering::Relaxed) < limit
    }

    fn end(&self) {
        if self.limit.load(Ordering::Relaxed) != NO_LIMIT {
            // Some began before there was a limit.
            let _ = self
                .now
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| {
                    now.checked_sub(1)
                });
        }
    }
}

impl Telemetry {
    /// For a listener that counts for nobody and reports to nobody.
    pub(crate) fn detached(listener: Arc<str>) -> Self {
        Self {
            listener,
            unrouted: RouteMetrics::detached(),
            in_flight: Gauge::detached(),
            connections: Counter::detached(),
            handshakes_failed: Counter::detached(),
            refused: Refusals::detached(),
            dropped: Drops::detached(),
            access_log: None,
            log_query: false,
            observers: Observers::default(),
            spans: None,
            admission: None,
            process: Arc::default(),
        }
    }

    /// Counts a request that begins, and says whether it may be served.
    pub(crate) fn begin(&self) -> Admitted {
        self.in_flight.inc();
        let listener = self.admission.as_ref().is_none_or(Admission::begin);
        let process = self.process.begin();
        if self.process.shedding.load(Ordering::Relaxed) {
            self.refused.count(Refusal::RequestsForMemory);
            return Admitted::ShortOfMemory;
        }
        if !(listener && process) {
            self.refused.count(Refusal::Requests);
            return Admitted::Full;
        }
        Admitted::Yes
    }

    /// Counts and reports a request that ended.
    pub(crate) fn end(
        &self,
        exchange: &Exchange,
        status: Option<StatusCode>,
        received: u64,
        sent: u64,
        aborted: bool,
    ) {
        self.in_flight.dec();
        if let Some(admission) = &self.admission {
            admission.end();
        }
        self.process.end();
        let duration = exchange.elapsed();
        let outcome = Outcome {
            status,
            received,
            sent,
            aborted,
        };
        let state = exchange.state();
        let metrics = state
            .route
            .as_ref()
            .map_or(&self.unrouted, |route| &route.metrics);
        metrics.end(&outcome, duration);
        if let Some(sink) = &self.spans {
            self.export(sink.as_ref(), exchange, &state, &outcome, duration);
        }
        if self.access_log.is_some() || !self.observers.is_empty() {
            self.report(exchange, &state, &outcome, duration);
        }
    }

    fn report(
        &self,
        exchange: &Exchange,
        state: &ExchangeState,
        outcome: &Outcome,
        duration: std::time::Duration,
    ) {
        let conn = exchange.conn();
        let endpoint = state
            .endpoint
            .as_ref()
            .map(|endpoint| endpoint.address().to_string());
        let request = &state.request;
        let aborted = outcome.aborted;
        let mut record = AccessRecord::new(Clock.wall() - duration);
        record.listener = &self.listener;
        record.client = state.client_ip;
        record.peer = conn.peer;
        record.principal = state
            .principal
            .as_ref()
            .map(crate::principal::Principal::id);
        if request.known {
            record.method = request.method.as_str();
            record.path = request.uri.path();
        }
        record.scheme = state.scheme;
        record.host = request
            .host
            .as_ref()
            .and_then(|host| host.to_str().ok())
            .unwrap_or_default();
        record.query = request.uri.query().filter(|_| self.log_query);
        record.version = request.version;
        record.status = outcome.status.map_or(0, |status| status.as_u16());
        record.reason = match &state.reason {
            Some(reason) => reason,
            None if aborted => "client_gone",
            None => "",
        };
        record.route = state.route.as_ref().map(|route| &*route.name);
        record.upstream = state.upstream.as_ref().map(|upstream| &**upstream.name());
        record.endpoint = endpoint.as_deref();
        record.attempts = state.attempts;
        record.bytes_in = outcome.received;
        record.bytes_out = outcome.sent;
        record.duration = duration;
        record.upstream_first_byte = match (state.upstream_started, state.upstream_head) {
            (Some(started), Some(head)) => Some(head.saturating_sub(started)),
            _ => None,
        };
        record.upstream_duration = state
            .upstream_started
            .map(|started| duration.saturating_sub(started));
        record.request_id = state.request_id.as_ref().and_then(|id| id.to_str().ok());
        record.trace_id = state.trace.as_ref().map(|trace| trace.trace_id);
        record.user_agent = request.user_agent.as_ref().map(http::HeaderValue::as_bytes);
        record.sni = conn.tls.as_ref().and_then(|tls| tls.server_name.as_deref());
        record.tls_version = conn.tls.as_ref().map(|tls| tls.version);
        record.retried = state.attempts > 1;
        record.aborted = aborted;
        if let Some(log) = &self.access_log {
            log.log(&record);
        }
        if !self.observers.is_empty() {
            self.observers.emit(&Event::RequestEnd(&record));
        }
    }

    fn export(
        &self,
        sink: &dyn SpanSink,
        exchange: &Exchange,
        state: &ExchangeState,
        outcome: &Outcome,
        duration: std::time::Duration,
    ) {
        let Some(trace) = state.trace.as_ref().filter(|trace| trace.sampled) else {
            return;
        };
        let end = Clock.wall();
        let name = match &state.route {
            Some(route) => format!("{} {}", state.request.method, route.name),
            None => state.request.method.to_string(),
        };
        let mut span = SpanRecord::new(name, SpanKind::Server, trace.clone(), end - duration, end)
            .attribute("http.request.method", state.request.method.to_string())
            .attribute("url.path", state.request.uri.path().to_owned())
            .attribute("url.scheme", state.scheme)
            .attribute("portcullis.listener", self.listener.to_string());
        if let Some(status) = outcome.status {
            span = span.attribute("http.response.status_code", i64::from(status.as_u16()));
        }
        if let Some(upstream) = &state.upstream {
            span = span.attribute("portcullis.upstream", upstream.name().to_string());
        }
        if let Some(peer) = exchange.conn().peer {
            span = span.attribute("network.peer.address", peer.ip().to_string());
        }
        if let Some(reason) = &state.reason {
            span = span.attribute("portcullis.reason", reason.to_string());
        }
        let server_error = outcome
            .status
            .is_some_and(|status| status.is_server_error());
        if server_error || outcome.aborted {
            span = span.failed(state.reason.as_deref().unwrap_or("aborted").to_owned());
        }
        sink.submit(span);
    }
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry")
            .field("listener", &self.listener)
            .finish_non_exhaustive()
    }
}
