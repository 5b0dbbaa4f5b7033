//! The bridge between handlers and third-party tower layers.
//!
//! A foreign layer enters a stack as `.layer(island(L))`: it is handed a [`SharedService`], which is a
//! `tower::Service` with a concrete body, and what it returns is wrapped into a [`Handler`] again.

use std::fmt;
use std::future::Future;

use bytes::Bytes;
use http_body::Body as HttpBody;
use tower::ServiceExt;
use tower_layer::Layer;
use tower_service::Service;

use crate::body::Body;
use crate::error::{BoxError, GatewayError};
use crate::handler::{Handler, Request, Response, SharedService};
use crate::hygiene::settle;

/// Wraps a third-party tower layer so that it fits between the gateway's own layers.
///
/// The layered service is cloned for each request and run as a oneshot, so its readiness is honoured.
/// State that the layer keeps per clone must therefore be shared by its clones (as tower's own limiters do).
///
/// Right:
/// ```
/// use portcullis_core::{SharedService, bridge::island, handler::handler_fn, body::Body, Request, Response};
/// use tower::ServiceBuilder;
///
/// let stack = ServiceBuilder::new()
///     .layer(island(tower::timeout::TimeoutLayer::new(std::time::Duration::from_secs(5))))
///     .service(handler_fn(|_: Request| async { Ok(Response::new(Body::from("ok"))) }));
/// let shared = SharedService::new(stack);
/// ```
/// Wrong: `.layer(TimeoutLayer::new(..))` without `island` gives something that is no [`Handler`]; the
/// compiler says so and names `island`.
pub fn island<L>(layer: L) -> IslandLayer<L> {
    IslandLayer { layer }
}

/// A tower layer made of a third-party one. See [`island`].
#[derive(Clone, Copy)]
pub struct IslandLayer<L> {
    layer: L,
}

impl<L> fmt::Debug for IslandLayer<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "island({})", std::any::type_name::<L>())
    }
}

impl<L, H> Layer<H> for IslandLayer<L>
where
    L: Layer<SharedService>,
    L::Service: IslandService,
    H: Handler,
{
    type Service = Island<L::Service>;

    fn layer(&self, inner: H) -> Self::Service {
        Island {
            service: self.layer.layer(SharedService::new(inner)),
        }
    }
}

/// A third-party service in the place of a handler. Made by [`island`].
#[derive(Clone, Copy)]
pub struct Island<S> {
    service: S,
}

impl<S> fmt::Debug for Island<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Island({})", std::any::type_name::<S>())
    }
}

impl<S: IslandService> Handler for Island<S> {
    async fn handle(&self, mut request: Request) -> Result<Response, GatewayError> {
        settle(&mut request);
        self.service.run(request).await
    }
}

/// What a layered service must be for [`island`]: `Service<Request> + Clone + Send + Sync + 'static`, a
/// `Send` future, a body with `Data = Bytes` and an error that is `Into<BoxError>`.
///
/// Implemented for every such service; there is no other way to implement it.
#[diagnostic::on_unimplemented(
    message = "the service that this tower layer makes cannot stand on an island",
    label = "`island(..)` needs `tower::Service<Request> + Clone + Send + Sync + 'static` here",
    note = "its future must be `Send + 'static`, its response body `http_body::Body<Data = Bytes>` and its error `Into<BoxError>`",
    note = "a service that is not `Clone` needs tower's `Buffer` inside the island"
)]
pub trait IslandService: Send + Sync + 'static + sealed::Sealed {
    /// Clones the service and runs one request through it.
    #[doc(hidden)]
    fn run(&self, request: Request) -> impl Future<Output = Result<Response, GatewayError>> + Send;
}

mod sealed {
    use super::{BoxError, Bytes, HttpBody, Request, Service};

    pub trait Sealed {}

    impl<S, B> Sealed for S
    where
        S: Service<Request, Response = http::Response<B>> + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
        S::Error: Into<BoxError>,
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
    }
}

impl<S, B> IslandService for S
where
    S: Service<Request, Response = http::Response<B>> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    async fn run(&self, request: Request) -> Result<Response, GatewayError> {
        match self.clone().oneshot(request).await {
            Ok(response) => Ok(response.map(Body::new)),
            Err(error) => Err(GatewayError::from_boxed(error.into())),
        }
    }
}
