//! The layers of this gateway, in one place: those of the stock one, and a layer of our own.

use portcullis::exchange::Exchange;
use portcullis::gateway::{ChainLayer, EdgeMode, LayerInfo, ListenerParts, PanicGuardLayer};
use portcullis::http::HeaderValue;
use portcullis::select::SelectRoute;
use portcullis::{GatewayError, Handler, Mode, Request, Response, SharedService};
use tower::{Layer, ServiceBuilder};

#[derive(Debug)]
pub(crate) struct Bespoke;

impl Mode for Bespoke {
    fn name(&self) -> &'static str {
        "bespoke"
    }

    fn layers(&self) -> Vec<LayerInfo> {
        EdgeMode::layers_with(
            "hygiene",
            &[LayerInfo::new("took", "says how long it took")],
        )
    }

    fn assemble(&self, parts: ListenerParts) -> SharedService {
        SharedService::new(
            ServiceBuilder::new()
                .layer(PanicGuardLayer)
                .layer(parts.hygiene)
                .layer(TookLayer)
                .layer(ChainLayer::new(parts.filters))
                .service(SelectRoute::new(parts.table)),
        )
    }
}

/// A layer of the gateway's own kind needs no island: it wraps a [`Handler`] and is one.
struct TookLayer;

impl<H: Handler> Layer<H> for TookLayer {
    type Service = Took<H>;

    fn layer(&self, inner: H) -> Took<H> {
        Took(inner)
    }
}

struct Took<H>(H);

impl<H: Handler> Handler for Took<H> {
    async fn handle(&self, mut request: Request) -> Result<Response, GatewayError> {
        let exchange = Exchange::of(&mut request);
        let mut response = self.0.handle(request).await?;
        let took = HeaderValue::from(exchange.elapsed().as_millis() as u64);
        response.headers_mut().insert("x-took-ms", took);
        Ok(response)
    }
}
