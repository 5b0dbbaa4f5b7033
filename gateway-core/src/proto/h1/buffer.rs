//! Reading from and queueing to a transport.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::io::poll_read_buf;

use super::spare::{self, HEAD_READ};
use crate::transport::Transport;

/// How much one read of a body asks for.
const BODY_READ: usize = 64 * 1024;
/// Data up to this size is copied behind the head, so that both leave in one plain write.
const COPY_LIMIT: usize = 4 * 1024;
/// How many pieces one vectored write takes.
const MAX_SLICES: usize = 32;

/// Reads what is there into `buf`; 0 means the peer will send nothing more.
///
/// `buf` stays without memory while nothing arrives, so that a connection that waits for a head owns none.
pub(super) fn poll_read_head(
    io: &mut Transport,
    buf: &mut BytesMut,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    if buf.capacity() > 0 {
        if buf.capacity() - buf.len() < HEAD_READ / 2 {
            buf.reserve(HEAD_READ);
        }
        return poll_read_buf(Pin::new(io), cx, buf);
    }
    let mut lent = spare::read_buffer();
    let read = poll_read_buf(Pin::new(io), cx, &mut lent);
    if lent.is_empty() {
        spare::keep_read_buffer(lent);
    } else {
        *buf = lent;
    }
    read
}

/// The same where hardly anything can have arrived: looks before it takes memory and tries.
pub(super) fn poll_read_early(
    io: &mut Transport,
    buf: &mut BytesMut,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    ready!(io.poll_readable(cx))?;
    poll_read_head(io, buf, cx)
}

/// Whether a connection on which nothing is awaited is still open. Costs no system call unless the poller has
/// seen an event on the socket.
pub(super) fn is_quiet(io: &mut Transport) -> bool {
    let mut task = Context::from_waker(std::task::Waker::noop());
    let mut byte = [0];
    Pin::new(io)
        .poll_read(&mut task, &mut ReadBuf::new(&mut byte))
        .is_pending()
}

/// Reads body data into `buf`, which grows by what one large read needs.
pub(super) fn poll_read_body(
    io: &mut Transport,
    buf: &mut BytesMut,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    if buf.capacity() - buf.len() < BODY_READ / 4 {
        buf.reserve(BODY_READ);
    }
    poll_read_buf(Pin::new(io), cx, buf)
}

/// Bytes on their way out: heads and small data copied together, large data by reference.
#[derive(Debug, Default)]
pub(super) struct OutBuf {
    queue: VecDeque<Bytes>,
    queued: usize,
    tail: Vec<u8>,
    /// How much of `tail` was written.
    sent: usize,
    dirty: bool,
    /// Whether the transport took anything since [`start_untouched`](Self::start_untouched).
    touched: bool,
}

impl OutBuf {
    /// Where to encode heads and chunk sizes.
    pub(super) fn tail(&mut self) -> &mut Vec<u8> {
        self.dirty = true;
        if self.tail.capacity() == 0 {
            self.tail = spare::write_buffer();
        }
        &mut self.tail
    }

    /// Queues data behind everything before it.
    pub(super) fn push(&mut self, data: Bytes) {
        self.dirty = true;
        if data.len() <= COPY_LIMIT {
            self.tail().extend_from_slice(&data);
            return;
        }
        if self.sent < self.tail.len() {
            let mut tail = Bytes::from(std::mem::take(&mut self.tail));
            tail.advance(std::mem::take(&mut self.sent));
            self.queued += tail.len();
            self.queue.push_back(tail);
        }
        self.queued += data.len();
        self.queue.push_back(data);
    }

    /// How many bytes wait.
    pub(super) fn len(&self) -> usize {
        self.queued + self.tail.len() - self.sent
    }

    /// Whether nothing waits and nothing is left to flush.
    pub(super) fn is_clean(&self) -> bool {
        !self.dirty
    }

    /// Counts anew from here whether anything is written.
    pub(super) fn start_untouched(&mut self) {
        self.touched = false;
    }

    /// Whether the transport has taken nothing since [`start_untouched`](Self::start_untouched).
    pub(super) fn is_untouched(&self) -> bool {
        !self.touched
    }

    /// Everything that waits, if the transport has taken nothing since [`start_untouched`](Self::start_untouched).
    pub(super) fn take_unsent(&mut self) -> Option<BytesMut> {
        if self.touched {
            return None;
        }
        let mut all = BytesMut::with_capacity(self.len());
        for data in self.queue.drain(..) {
            all.extend_from_slice(&data);
        }
        all.extend_from_slice(&self.tail[self.sent..]);
        *self = Self::default();
        Some(all)
    }

    /// Gives memory back once everything was written.
    pub(super) fn release(&mut self) {
        if self.len() == 0 {
            spare::keep_write_buffer(std::mem::take(&mut self.tail));
            if self.queue.capacity() > 0 {
                self.queue = VecDeque::new();
            }
        }
    }

    /// Writes everything and flushes layers that keep data.
    pub(super) fn poll_flush(
        &mut self,
        io: &mut Transport,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.len() > 0 {
            let written = if self.queue.is_empty() {
                ready!(Pin::new(&mut *io).poll_write(cx, &self.tail[self.sent..]))?
            } else {
                let mut slices = [IoSlice::new(&[]); MAX_SLICES];
                let mut used = 0;
                for (slot, data) in slices.iter_mut().zip(
                    self.queue
                        .iter()
                        .map(|data| &data[..])
                        .chain(std::iter::once(&self.tail[self.sent..])),
                ) {
                    *slot = IoSlice::new(data);
                    used += 1;
                }
                ready!(Pin::new(&mut *io).poll_write_vectored(cx, &slices[..used]))?
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(written);
        }
        if self.dirty {
            if io.needs_flush() {
                ready!(Pin::new(io).poll_flush(cx))?;
            }
            self.dirty = false;
        }
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, mut written: usize) {
        self.touched = true;
        while written > 0 {
            let Some(front) = self.queue.front_mut() else {
                self.sent += written;
                if self.sent >= self.tail.len() {
                    self.tail.clear();
                    self.sent = 0;
                }
                return;
            };
            let step = written.min(front.len());
            front.advance(step);
            self.queued -= step;
            written -= step;
            if front.is_empty() {
                self.queue.pop_front();
            }
        }
    }
}
