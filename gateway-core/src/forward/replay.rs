//! A request body that can be sent again.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::body::Body;
use crate::error::GatewayError;

/// The source of a body that several attempts may read, one after the other.
pub(crate) struct Replay(Arc<Mutex<Source>>);

struct Source {
    body: Body,
    kept: VecDeque<Bytes>,
    size: usize,
    limit: usize,
    trailers: Option<HeaderMap>,
    ended: bool,
    /// Something was passed on that is not kept: no further attempt can have the whole body.
    lost: bool,
    hint: SizeHint,
}

impl Replay {
    /// Keeps up to `limit` bytes of `body`.
    pub(crate) fn new(body: Body, limit: usize) -> Self {
        Self(Arc::new(Mutex::new(Source {
            hint: body.size_hint(),
            ended: body.is_end_stream(),
            body,
            kept: VecDeque::new(),
            size: 0,
            limit,
            trailers: None,
            lost: false,
        })))
    }

    /// Whether another attempt would get the whole body.
    pub(crate) fn is_whole(&self) -> bool {
        !lock(&self.0).lost
    }

    /// The body for one attempt, from its start.
    pub(crate) fn attempt(&self) -> Body {
        let source = lock(&self.0);
        if source.ended && source.kept.is_empty() && source.trailers.is_none() {
            return Body::empty();
        }
        let left = source.hint.exact();
        drop(source);
        Body::new(Attempt {
            source: self.0.clone(),
            position: 0,
            done: false,
            left,
        })
    }
}

struct Attempt {
    source: Arc<Mutex<Source>>,
    position: usize,
    done: bool,
    left: Option<u64>,
}

impl HttpBody for Attempt {
    type Data = Bytes;
    type Error = GatewayError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, GatewayError>>> {
        if self.done {
            return Poll::Ready(None);
        }
        let this = &mut *self;
        let mut source = lock(&this.source);
        if let Some(data) = source.kept.get(this.position) {
            let data = data.clone();
            this.position += 1;
            this.left = this.left.map(|left| left.saturating_sub(data.len() as u64));
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if source.ended {
            this.done = true;
            return Poll::Ready(
                source
                    .trailers
                    .clone()
                    .map(|trailers| Ok(Frame::trailers(trailers))),
            );
        }
        let Some(frame) = ready!(Pin::new(&mut source.body).poll_frame(cx)) else {
            source.ended = true;
            this.done = true;
            return Poll::Ready(None);
        };
        match frame {
            Err(error) => {
                source.lost = true;
                source.ended = true;
                this.done = true;
                Poll::Ready(Some(Err(error)))
            }
            Ok(frame) => match frame.into_data() {
                Ok(data) => {
                    this.left = this.left.map(|left| left.saturating_sub(data.len() as u64));
                    source.size += data.len();
                    if source.size <= source.limit && !source.lost {
                        source.kept.push_back(data.clone());
                        this.position += 1;
                    } else {
                        source.lost = true;
                        source.kept.clear();
                        this.position = 0;
                    }
                    Poll::Ready(Some(Ok(Frame::data(data))))
                }
                Err(frame) => {
                    let trailers = frame.into_trailers().ok();
                    source.trailers.clone_from(&trailers);
                    source.ended = true;
                    this.done = true;
                    Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
                }
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.done || self.left == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.left
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

fn lock(source: &Arc<Mutex<Source>>) -> MutexGuard<'_, Source> {
    source.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn gives_every_attempt_the_same_body() {
        let replay = Replay::new(Body::from("hello"), 16);
        for _ in 0..3 {
            let got = replay.attempt().collect(100).await.unwrap();
            assert_eq!(got.data, "hello");
        }
        assert!(replay.is_whole());
    }

    #[tokio::test]
    async fn says_when_it_cannot() {
        let replay = Replay::new(Body::from("hello"), 4);
        assert_eq!(replay.attempt().collect(100).await.unwrap().data, "hello");
        assert!(!replay.is_whole());
    }

    #[tokio::test]
    async fn keeps_trailers() {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", http::HeaderValue::from_static("1"));
        let replay = Replay::new(
            Body::with_trailers(Bytes::from_static(b"a"), trailers.clone()),
            16,
        );
        for _ in 0..2 {
            assert_eq!(
                replay.attempt().collect(9).await.unwrap().trailers,
                Some(trailers.clone())
            );
        }
    }
}
