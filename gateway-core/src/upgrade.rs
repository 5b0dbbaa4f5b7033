//! Requests that ask to leave HTTP: WebSocket and other upgrades.
//!
//! Inside the gateway an upgrade looks the same whatever the wire: the request carries an [`Upgrade`]
//! extension, the reply has status 101, and from then on the two bodies are the two directions of the
//! tunnel. HTTP/1 `Upgrade` (RFC 9110 7.8) and HTTP/2 extended CONNECT (RFC 8441) are translated to and
//! from that at the edges, so filters see ordinary requests.

use http::header::UPGRADE;
use http::{HeaderValue, Request};

use crate::error::{ErrorClass, GatewayError};
use crate::handler::Response;

/// A request extension: the client asks to speak another protocol on this connection or stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upgrade {
    protocol: HeaderValue,
}

impl Upgrade {
    /// A wish for `protocol`, for example `websocket`.
    #[must_use]
    pub fn new(protocol: HeaderValue) -> Self {
        Self { protocol }
    }

    /// The protocol asked for.
    #[must_use]
    pub fn protocol(&self) -> &HeaderValue {
        &self.protocol
    }

    /// Whether it is a WebSocket.
    #[must_use]
    pub fn is_websocket(&self) -> bool {
        self.protocol.as_bytes().eq_ignore_ascii_case(b"websocket")
    }

    /// The wish a request carries.
    #[must_use]
    pub fn of<B>(request: &Request<B>) -> Option<&Self> {
        request.extensions().get()
    }

    pub(crate) fn of_parts(parts: &http::request::Parts) -> Option<&Self> {
        parts.extensions.get()
    }

    /// Marks a request whose `Upgrade` header the connection is able to honour.
    pub(crate) fn offer<B>(request: &mut Request<B>) {
        if let Some(protocol) = request.headers().get(UPGRADE).cloned() {
            request.extensions_mut().insert(Self { protocol });
        }
    }

    /// Over HTTP/2 any success opens the tunnel (RFC 8441 5): a success that does not switch must not pass for one.
    pub(crate) fn check_extended(response: Response) -> Result<Response, GatewayError> {
        if response.status().is_success() {
            return Err(GatewayError::new(
                ErrorClass::UpstreamProtocol,
                "opening a tunnel: the answer is a success, but switches no protocol",
            )
            .with_reason("upstream_no_upgrade"));
        }
        Ok(response)
    }

    /// Takes the wish away: the request goes on as an ordinary one.
    pub(crate) fn withdraw<B>(request: &mut Request<B>) {
        request.extensions_mut().remove::<Self>();
        request.headers_mut().remove(UPGRADE);
    }
}
