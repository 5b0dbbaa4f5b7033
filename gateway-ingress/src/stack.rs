//! The layers of ingress mode, in one place.

use portcullis_core::SharedService;
use portcullis_core::gateway::{
    ChainLayer, EdgeMode, LayerInfo, ListenerParts, Mode, PanicGuardLayer,
};
use portcullis_core::select::SelectRoute;
use tower::ServiceBuilder;

/// Routing at the edge: what all modes share, and nothing that needs to know who the client is.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct IngressMode;

impl Mode for IngressMode {
    fn name(&self) -> &'static str {
        "ingress"
    }

    fn layers(&self) -> Vec<LayerInfo> {
        EdgeMode::shared_layers().to_vec()
    }

    fn assemble(&self, parts: ListenerParts) -> SharedService {
        SharedService::new(
            ServiceBuilder::new()
                .layer(PanicGuardLayer)
                .layer(parts.hygiene)
                .layer(ChainLayer::new(parts.filters))
                .service(SelectRoute::new(parts.table)),
        )
    }
}
