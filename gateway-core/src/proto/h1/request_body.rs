//! The body of a request, read from the client's connection by whoever polls it.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::server_conn::{Shared, Tunnel};
use crate::error::{ErrorClass, GatewayError};
use crate::http1::Chunk;

/// A request's body. It reads from the connection it came in on, so what nobody polls stays with the client.
pub(crate) struct RequestBody {
    shared: Arc<Shared>,
    hint: Option<u64>,
    done: bool,
}

impl RequestBody {
    pub(super) fn new(shared: Arc<Shared>, hint: Option<u64>) -> Self {
        Self {
            shared,
            hint,
            done: false,
        }
    }

    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, GatewayError>>> {
        if self.done {
            return Poll::Ready(None);
        }
        let mut conn = self.shared.lock();
        match conn.tunnel {
            Tunnel::Offered => {
                conn.tunnel_waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
            Tunnel::Refused => {
                self.done = true;
                return Poll::Ready(None);
            }
            Tunnel::None | Tunnel::Open => {}
        }
        if conn.continue_pending {
            conn.send_continue();
        }
        if !conn.out_is_clean()
            && let Poll::Ready(Err(error)) = conn.poll_flush(cx)
        {
            self.done = true;
            return Poll::Ready(Some(Err(gone(error))));
        }
        loop {
            match conn.decode() {
                Ok(Chunk::Data(data)) => {
                    if let Err(error) = conn.count(data.len()) {
                        self.done = true;
                        return Poll::Ready(Some(Err(error)));
                    }
                    if let Some(left) = &mut self.hint {
                        *left = left.saturating_sub(data.len() as u64);
                    }
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Ok(Chunk::End(trailers)) => {
                    self.done = true;
                    return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
                }
                Ok(Chunk::NeedMore) => {}
                Err(error) => {
                    self.done = true;
                    return Poll::Ready(Some(Err(error)));
                }
            }
            match conn.poll_read_body(cx) {
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => {
                    self.done = true;
                    return Poll::Ready(Some(Err(gone(error))));
                }
                Poll::Pending => {
                    ready!(conn.poll_body_idle(cx));
                    self.done = true;
                    return Poll::Ready(Some(Err(GatewayError::new(
                        ErrorClass::RequestTimeout,
                        "waiting for more of the request body",
                    ))));
                }
            }
        }
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.done || self.hint == Some(0)
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        self.hint
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        let mut conn = self.shared.lock();
        conn.body_dropped = true;
        if let Some(waker) = conn.tunnel_waker.take() {
            waker.wake();
        }
    }
}

fn gone(error: std::io::Error) -> GatewayError {
    GatewayError::new(ErrorClass::ClientGone, "reading the request body").with_source(error)
}
