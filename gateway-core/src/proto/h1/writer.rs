//! Putting a body on the wire: frames of a [`Body`] to bytes in an [`OutBuf`].

use std::num::NonZeroUsize;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame};

use super::buffer::OutBuf;
use super::restored::Restored;
use crate::body::Body;
use crate::error::{ErrorClass, GatewayError};
use crate::http1::{BodyFraming, HeadLimits, encode_chunk_header, encode_last_chunk};

/// No more frames are taken from a body while this much waits to be written.
const HIGH_WATER: usize = 256 * 1024;

/// A body on its way out.
#[derive(Debug)]
pub(super) struct BodyWriter {
    body: Body,
    framing: BodyFraming,
    /// Bytes still owed of a counted body.
    owed: u64,
    trailers: bool,
    done: bool,
    written: u64,
}

/// What stopped [`BodyWriter::poll_fill`].
pub(super) enum Filled {
    /// The body is complete; everything it has is queued.
    Done,
    /// The body has nothing right now; its waker is registered.
    Waiting,
    /// Enough is queued: write first.
    Full,
}

impl BodyWriter {
    /// A body that goes out as `framing` says; trailers are written only if `trailers` allows them.
    pub(super) fn new(body: Body, framing: BodyFraming, trailers: bool) -> Self {
        let owed = match framing {
            BodyFraming::Length(length) => length,
            _ => 0,
        };
        Self {
            body,
            framing,
            owed,
            trailers,
            done: matches!(framing, BodyFraming::Empty),
            written: 0,
        }
    }

    /// Whether everything the body has was queued.
    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    /// How many bytes of data were taken from the body.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Gives the body back, if nothing was taken from it yet.
    pub(super) fn into_untouched(self) -> Option<Body> {
        (self.written == 0 && !self.done || matches!(self.framing, BodyFraming::Empty))
            .then_some(self.body)
    }

    /// Gives the body back as it was before anything was taken from it: `unsent` is all that came of it, read
    /// back by the framing it was written with. `None` if that cannot be told.
    pub(super) fn into_whole(self, unsent: BytesMut, limits: &HeadLimits) -> Option<Body> {
        if self.written == 0 && !self.done {
            return Some(self.body);
        }
        match self.framing {
            BodyFraming::Empty => Some(self.body),
            framing => Restored::read(framing, unsent, self.body, limits).map(Body::new),
        }
    }

    /// Moves frames from the body to `out` until there is no more, none now, or enough waits.
    pub(super) fn poll_fill(
        &mut self,
        out: &mut OutBuf,
        cx: &mut Context<'_>,
    ) -> Result<Filled, GatewayError> {
        loop {
            if self.done {
                return Ok(Filled::Done);
            }
            if out.len() >= HIGH_WATER {
                return Ok(Filled::Full);
            }
            // A body whose counted bytes are all queued is not asked again: that saves a poll and
            // finishes the message even if the source ends late.
            if matches!(self.framing, BodyFraming::Length(_)) && self.owed == 0 {
                self.finish(None, out)?;
                continue;
            }
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Pending => return Ok(Filled::Waiting),
                Poll::Ready(None) => self.finish(None, out)?,
                Poll::Ready(Some(frame)) => self.take(frame?, out)?,
            }
        }
    }

    /// A client that takes no more of a reply may still be sending its request.
    pub(super) fn poll_upload(&mut self, cx: &mut Context<'_>) {
        self.body.poll_upload(cx);
    }

    fn take(&mut self, frame: Frame<Bytes>, out: &mut OutBuf) -> Result<(), GatewayError> {
        match frame.into_data() {
            Ok(data) => self.take_data(data, out),
            Err(frame) => match frame.into_trailers() {
                Ok(trailers) => self.finish(Some(trailers), out),
                Err(_) => Ok(()),
            },
        }
    }

    fn take_data(&mut self, data: Bytes, out: &mut OutBuf) -> Result<(), GatewayError> {
        if data.is_empty() {
            return Ok(());
        }
        self.written += data.len() as u64;
        match self.framing {
            BodyFraming::Empty => {}
            BodyFraming::UntilClose => out.push(data),
            BodyFraming::Length(_) => {
                self.owed = self.owed.checked_sub(data.len() as u64).ok_or_else(|| {
                    GatewayError::new(
                        ErrorClass::Internal,
                        "writing a body that is longer than announced",
                    )
                })?;
                out.push(data);
            }
            BodyFraming::Chunked => {
                if let Some(size) = NonZeroUsize::new(data.len()) {
                    encode_chunk_header(out.tail(), size);
                }
                out.push(data);
                out.tail().extend_from_slice(b"\r\n");
            }
        }
        Ok(())
    }

    fn finish(
        &mut self,
        trailers: Option<HeaderMap>,
        out: &mut OutBuf,
    ) -> Result<(), GatewayError> {
        if self.owed > 0 {
            return Err(GatewayError::new(
                ErrorClass::Internal,
                "writing a body that is shorter than announced",
            ));
        }
        if matches!(self.framing, BodyFraming::Chunked) {
            let trailers = trailers.filter(|_| self.trailers);
            encode_last_chunk(out.tail(), trailers.as_ref());
        }
        self.done = true;
        self.body = Body::empty();
        Ok(())
    }
}

impl BodyWriter {
    /// The same body, now one direction of a tunnel: everything goes out as it is, until it ends.
    pub(super) fn into_tunnel(self) -> Self {
        Self {
            framing: BodyFraming::UntilClose,
            done: false,
            owed: 0,
            ..self
        }
    }
}
