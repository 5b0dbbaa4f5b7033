//! The state of a client connection, shared by the task that serves it and the body being read from it.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::BytesMut;
use http::{HeaderMap, StatusCode};

use super::buffer::{OutBuf, poll_read_body, poll_read_early, poll_read_head};
use crate::clock::Clock;
use crate::conn::{body_too_large, write_timeout};
use crate::error::{ErrorClass, GatewayError};
use crate::exchange::Interim;
use crate::http1::{BodyDecoder, BodyFraming, Chunk, encode_interim};
use crate::pace::Pace;
use crate::settings::HttpSettings;
use crate::timer::LazyTimer;
use crate::transport::Transport;

/// Bytes of further requests taken in while one is being answered; beyond it the client waits.
const PIPELINE_LIMIT: usize = 64 * 1024;

/// How often a client whose body nobody reads is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The half of a connection's state that a request's body shares with the serving task.
pub(crate) struct Shared(Mutex<ServerConn>);

impl Shared {
    pub(super) fn new(io: Transport, rbuf: BytesMut, settings: &HttpSettings) -> Self {
        Self(Mutex::new(ServerConn {
            io,
            rbuf,
            out: OutBuf::default(),
            eof: false,
            decoder: BodyDecoder::new(BodyFraming::Empty, &settings.limits),
            tunnel: Tunnel::None,
            tunnel_waker: None,
            continue_pending: false,
            body_dropped: false,
            bytes_in: 0,
            body_error: false,
            max_body: u64::MAX,
            pace: Pace::new(settings),
            body_timer: LazyTimer::default(),
            write_timer: LazyTimer::default(),
            look_timer: LazyTimer::default(),
            interim_allowed: false,
            just_sent: false,
        }))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, ServerConn> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What becomes of a connection whose request asked for an upgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tunnel {
    None,
    Offered,
    Open,
    Refused,
}

pub(super) struct ServerConn {
    pub(super) io: Transport,
    pub(super) rbuf: BytesMut,
    pub(super) out: OutBuf,
    pub(super) eof: bool,
    pub(super) decoder: BodyDecoder,
    pub(super) tunnel: Tunnel,
    pub(super) tunnel_waker: Option<Waker>,
    pub(super) continue_pending: bool,
    pub(super) body_dropped: bool,
    pub(super) bytes_in: u64,
    pub(super) body_error: bool,
    /// More bytes of a body are too many.
    pub(super) max_body: u64,
    pace: Pace,
    body_timer: LazyTimer,
    write_timer: LazyTimer,
    look_timer: LazyTimer,
    pub(super) interim_allowed: bool,
    /// The last thing that happened was that something was sent: the client has hardly answered yet.
    just_sent: bool,
}

impl ServerConn {
    /// Makes ready for the body of a request.
    pub(super) fn expect_body(&mut self, framing: BodyFraming, settings: &HttpSettings) {
        self.decoder = BodyDecoder::new(framing, &settings.limits);
        self.body_dropped = false;
        self.body_error = false;
        self.bytes_in = 0;
        self.look_timer.set(None);
        // What comes through a tunnel is no body.
        self.max_body = match framing {
            BodyFraming::UntilClose => u64::MAX,
            _ => settings.body.max_bytes,
        };
        self.pace = Pace::new(settings);
        self.body_timer.set(None);
    }

    pub(super) fn out_is_clean(&self) -> bool {
        self.out.is_clean()
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.out.poll_flush(&mut self.io, cx)
    }

    /// Writes what waits. Pending for longer than `idle` without a byte being taken, it is an error: the client
    /// does not read.
    pub(super) fn poll_deliver(
        &mut self,
        idle: Duration,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), GatewayError>> {
        self.out.start_untouched();
        match self.poll_flush(cx) {
            Poll::Ready(result) => {
                self.just_sent = true;
                self.write_timer.set(None);
                Poll::Ready(result.map_err(|error| {
                    GatewayError::new(ErrorClass::ClientGone, "writing the reply")
                        .with_source(error)
                }))
            }
            Poll::Pending => {
                if !self.out.is_untouched() || !self.write_timer.is_set() {
                    self.write_timer.set(Some(Clock.now() + idle));
                }
                ready!(self.write_timer.poll_elapsed(cx));
                // What the kernel still holds is for nobody.
                self.io.reset_on_close(true);
                Poll::Ready(Err(write_timeout()))
            }
        }
    }

    pub(super) fn send_continue(&mut self) {
        self.continue_pending = false;
        encode_interim(self.out.tail(), StatusCode::CONTINUE, &HeaderMap::new());
    }

    pub(super) fn decode(&mut self) -> Result<Chunk, GatewayError> {
        self.decoder
            .decode(&mut self.rbuf, self.eof)
            .map_err(|error| {
                self.body_error = true;
                if self.eof {
                    GatewayError::new(ErrorClass::ClientGone, "reading the request body")
                        .with_source(error)
                } else {
                    GatewayError::new(ErrorClass::BadRequest, "decoding the request body")
                        .with_status(error.status())
                        .with_reason(error.reason())
                        .with_source(error)
                }
            })
    }

    /// Counts data of a body.
    pub(super) fn count(&mut self, bytes: usize) -> Result<(), GatewayError> {
        self.bytes_in += bytes as u64;
        if self.bytes_in > self.max_body {
            self.body_error = true;
            return Err(body_too_large(self.max_body));
        }
        Ok(())
    }

    pub(super) fn poll_read_body(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let read = ready!(poll_read_body(&mut self.io, &mut self.rbuf, cx))?;
        self.eof |= read == 0;
        self.body_timer.set(None);
        self.pace.arrived();
        Poll::Ready(Ok(()))
    }

    /// Ready when the client is too slow with its body.
    pub(super) fn poll_body_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.tunnel == Tunnel::Open {
            return Poll::Pending;
        }
        if !self.body_timer.is_set() {
            let by = self.pace.wait(self.bytes_in);
            self.body_timer.set(Some(by));
        }
        ready!(self.body_timer.poll_elapsed(cx));
        self.body_error = true;
        Poll::Ready(())
    }

    pub(super) fn poll_read_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let read = if std::mem::take(&mut self.just_sent) {
            ready!(poll_read_early(&mut self.io, &mut self.rbuf, cx))?
        } else {
            ready!(poll_read_head(&mut self.io, &mut self.rbuf, cx))?
        };
        self.eof |= read == 0;
        Poll::Ready(Ok(read))
    }

