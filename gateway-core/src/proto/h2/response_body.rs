//! The body of a response on an HTTP/2 stream of an endpoint.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http_body::{Frame, SizeHint};

use super::client::{broken, timed_out};
use super::silence::Silence;
use super::upload::Upload;
use crate::error::GatewayError;
use crate::exchange::Exchange;
use crate::grpc;
use crate::spawn::spawn;
use crate::upstream::InFlight;

/// A response's body. While it is read it also sends what is left of the request, so both directions flow
/// without a task of their own. Dropped before its end, it resets the stream.
pub(crate) struct UpstreamStream {
    recv: RecvStream,
    /// Data that came with the head.
    first: Option<Bytes>,
    left: Option<u64>,
    data_done: bool,
    upload: Option<Box<Upload>>,
    /// Why the request's body failed, told instead of the next frame.
    failure: Option<GatewayError>,
    tunnel: bool,
    /// `None` once the body has ended.
    silence: Option<Silence>,
    in_flight: Option<InFlight>,
    /// A gRPC call whose deadline ends it with a status, and who is to know.
    late: Option<Exchange>,
}

/// What is known of a response when its body is about to be read.
pub(super) struct Begun {
    pub(super) recv: RecvStream,
    pub(super) first: Option<Bytes>,
    pub(super) length: Option<u64>,
    pub(super) upload: Option<Box<Upload>>,
    pub(super) tunnel: bool,
    pub(super) silence: Silence,
}

impl UpstreamStream {
    pub(super) fn new(begun: Begun) -> Self {
        Self {
            recv: begun.recv,
            first: begun.first,
            left: begun.length,
            data_done: false,
            upload: begun.upload,
            failure: None,
            tunnel: begun.tunnel,
            silence: Some(begun.silence),
            in_flight: None,
            late: None,
        }
    }

    /// Counts the request against its endpoint until the body has ended.
    pub(crate) fn carry(&mut self, in_flight: InFlight) {
        self.in_flight = Some(in_flight);
    }

    /// Ends with a gRPC status when the deadline passes, and writes that down.
    pub(crate) fn end_late(&mut self, exchange: Exchange) {
        self.late = Some(exchange);
    }

    /// Sends more of the request while nobody can take more of the response.
    pub(crate) fn poll_upload(&mut self, task: &mut Context<'_>) {
        let Some(upload) = &mut self.upload else {
            return;
        };
        let sent = upload.poll(task);
        if let Some(silence) = &mut self.silence
            && upload.take_moved()
        {
            silence.moved();
        }
        match sent {
            Poll::Pending => {}
            Poll::Ready(Ok(())) => self.upload = None,
            Poll::Ready(Err(error)) => {
                // The body's own failure: a response to half a request is of no use.
                self.upload = None;
                self.failure = Some(error);
            }
        }
    }

    pub(crate) fn poll_frame(
        &mut self,
        task: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, GatewayError>>> {
        if self.silence.is_none() {
            return Poll::Ready(None);
        }
        self.poll_upload(task);
        if let Some(error) = self.failure.take() {
            self.finish();
            return Poll::Ready(Some(Err(error)));
        }
        let received = match self.first.take() {
            Some(data) => Poll::Ready(Some(Ok(self.hand_out(data)))),
            None => self.poll_received(task),
        };
        match received {
            Poll::Ready(Some(Ok(frame))) => {
                if frame.is_trailers() || self.recv.is_end_stream() {
                    self.end();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => {
                self.end();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                self.finish();
                Poll::Ready(Some(Err(error)))
            }
            Poll::Pending => {
                let late = ready!(self.poll_silent(task));
                let error = timed_out("waiting for more of the response body");
                let ended = match self.late.take().filter(|_| late) {
                    Some(exchange) => {
                        Ok(Frame::trailers(grpc::deadline_exceeded(&exchange, &error)))
                    }
                    None => Err(error),
                };
                self.finish();
                Poll::Ready(Some(ended))
            }
        }
    }

    /// Ready when the endpoint was silent for too long; says whether that is because the deadline has passed.
    fn poll_silent(&mut self, task: &mut Context<'_>) -> Poll<bool> {
        let upload = self.upload.as_ref().filter(|_| !self.tunnel);
        let blameless = upload.is_some_and(|upload| upload.waits_for_client());
        match &mut self.silence {
            Some(silence) => {
                ready!(silence.poll_over(task, blameless, None));
                Poll::Ready(silence.is_late())
            }
            None => Poll::Ready(false),
        }
    }

    fn poll_received(
        &mut self,
        task: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, GatewayError>>> {
        while !self.data_done {
            match ready!(self.recv.poll_data(task)) {
                Some(Ok(data)) => {
                    if let Some(silence) = &mut self.silence {
                        silence.moved();
                    }
                    if !data.is_empty() {
                        return Poll::Ready(Some(Ok(self.hand_out(data))));
                    }
                }
                Some(Err(error)) => {
                    let error = broken("reading an HTTP/2 response body", error);
                    return Poll::Ready(Some(Err(error)));
                }
                None => self.data_done = true,
            }
        }
        let trailers = ready!(self.recv.poll_trailers(task));
        Poll::Ready(match trailers {
            Ok(trailers) => trailers.map(|trailers| Ok(Frame::trailers(trailers))),
            Err(error) => Some(Err(broken("reading HTTP/2 trailers", error))),
        })
    }

    /// Whoever polls takes the data: the endpoint may send as much again.
    fn hand_out(&mut self, data: Bytes) -> Frame<Bytes> {
        let _ = self.recv.flow_control().release_capacity(data.len());
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(data.len() as u64);
        }
        Frame::data(data)
    }

    /// The endpoint has said everything. What is left of a request is not wanted then; the client's direction of a
    /// tunnel goes on by itself.
    fn end(&mut self) {
        if self.tunnel
            && let (Some(upload), Some(silence)) = (self.upload.take(), self.silence.take())
        {
            spawn(send_on(upload, silence, self.in_flight.take()));
        }
        self.finish();
    }

    /// Nothing more is wanted of either direction.
    fn finish(&mut self) {
        self.silence = None;
        self.upload = None;
        self.in_flight = None;
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.silence.is_none()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        self.left
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// Carries the client's direction of a tunnel whose other one has ended, until it ends too or is silent for too long.
async fn send_on(mut upload: Box<Upload>, mut silence: Silence, _in_flight: Option<InFlight>) {
    silence.moved();
    poll_fn(|task| {
        let sent = upload.poll(task);
        if upload.take_moved() {
            silence.moved();
        }
        // Whoever breaks it, nobody is left to be told.
        if sent.is_ready() || upload.poll_refused(task).is_ready() {
            return Poll::Ready(());
        }
        silence.poll_over(task, false, None)
    })
    .await;
}
