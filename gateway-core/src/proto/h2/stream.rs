//! The body of a request that came in on an HTTP/2 stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, RecvStream};
use http_body::{Frame, SizeHint};

use super::server::StreamShared;
use crate::error::{ErrorClass, GatewayError};

/// A request's body. Data that is not polled stays with the client: its window is not opened.
pub(crate) struct StreamBody {
    stream: RecvStream,
    shared: Arc<StreamShared>,
    received: Arc<AtomicU64>,
    left: Option<u64>,
    data_done: bool,
}

impl StreamBody {
    pub(super) fn new(
        stream: RecvStream,
        shared: Arc<StreamShared>,
        received: Arc<AtomicU64>,
        length: Option<u64>,
    ) -> Self {
        Self {
            stream,
            shared,
            received,
            left: length,
            data_done: false,
        }
    }

    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, GatewayError>>> {
        self.shared.send_continue();
        let polled = self.poll_next(cx);
        if polled.is_ready() {
            self.shared.upload_moved();
            return polled;
        }
        let received = self.received.load(Ordering::Relaxed);
        ready!(self.shared.poll_upload_stuck(received, cx));
        Poll::Ready(Some(Err(GatewayError::new(
            ErrorClass::RequestTimeout,
            "waiting for more of the request body",
        ))))
    }

    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, GatewayError>>> {
        if !self.data_done {
            match ready!(self.stream.poll_data(cx)) {
                Some(Ok(data)) => {
                    let _ = self.stream.flow_control().release_capacity(data.len());
                    let length = data.len() as u64;
                    let received = self.received.fetch_add(length, Ordering::Relaxed) + length;
                    if let Err(error) = self.shared.check_length(received) {
                        self.data_done = true;
                        return Poll::Ready(Some(Err(error)));
                    }
                    if let Some(left) = &mut self.left {
                        *left = left.saturating_sub(length);
                    }
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => {
                    self.data_done = true;
                    // A client that sends NO_ERROR only says that it wants no more of the reply.
                    if error.reason() == Some(Reason::NO_ERROR) {
                        return Poll::Ready(None);
                    }
                    return Poll::Ready(Some(Err(gone(error))));
                }
                None => self.data_done = true,
            }
        }
        match ready!(self.stream.poll_trailers(cx)) {
            Ok(trailers) => Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers)))),
            Err(error) => Poll::Ready(Some(Err(gone(error)))),
        }
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        self.left
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Drop for StreamBody {
    fn drop(&mut self) {
        self.shared.body_over();
    }
}

fn gone(error: h2::Error) -> GatewayError {
    GatewayError::new(ErrorClass::ClientGone, "reading an HTTP/2 request body").with_source(error)
}
