//! The layer that makes every request and reply clean.

use std::future::{Future, ready};

use futures_util::FutureExt;
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HOST, USER_AGENT};
use http::uri::PathAndQuery;
use http::{Method, StatusCode, Uri};
use http_body::Body as _;
use tower_layer::Layer;

use super::forwarded::{self, ForwardedPolicy, TrustedProxies};
use super::path::{PathPolicy, normalize};
use super::{strip_request, strip_response};
use crate::error::{ErrorClass, ErrorForm, GatewayError};
use crate::exchange::Exchange;
use crate::filter::settle;
use crate::handler::{Handler, Request, Response};
use crate::http1::decimal;
use crate::observe::Tracer;
use crate::upgrade::Upgrade;

/// Cleans requests before any filter or route sees them, and replies after all of them; renders errors.
///
/// Below it a request has: a path and query as its URI (the path normalised), its host in `Host`, no
/// hop-by-hop fields, no forwarded fields that the peer could forge, and an
/// [`Exchange`] in its extensions.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct HygieneLayer {
    /// Whose forwarded fields are taken.
    pub trusted: TrustedProxies,
    /// Which forwarded fields upstreams get.
    pub forwarded: ForwardedPolicy,
    /// How paths are normalised.
    pub path: PathPolicy,
    /// Continues or starts a trace for each request.
    pub tracer: Option<Tracer>,
    pub(crate) late: bool,
}

impl HygieneLayer {
    /// Leaves the forwarded fields that are the gateway's own to the last step, which writes them faster.
    ///
    /// Route tables, filters and tower layers that may look at fields still find them: the stages that run them see
    /// to it. Only a [`Handler`] of the stack's own between this layer and the filters would miss them, so this is
    /// for stacks that have none.
    #[must_use]
    pub fn writing_forwarded_late(mut self) -> Self {
        self.late = true;
        self
    }
}

// No bound here: what is no handler is then reported where the whole stack has to be one.
impl<H> Layer<H> for HygieneLayer {
    type Service = Hygiene<H>;

    fn layer(&self, inner: H) -> Hygiene<H> {
        Hygiene {
            inner,
            settings: self.clone(),
        }
    }
}

/// The handler made by [`HygieneLayer`].
#[derive(Clone, Debug)]
pub struct Hygiene<H> {
    inner: H,
    settings: HygieneLayer,
}

// Not an `async fn`, so that the future holds no copy of the request beside the one that is passed on.
impl<H: Handler> Handler for Hygiene<H> {
    fn handle(
        &self,
        mut request: Request,
    ) -> impl Future<Output = Result<Response, GatewayError>> + Send {
        let exchange = Exchange::of(&mut request);
        let head_only = request.method() == Method::HEAD;
        // Before it is noted: the same host in two spellings is told to upstreams in one.
        let hosted = settle_host(&mut request);
        note(&request, &exchange);
        match hosted.and_then(|()| self.clean(&mut request, &exchange)) {
            Ok(()) => self.inner.handle(request).left_future(),
            Err(error) => ready(Err(error)).right_future(),
        }
        .map(move |outcome| Ok(finish(outcome, &exchange, head_only)))
    }
}

/// Renders an error and makes the reply clean.
fn finish(
    outcome: Result<Response, GatewayError>,
    exchange: &Exchange,
    head_only: bool,
) -> Response {
    let mut response = outcome.unwrap_or_else(|error| settle(error, exchange));
    let switching = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    strip_response(response.headers_mut(), switching);
    let status = response.status();
    if status.is_informational() || status == StatusCode::NO_CONTENT {
        // RFC 9110 8.6: these have none, not even one of zero.
        response.headers_mut().remove(CONTENT_LENGTH);
    } else if !head_only && status != StatusCode::NOT_MODIFIED {
        settle_length(&mut response);
    }
    response
}

/// Removes a stale `Content-Length`: the length of what is sent decides.
fn settle_length(response: &mut Response) {
    let length = response.body().size_hint().exact();
    let mut told = response.headers().get_all(CONTENT_LENGTH).iter();
    let right = match (told.next(), told.next()) {
        (None, _) => true,
        (Some(told), None) => length.is_some() && decimal(told.as_bytes()) == length,
        _ => false,
    };
    if !right {
        response.headers_mut().remove(CONTENT_LENGTH);
    }
}

