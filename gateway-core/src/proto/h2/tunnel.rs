//! Upgrades over HTTP/2 to endpoints: extended CONNECT (RFC 8441).

use std::time::Duration;

use bytes::Bytes;
use h2::ext::Protocol;
use http::header::{SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::{HeaderValue, Method, StatusCode};

use super::client::{self, SendFailure};
use super::connection::Sender;
use crate::clock::Clock;
use crate::error::{ErrorClass, GatewayError, RetrySafety};
use crate::exchange::Exchange;
use crate::forward::AttemptCx;
use crate::handler::{Request, Response};
use crate::proto::h1::earliest;
use crate::upgrade::Upgrade;

/// How long the settings of a new connection are waited for.
const SETTINGS_WAIT: Duration = Duration::from_secs(5);

/// Opens a tunnel. The reply has status 101, as over HTTP/1, and its body is the endpoint's direction; an
/// endpoint that refuses is answered with its refusal.
pub(crate) async fn open(
    sender: Sender,
    mut request: Request,
    upgrade: &Upgrade,
    cx: &AttemptCx,
    exchange: &Exchange,
) -> Result<Response, SendFailure> {
    let by = Clock.now() + SETTINGS_WAIT;
    let by = earliest([Some(by), cx.head_by, cx.done_by]).unwrap_or(by);
    match sender.takes_tunnels(by).await {
        Some(true) => {}
        Some(false) => {
            return Err(unable(
                "opening a tunnel: the endpoint does not offer extended CONNECT",
            ));
        }
        None if sender.is_open() => {
            return Err(GatewayError::new(
                ErrorClass::UpstreamTimeout,
                "waiting for HTTP/2 settings",
            )
            .with_retry(RetrySafety::NotSent)
            .into());
        }
        // The connection broke meanwhile: opening a stream says so.
        None => {}
    }
    let Ok(protocol) = upgrade.protocol().to_str() else {
        return Err(unable("opening a tunnel: its protocol is not text"));
    };
    let accept = request
        .headers_mut()
        .remove(SEC_WEBSOCKET_KEY)
        .and_then(|key| accept_value(&key));
    *request.method_mut() = Method::CONNECT;
    request.extensions_mut().insert(Protocol::from(protocol));
    let response = client::send(sender, request, cx, exchange).await?;
    let (mut parts, body) = response.into_parts();
    if parts.status.is_success() {
        parts.status = StatusCode::SWITCHING_PROTOCOLS;
        parts.headers.insert(UPGRADE, upgrade.protocol().clone());
        if let Some(accept) = accept {
            parts.headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
        }
    }
    Ok(Response::from_parts(parts, body))
}

fn unable(message: &'static str) -> SendFailure {
    GatewayError::new(ErrorClass::UpstreamProtocol, message)
        .with_reason("upstream_no_upgrade")
        .with_retry(RetrySafety::NotSent)
        .into()
}

/// What a client that came over HTTP/1 expects of the one it sent its key to (RFC 6455 4.2.2).
fn accept_value(key: &HeaderValue) -> Option<HeaderValue> {
    let mut digest = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY);
    digest.update(key.as_bytes());
    digest.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let text = crate::base64::encode(digest.finish().as_ref());
    HeaderValue::from_maybe_shared(Bytes::from(text)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_the_key_of_the_rfc() {
        let key = HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(accept_value(&key).unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
