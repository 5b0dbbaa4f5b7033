//! Telling HTTP/2 with prior knowledge (h2c) from HTTP/1 by the first bytes.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::Poll;

use bytes::BytesMut;
use tokio::io::AsyncRead;

use crate::conn::ConnHandle;
use crate::transport::Transport;

/// What an HTTP/2 client sends first (RFC 9113 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a plaintext connection speaks.
pub(crate) enum Spoken {
    Http1(BytesMut),
    Http2(BytesMut),
    /// It closed, or the gateway did, before anything was said.
    Nothing,
}

/// Reads into `seen` until the protocol is clear. The bytes are given back with the answer.
pub(crate) async fn detect(
    io: &mut Transport,
    handle: &ConnHandle,
    seen: &mut BytesMut,
) -> io::Result<Spoken> {
    poll_fn(|task| {
        loop {
            if !seen.is_empty() {
                let known = seen.len().min(PREFACE.len());
                if seen[..known] != PREFACE[..known] {
                    return Poll::Ready(Ok(Spoken::Http1(std::mem::take(seen))));
                }
                if known == PREFACE.len() {
                    return Poll::Ready(Ok(Spoken::Http2(std::mem::take(seen))));
                }
            }
            let mut space = [const { std::mem::MaybeUninit::<u8>::uninit() }; 8192];
            let mut read = tokio::io::ReadBuf::uninit(&mut space);
            let Poll::Ready(outcome) = Pin::new(&mut *io).poll_read(task, &mut read) else {
                // Only after a look at the socket: a request that has arrived is still answered.
                if seen.is_empty() && handle.poll_closing(task) {
                    return Poll::Ready(Ok(Spoken::Nothing));
                }
                return Poll::Pending;
            };
            outcome?;
            if read.filled().is_empty() {
                return Poll::Ready(Ok(if seen.is_empty() {
                    Spoken::Nothing
                } else {
                    Spoken::Http1(std::mem::take(seen))
                }));
            }
            seen.extend_from_slice(read.filled());
        }
    })
    .await
}
