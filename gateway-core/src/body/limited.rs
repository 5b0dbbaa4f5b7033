//! A body that may not be longer than so many bytes.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::Body;
use crate::conn::body_too_large;
use crate::error::GatewayError;

/// A body that fails once more than `max` bytes of data came out of it. Trailers pass.
struct Limited {
    inner: Body,
    max: u64,
    left: u64,
    done: bool,
}

impl Body {
    /// The same body, which fails as [`BodyTooLarge`](crate::ErrorClass::BodyTooLarge) once more than `max` bytes of data
    /// came out of it. Trailers pass.
    #[must_use]
    pub fn limited(self, max: u64) -> Self {
        Self::new(Limited {
            inner: self,
            max,
            left: max,
            done: false,
        })
    }
}

impl Limited {
    fn fail(&mut self) -> Poll<Option<Result<Frame<Bytes>, GatewayError>>> {
        self.done = true;
        // What is left of it is of no use; a connection learns that nobody will read it.
        self.inner = Body::empty();
        Poll::Ready(Some(Err(body_too_large(self.max))))
    }
}

impl HttpBody for Limited {
    type Data = Bytes;
    type Error = GatewayError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, GatewayError>>> {
        if self.done {
            return Poll::Ready(None);
        }
        if self.inner.size_hint().lower() > self.left {
            return self.fail();
        }
        let frame = match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            end => {
                self.done = true;
                return Poll::Ready(end);
            }
        };
        let length = frame.data_ref().map_or(0, Bytes::len) as u64;
        match self.left.checked_sub(length) {
            Some(left) => {
                self.left = left;
                Poll::Ready(Some(Ok(frame)))
            }
            None => self.fail(),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.done || self.inner.is_end_stream()
    }

    /// The inner body's hint. The limit is no upper bound of it: an encoder that took a limit of 0 for a length
    /// of 0 would never read on and so never find out.
    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
