//! Copies of requests for upstreams whose answers nobody sees.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::EXPECT;
use http::request::Parts;
use http::{HeaderMap, Request};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;

use super::{AttemptCx, UpstreamClient};
use crate::balance::{PickCx, rng};
use crate::body::Body;
use crate::error::GatewayError;
use crate::exchange::Exchange;
use crate::observe::{Counter, Metrics};
use crate::spawn::spawn;

/// How long a copy may take, its answer included.
const LONGEST: Duration = Duration::from_secs(30);
/// Answers are read up to this size, so that their connection can be used again.
const DISCARDED: usize = 1 << 20;

/// An upstream that gets copies of a route's requests.
#[derive(Debug)]
pub(crate) struct Mirror {
    client: Arc<UpstreamClient>,
    /// The part of the requests that is copied, 0 to 1.
    share: f64,
    max_body: usize,
    max_in_flight: usize,
    in_flight: AtomicUsize,
    counts: Counts,
}

/// What became of copies.
#[derive(Debug)]
struct Counts {
    answered: Counter,
    failed: Counter,
    too_large: Counter,
    incomplete: Counter,
    dropped: Counter,
}

impl Mirror {
    /// Copies this part of the requests, 0 to 1, whose bodies have up to `max_body` bytes, while no more than
    /// `max_in_flight` copies are under way.
    pub(crate) fn new(
        client: Arc<UpstreamClient>,
        share: f64,
        (max_body, max_in_flight): (usize, usize),
        (metrics, route): (&Metrics, &str),
    ) -> Self {
        let upstream = client.upstream().name().clone();
        let count = |outcome: &str| {
            metrics.counter(
                "portcullis_mirrored_requests_total",
                "Copies of requests by what became of them: `answered` and `failed` were sent; `too_large`, `incomplete` (the request ended early) and `dropped` (too many were under way) were not.",
                &[("route", route), ("upstream", &upstream), ("outcome", outcome)],
            )
        };
        Self {
            share,
            max_body,
            max_in_flight,
            in_flight: AtomicUsize::new(0),
            counts: Counts {
                answered: count("answered"),
                failed: count("failed"),
                too_large: count("too_large"),
                incomplete: count("incomplete"),
                dropped: count("dropped"),
            },
            client,
        }
    }

    fn admit(self: &Arc<Self>) -> Option<Permit> {
        let before = self.in_flight.fetch_add(1, Ordering::Relaxed);
        let permit = Permit(Arc::clone(self));
        (before < self.max_in_flight).then_some(permit)
    }
}

