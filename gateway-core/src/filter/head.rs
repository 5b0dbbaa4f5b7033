//! Filters that see heads only.

use http::{Extensions, HeaderMap, Method, StatusCode, Uri, Version};

use super::Flow;
use crate::error::GatewayError;
use crate::exchange::Exchange;
use crate::handler::{Request, Response};

/// A synchronous filter that sees heads: no boxed future, no await.
///
/// Order and error rules are those of [`Filter`](super::Filter).
///
/// ```
/// use portcullis_core::GatewayError;
/// use portcullis_core::filter::{HeadFilter, ResponseHead};
/// use http::HeaderValue;
///
/// struct Stamp;
///
/// impl HeadFilter for Stamp {
///     fn on_response(&self, head: &mut ResponseHead<'_>) -> Result<(), GatewayError> {
///         head.headers_mut().insert("x-stamp", HeaderValue::from_static("seen"));
///         Ok(())
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a head filter",
    label = "this does not implement `HeadFilter`",
    note = "a filter that waits or reads bodies implements `Filter` instead and is registered with `async_filter`"
)]
pub trait HeadFilter: Send + Sync + 'static {
    /// Sees the request's head on its way down.
    ///
    /// # Errors
    /// Any failure; it is rendered for the client.
    fn on_request(&self, head: &mut RequestHead<'_>) -> Result<Flow, GatewayError> {
        let _ = head;
        Ok(Flow::Continue)
    }

    /// Sees the reply's head on its way up.
    ///
    /// # Errors
    /// Any failure; its rendering replaces the reply.
    fn on_response(&self, head: &mut ResponseHead<'_>) -> Result<(), GatewayError> {
        let _ = head;
        Ok(())
    }

    /// Whether it may look at the forwarded fields of a request (`X-Forwarded-*`, `X-Real-Ip`), or change them.
    ///
    /// They are written faster when no filter of a chain does.
    fn sees_forwarded(&self) -> bool {
        true
    }
}

/// A request's head, lent to a [`HeadFilter`].
#[derive(Debug)]
pub struct RequestHead<'a> {
    request: &'a mut Request,
    exchange: &'a Exchange,
}

impl<'a> RequestHead<'a> {
    /// Lends the head of `request`.
    pub fn new(request: &'a mut Request, exchange: &'a Exchange) -> Self {
        Self { request, exchange }
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> &Method {
        self.request.method()
    }

    /// The method, to change.
    pub fn method_mut(&mut self) -> &mut Method {
        self.request.method_mut()
    }

    /// Path and query; the path is normalised, the host stands in the `host` header.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        self.request.uri()
    }

    /// Path and query, to change. The route is chosen already and does not change with it.
    pub fn uri_mut(&mut self) -> &mut Uri {
        self.request.uri_mut()
    }

    /// The version the client spoke.
    #[must_use]
    pub fn version(&self) -> Version {
        self.request.version()
    }

    /// The headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        self.request.headers()
    }

    /// The headers, to change.
    pub fn headers_mut(&mut self) -> &mut HeaderMap {
        self.request.headers_mut()
    }

    /// Typed values that travel with the request.
    #[must_use]
    pub fn extensions(&self) -> &Extensions {
        self.request.extensions()
    }

    /// Typed values that travel with the request, to change.
    pub fn extensions_mut(&mut self) -> &mut Extensions {
        self.request.extensions_mut()
    }

    /// The length of the body as announced; `None` when unknown.
    #[must_use]
    pub fn body_length(&self) -> Option<u64> {
        http_body::Body::size_hint(self.request.body()).exact()
    }

    /// Replaces the body by what `wrap` makes of it, for example a limiting adaptor.
    pub fn map_body(&mut self, wrap: impl FnOnce(crate::body::Body) -> crate::body::Body) {
        let body = std::mem::take(self.request.body_mut());
        *self.request.body_mut() = wrap(body);
    }

    /// The record of this request: client address, route, principal.
    #[must_use]
    pub fn exchange(&self) -> &Exchange {
        self.exchange
    }
}

/// A response's head, lent to a [`HeadFilter`].
#[derive(Debug)]
pub struct ResponseHead<'a> {
    response: &'a mut Response,
    exchange: &'a Exchange,
}

impl<'a> ResponseHead<'a> {
    /// Lends the head of `response`.
    pub fn new(response: &'a mut Response, exchange: &'a Exchange) -> Self {
        Self { response, exchange }
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// The status, to change.
    pub fn status_mut(&mut self) -> &mut StatusCode {
        self.response.status_mut()
    }

    /// The headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// The headers, to change.
    pub fn headers_mut(&mut self) -> &mut HeaderMap {
        self.response.headers_mut()
    }

    /// Typed values that travel with the response.
    #[must_use]
    pub fn extensions(&self) -> &Extensions {
        self.response.extensions()
    }

    /// Typed values that travel with the response, to change.
    pub fn extensions_mut(&mut self) -> &mut Extensions {
        self.response.extensions_mut()
    }

    /// The record of this request: client address, route, principal.
    #[must_use]
    pub fn exchange(&self) -> &Exchange {
        self.exchange
    }
}
