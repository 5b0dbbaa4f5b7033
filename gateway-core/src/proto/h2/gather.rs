//! One write per turn of an HTTP/2 connection instead of one per frame.
//!
//! The HTTP/2 engine flushes after each DATA frame. Writes therefore go into a buffer, flushing does
//! nothing, and what one poll of the connection produced is written when that poll is over.

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::clock::Clock;
use crate::pool::Place;
use crate::timer::LazyTimer;
use crate::transport::Transport;

/// The engine has to wait for the peer when this much is gathered.
const HIGH_WATER: usize = 64 * 1024;
/// How long a connection that is over may take to deliver its last words.
const LINGER: Duration = Duration::from_secs(1);
/// How much is read, without a pause, of what a peer sends to a connection that is over.
const MOST_DISCARDED: usize = 16 << 20;

/// The side of a gathering transport that the HTTP/2 engine reads and writes, until it is dropped.
pub(super) struct Gather {
    inner: Arc<Mutex<Inner>>,
    _place: Option<Place>,
}

/// The side that writes what was gathered. The task that drives the connection is the only one that reads
/// and writes: a transport remembers one task for each direction.
pub(super) struct Gathered(Arc<Mutex<Inner>>);

struct Inner {
    io: Transport,
    buf: Vec<u8>,
    sent: usize,
    dirty: bool,
    /// Everything that was ever written.
    written: u64,
    /// The engine has let go of the connection.
    left: bool,
    /// Something was read since that was last asked.
    heard: bool,
}

/// Splits a transport into the engine's side and the writing side. The connection has its place in a pool
/// until the engine lets go of it.
pub(super) fn gather(io: Transport, place: Option<Place>) -> (Gather, Gathered) {
    let inner = Arc::new(Mutex::new(Inner {
        io,
        buf: Vec::new(),
        sent: 0,
        dirty: false,
        written: 0,
        left: false,
        heard: false,
    }));
    (
        Gather {
            inner: inner.clone(),
            _place: place,
        },
        Gathered(inner),
    )
}

impl Gathered {
    /// Writes what was gathered so far.
    pub(super) fn poll_send(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        lock(&self.0).poll_send(cx)
    }

    /// Runs a connection, sending what each poll of it gathered.
    pub(super) async fn drive<C: Future>(&self, connection: C) -> Option<C::Output> {
        let mut connection = pin!(connection);
        poll_fn(|cx| {
            let done = connection.as_mut().poll(cx);
            if let Poll::Ready(Err(_)) = self.poll_send(cx) {
                // What the peer said before it stopped listening still counts.
                if done.is_pending() {
                    let _ = connection.as_mut().poll(cx);
                }
                return Poll::Ready(None);
            }
            done.map(Some)
        })
        .await
    }

    /// As [`drive`](Self::drive), but a peer that takes nothing for `idle` while something waits ends the
    /// connection; `stalled` is told before.
    pub(super) async fn drive_within<C: Future>(
        &self,
        connection: C,
        idle: Duration,
        stalled: impl Fn(),
    ) -> Option<C::Output> {
        let mut connection = pin!(connection);
        let mut timer = LazyTimer::default();
        let mut seen = 0;
        poll_fn(|cx| {
            let done = connection.as_mut().poll(cx);
            match self.poll_send(cx) {
                Poll::Ready(Ok(())) => timer.set(None),
                Poll::Ready(Err(_)) => return Poll::Ready(None),
                Poll::Pending => {
                    let written = lock(&self.0).written;
                    if written != seen || !timer.is_set() {
                        seen = written;
                        timer.set(Some(Clock.now() + idle));
                    }
                    if done.is_pending() && timer.poll_elapsed(cx).is_ready() {
                        stalled();
                        lock(&self.0).io.reset_on_close(true);
                        return Poll::Ready(None);
                    }
                }
            }
            done.map(Some)
        })
        .await
    }

    /// Whether anything came from the peer since this was last asked.
    pub(super) fn take_heard(&self) -> bool {
        std::mem::take(&mut lock(&self.0).heard)
    }

    /// Once the engine has let go: delivers what is left, ends the sending direction, and throws away what the peer
    /// still sends until it ends its own, as far as it goes along. A socket that is closed while data is unread
    /// is reset, and a reset destroys what is on its way to the peer, such as the reason for the end.
    pub(super) async fn finish(self) {
        if !lock(&self.0).left {
            return;
        }
        let mut shut = false;
        let finishing = poll_fn(|cx| {
            let mut inner = lock(&self.0);
            if !shut {
                ready!(inner.poll_send(cx))?;
                ready!(Pin::new(&mut inner.io).poll_shutdown(cx))?;
                shut = true;
            }
            inner.poll_discard(cx)
        });
        // Nobody is left who could be told of a failure.
        let _ = tokio::time::timeout(LINGER, finishing).await;
    }
}

impl Inner {
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.buf.len() {
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, &self.buf[self.sent..]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += written;
            self.written += written as u64;
        }
        if self.dirty {
            ready!(Pin::new(&mut self.io).poll_flush(cx))?;
            // An idle connection owns no buffer.
            self.buf = Vec::new();
            self.sent = 0;
            self.dirty = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Ready when the peer has ended its direction, or does not stop.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut space = [MaybeUninit::uninit(); 8 * 1024];
        for _ in 0..MOST_DISCARDED / space.len() {
            let mut buf = ReadBuf::uninit(&mut space);
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut buf))?;
            if buf.filled().is_empty() {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for Gather {
    fn drop(&mut self) {
        lock(&self.inner).left = true;
    }
}

impl AsyncRead for Gather {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut inner = lock(&self.inner);
        let before = buf.filled().len();
        ready!(Pin::new(&mut inner.io).poll_read(cx, buf))?;
        inner.heard |= buf.filled().len() > before;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Gather {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut inner = lock(&self.inner);
        if inner.buf.len() >= HIGH_WATER {
            ready!(inner.poll_send(cx))?;
        }
        let before = inner.buf.len();
        for buf in bufs {
            inner.buf.extend_from_slice(buf);
        }
        inner.dirty = true;
        Poll::Ready(Ok(inner.buf.len() - before))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = lock(&self.inner);
        ready!(inner.poll_send(cx))?;
        Pin::new(&mut inner.io).poll_shutdown(cx)
    }
}

fn lock(inner: &Mutex<Inner>) -> MutexGuard<'_, Inner> {
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}
