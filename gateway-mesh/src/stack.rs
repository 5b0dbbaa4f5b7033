//! The layers of the mesh modes, in one place.

use portcullis_core::SharedService;
use portcullis_core::gateway::{
    ChainLayer, EdgeMode, LayerInfo, ListenerParts, Mode, PanicGuardLayer,
};
use portcullis_core::select::SelectRoute;
use tower::ServiceBuilder;

use crate::identity::IdentityHeadersLayer;

/// In front of a workload: the identity of the caller is verified and passed on.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct InboundMode;

impl Mode for InboundMode {
    fn name(&self) -> &'static str {
        "mesh-inbound"
    }

    fn layers(&self) -> Vec<LayerInfo> {
        let identity = LayerInfo::new(
            "identity-headers",
            "the caller's verified identity, for the workload",
        );
        EdgeMode::layers_with("hygiene", &[identity])
    }

    fn assemble(&self, parts: ListenerParts) -> SharedService {
        SharedService::new(
            ServiceBuilder::new()
                .layer(PanicGuardLayer)
                .layer(parts.hygiene)
                .layer(IdentityHeadersLayer)
                .layer(ChainLayer::new(parts.filters))
                .service(SelectRoute::new(parts.table)),
        )
    }
}

/// Between a workload and the services it calls.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct OutboundMode;

impl Mode for OutboundMode {
    fn name(&self) -> &'static str {
        "mesh-outbound"
    }

    fn layers(&self) -> Vec<LayerInfo> {
        EdgeMode::shared_layers().to_vec()
    }

    fn assemble(&self, parts: ListenerParts) -> SharedService {
        EdgeMode::default().assemble(parts)
    }
}
