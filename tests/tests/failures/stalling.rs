//! A connector that never gets anywhere.

use portcullis::connect::{ConnectCx, ConnectError, Connected, Connector};
use portcullis::handler::BoxFuture;
use portcullis::registry::RegistryBuilder;
use portcullis::upstream::Endpoint;

/// Never connects.
#[derive(Debug)]
pub(crate) struct Stalling;

/// Takes no settings.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

impl Connector for Stalling {
    fn connect<'a>(
        &'a self,
        _: &'a Endpoint,
        _: ConnectCx<'a>,
    ) -> BoxFuture<'a, Result<Connected, ConnectError>> {
        Box::pin(std::future::pending())
    }
}

/// Registers it as `stalling`.
pub(crate) fn register(registry: RegistryBuilder) -> RegistryBuilder {
    registry.connector("stalling", |_: Nothing, _: &_| Ok(Stalling))
}
