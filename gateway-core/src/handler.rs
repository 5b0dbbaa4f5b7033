//! The one service contract inside the gateway, and its erased form.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Body as HttpBody;

use crate::body::Body;
use crate::error::{BoxError, GatewayError};

/// A request as every part of the gateway sees it.
pub type Request = http::Request<Body>;
/// A response as every part of the gateway sees it.
pub type Response = http::Response<Body>;
/// A boxed future that may move between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Answers requests: shareable, always callable, without readiness.
///
/// Write it as a plain `async fn`; layers of the gateway implement `tower::Layer<H>` for `H: Handler`
/// and produce another handler. Admission control is explicit (a limiter answers an error), never a
/// matter of `poll_ready`.
///
/// # Cancel safety
/// The future is dropped when the client goes away. State that must be restored belongs in a guard.
///
/// ```
/// use portcullis_core::{GatewayError, Handler, Request, Response, body::Body};
///
/// struct Hello;
///
/// impl Handler for Hello {
///     async fn handle(&self, _request: Request) -> Result<Response, GatewayError> {
///         Ok(Response::new(Body::from("hello\n")))
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a gateway handler",
    label = "this does not implement `Handler`",
    note = "a tower `Service` or a third-party tower `Layer` enters a gateway stack through `island(layer)`",
    note = "write `impl Handler for {Self} {{ async fn handle(&self, request: Request) -> Result<Response, GatewayError> {{ .. }} }}`"
)]
pub trait Handler: Send + Sync + 'static {
    /// Answers one request.
    ///
    /// # Errors
    /// A typed failure; the error mapper of the stack renders it for the client.
    fn handle(
        &self,
        request: Request,
    ) -> impl Future<Output = Result<Response, GatewayError>> + Send;
}

/// Private on purpose: two calls, so that neither the borrowing nor the owning caller pays for the other.
trait ErasedHandler: Send + Sync {
    fn call<'a>(&'a self, request: Request) -> BoxFuture<'a, Result<Response, GatewayError>>;
    fn call_owned(
        self: Arc<Self>,
        request: Request,
    ) -> BoxFuture<'static, Result<Response, GatewayError>>;
}

impl<H: Handler> ErasedHandler for H {
    fn call<'a>(&'a self, request: Request) -> BoxFuture<'a, Result<Response, GatewayError>> {
        Box::pin(self.handle(request))
    }

    fn call_owned(
        self: Arc<Self>,
        request: Request,
    ) -> BoxFuture<'static, Result<Response, GatewayError>> {
        Box::pin(async move { self.handle(request).await })
    }
}

/// A handler of unknown type, as it stands at a seam: listener, route, backend.
///
/// Cloning costs one reference count. It is itself a [`Handler`] and a `tower::Service` for requests
/// with any body.
#[derive(Clone)]
pub struct SharedService(Arc<dyn ErasedHandler>);

impl SharedService {
    /// Erases a handler.
    pub fn new<H: Handler>(handler: H) -> Self {
        Self(Arc::new(handler))
    }

    /// Calls the handler; the future borrows the service and costs one box.
    pub fn call(&self, request: Request) -> BoxFuture<'_, Result<Response, GatewayError>> {
        self.0.call(request)
    }

    /// Calls the handler; the future owns what it needs.
    #[must_use]
    pub fn call_owned(
        self,
        request: Request,
    ) -> BoxFuture<'static, Result<Response, GatewayError>> {
        self.0.call_owned(request)
    }

    /// The same service with the request body type named, so that `tower::ServiceExt` can infer it.
    #[must_use]
    pub fn into_service<B>(self) -> IntoService<B> {
        IntoService {
            inner: self,
            body: std::marker::PhantomData,
        }
    }
}

impl Handler for SharedService {
    fn handle(
        &self,
        request: Request,
    ) -> impl Future<Output = Result<Response, GatewayError>> + Send {
        self.0.call(request)
    }
}

impl fmt::Debug for SharedService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedService").finish_non_exhaustive()
    }
}

impl<B> tower_service::Service<http::Request<B>> for SharedService
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response;
    type Error = GatewayError;
    type Future = BoxFuture<'static, Result<Response, GatewayError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), GatewayError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        self.clone().call_owned(request.map(Body::new))
    }
}

/// A [`SharedService`] for requests with bodies of type `B`. Made by [`SharedService::into_service`].
pub struct IntoService<B> {
    inner: SharedService,
    body: std::marker::PhantomData<fn(B)>,
}

impl<B> Clone for IntoService<B> {
    fn clone(&self) -> Self {
        self.inner.clone().into_service()
    }
}

impl<B> fmt::Debug for IntoService<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IntoService").finish_non_exhaustive()
    }
}

impl<B> tower_service::Service<http::Request<B>> for IntoService<B>
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response;
    type Error = GatewayError;
    type Future = BoxFuture<'static, Result<Response, GatewayError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), GatewayError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        self.inner.clone().call_owned(request.map(Body::new))
    }
}

/// Makes a handler of an async function or closure.
///
/// ```
/// use portcullis_core::{Request, Response, body::Body, handler::handler_fn};
///
/// let echo = handler_fn(|request: Request| async move { Ok(Response::new(request.into_body())) });
/// # let _ = portcullis_core::SharedService::new(echo);
/// ```
pub fn handler_fn<F, Fut>(function: F) -> HandlerFn<F>
where
    F: Fn(Request) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Response, GatewayError>> + Send,
{
    HandlerFn(function)
}

/// A handler made of a function. See [`handler_fn`].
#[derive(Clone, Copy)]
pub struct HandlerFn<F>(F);

impl<F> fmt::Debug for HandlerFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandlerFn").finish_non_exhaustive()
    }
}

impl<F, Fut> Handler for HandlerFn<F>
where
    F: Fn(Request) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Response, GatewayError>> + Send,
{
    async fn handle(&self, request: Request) -> Result<Response, GatewayError> {
        (self.0)(request).await
    }
}
