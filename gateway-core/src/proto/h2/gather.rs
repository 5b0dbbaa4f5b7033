//! One write per turn of an HTTP/2 connection instead of one per frame.
//!
//! The HTTP/2 engine flushes after each DATA frame. Writes therefore go into a buffer, flushing does
//! nothing, and what one poll of the connection produced is written when that poll is over.

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::transport::Transport;

/// The engine has to wait for the peer when this much is gathered.
const HIGH_WATER: usize = 64 * 1024;

/// The side of a gathering transport that the HTTP/2 engine reads and writes.
pub(super) struct Gather(Arc<Mutex<Inner>>);

/// The side that writes what was gathered.
#[derive(Clone)]
pub(super) struct Gathered(Arc<Mutex<Inner>>);

struct Inner {
    io: Transport,
    buf: Vec<u8>,
    sent: usize,
    dirty: bool,
}

/// Splits a transport into the engine's side and the writing side.
pub(super) fn gather(io: Transport) -> (Gather, Gathered) {
    let inner = Arc::new(Mutex::new(Inner {
        io,
        buf: Vec::new(),
        sent: 0,
        dirty: false,
    }));
    (Gather(inner.clone()), Gathered(inner))
}

impl Gathered {
    /// Writes what was gathered so far.
    pub(super) fn poll_send(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        lock(&self.0).poll_send(cx)
    }

    /// Runs a connection, sending what each poll of it gathered.
    pub(super) async fn drive<C: Future>(self, connection: C) -> Option<C::Output> {
        let mut connection = pin!(connection);
        poll_fn(|cx| {
            let done = connection.as_mut().poll(cx);
            if let Poll::Ready(Err(_)) = self.poll_send(cx) {
                return Poll::Ready(None);
            }
            done.map(Some)
        })
        .await
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
}

impl AsyncRead for Gather {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut lock(&self.0).io).poll_read(cx, buf)
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
        let mut inner = lock(&self.0);
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
        let mut inner = lock(&self.0);
        ready!(inner.poll_send(cx))?;
        Pin::new(&mut inner.io).poll_shutdown(cx)
    }
}

fn lock(inner: &Mutex<Inner>) -> MutexGuard<'_, Inner> {
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}
