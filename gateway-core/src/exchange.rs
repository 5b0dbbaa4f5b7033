//! One request and its reply, as logs, metrics and filters see it.
//!
//! An [`Exchange`] is made where a request enters the gateway and travels in the request's extensions.
//! Each stage writes down what it found out (client address, route, upstream, endpoint, reason); the
//! edge that made it reports it when the reply is complete or abandoned.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};

use crate::clock::{Clock, Instant};
use crate::error::ErrorForm;
use crate::forward::Marks;
use crate::hygiene::Told;
use crate::kept::Kept;
use crate::principal::Principal;
use crate::route_entry::RouteEntry;
use crate::upstream::{Endpoint, Upstream};

/// What is known of a connection before its first request.
///
/// Insert one into the extensions of requests given to a mounted gateway
/// (`Gateway::http_service`); without it, features that need the client's address fail closed.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ConnInfo {
    /// The listener's name.
    pub listener: Arc<str>,
    /// The address the connection came from; `None` on Unix sockets and unknown transports.
    pub peer: Option<SocketAddr>,
    /// The address the connection was made to.
    pub local: Option<SocketAddr>,
    /// Facts of the TLS session, if there is one.
    pub tls: Option<Arc<TlsInfo>>,
    /// Who the peer proved to be by its certificate.
    pub principal: Option<Principal>,
    /// What upstreams are told of the connection, made once for all requests.
    told: OnceLock<Told>,
}

impl ConnInfo {
    /// A connection from `peer`, for gateways mounted in another server.
    #[must_use]
    pub fn from_peer(peer: SocketAddr) -> Self {
        Self {
            peer: Some(peer),
            ..Self::default()
        }
    }

    /// A connection that a listener accepted.
    pub(crate) fn accepted(
        listener: Arc<str>,
        peer: Option<SocketAddr>,
        local: Option<SocketAddr>,
        tls: Option<Arc<TlsInfo>>,
        principal: Option<Principal>,
    ) -> Self {
        Self {
            listener,
            peer,
            local,
            tls,
            principal,
            told: OnceLock::new(),
        }
    }

    /// What upstreams are told of the connection.
    pub(crate) fn told(&self) -> &Told {
        self.told.get_or_init(|| Told::new(self))
    }

    /// `https` on TLS, else `http`.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }
}

/// Facts of a TLS session.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct TlsInfo {
    /// The name the client asked for.
    pub server_name: Option<Box<str>>,
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// The negotiated application protocol.
    pub alpn: Option<Box<str>>,
}

/// The record of one request. Cloning costs one reference count.
#[derive(Clone)]
pub struct Exchange(Arc<Inner>);

struct Inner {
    conn: Arc<ConnInfo>,
    started: Instant,
    state: Mutex<ExchangeState>,
    interim: Option<Arc<dyn Interim>>,
}

/// Where interim (1xx) replies go.
pub(crate) trait Interim: Send + Sync {
    /// Sends an interim reply to the client, if it can take one.
    fn send(&self, status: StatusCode, headers: &HeaderMap);
}

/// What the stages of the gateway wrote down so far.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct ExchangeState {
    /// The client's address: the peer's, or what a trusted proxy said.
    pub client_ip: Option<IpAddr>,
    /// The client's address came from a forwarded header of a trusted proxy.
    pub client_ip_forwarded: bool,
    /// The scheme the client used, as far as known.
    pub scheme: &'static str,
    /// Request line facts, for the access log.
    pub request: RequestLine,
    /// The selected route.
    pub route: Option<Arc<RouteEntry>>,
    /// The upstream of the last attempt.
    pub upstream: Option<Arc<Upstream>>,
    /// The endpoint of the last attempt.
    pub endpoint: Option<Arc<Endpoint>>,
    /// How many attempts were made.
    pub attempts: u32,
    /// From the start until the last attempt began.
    pub upstream_started: Option<Duration>,
    /// From the start until the upstream's response head was there.
    pub upstream_head: Option<Duration>,
    /// Why the gateway answered itself or gave up; `None` when the upstream answered.
    pub reason: Option<Cow<'static, str>>,
    /// The form in which the client wants to be told of errors.
    pub error_form: ErrorForm,
    /// The failure behind `reason`, for the log.
    pub error: Option<String>,
    /// The request id, once a filter set one: visible ASCII, as it stands in the header fields that carry it.
    pub request_id: Option<HeaderValue>,
    /// The forwarded fields are not among the request's yet: they are written when it leaves, or when somebody
    /// wants to look at them.
    pub(crate) forwarded_late: bool,
    /// Who made the request, once a filter found out.
    pub principal: Option<Principal>,
    /// The trace this request belongs to.
    pub trace: Option<crate::observe::TraceContext>,
    /// What the reply is to tell the client, so that it comes back to where it was.
    pub(crate) marks: Option<Box<Marks>>,
}

thread_local! {
    // Empty records, so that a request does not go to the allocator for its own.
    static KEPT: Kept<Exchange> = const { Kept::new() };
    // Stands in them for the connection, which would otherwise be remembered longer than it lasts.
    static NOWHERE: Arc<ConnInfo> = Arc::default();
}

