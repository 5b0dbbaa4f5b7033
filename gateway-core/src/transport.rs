//! The byte stream under a connection.

use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use futures_util::FutureExt;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::{client, server};

use crate::rewind::Rewind;

/// A byte stream to a client or an endpoint: TCP, a Unix socket, TLS over either, or something of the user's.
pub struct Transport(Repr);

enum Repr {
    Tcp(TcpStream),
    Unix(UnixStream),
    TlsServer(Box<server::TlsStream<Transport>>),
    TlsClient(Box<client::TlsStream<Transport>>),
    Rewound(Box<Rewind>),
    Boxed(Box<dyn Io>),
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

impl Transport {
    /// Takes any byte stream, for example an in-memory duplex in a test or a tunnel.
    pub fn new(io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        Self(Repr::Boxed(Box::new(io)))
    }

    pub(crate) fn tls_server(stream: server::TlsStream<Self>) -> Self {
        Self(Repr::TlsServer(Box::new(stream)))
    }

    pub(crate) fn tls_client(stream: client::TlsStream<Self>) -> Self {
        Self(Repr::TlsClient(Box::new(stream)))
    }

    /// Gives `first`, which was read from `io` before, to whoever reads.
    pub(crate) fn rewound(first: BytesMut, io: Self) -> Self {
        if first.is_empty() {
            return io;
        }
        Self(Repr::Rewound(Box::new(Rewind::new(first, io))))
    }

    /// Whether this is a TLS session that the gateway opened.
    pub(crate) fn is_tls_client(&self) -> bool {
        matches!(self.0, Repr::TlsClient(_))
    }

    /// Whether closing resets the connection instead of ending it in order, so that the peer cannot take what it
    /// got for the whole. Only TCP knows the difference.
    pub(crate) fn reset_on_close(&self, reset: bool) {
        match &self.0 {
            Repr::Tcp(stream) => {
                let linger = reset.then_some(Duration::ZERO);
                // A socket that is broken already cannot be closed in order anyway.
                let _ = socket2::SockRef::from(stream).set_linger(linger);
            }
            Repr::TlsServer(stream) => stream.get_ref().0.reset_on_close(reset),
            Repr::TlsClient(stream) => stream.get_ref().0.reset_on_close(reset),
            Repr::Rewound(rewind) => rewind.io().reset_on_close(reset),
            Repr::Unix(_) | Repr::Boxed(_) => {}
        }
    }

    /// Whether the other side has ended its direction or broken the connection, even if it sent data before that nobody
    /// has read. Costs no call of the system, and knows what the poller has seen so far.
    pub(crate) fn is_hung_up(&self) -> bool {
        let ready = match &self.0 {
            Repr::Tcp(stream) => stream.ready(Interest::READABLE).now_or_never(),
            Repr::Unix(stream) => stream.ready(Interest::READABLE).now_or_never(),
            Repr::TlsServer(stream) => return stream.get_ref().0.is_hung_up(),
            Repr::TlsClient(stream) => return stream.get_ref().0.is_hung_up(),
            Repr::Rewound(rewind) => return rewind.io().is_hung_up(),
            Repr::Boxed(_) => None,
        };
        matches!(ready, Some(Ok(ready)) if ready.is_read_closed())
    }

    /// Ready when a read is worth a try. Where only a read can tell, it always is.
    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.0 {
            Repr::Tcp(stream) => stream.poll_read_ready(cx),
            Repr::Unix(stream) => stream.poll_read_ready(cx),
            Repr::Rewound(rewind) if !rewind.has_more() => rewind.io().poll_readable(cx),
            Repr::TlsServer(_) | Repr::TlsClient(_) | Repr::Rewound(_) | Repr::Boxed(_) => {
                Poll::Ready(Ok(()))
            }
        }
    }

    /// Whether writes pass through a layer that keeps them until flushed.
    pub(crate) fn needs_flush(&self) -> bool {
        match &self.0 {
            Repr::Tcp(_) | Repr::Unix(_) => false,
            Repr::Rewound(rewind) => rewind.io().needs_flush(),
            _ => true,
        }
    }
}

impl From<TcpStream> for Transport {
    fn from(stream: TcpStream) -> Self {
        Self(Repr::Tcp(stream))
    }
}

impl From<UnixStream> for Transport {
    fn from(stream: UnixStream) -> Self {
        Self(Repr::Unix(stream))
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Repr::Tcp(_) => "Transport(tcp)",
            Repr::Unix(_) => "Transport(unix)",
            Repr::TlsServer(_) | Repr::TlsClient(_) => "Transport(tls)",
            Repr::Rewound(_) => "Transport(rewound)",
            Repr::Boxed(_) => "Transport(boxed)",
        })
    }
}

macro_rules! each {
    ($self:expr, $io:ident => $call:expr) => {
        match &mut $self.get_mut().0 {
            Repr::Tcp($io) => $call,
            Repr::Unix($io) => $call,
            Repr::TlsServer($io) => $call,
            Repr::TlsClient($io) => $call,
            Repr::Rewound($io) => $call,
            Repr::Boxed($io) => $call,
        }
    };
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        each!(self, io => Pin::new(io).poll_read(cx, buf))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        each!(self, io => Pin::new(io).poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, io => Pin::new(io).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, io => Pin::new(io).poll_shutdown(cx))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self, io => Pin::new(io).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match &self.0 {
            Repr::Tcp(_) | Repr::Unix(_) => true,
            Repr::TlsServer(io) => io.is_write_vectored(),
            Repr::TlsClient(io) => io.is_write_vectored(),
            Repr::Rewound(io) => io.is_write_vectored(),
            Repr::Boxed(io) => io.is_write_vectored(),
        }
    }
}