/// The right to be under way.
#[derive(Debug)]
struct Permit(Arc<Mirror>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Copies a request to those of `mirrors` whose turn it is. Returns the body for the real upstream: one that is still to
/// be read is copied as it is, and the copies leave when it is complete.
pub(super) fn copy(
    mirrors: &[Arc<Mirror>],
    parts: &Parts,
    mut body: Body,
    exchange: &Exchange,
) -> Body {
    for mirror in mirrors {
        if rng::fraction(PickCx::new().random()) >= mirror.share {
            continue;
        }
        if body.size_hint().lower() > mirror.max_body as u64 {
            mirror.counts.too_large.inc();
            continue;
        }
        let Some(permit) = mirror.admit() else {
            mirror.counts.dropped.inc();
            continue;
        };
        let copy = Copy {
            parts: head(parts),
            exchange: record(exchange),
            permit,
        };
        if body.is_end_stream() {
            copy.send(Body::empty());
        } else {
            body = Body::new(Tee {
                inner: body,
                copy: Some(copy),
                kept: Vec::new(),
                size: 0,
                trailers: None,
            });
        }
    }
    body
}

/// The head without what belongs to the connection or to this process.
fn head(parts: &Parts) -> Parts {
    let (mut copy, ()) = Request::new(()).into_parts();
    copy.method = parts.method.clone();
    copy.uri = parts.uri.clone();
    copy.version = parts.version;
    copy.headers = parts.headers.clone();
    // the body is there already
    copy.headers.remove(EXPECT);
    copy
}

/// A record of its own: what happens to a copy is none of the request's business.
fn record(exchange: &Exchange) -> Exchange {
    let own = Exchange::new(Arc::clone(exchange.conn()));
    {
        let (mut copy, of) = (own.state(), exchange.state());
        copy.client_ip = of.client_ip;
        copy.client_ip_forwarded = of.client_ip_forwarded;
        copy.scheme = of.scheme;
        copy.request = of.request.clone();
        copy.request_id.clone_from(&of.request_id);
        copy.forwarded_late = of.forwarded_late;
        copy.principal.clone_from(&of.principal);
    }
    own
}

/// A copy that is ready to leave but for its body.
#[derive(Debug)]
struct Copy {
    parts: Parts,
    exchange: Exchange,
    permit: Permit,
}

impl Copy {
    /// Sends it, beside the request.
    fn send(self, body: Body) {
        spawn(async move {
            let Self {
                parts,
                exchange,
                permit,
            } = self;
            let mirror = &permit.0;
            let sent = async {
                let cx = AttemptCx::default();
                let response = mirror.client.send(&parts, body, &cx, &exchange).await?;
                discard(response.into_body()).await
            };
            match tokio::time::timeout(LONGEST, sent).await {
                Ok(Ok(())) => mirror.counts.answered.inc(),
                Ok(Err(error)) => {
                    tracing::debug!(upstream = %mirror.client.upstream().name(), %error, "a mirrored request failed");
                    mirror.counts.failed.inc();
                }
                Err(_) => mirror.counts.failed.inc(),
            }
        });
    }
}

async fn discard(mut body: Body) -> Result<(), GatewayError> {
    let mut size = 0;
    while size <= DISCARDED
        && let Some(frame) = body.frame().await
    {
        size += frame?.data_ref().map_or(0, Bytes::len);
    }
    Ok(())
}

/// A body that is copied while it is read.
struct Tee {
    inner: Body,
    /// `None` once it has left or cannot leave.
    copy: Option<Copy>,
    kept: Vec<Bytes>,
    size: usize,
    trailers: Option<HeaderMap>,
}

impl Tee {
    fn keep(&mut self, frame: &Frame<Bytes>) {
        let Some(copy) = &self.copy else { return };
        if let Some(data) = frame.data_ref() {
            self.size += data.len();
            if self.size > copy.permit.0.max_body {
                copy.permit.0.counts.too_large.inc();
                self.copy = None;
                self.kept = Vec::new();
            } else {
                self.kept.push(data.clone());
            }
        } else if let Some(trailers) = frame.trailers_ref() {
            self.trailers = Some(trailers.clone());
        }
    }

    /// The body is complete.
    fn leave(&mut self) {
        let Some(copy) = self.copy.take() else { return };
        let kept = std::mem::take(&mut self.kept);
        let data = match <[Bytes; 1]>::try_from(kept) {
            Ok([only]) => only,
            Err(several) => {
                let mut whole = BytesMut::with_capacity(self.size);
                several
                    .iter()
                    .for_each(|part| whole.extend_from_slice(part));
                whole.freeze()
            }
        };
        copy.send(match self.trailers.take() {
            Some(trailers) => Body::with_trailers(data, trailers),
            None => Body::from(data),
        });
    }
}

impl HttpBody for Tee {
    type Data = Bytes;
    type Error = GatewayError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, GatewayError>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => self.keep(frame),
            Some(Err(_)) => {}
            None => self.leave(),
        }
        // whoever reads it may not ask for an end that is known
        if matches!(frame, Some(Ok(_))) && self.inner.is_end_stream() {
            self.leave();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for Tee {
    fn drop(&mut self) {
        if let Some(copy) = &self.copy {
            copy.permit.0.counts.incomplete.inc();
        }
    }
}
