//! Running filters, and folding a list of stages into a handler.

use std::fmt;
use std::sync::Arc;

use std::future::{Future, ready};

use bytes::Bytes;
use futures_util::FutureExt;
use http_body::Body as HttpBody;
use tower_layer::Layer;

use super::{Filter, FilterCx, Flow, HeadFilter, Phase, RequestHead, ResponseHead};
use crate::bridge::{IslandService, island};
use crate::error::{GatewayError, render};
use crate::exchange::Exchange;
use crate::handler::{Handler, Request, Response, SharedService};
use crate::hygiene::settle_for;

/// One entry of a chain: a filter of any weight, with its name for logs, `explain` and lints.
#[derive(Clone)]
pub struct Stage {
    name: Arc<str>,
    phase: Option<Phase>,
    buffers: bool,
    kind: Kind,
}

#[derive(Clone)]
enum Kind {
    Head(Arc<dyn HeadFilter>),
    Async(Arc<dyn Filter>),
    Layer(Arc<dyn Fn(SharedService) -> SharedService + Send + Sync>),
}

impl Stage {
    /// A stage of a filter that sees heads.
    pub fn head(name: impl Into<Arc<str>>, filter: impl HeadFilter) -> Self {
        Self::new(name, Kind::Head(Arc::new(filter)))
    }

    /// A stage of an asynchronous filter.
    pub fn filter(name: impl Into<Arc<str>>, filter: impl Filter) -> Self {
        Self::new(name, Kind::Async(Arc::new(filter)))
    }

    /// A stage of any tower layer; see [`island`] for what it must be.
    pub fn layer<L>(name: impl Into<Arc<str>>, layer: L) -> Self
    where
        L: Layer<SharedService> + Send + Sync + 'static,
        L::Service: IslandService,
    {
        let island = island(layer);
        Self::new(
            name,
            Kind::Layer(Arc::new(move |inner| {
                SharedService::new(island.layer(inner))
            })),
        )
    }

    fn new(name: impl Into<Arc<str>>, kind: Kind) -> Self {
        Self {
            name: name.into(),
            phase: None,
            buffers: false,
            kind,
        }
    }

    /// Says where in a chain the stage usually stands, for lints.
    #[must_use]
    pub fn with_phase(mut self, phase: Phase) -> Self {
        self.phase = Some(phase);
        self
    }

    /// Says that the stage buffers bodies, which a route that allows upgrades cannot have.
    #[must_use]
    pub fn buffering(mut self) -> Self {
        self.buffers = true;
        self
    }

    /// The name under which it was configured.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Where in a chain it usually stands.
    #[must_use]
    pub fn phase(&self) -> Option<Phase> {
        self.phase
    }

    /// Whether it buffers bodies.
    #[must_use]
    pub fn buffers(&self) -> bool {
        self.buffers
    }
}

impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let weight = match self.kind {
            Kind::Head(_) => "head",
            Kind::Async(_) => "async",
            Kind::Layer(_) => "layer",
        };
        write!(f, "{} ({weight})", self.name)
    }
}

/// A list of stages around a terminal handler, folded into one service.
///
/// Neighbouring filters form one run: a loop inside one future. A tower layer closes the run and wraps it.
#[derive(Clone, Debug)]
pub struct Chain {
    names: Arc<[Arc<str>]>,
    service: SharedService,
}

impl Chain {
    /// Starts an empty chain.
    pub fn builder() -> ChainBuilder {
        ChainBuilder::default()
    }

    /// The names of the stages, outermost first.
    #[must_use]
    pub fn names(&self) -> &[Arc<str>] {
        &self.names
    }

    /// The folded service.
    #[must_use]
    pub fn service(&self) -> &SharedService {
        &self.service
    }
}

/// Collects the stages of a [`Chain`], outermost first.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct ChainBuilder {
    stages: Vec<Stage>,
}

impl ChainBuilder {
    /// Adds a stage inside those added before.
    pub fn stage(mut self, stage: Stage) -> Self {
        self.stages.push(stage);
        self
    }

