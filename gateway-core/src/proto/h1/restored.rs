//! A request body that was taken for a connection which then did not take a byte of it.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::body::Body;
use crate::error::GatewayError;
use crate::http1::{BodyDecoder, BodyFraming, Chunk, HeadLimits};

/// What had been taken, and the rest.
///
/// The encoded form that was never sent is decoded again: so nothing has to be kept for the sake of the rare
/// request that meets a connection which has just died.
pub(super) struct Restored {
    taken: VecDeque<Bytes>,
    length: u64,
    trailers: Option<HeaderMap>,
    rest: Body,
}

impl Restored {
    /// Reads back what `unsent` holds; `rest` follows it.
    pub(super) fn read(
        framing: BodyFraming,
        mut unsent: BytesMut,
        rest: Body,
        limits: &HeadLimits,
    ) -> Option<Self> {
        let mut decoder = BodyDecoder::new(framing, limits);
        let mut restored = Self {
            taken: VecDeque::new(),
            length: 0,
            trailers: None,
            rest,
        };
        loop {
            match decoder.decode(&mut unsent, false).ok()? {
                Chunk::Data(data) => {
                    restored.length += data.len() as u64;
                    restored.taken.push_back(data);
                }
                Chunk::End(trailers) => {
                    restored.trailers = trailers;
                    return Some(restored);
                }
                Chunk::NeedMore => return Some(restored),
            }
        }
    }
}

impl HttpBody for Restored {
    type Data = Bytes;
    type Error = GatewayError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, GatewayError>>> {
        if let Some(data) = self.taken.pop_front() {
            self.length -= data.len() as u64;
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if let Some(trailers) = self.trailers.take() {
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        Pin::new(&mut self.rest).poll_frame(task)
    }

    fn is_end_stream(&self) -> bool {
        self.taken.is_empty() && self.trailers.is_none() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match self.rest.size_hint().exact() {
            // A length would leave no room for the trailers.
            Some(rest) if self.trailers.is_none() => SizeHint::with_exact(self.length + rest),
            _ => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn whole(
        framing: BodyFraming,
        unsent: &[u8],
        rest: Body,
    ) -> (SizeHint, Bytes, Option<HeaderMap>) {
        let limits = HeadLimits::default();
        let restored = Restored::read(framing, unsent.into(), rest, &limits).unwrap();
        let hint = restored.size_hint();
        let got = Body::new(restored).collect(100).await.unwrap();
        (hint, got.data, got.trailers)
    }

    #[tokio::test]
    async fn a_counted_body_keeps_its_length() {
        let (hint, data, _) = whole(BodyFraming::Length(10), b"hello", Body::from("world")).await;
        assert_eq!((hint.exact(), &data[..]), (Some(10), &b"helloworld"[..]));
    }

    #[tokio::test]
    async fn chunks_and_trailers_are_read_back() {
        let chunks = b"2\r\nhe\r\n3\r\nllo\r\n0\r\nx-sum: 1\r\n\r\n";
        let (hint, data, trailers) = whole(BodyFraming::Chunked, chunks, Body::empty()).await;
        assert_eq!((hint.exact(), &data[..]), (None, &b"hello"[..]));
        assert_eq!(trailers.unwrap()["x-sum"], "1");
    }
}
