//! `body-limit`: refuses request bodies that are too long.
//!
//! ```yaml
//! - { type: body-limit, max: 10MiB }
//! ```
//!
//! A body whose announced length is beyond the limit is answered with 413 (RFC 9110 15.5.14) before any of it is
//! read; the connection is closed when the client goes on sending. A body of unknown length is counted while it
//! streams; the request fails with 413 when the limit is passed, by when the upstream may have seen the part
//! before. Tunnels of upgraded connections are not counted: they are no body.

use portcullis_core::config::ByteSize;
use portcullis_core::filter::{
    BuildCx, BuildError, FilterFactory, Flow, HeadFilter, Phase, RequestHead, Stage,
};
use portcullis_core::upgrade::Upgrade;
use portcullis_core::{ErrorClass, GatewayError};
use schemars::JsonSchema;
use serde::Deserialize;

/// Settings of [`BodyLimit`].
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct BodyLimitConfig {
    /// The longest request body that passes, such as `10MiB`. 0: no body at all.
    pub max: ByteSize,
}

/// The filter. See the [module](self).
#[derive(Clone, Copy, Debug)]
pub struct BodyLimit {
    max: u64,
}

impl FilterFactory for BodyLimit {
    const NAME: &'static str = "body-limit";
    type Config = BodyLimitConfig;

    fn build(config: BodyLimitConfig, _: &BuildCx<'_>) -> Result<Stage, BuildError> {
        let filter = Self {
            max: config.max.get(),
        };
        Ok(Stage::head(Self::NAME, filter).with_phase(Phase::Validate))
    }
}

impl HeadFilter for BodyLimit {
    fn sees_forwarded(&self) -> bool {
        false
    }

    fn on_request(&self, head: &mut RequestHead<'_>) -> Result<Flow, GatewayError> {
        if head.extensions().get::<Upgrade>().is_some() {
            return Ok(Flow::Continue);
        }
        match head.body_length() {
            Some(length) if length > self.max => {
                return Err(GatewayError::new(
                    ErrorClass::BodyTooLarge,
                    format!("reading a request body of more than {} bytes", self.max),
                ));
            }
            // The codec that announced the length holds the body to it.
            Some(_) => {}
            None => head.map_body(|body| body.limited(self.max)),
        }
        Ok(Flow::Continue)
    }
}

#[cfg(test)]
mod tests;