    /// Adds stages inside those added before.
    pub fn stages(mut self, stages: impl IntoIterator<Item = Stage>) -> Self {
        self.stages.extend(stages);
        self
    }

    /// Folds the stages around `terminal`.
    pub fn build<H: Handler>(self, terminal: H) -> Chain {
        let names = self.stages.iter().map(|stage| stage.name.clone()).collect();
        Chain {
            names,
            service: fold(self.stages, terminal),
        }
    }
}

fn fold<H: Handler>(mut stages: Vec<Stage>, terminal: H) -> SharedService {
    let inner_run = split_run(&mut stages);
    let mut service = close(inner_run, terminal);
    while let Some(stage) = stages.pop() {
        if let Kind::Layer(layer) = stage.kind {
            service = layer(service);
        }
        let run = split_run(&mut stages);
        if !run.is_empty() {
            service = close(run, service);
        }
    }
    service
}

/// Takes the filters behind the last layer off the end of `stages`.
fn split_run(stages: &mut Vec<Stage>) -> Vec<Stage> {
    let start = stages
        .iter()
        .rposition(|stage| matches!(stage.kind, Kind::Layer(_)))
        .map_or(0, |layer| layer + 1);
    stages.split_off(start)
}

fn close<H: Handler>(run: Vec<Stage>, next: H) -> SharedService {
    if run.is_empty() {
        return SharedService::new(next);
    }
    if let Some(filters) = HeadRun::of(&run) {
        return SharedService::new(filters.before(next));
    }
    SharedService::new(Run {
        slots: run
            .into_iter()
            .filter_map(|stage| match stage.kind {
                Kind::Head(filter) => Some(Slot::Head(filter)),
                Kind::Async(filter) => {
                    let hooks = filter.hooks();
                    Some(Slot::Async {
                        request: hooks.request(),
                        response: hooks.response(),
                        filter,
                    })
                }
                Kind::Layer(_) => None,
            })
            .collect(),
        next,
    })
}

/// A run of filters that only see heads: none of them waits, so all of them run where the next stage is called.
#[derive(Clone)]
pub(crate) struct HeadRun<H> {
    filters: Arc<[Arc<dyn HeadFilter>]>,
    sees_forwarded: bool,
    next: H,
}

impl HeadRun<()> {
    /// The run of `stages`, if they only see heads.
    pub(crate) fn of(stages: &[Stage]) -> Option<Self> {
        let heads = stages.iter().map(|stage| match &stage.kind {
            Kind::Head(filter) => Some(filter.clone()),
            Kind::Async(_) | Kind::Layer(_) => None,
        });
        let filters: Arc<[Arc<dyn HeadFilter>]> = heads.collect::<Option<_>>()?;
        Some(Self {
            sees_forwarded: filters.iter().any(|filter| filter.sees_forwarded()),
            filters,
            next: (),
        })
    }

    /// The run in front of `next`.
    pub(crate) fn before<H>(self, next: H) -> HeadRun<H> {
        HeadRun {
            filters: self.filters,
            sees_forwarded: self.sees_forwarded,
            next,
        }
    }
}

impl<H> fmt::Debug for HeadRun<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} filters of heads", self.filters.len())
    }
}

impl<H> HeadRun<H> {
    /// How many filters let the request pass, and what the one said that did not.
    fn on_request(
        &self,
        request: &mut Request,
        exchange: &Exchange,
    ) -> (usize, Option<Result<Response, GatewayError>>) {
        for (position, filter) in self.filters.iter().enumerate() {
            match filter.on_request(&mut RequestHead::new(request, exchange)) {
                Ok(Flow::Continue) => {}
                Ok(Flow::Reply(response)) => return (position, Some(Ok(response))),
                Err(error) => return (position, Some(Err(error))),
            }
        }
        (self.filters.len(), None)
    }

    fn on_response(
        &self,
        passed: usize,
        outcome: Result<Response, GatewayError>,
        exchange: &Exchange,
    ) -> Response {
        let mut response = outcome.unwrap_or_else(|error| settle(error, exchange));
        for filter in self.filters.iter().take(passed).rev() {
            if let Err(error) = filter.on_response(&mut ResponseHead::new(&mut response, exchange))
            {
                response = settle(error, exchange);
            }
        }
        response
    }
}

