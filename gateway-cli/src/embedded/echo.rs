//! A filter that answers with what it was sent: text, bodies, gRPC calls and WebSocket messages.

use std::fmt::Write;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use http_body::{Body as HttpBody, Frame, SizeHint};
use portcullis::filter::{Filter, FilterCx, Flow, Hooks};
use portcullis::upgrade::Upgrade;
use portcullis::{Body, GatewayError, Request, Response, async_trait, grpc};

use super::websocket;

/// Answers every request itself.
pub(crate) struct Echo;

#[async_trait]
impl Filter for Echo {
    async fn on_request(&self, cx: &mut FilterCx<'_>) -> Result<Flow, GatewayError> {
        let request = std::mem::take(cx.request_mut());
        Ok(Flow::Reply(answer(request)))
    }

    fn hooks(&self) -> Hooks {
        Hooks::Request
    }
}

fn answer(request: Request) -> Response {
    if Upgrade::of(&request).is_some_and(Upgrade::is_websocket)
        && let Some(response) = websocket::accept(&request)
    {
        return response.map(|()| Body::new(websocket::Echo::new(request.into_body())));
    }
    if grpc::is_grpc(request.headers()) {
        let mut response = Response::new(Body::new(Call {
            messages: request.into_body(),
            ended: false,
        }));
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        return response;
    }
    if !request.body().is_empty() {
        let kind = request.headers().get(CONTENT_TYPE).cloned();
        let mut response = Response::new(request.into_body());
        if let Some(kind) = kind {
            response.headers_mut().insert(CONTENT_TYPE, kind);
        }
        return response;
    }
    let mut text = format!("{} {}\n", request.method(), request.uri());
    for (name, value) in request.headers() {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{name}: {}",
            String::from_utf8_lossy(value.as_bytes())
        );
    }
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}

/// The messages of a gRPC call, unary or streaming, sent back; then status 0.
struct Call {
    messages: Body,
    ended: bool,
}

impl HttpBody for Call {
    type Data = Bytes;
    type Error = GatewayError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, GatewayError>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        match ready!(Pin::new(&mut self.messages).poll_frame(cx)) {
            Some(Ok(frame)) if frame.is_data() => Poll::Ready(Some(Ok(frame))),
            Some(Err(error)) => Poll::Ready(Some(Err(error))),
            Some(Ok(_)) | None => {
                self.ended = true;
                let mut trailers = HeaderMap::new();
                trailers.insert(grpc::GRPC_STATUS, HeaderValue::from_static("0"));
                Poll::Ready(Some(Ok(Frame::trailers(trailers))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
