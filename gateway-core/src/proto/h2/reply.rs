//! Replies to HTTP/2 clients.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::{Reason, SendStream};
use http::header::{CONTENT_LENGTH, DATE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use http_body::Body as HttpBody;

use super::fields::strip_connection_fields;
use super::server::StreamShared;
use crate::body::Body;
use crate::clock::Clock;
use crate::conn::write_timeout;
use crate::error::{ErrorClass, GatewayError};
use crate::handler::Response;
use crate::http1::{date, decimal};
use crate::timer::LazyTimer;

/// Sends a reply. Returns how many bytes of body were sent.
pub(super) async fn reply(
    shared: &StreamShared,
    response: Response,
    method: &Method,
    tunnel: bool,
    idle: Duration,
) -> Result<u64, GatewayError> {
    let (mut parts, body) = response.into_parts();
    if parts.status == StatusCode::SWITCHING_PROTOCOLS {
        if !tunnel {
            return Err(GatewayError::internal(
                "switching protocols without being asked to",
            ));
        }
        parts.status = StatusCode::OK;
        parts
            .headers
            .remove(HeaderName::from_static("sec-websocket-accept"));
    }
    parts.version = Version::HTTP_2;
    strip_connection_fields(&mut parts.headers);
    if !parts.headers.contains_key(DATE)
        && let Ok(value) = HeaderValue::from_bytes(&date::cached(Clock.wall()))
    {
        parts.headers.insert(DATE, value);
    }
    let bodiless = *method == Method::HEAD
        || parts.status == StatusCode::NO_CONTENT
        || parts.status == StatusCode::NOT_MODIFIED;
    let end = bodiless || body.is_end_stream();
    if !bodiless
        && let Some(length) = body.size_hint().exact()
        && !says_length(&parts.headers, length)
    {
        parts
            .headers
            .insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    let head = http::Response::from_parts(parts, ());
    shared.answered.store(true, Ordering::Relaxed);
    let stream = shared
        .respond()
        .send_response(head, end)
        .map_err(|error| gone("sending the reply's head", error))?;
    if end {
        return Ok(0);
    }
    Pump {
        stream,
        body,
        waiting: None,
        idle,
        timer: LazyTimer::default(),
        sent: 0,
    }
    .await
}

/// Whether the head tells the length already.
fn says_length(headers: &HeaderMap, length: u64) -> bool {
    let mut told = headers.get_all(CONTENT_LENGTH).iter();
    let (Some(told), None) = (told.next(), told.next()) else {
        return false;
    };
    decimal(told.as_bytes()) == Some(length)
}

/// Moves a body into a stream as fast as the client's windows allow.
struct Pump {
    stream: SendStream<Bytes>,
    body: Body,
    waiting: Option<Bytes>,
    /// How long the client may open no window for what waits.
    idle: Duration,
    timer: LazyTimer,
    sent: u64,
}

impl Future for Pump {
    type Output = Result<u64, GatewayError>;

    fn poll(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        loop {
            if let Some(data) = this.waiting.take() {
                match this.poll_send(data, task) {
                    Poll::Ready(Ok(true)) => return Poll::Ready(Ok(this.sent)),
                    Poll::Ready(Ok(false)) => continue,
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => {}
                }
                // A client that takes no more of the reply may still be sending its request.
                this.body.poll_upload(task);
                return Poll::Pending;
            }
            if let Poll::Ready(reset) = this.stream.poll_reset(task) {
                return Poll::Ready(Err(match reset {
                    Ok(Reason::NO_ERROR) | Err(_) => GatewayError::new(
                        ErrorClass::ClientGone,
                        "sending the reply's body: the stream was reset",
                    ),
                    Ok(reason) => GatewayError::new(
                        ErrorClass::ClientGone,
                        format!("sending the reply's body: the stream was reset ({reason})"),
                    ),
                }));
            }
            match ready!(Pin::new(&mut this.body).poll_frame(task)) {
                None => {
                    this.stream
                        .send_data(Bytes::new(), true)
                        .map_err(|error| gone("ending the reply", error))?;
                    return Poll::Ready(Ok(this.sent));
                }
                Some(Err(error)) => {
                    this.stream.send_reset(Reason::INTERNAL_ERROR);
                    return Poll::Ready(Err(error));
                }
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if data.is_empty() => {}
                    Ok(data) => {
                        this.stream.reserve_capacity(data.len());
                        this.waiting = Some(data);
                    }
                    Err(frame) => {
                        if let Ok(mut trailers) = frame.into_trailers() {
                            strip_connection_fields(&mut trailers);
                            this.stream
                                .send_trailers(trailers)
                                .map_err(|error| gone("sending trailers", error))?;
                            return Poll::Ready(Ok(this.sent));
                        }
                    }
                },
            }
        }
    }
}

impl Pump {
    /// Sends what the window takes of `data`; true when that was the end of the body.
    fn poll_send(
        &mut self,
        mut data: Bytes,
        task: &mut Context<'_>,
    ) -> Poll<Result<bool, GatewayError>> {
        while self.stream.capacity() == 0 {
            match self.stream.poll_capacity(task) {
                Poll::Ready(Some(Ok(0))) => {}
                Poll::Ready(Some(Ok(_))) => break,
                Poll::Ready(Some(Err(error))) => {
                    return Poll::Ready(Err(gone("waiting for the client's window", error)));
                }
                Poll::Ready(None) => {
                    return Poll::Ready(Err(GatewayError::new(
                        ErrorClass::ClientGone,
                        "waiting for the client's window: the stream is closed",
                    )));
                }
                Poll::Pending => {
                    self.waiting = Some(data);
                    if !self.timer.is_set() {
                        self.timer.set(Some(Clock.now() + self.idle));
                    }
                    ready!(self.timer.poll_elapsed(task));
                    self.stream.send_reset(Reason::CANCEL);
                    return Poll::Ready(Err(write_timeout()));
                }
            }
        }
        self.timer.set(None);
        let part = data.split_to(data.len().min(self.stream.capacity()));
        self.sent += part.len() as u64;
        let end = data.is_empty() && self.body.is_end_stream();
        self.stream
            .send_data(part, end)
            .map_err(|error| gone("sending the reply's body", error))?;
        if !data.is_empty() {
            self.waiting = Some(data);
        }
        Poll::Ready(Ok(end))
    }
}

fn gone(doing: &'static str, error: h2::Error) -> GatewayError {
    GatewayError::new(ErrorClass::ClientGone, doing).with_source(error)
}
