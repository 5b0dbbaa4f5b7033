//! `compression`: compresses replies for clients that accept it.
//!
//! ```yaml
//! - { type: compression }
//! - { type: compression, algorithms: [br, gzip], levels: { br: 5 }, min_size: 4KiB }
//! ```
//!
//! The client's preference decides, then the order of `algorithms`. Left alone are replies that are encoded
//! already, parts of something (`206`, `content-range`), carry a digest of their content or forbid it with
//! `cache-control: no-transform` (RFC 9110 7.7), and media that gain nothing or must not wait: gRPC, server-sent
//! events, images other than SVG, audio, video, archives and web fonts. A reply that streams is flushed whenever the upstream
//! pauses. A strong `etag` becomes a weak one, because the bytes are no longer those it was made for (RFC 9110
//! 8.8.1). Trailers stay.
//!
//! Replies that mix a secret with text of the client's choice should not be compressed: their length tells the
//! secret to whoever sees the connection (the BREACH attack).

mod eligible;
mod negotiate;
mod service;

use portcullis_core::config::ByteSize;
use portcullis_core::filter::{BuildCx, BuildError, FilterFactory, Phase, Stage};
use schemars::JsonSchema;
use serde::Deserialize;
use tower_http::CompressionLevel;

use service::CompressionLayer;

/// Settings of [`Compression`].
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct CompressionConfig {
    /// The algorithms that may be used, preferred ones first: `zstd`, `br` and `gzip`. Default: all, in this order.
    pub algorithms: Vec<Algorithm>,
    /// How hard each algorithm tries.
    pub levels: Levels,
    /// Replies that are known to be shorter stay as they are. Default: `1KiB`.
    pub min_size: ByteSize,
}

impl Default for CompressionConfig {
    fn default() -> Self {
        Self {
            algorithms: vec![Algorithm::Zstd, Algorithm::Br, Algorithm::Gzip],
            levels: Levels::default(),
            min_size: ByteSize::new(1024),
        }
    }
}

/// How hard each algorithm tries: larger numbers give smaller replies and cost more time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Levels {
    /// From 1 to 9. Default: 6.
    pub gzip: u8,
    /// From 0 to 11. Default: 4.
    pub br: u8,
    /// From 1 to 22. Default: 3.
    pub zstd: u8,
}

impl Default for Levels {
    fn default() -> Self {
        Self {
            gzip: 6,
            br: 4,
            zstd: 3,
        }
    }
}

/// A content coding (RFC 9110 8.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Algorithm {
    /// gzip (RFC 1952).
    Gzip,
    /// Brotli (RFC 7932).
    Br,
    /// Zstandard (RFC 8878), with a window of at most 8 MiB.
    Zstd,
}

impl Algorithm {
    /// The name in `Content-Encoding`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Br => "br",
            Self::Zstd => "zstd",
        }
    }
}

/// The filter. See the [module](self).
#[derive(Clone, Copy, Debug)]
pub struct Compression;

impl FilterFactory for Compression {
    const NAME: &'static str = "compression";
    type Config = CompressionConfig;

    fn build(config: CompressionConfig, _: &BuildCx<'_>) -> Result<Stage, BuildError> {
        let algorithms = &config.algorithms;
        if algorithms.is_empty() {
            return Err(BuildError::new("`algorithms` names none").at("algorithms"));
        }
        for (index, algorithm) in algorithms.iter().enumerate() {
            if algorithms
                .iter()
                .take(index)
                .any(|before| before == algorithm)
            {
                let message = format!("`algorithms` names `{}` twice", algorithm.name());
                return Err(BuildError::new(message).at("algorithms"));
            }
        }
        let Levels { gzip, br, zstd } = config.levels;
        for (name, level, range) in [
            ("gzip", gzip, 1..=9),
            ("br", br, 0..=11),
            ("zstd", zstd, 1..=22),
        ] {
            if !range.contains(&level) {
                let (first, last) = range.into_inner();
                let message = format!("the level of `{name}` must be from {first} to {last}");
                return Err(BuildError::new(message).at("levels"));
            }
        }
        let encoders = algorithms.iter().map(|algorithm| {
            let level = match algorithm {
                Algorithm::Gzip => gzip,
                Algorithm::Br => br,
                Algorithm::Zstd => zstd,
            };
            (*algorithm, CompressionLevel::Precise(i32::from(level)))
        });
        let layer = CompressionLayer::new(encoders, config.min_size.get());
        Ok(Stage::layer(Self::NAME, layer).with_phase(Phase::Transform))
    }
}

#[cfg(test)]
mod tests;
