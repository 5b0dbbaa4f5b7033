//! One export request over a connection of its own.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::net::TcpStream;

use super::endpoint::Endpoint;

/// From connecting to the head of the answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Why a batch did not arrive.
#[derive(Debug, thiserror::Error)]
pub(super) enum PostError {
    #[error("connecting to the collector")]
    Connect(#[source] io::Error),
    #[error("talking to the collector")]
    Exchange(#[source] hyper::Error),
    #[error("putting the request together")]
    Request(#[source] http::Error),
    #[error("the collector answered {0}")]
    Status(StatusCode),
    #[error("the collector did not answer in time")]
    Timeout,
}

impl PostError {
    /// The same batch may succeed later (OTLP specification, "Failures").
    pub(super) fn is_retryable(&self) -> bool {
        match self {
            Self::Connect(_) | Self::Exchange(_) | Self::Timeout => true,
            Self::Request(_) => false,
            Self::Status(status) => matches!(status.as_u16(), 429 | 502 | 503 | 504),
        }
    }
}

/// Posts one encoded batch.
pub(super) async fn post(endpoint: &Endpoint, body: Bytes) -> Result<(), PostError> {
    tokio::time::timeout(TIMEOUT, exchange(endpoint, body))
        .await
        .unwrap_or(Err(PostError::Timeout))
}

async fn exchange(endpoint: &Endpoint, body: Bytes) -> Result<(), PostError> {
    let stream = TcpStream::connect((endpoint.host(), endpoint.port()))
        .await
        .map_err(PostError::Connect)?;
    let (mut sender, connection) = http1::handshake(Io(stream))
        .await
        .map_err(PostError::Exchange)?;
    let request = Request::post(endpoint.path.as_str())
        .header(header::HOST, endpoint.authority.as_str())
        .header(header::CONTENT_TYPE, "application/x-protobuf")
        .header(header::CONNECTION, "close")
        .header(
            header::USER_AGENT,
            concat!("portcullis/", env!("CARGO_PKG_VERSION")),
        )
        .body(Full::new(body))
        .map_err(PostError::Request)?;
    let answer = async move {
        // The sender is dropped with this future, which lets the connection end.
        sender
            .send_request(request)
            .await
            .map(|reply| reply.status())
    };
    // How the connection ended matters only through the answer.
    let (status, _closed) = tokio::join!(answer, connection);
    match status.map_err(PostError::Exchange)? {
        status if status.is_success() => Ok(()),
        status => Err(PostError::Status(status)),
    }
}

/// A TCP stream as hyper reads and writes it.
struct Io(TcpStream);

impl Read for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        // Answers of a collector are short: a copy through the stack costs less than it saves.
        let mut space = [0; 2048];
        let most = space.len().min(cursor.remaining());
        let mut read = ReadBuf::new(&mut space[..most]);
        ready!(Pin::new(&mut self.0).poll_read(cx, &mut read))?;
        cursor.put_slice(read.filled());
        Poll::Ready(Ok(()))
    }
}

impl Write for Io {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
