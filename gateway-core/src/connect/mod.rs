//! Making connections to endpoints.

mod tcp;

use std::fmt;
use std::sync::Arc;

use crate::clock::Instant;
use crate::handler::BoxFuture;
use crate::transport::Transport;
use crate::upstream::Endpoint;

pub use tcp::DirectConnector;

/// Makes connections to endpoints. The stock one dials and, if the upstream says so, speaks TLS; a mesh
/// swaps in one that pins the peer's identity or tunnels.
///
/// # Cancel safety
/// Dropping the future abandons the connection attempt.
///
/// Right: look at `cx.deadline` only for work that the caller cannot cancel; the caller stops waiting at
/// the deadline by itself. Wrong: keeping a connection for later; pooling is the caller's work.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not make connections",
    label = "this does not implement `Connector`"
)]
pub trait Connector: Send + Sync + fmt::Debug + 'static {
    /// Connects to `endpoint`.
    ///
    /// # Errors
    /// Why there is no connection; tells apart what could not be reached and what could not be trusted.
    fn connect<'a>(
        &'a self,
        endpoint: &'a Endpoint,
        cx: ConnectCx<'a>,
    ) -> BoxFuture<'a, Result<Connected, ConnectError>>;
}

/// What a connector is told beside the endpoint.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ConnectCx<'a> {
    /// The upstream's name, for errors.
    pub upstream: &'a str,
    /// The caller stops waiting then.
    pub deadline: Option<Instant>,
    /// The connection is for an upgrade such as a WebSocket: HTTP/2 must not be offered.
    pub http1_only: bool,
    /// HTTP will be spoken. Without it no protocol of HTTP must be offered by ALPN.
    pub http: bool,
    /// What the endpoint is sent first, TLS included: a header of the PROXY protocol. Usually nothing.
    pub first: &'a [u8],
}

impl<'a> ConnectCx<'a> {
    /// A context for a connection that belongs to `upstream`.
    #[must_use]
    pub fn new(upstream: &'a str) -> Self {
        Self {
            upstream,
            deadline: None,
            http1_only: false,
            http: true,
            first: &[],
        }
    }
}

/// A connection that was made.
#[derive(Debug)]
#[non_exhaustive]
pub struct Connected {
    /// The byte stream.
    pub transport: Transport,
    /// The endpoint agreed to speak HTTP/2 (by ALPN).
    pub http2: bool,
}

impl Connected {
    /// A connection on which HTTP/1.1 is spoken, unless the upstream is configured for HTTP/2.
    #[must_use]
    pub fn new(transport: Transport) -> Self {
        Self {
            transport,
            http2: false,
        }
    }

    /// A connection on which HTTP/2 was agreed.
    #[must_use]
    pub fn http2(transport: Transport) -> Self {
        Self {
            transport,
            http2: true,
        }
    }
}

/// Why a connection could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The address could not be reached.
    #[error("connecting to {address}")]
    Dial {
        /// Where to.
        address: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// TLS could not be agreed on, or the peer could not be trusted.
    #[error("agreeing on TLS with {address}")]
    Tls {
        /// With whom.
        address: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A connector of the user's failed.
    #[error("connecting to {address}")]
    Other {
        /// Where to.
        address: String,
        /// Why not.
        #[source]
        source: crate::error::BoxError,
    },
}

/// A connector that several upstreams share.
pub type SharedConnector = Arc<dyn Connector>;
