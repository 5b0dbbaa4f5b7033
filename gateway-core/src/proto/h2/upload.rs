//! A request body on its way to an HTTP/2 endpoint, moved by whoever waits for the response.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, SendStream};
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame};

use super::fields::strip_connection_fields;
use crate::body::Body;
use crate::clock::Instant;
use crate::error::GatewayError;

/// A body and the stream it goes to. Nothing more is taken from the body than the endpoint's windows allow.
pub(super) struct Upload {
    stream: SendStream<Bytes>,
    body: Body,
    /// Taken from the body, and waiting for a window.
    waiting: Bytes,
    /// Bytes that were announced and are yet to come.
    owed: Option<u64>,
    /// The body waits for `100 Continue` until then.
    held_until: Option<Instant>,
    touched: bool,
    over: bool,
    /// Something was taken or sent since that was last asked.
    moved: bool,
}

impl Upload {
    /// Sends `body` on `stream`, whose head has announced its length, if it has one.
    pub(super) fn new(
        stream: SendStream<Bytes>,
        body: Body,
        held_until: Option<Instant>,
        over: bool,
    ) -> Self {
        Self {
            owed: body.size_hint().exact(),
            stream,
            body,
            waiting: Bytes::new(),
            held_until,
            touched: false,
            over,
            moved: false,
        }
    }

    /// Whether there is nothing more to send.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// The endpoint takes data and the client has sent none yet: the endpoint is not to blame.
    pub(super) fn waits_for_client(&self) -> bool {
        !self.over && self.held_until.is_none() && self.waiting.is_empty()
    }

    /// Until when the body waits for `100 Continue`.
    pub(super) fn held_until(&self) -> Option<Instant> {
        self.held_until
    }

    /// The body need not wait any longer.
    pub(super) fn release(&mut self) {
        self.held_until = None;
    }

    /// Whether anything moved since this was last asked.
    pub(super) fn take_moved(&mut self) -> bool {
        std::mem::take(&mut self.moved)
    }

    /// Gives the body back, if nothing was taken from it.
    pub(super) fn into_untouched(self) -> Option<Body> {
        (!self.touched).then_some(self.body)
    }

    /// Moves the body forward as far as it goes now. An endpoint that has stopped listening is no failure:
    /// its response says what it makes of that.
    ///
    /// # Errors
    /// Of the body. The stream is reset.
    pub(super) fn poll(&mut self, task: &mut Context<'_>) -> Poll<Result<(), GatewayError>> {
        while !self.over {
            if self.held_until.is_some() {
                return Poll::Pending;
            }
            if !self.waiting.is_empty() {
                ready!(self.poll_send(task));
                continue;
            }
            let frame = ready!(Pin::new(&mut self.body).poll_frame(task));
            self.touched = true;
            self.moved = true;
            let taken = match frame {
                None => self.finish(None),
                Some(Ok(frame)) => self.take(frame),
                Some(Err(error)) => Err(error),
            };
            if let Err(error) = taken {
                self.stream.send_reset(Reason::CANCEL);
                self.end();
                return Poll::Ready(Err(error));
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Ready when the endpoint has reset the stream, for whom nothing else tells.
    pub(super) fn poll_refused(&mut self, task: &mut Context<'_>) -> Poll<()> {
        self.stream.poll_reset(task).map(drop)
    }

    fn take(&mut self, frame: Frame<Bytes>) -> Result<(), GatewayError> {
        match frame.into_data() {
            Ok(data) => {
                if let Some(owed) = &mut self.owed {
                    *owed = owed.checked_sub(data.len() as u64).ok_or_else(|| {
                        GatewayError::internal("sending a body that is longer than announced")
                    })?;
                }
                self.stream.reserve_capacity(data.len());
                self.waiting = data;
                Ok(())
            }
            Err(frame) => match frame.into_trailers() {
                Ok(trailers) => self.finish(Some(trailers)),
                Err(_) => Ok(()),
            },
        }
    }

    /// Sends what the window takes of what waits.
    fn poll_send(&mut self, task: &mut Context<'_>) -> Poll<()> {
        let mut room = self.stream.capacity();
        if room == 0 {
            room = match ready!(self.stream.poll_capacity(task)) {
                Some(Ok(room)) => room,
                Some(Err(_)) | None => {
                    self.end();
                    return Poll::Ready(());
                }
            };
        }
        self.moved = true;
        let part = self.waiting.split_to(self.waiting.len().min(room));
        // Trailers may follow even when all bytes that were announced are there.
        let last = self.waiting.is_empty()
            && self.owed.is_none_or(|owed| owed == 0)
            && self.body.is_end_stream();
        if self.stream.send_data(part, last).is_err() || last {
            self.end();
        }
        Poll::Ready(())
    }

    fn finish(&mut self, trailers: Option<HeaderMap>) -> Result<(), GatewayError> {
        if self.owed.is_some_and(|owed| owed > 0) {
            return Err(GatewayError::internal(
                "sending a body that is shorter than announced",
            ));
        }
        // A failure means that the endpoint has reset the stream.
        let _ = match trailers {
            Some(mut trailers) => {
                strip_connection_fields(&mut trailers);
                self.stream.send_trailers(trailers)
            }
            None => self.stream.send_data(Bytes::new(), true),
        };
        self.end();
        Ok(())
    }

    fn end(&mut self) {
        self.over = true;
        self.waiting = Bytes::new();
        self.body = Body::empty();
    }
}