    /// Ready when the client closed the connection or broke it while its request is being answered.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            // While a body is outstanding only its reader may read; it will find out. That of a tunnel
            // is read by nobody until the tunnel opens.
            let watched = self.tunnel == Tunnel::Offered
                || self.tunnel == Tunnel::None && self.decoder.is_done();
            if !watched {
                return self.poll_hung_up(cx);
            }
            if self.eof {
                return Poll::Ready(());
            }
            if self.rbuf.len() >= PIPELINE_LIMIT {
                return Poll::Pending;
            }
            // A client that waits for its answer sends nothing.
            self.just_sent = true;
            if ready!(self.poll_read_head(cx)).is_err() {
                return Poll::Ready(());
            }
        }
    }

    /// While nobody reads a body, because the upstream takes no more of it, nobody finds out that the client has left:
    /// that is looked at now and then.
    fn poll_hung_up(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.tunnel != Tunnel::None {
            return Poll::Pending;
        }
        loop {
            if !self.look_timer.is_set() {
                self.look_timer.set(Some(Clock.recent() + LOOK_EVERY));
            }
            ready!(self.look_timer.poll_elapsed(cx));
            self.look_timer.set(None);
            if self.io.is_hung_up() {
                return Poll::Ready(());
            }
        }
    }

    /// Throws away what has arrived of a body nobody wants; true when its end was reached.
    pub(super) fn discard_arrived(&mut self, budget: &mut u64) -> bool {
        while !self.decoder.is_done() && !self.body_error {
            match self.decode() {
                Ok(Chunk::Data(data)) => {
                    *budget = budget.saturating_sub(data.len() as u64);
                    if *budget == 0 {
                        return false;
                    }
                }
                Ok(Chunk::End(_)) => return true,
                Ok(Chunk::NeedMore) | Err(_) => return false,
            }
        }
        self.decoder.is_done() && !self.body_error
    }
}

impl Interim for Shared {
    fn send(&self, status: StatusCode, headers: &HeaderMap) {
        let mut conn = self.lock();
        if conn.interim_allowed {
            encode_interim(conn.out.tail(), status, headers);
        }
    }
}
