//! Limits of HTTP/2 connections, as they are written.

use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{config::units::ByteSize, settings::Http2Settings};

/// What one HTTP/2 connection of a client may use (RFC 9113).
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Http2")]
#[non_exhaustive]
pub struct RawHttp2 {
    /// Bytes of a request's body that may be on their way, or wait for the upstream, on one stream. At least 65535.
    /// Default: `256KiB`.
    pub stream_window: ByteSize,
    /// The same over all streams of a connection. Default: `1MiB`.
    pub connection_window: ByteSize,
    /// Bytes of a reply that wait for the client, on one stream. At least `16KiB`. Default: `256KiB`.
    pub send_buffer: ByteSize,
    /// Frames that move no request (PING, SETTINGS, WINDOW_UPDATE, PRIORITY, unknown ones) that a client may send at
    /// once; a stream that it resets counts as ten of them, those of useful frames are taken off. Beyond it the
    /// connection ends with ENHANCE_YOUR_CALM. Default: 5000.
    pub frame_burst: NonZeroU32,
    /// How many of them it may send in each second on top. Default: 500.
    pub frame_rate: NonZeroU32,
    /// Streams that the gateway resets itself, as more than `max_streams` or as faulty, before the connection ends.
    /// Default: 1024.
    pub max_refused_streams: NonZeroU32,
}

impl Default for RawHttp2 {
    fn default() -> Self {
        let usual = Http2Settings::default();
        let number = |count: u32| NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN);
        Self {
            stream_window: ByteSize::new(usual.stream_window.into()),
            connection_window: ByteSize::new(usual.connection_window.into()),
            send_buffer: ByteSize::new(usual.max_send_buffer as u64),
            frame_burst: number(usual.frame_burst),
            frame_rate: number(usual.frame_rate),
            max_refused_streams: number(
                u32::try_from(usual.max_refused_streams).unwrap_or(u32::MAX),
            ),
        }
    }
}
