//! Moving bytes both ways between a client and an endpoint.
//!
//! A connection that waits owns no buffer: bytes pass through one that the worker's connections share, and only what
//! the other side does not take at once is kept.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::route::{End, StreamMetrics};
use crate::clock::Clock;
use crate::timer::LazyTimer;
use crate::transport::Transport;

/// How much one read asks for.
const READ: usize = 64 * 1024;
/// Reads of one direction before the other one has its turn.
const TURNS: usize = 8;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into_boxed_slice());
}

/// Lends the room for one read, or one datagram of any length, that all connections of a worker share.
pub(super) fn with_scratch<R>(with: impl FnOnce(&mut [u8]) -> R) -> R {
    SCRATCH.with_borrow_mut(|scratch| with(scratch))
}

/// Moves bytes until both sides have ended, one has broken, or nothing moved for `idle`. `first` was read from the
/// client already.
///
/// Each side may end its direction and go on reading. What breaks is reset on the other side too, so that nobody
/// takes a part for the whole.
pub(crate) struct Copy<'m> {
    client: Transport,
    endpoint: Transport,
    up: Direction,
    down: Direction,
    idle: Option<Duration>,
    timer: LazyTimer,
    metrics: &'m StreamMetrics,
}

impl<'m> Copy<'m> {
    pub(crate) fn new(
        client: Transport,
        endpoint: Transport,
        first: BytesMut,
        idle: Option<Duration>,
        metrics: &'m StreamMetrics,
    ) -> Self {
        Self {
            client,
            endpoint,
            up: Direction {
                pending: first.freeze(),
                ..Direction::default()
            },
            down: Direction::default(),
            idle,
            timer: LazyTimer::default(),
            metrics,
        }
    }

    /// What was moved so far.
    pub(crate) fn moved(&self) -> (u64, u64) {
        (self.up.moved, self.down.moved)
    }

    /// Moves bytes until the end.
    ///
    /// # Cancel safety
    /// May be dropped and called again.
    pub(crate) async fn run(&mut self) -> End {
        self.timer.set(self.idle.map(|idle| Clock.now() + idle));
        let end = poll_fn(|cx| self.poll(cx)).await;
        if end != End::Complete {
            self.client.reset_on_close(true);
            self.endpoint.reset_on_close(true);
        }
        end
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let before = self.moved();
        let up = self.up.poll(&mut self.client, &mut self.endpoint, cx);
        let down = self.down.poll(&mut self.endpoint, &mut self.client, cx);
        let (received, sent) = (self.up.moved - before.0, self.down.moved - before.1);
        if received > 0 {
            self.metrics.received.add(received);
        }
        if sent > 0 {
            self.metrics.sent.add(sent);
        }
        match (up, down) {
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => return Poll::Ready(End::Complete),
            (Poll::Ready(Err(Side::From)), _) | (_, Poll::Ready(Err(Side::To))) => {
                return Poll::Ready(End::ClientReset);
            }
            (Poll::Ready(Err(Side::To)), _) | (_, Poll::Ready(Err(Side::From))) => {
                return Poll::Ready(End::UpstreamReset);
            }
            _ => {}
        }
        if received + sent > 0
            && let Some(idle) = self.idle
        {
            self.timer.set(Some(Clock.now() + idle));
        }
        ready!(self.timer.poll_elapsed(cx));
        Poll::Ready(End::Idle)
    }
}

/// Whose fault a failure is: of the side that is read from, or that is written to.
enum Side {
    From,
    To,
}

#[derive(Default)]
struct Direction {
    /// What was read and not yet written.
    pending: Bytes,
    moved: u64,
    state: State,
    unflushed: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Open,
    /// There is nothing more to read.
    Ended,
    /// The other side knows.
    Told,
}

impl Direction {
    fn poll(
        &mut self,
        from: &mut Transport,
        to: &mut Transport,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Side>> {
        for _ in 0..TURNS {
            match self.state {
                State::Told => return Poll::Ready(Ok(())),
                State::Ended if self.pending.is_empty() => {
                    ready!(Pin::new(to).poll_shutdown(cx)).map_err(|_| Side::To)?;
                    self.state = State::Told;
                    return Poll::Ready(Ok(()));
                }
                _ => {}
            }
            if !self.pending.is_empty() {
                let written = ready!(write(to, cx, &self.pending))?;
                self.moved += written as u64;
                self.unflushed = to.needs_flush();
                self.pending.advance(written);
                if self.pending.is_empty() {
                    // Gives the memory back.
                    self.pending = Bytes::new();
                }
                continue;
            }
            if self.poll_pass(from, to, cx)?.is_pending() {
                return self.poll_flush(to, cx);
            }
        }
        // Others of this worker want a turn too.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Reads once and writes what was read.
    fn poll_pass(
        &mut self,
        from: &mut Transport,
        to: &mut Transport,
        cx: &mut Context<'_>,
    ) -> Result<Poll<()>, Side> {
        with_scratch(|scratch| {
            let mut space = ReadBuf::new(scratch);
            match Pin::new(from).poll_read(cx, &mut space) {
                Poll::Pending => return Ok(Poll::Pending),
                Poll::Ready(Ok(())) => {}
                // Many clients of TLS end without saying so; what they sent was whole to them.
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {}
                Poll::Ready(Err(_)) => return Err(Side::From),
            }
            let mut read = space.filled();
            if read.is_empty() {
                self.state = State::Ended;
            }
            while !read.is_empty() {
                let Poll::Ready(written) = write(to, cx, read) else {
                    self.pending = Bytes::copy_from_slice(read);
                    break;
                };
                let written = written?;
                self.moved += written as u64;
                self.unflushed = to.needs_flush();
                read = &read[written..];
            }
            Ok(Poll::Ready(()))
        })
    }

    fn poll_flush(&mut self, to: &mut Transport, cx: &mut Context<'_>) -> Poll<Result<(), Side>> {
        if self.unflushed {
            ready!(Pin::new(to).poll_flush(cx)).map_err(|_| Side::To)?;
            self.unflushed = false;
        }
        Poll::Pending
    }
}

fn write(to: &mut Transport, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize, Side>> {
    match ready!(Pin::new(to).poll_write(cx, bytes)) {
        Ok(0) | Err(_) => Poll::Ready(Err(Side::To)),
        Ok(written) => Poll::Ready(Ok(written)),
    }
}
