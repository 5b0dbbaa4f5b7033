//! A request body on its way to an HTTP/2 endpoint, and whether it moves.
//!
//! The engine reads the body in a task of its own, so whoever waits for the response cannot see whether the
//! endpoint is silent because it has nothing to say or because it still listens.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::body::Body;
use crate::error::GatewayError;

/// What is known of an upload.
#[derive(Debug, Default)]
pub(super) struct Upload {
    frames: AtomicU64,
    /// The endpoint takes data and the client has sent none yet.
    starving: AtomicBool,
}

impl Upload {
    /// Puts a watch on `body`; a body that is complete needs none.
    pub(super) fn watch(body: Body) -> (Body, Option<Arc<Self>>) {
        if body.is_end_stream() {
            return (body, None);
        }
        let upload = Arc::new(Self::default());
        let watched = Watched {
            body,
            upload: upload.clone(),
        };
        (Body::new(watched), Some(upload))
    }

    /// Whether the endpoint may be blamed for its silence, given what `seen` was when it began to be counted.
    pub(super) fn is_over_or_stuck(&self, seen: &mut u64) -> bool {
        let frames = self.frames.load(Ordering::Relaxed);
        let moved = std::mem::replace(seen, frames) != frames;
        !moved && !self.starving.load(Ordering::Relaxed)
    }
}

struct Watched {
    body: Body,
    upload: Arc<Upload>,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = GatewayError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, GatewayError>>> {
        let frame = Pin::new(&mut self.body).poll_frame(task);
        self.upload
            .starving
            .store(frame.is_pending(), Ordering::Relaxed);
        if frame.is_ready() {
            self.upload.frames.fetch_add(1, Ordering::Relaxed);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.upload.starving.store(false, Ordering::Relaxed);
    }
}