impl<H> Hygiene<H> {
    fn clean(&self, request: &mut Request, exchange: &Exchange) -> Result<(), GatewayError> {
        if request.method() == Method::CONNECT {
            return Err(GatewayError::new(
                ErrorClass::NotImplemented,
                "opening a CONNECT tunnel, which this gateway does not do",
            )
            .with_status(StatusCode::METHOD_NOT_ALLOWED)
            .with_reason("connect_refused"));
        }
        self.settle_path(request)?;
        let upgrading = Upgrade::of(request).is_some();
        strip_request(request.headers_mut(), upgrading);
        forwarded::apply(
            request.headers_mut(),
            exchange,
            &self.settings.trusted,
            self.settings.forwarded,
            self.settings.late,
        );
        if let Some(principal) = &exchange.conn().principal {
            request.extensions_mut().insert(principal.clone());
        }
        if let Some(tracer) = &self.settings.tracer {
            let trace = tracer.start(request.headers());
            tracer.inject(&trace, request.headers_mut());
            exchange.state().trace = Some(trace);
        }
        Ok(())
    }

    /// Leaves path and query as the URI, the path in its one spelling.
    fn settle_path(&self, request: &mut Request) -> Result<(), GatewayError> {
        let uri = request.uri();
        let path = uri.path();
        if path == "*" {
            // HTTP/1 has seen to it when it parsed the target, HTTP/2 has not (RFC 9113 8.3.1).
            return match *request.method() {
                Method::OPTIONS => Ok(()),
                _ => Err(GatewayError::new(
                    ErrorClass::BadRequest,
                    "reading the path: `*` is for OPTIONS",
                )
                .with_reason("target_form")),
            };
        }
        let refuse = |error: &dyn std::fmt::Display| {
            GatewayError::new(
                ErrorClass::BadRequest,
                format!("normalising the path: {error}"),
            )
            .with_reason("bad_path")
        };
        let normal = normalize(path, self.settings.path).map_err(|error| refuse(&error))?;
        let unchanged = matches!(normal, std::borrow::Cow::Borrowed(_));
        if unchanged && uri.authority().is_none() {
            return Ok(());
        }
        let written = uri.path_and_query();
        // `http://host?query` has no path to begin with (RFC 9112 3.2.1: then it is `/`).
        let rooted = written.is_none_or(|target| target.as_str().starts_with('/'));
        let target = if unchanged && rooted {
            written.cloned()
        } else {
            let text = match uri.query() {
                Some(query) => format!("{normal}?{query}"),
                None => normal.into_owned(),
            };
            Some(PathAndQuery::from_maybe_shared(text).map_err(|error| refuse(&error))?)
        };
        *request.uri_mut() = target.map_or_else(Uri::default, Uri::from);
        Ok(())
    }
}

/// Puts the authority of the target, which overrides `Host` (RFC 9112 3.2.2, RFC 9113 8.3.1), into `Host`.
fn settle_host(request: &mut Request) -> Result<(), GatewayError> {
    let Some(authority) = request.uri().authority() else {
        return Ok(());
    };
    if authority.as_str().contains('@') {
        return Err(GatewayError::new(
            ErrorClass::BadRequest,
            "reading the authority: it holds user information",
        )
        .with_reason("bad_authority"));
    }
    let unchanged = request
        .headers()
        .get(HOST)
        .is_some_and(|host| host.as_bytes() == authority.as_str().as_bytes());
    if !unchanged {
        let value = http::HeaderValue::from_str(authority.as_str()).map_err(|error| {
            GatewayError::new(ErrorClass::BadRequest, "reading the authority")
                .with_reason("bad_authority")
                .with_source(error)
        })?;
        request.headers_mut().insert(HOST, value);
    }
    Ok(())
}

/// Writes down what a log shows of the request as the client sent it.
pub(crate) fn note(request: &Request, exchange: &Exchange) {
    let (mut host, mut user_agent, mut accept, mut content_type) = (None, None, None, None);
    // One look at all names costs less than four searches, and most requests have few.
    for (name, value) in request.headers() {
        let place = match *name {
            HOST => &mut host,
            USER_AGENT => &mut user_agent,
            ACCEPT => &mut accept,
            CONTENT_TYPE => &mut content_type,
            _ => continue,
        };
        place.get_or_insert(value);
    }
    let mut state = exchange.state();
    state.error_form = ErrorForm::asked_by(content_type, accept);
    state.request.known = true;
    state.request.method = request.method().clone();
    state.request.uri = request.uri().clone();
    state.request.version = request.version();
    state.request.host = match host {
        Some(host) => Some(host.clone()),
        None => request
            .uri()
            .authority()
            .and_then(|authority| http::HeaderValue::from_str(authority.as_str()).ok()),
    };
    state.request.user_agent = user_agent.cloned();
}
