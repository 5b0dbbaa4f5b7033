//! The one body type of the gateway.
//!
//! [`Body`] is a concrete enum: bodies the gateway reads from its own connections pass unboxed, bodies
//! of users and of tower layers are boxed once. Data, trailers and size hints obey `http_body`.

mod collect;
mod limited;

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;

pub use collect::Collected;

use crate::error::{BoxError, GatewayError};
use crate::exchange::Exchange;
use crate::proto::h1::{RequestBody, ResponseBody};
use crate::proto::h2::{StreamBody, UpstreamStream};
use crate::upstream::InFlight;

/// A request's or response's body: a stream of data frames and at most one trailers frame.
///
/// `Send`, but not `Sync`: contexts lend it only by `&mut`.
pub struct Body(Repr);

enum Repr {
    Empty,
    Full(Bytes),
    /// A request body read from an HTTP/1 client connection.
    H1Request(RequestBody),
    /// A response body read from an HTTP/1 upstream connection.
    H1Response(Box<ResponseBody>),
    /// A request body read from an HTTP/2 client stream.
    H2Request(StreamBody),
    /// A response body read from an HTTP/2 upstream stream.
    H2Response(Box<UpstreamStream>),
    Boxed(Pin<Box<dyn HttpBody<Data = Bytes, Error = BoxError> + Send>>),
}

impl Body {
    /// A body without data.
    #[must_use]
    pub const fn empty() -> Self {
        Self(Repr::Empty)
    }

    /// Takes any `http_body` body. A [`Body`] that comes back from a tower layer is unwrapped, not boxed again.
    pub fn new<B>(body: B) -> Self
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let mut slot = Some(body);
        if let Some(own) = (&mut slot as &mut dyn std::any::Any).downcast_mut::<Option<Self>>() {
            return own.take().unwrap_or_else(Self::empty);
        }
        match slot {
            Some(body) if !body.is_end_stream() => {
                Self(Repr::Boxed(Box::pin(MapError { inner: body })))
            }
            _ => Self::empty(),
        }
    }

    /// A body of known data that ends with `trailers`.
    #[must_use]
    pub fn with_trailers(data: Bytes, trailers: http::HeaderMap) -> Self {
        let full = http_body_util::Full::new(data).with_trailers(std::future::ready(Some(Ok::<
            _,
            std::convert::Infallible,
        >(
            trailers,
        ))));
        Self(Repr::Boxed(Box::pin(MapError { inner: full })))
    }

    /// Whether nothing will ever come out of it, known without reading.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.is_end_stream()
    }

    /// Reads the whole body into memory.
    ///
    /// # Errors
    /// [`ErrorClass::BodyTooLarge`](crate::ErrorClass::BodyTooLarge) when it is longer than `limit` bytes, or the error of the stream.
    ///
    /// # Cancel safety
    /// Not cancel safe: data read before the future is dropped is lost.
    pub async fn collect(self, limit: usize) -> Result<Collected, GatewayError> {
        collect::collect(self, limit).await
    }

    pub(crate) fn h1_request(body: RequestBody) -> Self {
        Self(Repr::H1Request(body))
    }

    pub(crate) fn h1_response(body: Box<ResponseBody>) -> Self {
        Self(Repr::H1Response(body))
    }

    pub(crate) fn h2_request(body: StreamBody) -> Self {
        Self(Repr::H2Request(body))
    }

    pub(crate) fn h2_response(body: Box<UpstreamStream>) -> Self {
        Self(Repr::H2Response(body))
    }

    /// Keeps a request counted against its endpoint for as long as this body is being read. A body that
    /// is in memory already ends the count at once.
    pub(crate) fn carry(&mut self, in_flight: InFlight) {
        match &mut self.0 {
            Repr::H1Response(body) => body.carry(in_flight),
            Repr::H2Response(body) => body.carry(in_flight),
            _ => {}
        }
    }

    /// Lets a gRPC reply that is still being read end with a status when its deadline passes, and notes that
    /// in `exchange`. One whose length was announced cannot: it is cut off.
    pub(crate) fn end_late(&mut self, exchange: &Exchange) {
        if self.size_hint().exact().is_some() {
            return;
        }
        match &mut self.0 {
            Repr::H1Response(body) => body.end_late(exchange.clone()),
            Repr::H2Response(body) => body.end_late(exchange.clone()),
            _ => {}
        }
    }

    /// Moves the request that this is the response to, while nothing more of the response can be taken.
    /// Otherwise reading the response does.
    pub(crate) fn poll_upload(&mut self, cx: &mut Context<'_>) {
        if let Repr::H2Response(body) = &mut self.0 {
            body.poll_upload(cx);
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = GatewayError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, GatewayError>>> {
        match &mut self.0 {
            Repr::Empty => Poll::Ready(None),
            Repr::Full(data) => {
                let data = std::mem::take(data);
                self.0 = Repr::Empty;
                if data.is_empty() {
                    return Poll::Ready(None);
                }
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            Repr::H1Request(body) => body.poll_frame(cx),
            Repr::H1Response(body) => body.poll_frame(cx),
            Repr::H2Request(body) => body.poll_frame(cx),
            Repr::H2Response(body) => body.poll_frame(cx),
            Repr::Boxed(body) => {
                let frame = ready!(body.as_mut().poll_frame(cx));
                Poll::Ready(frame.map(|result| result.map_err(GatewayError::from_boxed)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Repr::Empty => true,
            Repr::Full(data) => data.is_empty(),
            Repr::H1Request(body) => body.is_end_stream(),
            Repr::H1Response(body) => body.is_end_stream(),
            Repr::H2Request(body) => body.is_end_stream(),
            Repr::H2Response(body) => body.is_end_stream(),
            Repr::Boxed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Repr::Empty => SizeHint::with_exact(0),
            Repr::Full(data) => SizeHint::with_exact(data.len() as u64),
            Repr::H1Request(body) => body.size_hint(),
            Repr::H1Response(body) => body.size_hint(),
            Repr::H2Request(body) => body.size_hint(),
            Repr::H2Response(body) => body.size_hint(),
            Repr::Boxed(body) => body.size_hint(),
        }
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::empty()
    }
}

impl From<Bytes> for Body {
    fn from(data: Bytes) -> Self {
        if data.is_empty() {
            return Self::empty();
        }
        Self(Repr::Full(data))
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self::from(Bytes::from(text))
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Self::from(Bytes::from_static(text.as_bytes()))
    }
}

impl From<Vec<u8>> for Body {
    fn from(data: Vec<u8>) -> Self {
        Self::from(Bytes::from(data))
    }
}

impl From<()> for Body {
    fn from((): ()) -> Self {
        Self::empty()
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.0 {
            Repr::Empty => "empty",
            Repr::Full(_) => "full",
            Repr::H1Request(_) => "http/1 request stream",
            Repr::H1Response(_) => "http/1 response stream",
            Repr::H2Request(_) => "http/2 request stream",
            Repr::H2Response(_) => "http/2 response stream",
            Repr::Boxed(_) => "boxed",
        };
        f.debug_struct("Body")
            .field("kind", &kind)
            .field("size", &self.size_hint())
            .finish()
    }
}

pin_project_lite::pin_project! {
    /// Gives a foreign body the error type that boxed bodies share.
    struct MapError<B> {
        #[pin]
        inner: B,
    }
}

impl<B> HttpBody for MapError<B>
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.project().inner.poll_frame(cx).map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
