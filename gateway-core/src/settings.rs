//! Validated settings of listeners and upstreams, as the data plane reads them.

use std::num::NonZeroU64;
use std::time::Duration;

use crate::http1::HeadLimits;

pub use crate::socket::TcpKeepalive;

/// How a listener speaks HTTP.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct HttpSettings {
    /// Limits of heads and trailers.
    pub limits: HeadLimits,
    /// Deadlines of the connection.
    pub timeouts: ConnTimeouts,
    /// Limits of request bodies.
    pub body: BodyLimits,
    /// HTTP/2 limits.
    pub http2: Http2Settings,
    /// Which protocols are spoken.
    pub protocol: Protocol,
}

/// Which HTTP versions a listener or an upstream speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Protocol {
    /// HTTP/1.1 and HTTP/2: by ALPN on TLS, by the first bytes on plaintext listeners; HTTP/1.1 to plaintext upstreams.
    #[default]
    Auto,
    /// HTTP/1.1 only.
    Http1,
    /// HTTP/2 only; without TLS with prior knowledge (h2c).
    Http2,
}

/// Deadlines of a client connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnTimeouts {
    /// From accept until the protocol is known, the TLS handshake included.
    pub detect: Duration,
    /// From the first byte of a request head until its last.
    pub head: Duration,
    /// Between two requests.
    pub idle: Duration,
    /// Between two pieces of a request body.
    pub body_idle: Duration,
    /// How long a client may take nothing while a reply waits for it.
    pub write_idle: Duration,
}

impl Default for ConnTimeouts {
    fn default() -> Self {
        Self {
            detect: Duration::from_secs(10),
            head: Duration::from_secs(30),
            idle: Duration::from_secs(75),
            body_idle: Duration::from_secs(60),
            write_idle: Duration::from_secs(60),
        }
    }
}

/// Limits of the bodies of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BodyLimits {
    /// Bytes at most; `u64::MAX` for no limit.
    pub max_bytes: u64,
    /// How long the gateway may wait for one all together; `None` for no limit.
    pub total: Option<Duration>,
    /// Bytes that have to come for each second of waiting; `None` for any number.
    pub min_rate: Option<NonZeroU64>,
}

impl Default for BodyLimits {
    fn default() -> Self {
        Self {
            max_bytes: u64::MAX,
            total: None,
            min_rate: None,
        }
    }
}

/// HTTP/2 limits of a client connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Http2Settings {
    /// Streams a client may have open at once.
    pub max_concurrent_streams: u32,
    /// Bytes in flight towards the gateway on one stream.
    pub stream_window: u32,
    /// Bytes in flight towards the gateway on one connection.
    pub connection_window: u32,
    /// Bytes waiting to be written per stream before a body is no longer polled.
    pub max_send_buffer: usize,
    /// Frames that move no request, such as PING, that a client may send at once.
    pub frame_burst: u32,
    /// How many of them it may send in a second on top.
    pub frame_rate: u32,
    /// Streams that the gateway had to reset, as more than may be open or as faulty ones, before the connection ends.
    pub max_refused_streams: usize,
}

impl Default for Http2Settings {
    fn default() -> Self {
        Self {
            max_concurrent_streams: 200,
            stream_window: 256 * 1024,
            connection_window: 1024 * 1024,
            max_send_buffer: 64 * 1024,
            frame_burst: 5000,
            frame_rate: 500,
            max_refused_streams: 1024,
        }
    }
}
