//! Upgrades over HTTP/2 to endpoints: extended CONNECT (RFC 8441).

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::header::{SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::{HeaderValue, Method, StatusCode};
use http_body::{Body as HttpBody, Frame};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWrite;

use super::client::{Sender, Stream};
use crate::body::Body;
use crate::clock::Clock;
use crate::error::{ErrorClass, GatewayError, RetrySafety};
use crate::forward::AttemptCx;
use crate::handler::{Request, Response};
use crate::proto::h1::earliest;
use crate::timer::LazyTimer;
use crate::upgrade::Upgrade;

/// How long the settings of a new connection are waited for.
const SETTINGS_WAIT: Duration = Duration::from_secs(1);
/// How much one read of a tunnel asks for.
const READ: usize = 16 * 1024;

/// Opens a tunnel. The reply has status 101, as over HTTP/1, and its body is the endpoint's direction; an
/// endpoint that refuses is answered with its refusal.
pub(crate) async fn open(
    mut sender: Sender,
    mut request: Request,
    upgrade: &Upgrade,
    cx: &AttemptCx,
) -> Result<Response, GatewayError> {
    let unable = |message: &'static str| {
        GatewayError::new(ErrorClass::UpstreamProtocol, message)
            .with_reason("upstream_no_upgrade")
            .with_retry(RetrySafety::NotSent)
    };
    if !sender.takes_tunnels(SETTINGS_WAIT).await {
        return Err(unable(
            "opening a tunnel: the endpoint does not offer extended CONNECT",
        ));
    }
    let Ok(protocol) = upgrade.protocol().to_str() else {
        return Err(unable("opening a tunnel: its protocol is not text"));
    };
    let stream = Stream::open(&sender);
    let client = std::mem::take(request.body_mut());
    let accept = request
        .headers_mut()
        .remove(SEC_WEBSOCKET_KEY)
        .and_then(|key| accept_value(&key));
    *request.method_mut() = Method::CONNECT;
    request
        .extensions_mut()
        .insert(hyper::ext::Protocol::from(protocol));
    let mut timer = LazyTimer::default();
    let idle_by = cx.idle.map(|idle| Clock.now() + idle);
    timer.set(earliest([cx.head_by, cx.done_by, idle_by]));
    let mut answer = pin!(sender.send(request));
    let mut response = poll_fn(|task| {
        if let Poll::Ready(outcome) = answer.as_mut().poll(task) {
            return Poll::Ready(outcome.map_err(|error| {
                GatewayError::new(ErrorClass::UpstreamReset, "opening a tunnel").with_source(error)
            }));
        }
        ready!(timer.poll_elapsed(task));
        Poll::Ready(Err(GatewayError::new(
            ErrorClass::UpstreamTimeout,
            "waiting for a tunnel to be accepted",
        )))
    })
    .await?;
    if !response.status().is_success() {
        let (parts, incoming) = response.into_parts();
        return Ok(Response::from_parts(parts, Body::new(incoming)));
    }
    let upgraded = hyper::upgrade::on(&mut response).await.map_err(|error| {
        GatewayError::new(ErrorClass::UpstreamReset, "opening a tunnel").with_source(error)
    })?;
    let (mut parts, _) = response.into_parts();
    parts.status = StatusCode::SWITCHING_PROTOCOLS;
    parts.headers.insert(UPGRADE, upgrade.protocol().clone());
    if let Some(accept) = accept {
        parts.headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    let body = Body::new(Tunnel {
        io: TokioIo::new(upgraded),
        client: Some(client),
        outgoing: Bytes::new(),
        _stream: stream,
    });
    Ok(Response::from_parts(parts, body))
}

/// What a client that came over HTTP/1 expects of the one it sent its key to (RFC 6455 4.2.2).
fn accept_value(key: &HeaderValue) -> Option<HeaderValue> {
    let mut digest = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY);
    digest.update(key.as_bytes());
    digest.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let text = crate::base64::encode(digest.finish().as_ref());
    HeaderValue::from_maybe_shared(Bytes::from(text)).ok()
}

/// Both directions of a tunnel: what is read comes out, and while it is polled what the client sent goes in.
struct Tunnel {
    io: TokioIo<Upgraded>,
    client: Option<Body>,
    outgoing: Bytes,
    _stream: Stream,
}

impl Tunnel {
    /// Moves the client's direction as far as it goes now.
    fn poll_send(&mut self, task: &mut Context<'_>) -> Poll<Result<(), GatewayError>> {
        let broken = |error: io::Error| {
            GatewayError::new(ErrorClass::UpstreamReset, "writing to a tunnel").with_source(error)
        };
        loop {
            while !self.outgoing.is_empty() {
                let written = ready!(Pin::new(&mut self.io).poll_write(task, &self.outgoing))
                    .map_err(broken)?;
                self.outgoing.advance(written);
            }
            let Some(client) = &mut self.client else {
                return Poll::Ready(Ok(()));
            };
            match Pin::new(client).poll_frame(task) {
                Poll::Ready(Some(Ok(frame))) => {
                    self.outgoing = frame.into_data().unwrap_or_default();
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                Poll::Ready(None) => {
                    ready!(Pin::new(&mut self.io).poll_shutdown(task)).map_err(broken)?;
                    self.client = None;
                }
                Poll::Pending => {
                    ready!(Pin::new(&mut self.io).poll_flush(task)).map_err(broken)?;
                    return Poll::Pending;
                }
            }
        }
    }
}

impl HttpBody for Tunnel {
    type Data = Bytes;
    type Error = GatewayError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, GatewayError>>> {
        let this = &mut *self;
        if let Poll::Ready(Err(error)) = this.poll_send(task) {
            return Poll::Ready(Some(Err(error)));
        }
        let mut data = BytesMut::with_capacity(READ);
        let read = tokio_util::io::poll_read_buf(Pin::new(&mut this.io), task, &mut data);
        Poll::Ready(match ready!(read) {
            Ok(0) => None,
            Ok(_) => Some(Ok(Frame::data(data.freeze()))),
            Err(error) => Some(Err(GatewayError::new(
                ErrorClass::UpstreamReset,
                "reading from a tunnel",
            )
            .with_source(error))),
        })
    }
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
