//! The body of a response, read from the endpoint's connection by whoever polls it.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::client::{SendLimits, Sending, broken, earliest};
use crate::clock::Clock;
use crate::error::{ErrorClass, GatewayError, Origin};
use crate::exchange::Exchange;
use crate::grpc;
use crate::http1::Chunk;
use crate::pool::Lease;
use crate::spawn::spawn;
use crate::upstream::InFlight;

/// A response's body. While it is read it also sends what is left of the request, so both directions flow
/// without a task of their own; at its end the connection goes back to the pool.
pub(crate) struct ResponseBody {
    lease: Option<Lease>,
    sending: Option<Sending>,
    left: Option<u64>,
    reusable: bool,
    limits: SendLimits,
    eof: bool,
    in_flight: Option<InFlight>,
    /// A gRPC call whose deadline ends it with a status, and who is to know.
    late: Option<Exchange>,
}

impl ResponseBody {
    pub(super) fn new(
        lease: Lease,
        sending: Option<Sending>,
        left: Option<u64>,
        reusable: bool,
        limits: SendLimits,
    ) -> Self {
        Self {
            lease: Some(lease),
            sending,
            left,
            reusable,
            limits,
            eof: false,
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

    pub(crate) fn poll_frame(
        &mut self,
        task: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, GatewayError>>> {
        let Some(lease) = &mut self.lease else {
            return Poll::Ready(None);
        };
        let conn = lease.connection();
        if let Some(sending) = &mut self.sending {
            match sending.poll(conn, task) {
                Poll::Ready(Ok(())) => self.sending = None,
                // Half a tunnel is of no use, and a client that failed takes no response.
                Poll::Ready(Err(error))
                    if sending.is_tunnel() || error.origin() == Origin::Client =>
                {
                    self.lease = None;
                    return Poll::Ready(Some(Err(error)));
                }
                // The response may still be complete: a server may answer before it has read everything.
                Poll::Ready(Err(_)) => {
                    self.sending = None;
                    self.reusable = false;
                }
                Poll::Pending => {}
            }
        }
        loop {
            match conn.decoder.decode(&mut conn.rbuf, self.eof) {
                Ok(Chunk::Data(data)) => {
                    if let Some(left) = &mut self.left {
                        *left = left.saturating_sub(data.len() as u64);
                    }
                    if conn.decoder.is_done() {
                        self.finish();
                    }
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Ok(Chunk::End(trailers)) => {
                    if !self.leave_half() {
                        self.finish();
                    }
                    return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
                }
                Ok(Chunk::NeedMore) => {}
                Err(error) => {
                    let class = if self.eof {
                        ErrorClass::UpstreamReset
                    } else {
                        ErrorClass::UpstreamProtocol
                    };
                    let error =
                        GatewayError::new(class, "reading the response body").with_source(error);
                    self.lease = None;
                    return Poll::Ready(Some(Err(error)));
                }
            }
            match conn.poll_read_body(task) {
                Poll::Ready(Ok(read)) => {
                    self.eof = read == 0;
                    conn.timer.set(None);
                }
                Poll::Ready(Err(error)) => {
                    self.lease = None;
                    return Poll::Ready(Some(Err(broken("reading the response body", error))));
                }
                Poll::Pending => {
                    if !conn.timer.is_set() {
                        let sending = self.sending.as_ref();
                        let blameless =
                            sending.is_some_and(|sending| sending.waits_for_client(conn));
                        let idle = self.limits.idle.filter(|_| !blameless);
                        let idle_by = idle.map(|idle| Clock.now() + idle);
                        conn.timer.set(earliest([self.limits.done_by, idle_by]));
                    }
                    ready!(conn.timer.poll_elapsed(task));
                    self.lease = None;
                    let error = GatewayError::new(
                        ErrorClass::UpstreamTimeout,
                        "waiting for more of the response body",
                    );
                    let late = self.limits.done_by.is_some_and(|by| by <= Clock.now());
                    return Poll::Ready(Some(match self.late.take().filter(|_| late) {
                        Some(exchange) => {
                            Ok(Frame::trailers(grpc::deadline_exceeded(&exchange, &error)))
                        }
                        None => Err(error),
                    }));
                }
            }
        }
    }

    /// The upstream has ended its direction of a tunnel: the client's goes on by itself, if it has not ended yet.
    fn leave_half(&mut self) -> bool {
        let Some(sending) = self.sending.take_if(|sending| sending.is_tunnel()) else {
            return false;
        };
        let Some(lease) = self.lease.take() else {
            return false;
        };
        spawn(send_on(lease, sending, self.limits, self.in_flight.take()));
        true
    }

    fn finish(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.finish(self.reusable && self.sending.is_none() && !self.eof);
        }
        self.sending = None;
        self.in_flight = None;
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.lease.is_none()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        self.left
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// Carries the client's direction of a tunnel whose other one has ended, until it ends too or is silent for too long or late.
async fn send_on(
    mut lease: Lease,
    mut sending: Sending,
    limits: SendLimits,
    _in_flight: Option<InFlight>,
) {
    lease.connection().timer.set(None);
    poll_fn(|task| {
        let conn = lease.connection();
        // Whoever breaks it, nobody is left to be told.
        if sending.poll(conn, task).is_ready() {
            return Poll::Ready(());
        }
        if !conn.timer.is_set() {
            let idle_by = limits.idle.map(|idle| Clock.now() + idle);
            conn.timer.set(earliest([limits.done_by, idle_by]));
        }
        conn.timer.poll_elapsed(task)
    })
    .await;
}
