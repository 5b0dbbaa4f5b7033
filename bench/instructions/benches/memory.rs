//! Connections without sockets: the other side is a script.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The other side of a connection.
pub(crate) trait Peer: Send + 'static {
    /// At most `room` bytes that arrive at the gateway now.
    fn arriving(&mut self, room: usize) -> Option<&'static [u8]>;

    /// Takes what the gateway wrote.
    fn take(&mut self, bytes: &[u8]);
}

/// A client that sends a request when it is told to.
#[derive(Default)]
pub(crate) struct Client {
    unsent: &'static [u8],
    reply: Option<bool>,
}

impl Client {
    pub(crate) fn send(&mut self, request: &'static str) {
        self.unsent = request.as_bytes();
    }

    /// Whether what came since the last call is the upstream's reply; `None` if nothing came.
    pub(crate) fn reply(&mut self) -> Option<bool> {
        self.reply.take()
    }
}

impl Peer for Client {
    fn arriving(&mut self, room: usize) -> Option<&'static [u8]> {
        let now = self.unsent.split_off(..self.unsent.len().min(room))?;
        (!now.is_empty()).then_some(now)
    }

    fn take(&mut self, bytes: &[u8]) {
        let good = bytes.starts_with(b"HTTP/1.1 200 ") && bytes.ends_with(b"......");
        self.reply = Some(good && self.reply != Some(false));
    }
}

/// An upstream that answers 1 KiB to each request. As over a socket, who asks for the reply at once asks in vain.
pub(crate) struct Upstream {
    reply: &'static [u8],
    /// How the request ends.
    end: &'static [u8],
    state: State,
}

enum State {
    Quiet,
    Asked,
    Answers(&'static [u8]),
}

impl Upstream {
    pub(crate) fn new(request: &'static str) -> Self {
        let (head, body) = ("HTTP/1.1 200 OK\r\nServer: app\r\n", ".".repeat(1024));
        let fields = "Content-Type: application/json\r\nContent-Length: 1024\r\n\r\n";
        Self {
            // There is one of them for each count.
            reply: format!("{head}{fields}{body}").leak().as_bytes(),
            end: &request.as_bytes()[request.len() - 4..],
            state: State::Quiet,
        }
    }
}

impl Peer for Upstream {
    fn arriving(&mut self, room: usize) -> Option<&'static [u8]> {
        match self.state {
            State::Quiet => None,
            State::Asked => {
                self.state = State::Answers(self.reply);
                None
            }
            State::Answers(mut unsent) => {
                let now = unsent.split_off(..unsent.len().min(room))?;
                self.state = if unsent.is_empty() {
                    State::Quiet
                } else {
                    State::Answers(unsent)
                };
                Some(now)
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        if bytes.ends_with(self.end) {
            self.state = State::Asked;
        }
    }
}

/// The gateway's side of a connection to `P`. It wakes nobody: who owns the peer polls when there is something.
#[derive(Debug)]
pub(crate) struct Memory<P>(Arc<Mutex<P>>);

impl<P> Clone for Memory<P> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<P: Peer> Memory<P> {
    pub(crate) fn new(peer: P) -> Self {
        Self(Arc::new(Mutex::new(peer)))
    }

    pub(crate) fn peer(&self) -> MutexGuard<'_, P> {
        self.0.lock().unwrap()
    }
}

impl<P: Peer> AsyncRead for Memory<P> {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.peer().arriving(buf.remaining()) {
            Some(bytes) => {
                buf.put_slice(bytes);
                Poll::Ready(Ok(()))
            }
            None => Poll::Pending,
        }
    }
}

impl<P: Peer> AsyncWrite for Memory<P> {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.peer().take(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut peer = self.peer();
        for slice in slices {
            peer.take(slice);
        }
        Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