impl ExchangeState {
    /// Makes it what it was in the beginning, in place.
    fn clear(&mut self) {
        let Self {
            client_ip,
            client_ip_forwarded,
            scheme,
            request,
            route,
            upstream,
            endpoint,
            attempts,
            upstream_started,
            upstream_head,
            reason,
            error_form,
            error,
            request_id,
            forwarded_late,
            principal,
            trace,
            marks,
        } = self;
        *client_ip = None;
        *client_ip_forwarded = false;
        *scheme = "";
        *request = RequestLine::default();
        *route = None;
        *upstream = None;
        *endpoint = None;
        *attempts = 0;
        *upstream_started = None;
        *upstream_head = None;
        *reason = None;
        *error_form = ErrorForm::default();
        *error = None;
        *request_id = None;
        *forwarded_late = false;
        *principal = None;
        *trace = None;
        *marks = None;
    }
}

/// The request line and what a log shows of the head.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct RequestLine {
    /// Whether a request was read at all; the other fields mean nothing before. False for heads that could not be
    /// parsed.
    pub known: bool,
    /// Method.
    pub method: Method,
    /// Host as the client named it.
    pub host: Option<HeaderValue>,
    /// Target as the client sent it.
    pub uri: http::Uri,
    /// HTTP version.
    pub version: Version,
    /// User-Agent.
    pub user_agent: Option<HeaderValue>,
}

impl Exchange {
    /// Starts the record of a request that came in on `conn`.
    #[must_use]
    pub fn new(conn: Arc<ConnInfo>) -> Self {
        Self::build(conn, None)
    }

    pub(crate) fn with_interim(conn: Arc<ConnInfo>, interim: Arc<dyn Interim>) -> Self {
        Self::build(conn, Some(interim))
    }

    fn build(conn: Arc<ConnInfo>, interim: Option<Arc<dyn Interim>>) -> Self {
        if let Ok(Some(Self(mut kept))) = KEPT.try_with(Kept::take)
            && let Some(inner) = Arc::get_mut(&mut kept)
        {
            inner.conn = conn;
            inner.interim = interim;
            inner.started = Clock.now();
            let state = inner
                .state
                .get_mut()
                .unwrap_or_else(PoisonError::into_inner);
            state.client_ip = inner.conn.peer.map(|peer| peer.ip());
            state.scheme = inner.conn.scheme();
            state.principal.clone_from(&inner.conn.principal);
            return Self(kept);
        }
        let state = ExchangeState {
            client_ip: conn.peer.map(|peer| peer.ip()),
            scheme: conn.scheme(),
            principal: conn.principal.clone(),
            ..ExchangeState::default()
        };
        Self(Arc::new(Inner {
            conn,
            started: Clock.now(),
            state: Mutex::new(state),
            interim,
        }))
    }

    /// Gives the record back when nothing more is to be written down; whoever else holds it keeps it as it is.
    pub(crate) fn end(mut self) {
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            // A thread that ends keeps nothing.
            let Ok(nowhere) = NOWHERE.try_with(Arc::clone) else {
                return;
            };
            inner.conn = nowhere;
            inner.interim = None;
            inner
                .state
                .get_mut()
                .unwrap_or_else(PoisonError::into_inner)
                .clear();
            let _ = KEPT.try_with(|kept| kept.keep(self));
        }
    }

    /// The exchange a request belongs to; made on the spot for a request that entered without one.
    pub fn of<B>(request: &mut http::Request<B>) -> Self {
        if let Some(exchange) = request.extensions().get::<Self>() {
            return exchange.clone();
        }
        let conn = request
            .extensions()
            .get::<ConnInfo>()
            .cloned()
            .unwrap_or_default();
        let exchange = Self::new(Arc::new(conn));
        request.extensions_mut().insert(exchange.clone());
        exchange
    }

    /// The connection the request came in on.
    #[must_use]
    pub fn conn(&self) -> &Arc<ConnInfo> {
        &self.0.conn
    }

    /// Passes an interim (1xx) reply of the upstream on to the client.
    pub(crate) fn interim(&self, status: StatusCode, headers: &HeaderMap) {
        if let Some(interim) = &self.0.interim {
            interim.send(status, headers);
        }
    }

    /// When the request's head was complete.
    #[must_use]
    pub fn started(&self) -> Instant {
        self.0.started
    }

    /// Time since the start.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        Clock.since(self.0.started)
    }

    /// The record itself. Hold the guard for a few lines only, never across an await.
    pub fn state(&self) -> MutexGuard<'_, ExchangeState> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The client's address: the peer's, or what a trusted proxy said.
    #[must_use]
    pub fn client_ip(&self) -> Option<IpAddr> {
        self.state().client_ip
    }

    /// Writes down who made the request; logs, limits and authorization read it from here.
    pub fn identify(&self, principal: Principal) {
        self.state().principal = Some(principal);
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange")
            .field("conn", &self.0.conn)
            .finish_non_exhaustive()
    }
}
