//! The order of layers: what a mode is.

use std::fmt;
use std::sync::Arc;

use futures_util::future::Either;
use tower::ServiceBuilder;
use tower_layer::Layer;

use super::panic_guard::PanicGuardLayer;
use crate::error::GatewayError;
use crate::filter::{Chain, HeadRun, Stage};
use crate::handler::{Handler, Request, Response, SharedService};
use crate::hygiene::HygieneLayer;
use crate::route::RouteTable;
use crate::route_entry::RouteEntry;
use crate::select::SelectRoute;

/// The parts from which a mode assembles the stack of one listener.
#[derive(Debug)]
#[non_exhaustive]
pub struct ListenerParts {
    /// Makes requests and replies clean.
    pub hygiene: HygieneLayer,
    /// The listener's own filters.
    pub filters: Vec<Stage>,
    /// The routes that belong to the listener.
    pub table: Arc<dyn RouteTable<Arc<RouteEntry>>>,
}

/// One entry of a stack, as `portcullis stack` prints it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LayerInfo {
    /// The layer's name.
    pub name: &'static str,
    /// What it does, in a few words.
    pub does: &'static str,
}

impl LayerInfo {
    /// An entry.
    #[must_use]
    pub const fn new(name: &'static str, does: &'static str) -> Self {
        Self { name, does }
    }
}

/// A mode: the order in which layers are put around the routes of a listener.
pub trait Mode: Send + Sync + fmt::Debug + 'static {
    /// The mode's name, as `--mode` takes it.
    fn name(&self) -> &'static str;

    /// The layers, outermost first, as [`assemble`](Self::assemble) puts them together.
    fn layers(&self) -> Vec<LayerInfo>;

    /// Puts the stack of one listener together.
    fn assemble(&self, parts: ListenerParts) -> SharedService;
}

/// What every listener does around its routes, and every route around its backends.
const EDGE: &[LayerInfo] = &[
    LayerInfo::new(
        "exchange",
        "record of the request; reports it when it ends, however it ends",
    ),
    LayerInfo::new("admission", "requests in flight at most"),
    LayerInfo::new("panic-guard", "a panic becomes a 500"),
    LayerInfo::new(
        "hygiene",
        "hop-by-hop fields, forwarded fields, path; renders errors",
    ),
    LayerInfo::new("listener-filters", "the listener's filters, in their order"),
    LayerInfo::new("select-route", "the best route for host, path and the rest"),
    LayerInfo::new("route-filters", "the route's filters, in their order"),
    LayerInfo::new("mirror", "copies of requests to further upstreams"),
    LayerInfo::new("retry", "replays the body and tries again, within a budget"),
    LayerInfo::new("split", "one backend by weight"),
    LayerInfo::new(
        "backend-filters",
        "the backend's filters, once for each attempt",
    ),
    LayerInfo::new("pick", "one endpoint of the upstream"),
    LayerInfo::new("pool", "a connection to it"),
];

/// The plain gateway: what all modes share.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct EdgeMode;

impl EdgeMode {
    /// The layers of the plain gateway, for modes that add to them.
    #[must_use]
    pub fn shared_layers() -> &'static [LayerInfo] {
        EDGE
    }

    /// The layers of the plain gateway with those of another mode behind the one called `after`, in front
    /// of them all if there is none of that name: what [`Mode::layers`] of a mode returns that adds to them.
    ///
    /// ```
    /// use portcullis_core::gateway::{EdgeMode, LayerInfo};
    ///
    /// let layers = EdgeMode::layers_with("hygiene", &[LayerInfo::new("trace", "a span for each request")]);
    /// let position = |name| layers.iter().position(|layer| layer.name == name);
    /// assert_eq!(position("trace"), position("hygiene").map(|hygiene| hygiene + 1));
    /// ```
    #[must_use]
    pub fn layers_with(after: &str, own: &[LayerInfo]) -> Vec<LayerInfo> {
        let mut layers = EDGE.to_vec();
        let place = layers.iter().position(|layer| layer.name == after);
        let place = place.map_or(0, |place| place + 1);
        layers.splice(place..place, own.iter().copied());
        layers
    }
}

impl Mode for EdgeMode {
    fn name(&self) -> &'static str {
        "gateway"
    }

    fn layers(&self) -> Vec<LayerInfo> {
        EDGE.to_vec()
    }

    fn assemble(&self, parts: ListenerParts) -> SharedService {
        SharedService::new(
            ServiceBuilder::new()
                .layer(PanicGuardLayer)
                .layer(parts.hygiene.writing_forwarded_late())
                .layer(ChainLayer::new(parts.filters))
                .service(SelectRoute::new(parts.table)),
        )
    }
}

/// Puts a list of filters around a handler.
#[derive(Clone, Debug, Default)]
pub struct ChainLayer {
    stages: Vec<Stage>,
}

impl ChainLayer {
    /// A layer of `stages`, outermost first.
    #[must_use]
    pub fn new(stages: Vec<Stage>) -> Self {
        Self { stages }
    }
}

impl<H: Handler> Layer<H> for ChainLayer {
    type Service = Chained<H>;

    fn layer(&self, inner: H) -> Chained<H> {
        if self.stages.is_empty() {
            return Chained(Inner::Bare(inner));
        }
        match HeadRun::of(&self.stages) {
            Some(filters) => Chained(Inner::Heads(filters.before(inner))),
            None => Chained(Inner::Chain(
                Chain::builder()
                    .stages(self.stages.iter().cloned())
                    .build(inner),
            )),
        }
    }
}

/// The handler made by [`ChainLayer`]; without filters it costs nothing.
#[derive(Clone, Debug)]
pub struct Chained<H>(Inner<H>);

#[derive(Clone, Debug)]
enum Inner<H> {
    Bare(H),
    /// Filters that see heads only: they need no box of their own.
    Heads(HeadRun<H>),
    Chain(Chain),
}

impl<H: Handler> Handler for Chained<H> {
    fn handle(
        &self,
        request: Request,
    ) -> impl Future<Output = Result<Response, GatewayError>> + Send {
        match &self.0 {
            Inner::Bare(handler) => Either::Left(Either::Left(handler.handle(request))),
            Inner::Heads(filters) => Either::Left(Either::Right(filters.handle(request))),
            Inner::Chain(chain) => Either::Right(chain.service().call(request)),
        }
    }
}
