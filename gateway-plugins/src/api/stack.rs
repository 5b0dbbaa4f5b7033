//! The layers of API-gateway mode, in one place.

use portcullis_core::SharedService;
use portcullis_core::gateway::{
    ChainLayer, EdgeMode, LayerInfo, ListenerParts, Mode, PanicGuardLayer,
};
use portcullis_core::select::SelectRoute;
use tower::ServiceBuilder;

use super::latency::LatencyLayer;

/// Managing APIs: what all modes share, and latency headers for clients.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct ApiMode;

impl Mode for ApiMode {
    fn name(&self) -> &'static str {
        "api"
    }

    fn layers(&self) -> Vec<LayerInfo> {
        let latency = LayerInfo::new("latency", "tells clients where the time went");
        EdgeMode::layers_with("hygiene", &[latency])
    }

    fn assemble(&self, parts: ListenerParts) -> SharedService {
        SharedService::new(
            ServiceBuilder::new()
                .layer(PanicGuardLayer)
                .layer(parts.hygiene)
                .layer(LatencyLayer)
                .layer(ChainLayer::new(parts.filters))
                .service(SelectRoute::new(parts.table)),
        )
    }
}