// Not an `async fn`, so that the future holds no copy of the request beside the one that is passed on.
impl<H: Handler> Handler for HeadRun<H> {
    fn handle(
        &self,
        mut request: Request,
    ) -> impl Future<Output = Result<Response, GatewayError>> + Send {
        let exchange = Exchange::of(&mut request);
        if self.sees_forwarded {
            settle_for(request.headers_mut(), &exchange);
        }
        let (passed, answer) = self.on_request(&mut request, &exchange);
        match answer {
            None => self.next.handle(request).left_future(),
            Some(answer) => ready(answer).right_future(),
        }
        .map(move |outcome| Ok(self.on_response(passed, outcome, &exchange)))
    }
}

/// A run of filters around the next stage.
struct Run<H> {
    slots: Box<[Slot]>,
    next: H,
}

enum Slot {
    Head(Arc<dyn HeadFilter>),
    Async {
        filter: Arc<dyn Filter>,
        request: bool,
        response: bool,
    },
}

impl Slot {
    async fn on_request(&self, cx: &mut FilterCx<'_>) -> Result<Flow, GatewayError> {
        match self {
            Self::Head(filter) => {
                let (request, exchange) = cx.head_parts();
                filter.on_request(&mut RequestHead::new(request, exchange))
            }
            Self::Async {
                filter,
                request: true,
                ..
            } => filter.on_request(cx).await,
            Self::Async { .. } => Ok(Flow::Continue),
        }
    }

    async fn on_response(
        &self,
        cx: &mut FilterCx<'_>,
        response: Response,
    ) -> Result<Response, GatewayError> {
        match self {
            Self::Head(filter) => {
                let mut response = response;
                filter.on_response(&mut ResponseHead::new(&mut response, cx.exchange()))?;
                Ok(response)
            }
            Self::Async {
                filter,
                response: true,
                ..
            } => {
                cx.set_response(response);
                filter.on_response(cx).await?;
                Ok(cx.take_response().unwrap_or_default())
            }
            Self::Async { .. } => Ok(response),
        }
    }
}

impl<H: Handler> Handler for Run<H> {
    async fn handle(&self, mut request: Request) -> Result<Response, GatewayError> {
        let exchange = Exchange::of(&mut request);
        settle_for(request.headers_mut(), &exchange);
        let mut cx = FilterCx::new(request, &exchange);
        let mut continued = 0;
        let mut answer = None;
        for (position, slot) in self.slots.iter().enumerate() {
            cx.enter(position);
            match slot.on_request(&mut cx).await {
                Ok(Flow::Continue) => continued = position + 1,
                Ok(Flow::Reply(response)) => {
                    answer = Some(Ok(response));
                    break;
                }
                Err(error) => {
                    answer = Some(Err(error));
                    break;
                }
            }
        }
        let outcome = match answer {
            Some(outcome) => outcome,
            None => {
                let request = cx.take_request();
                self.next.handle(request).await
            }
        };
        let mut response = outcome.unwrap_or_else(|error| settle(error, &exchange));
        for (position, slot) in self.slots.iter().enumerate().take(continued).rev() {
            cx.enter(position);
            response = slot
                .on_response(&mut cx, response)
                .await
                .unwrap_or_else(|error| settle(error, &exchange));
        }
        Ok(response)
    }
}

/// Renders an error for the client and writes it into the record of the request.
pub(crate) fn settle(error: GatewayError, exchange: &Exchange) -> Response {
    let mut state = exchange.state();
    state.reason = Some(error.reason());
    state.error = Some(crate::error::chain(&error));
    let form = state.error_form;
    drop(state);
    render(&error, form)
}

/// Checks at compile time that bodies of stages are what tower layers see.
const _: fn() = || {
    fn is_body<B: HttpBody<Data = Bytes>>() {}
    is_body::<crate::body::Body>();
};
