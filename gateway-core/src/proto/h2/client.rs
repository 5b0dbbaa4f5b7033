//! Sending a request on an HTTP/2 connection and reading the head of its response.

use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::{Reason, RecvStream};
use http::header::{CONTENT_LENGTH, EXPECT};
use http::{HeaderMap, Method, StatusCode};
use http_body::Body as HttpBody;

use super::connection::Sender;
use super::response_body::{Begun, UpstreamStream};
use super::silence::Silence;
use super::upload::Upload;
use crate::body::Body;
use crate::clock::Clock;
use crate::error::{ErrorClass, GatewayError, RetrySafety};
use crate::exchange::Exchange;
use crate::forward::AttemptCx;
use crate::handler::{Request, Response};
use crate::proto::h1::{CONTINUE_WAIT, MAX_INTERIM, earliest};

/// A request on its way.
struct Call {
    answer: ResponseFuture,
    upload: Upload,
    silence: Silence,
    interim: u32,
    tunnel: bool,
}

/// A response whose body has not been read.
struct Head {
    response: http::Response<RecvStream>,
    /// Data that came with it.
    first: Option<Bytes>,
}

/// A request that got no response.
#[derive(Debug)]
pub(crate) struct SendFailure {
    pub(crate) error: GatewayError,
    /// The body, when nothing was taken from it and the request may go on elsewhere.
    pub(crate) again: Option<(Body, Again)>,
}

/// Why a request may be sent again whatever the policy of retries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Again {
    /// The endpoint has not looked at it: the connection takes no more requests.
    Leaving,
    /// The endpoint has not looked at it: its limit was not known yet. It is known now.
    Early,
    /// The connection had been idle and was closed. It says nothing about the endpoint.
    Stale,
}

impl From<GatewayError> for SendFailure {
    fn from(error: GatewayError) -> Self {
        Self { error, again: None }
    }
}

/// Sends a request and waits for the head of its response. One with `:protocol` asks for a tunnel; if the
/// endpoint accepts, the bodies are its two directions.
///
/// # Cancel safety
/// Dropping the future resets the stream.
pub(crate) async fn send(
    mut sender: Sender,
    request: Request,
    cx: &AttemptCx,
    exchange: &Exchange,
) -> Result<Response, SendFailure> {
    let settled = sender.is_settled();
    let idle = sender.streams() == 0;
    let head_only = *request.method() == Method::HEAD;
    let mut call = Call::open(&mut sender, request, cx)?;
    match poll_fn(|task| call.poll_head(task, exchange)).await {
        Ok(head) => Ok(call.respond(head, head_only, cx)),
        Err(Broken::Own(error)) => Err(error.into()),
        Err(Broken::Stream(error)) => {
            let why = if is_farewell(&error) {
                // Nobody else needs to find out.
                sender.retire();
                Some(Again::Leaving)
            } else if is_refusal(&error) && !settled {
                Some(Again::Early)
            } else if error.is_io() && idle && call.interim == 0 {
                Some(Again::Stale)
            } else {
                None
            };
            Err(SendFailure {
                error: broken("sending an HTTP/2 request", error),
                again: call.upload.into_untouched().zip(why),
            })
        }
    }
}

/// Why a call has no response.
enum Broken {
    /// The gateway's or the client's doing.
    Own(GatewayError),
    /// The stream's or the connection's end.
    Stream(h2::Error),
}

impl Call {
    fn open(sender: &mut Sender, request: Request, cx: &AttemptCx) -> Result<Self, SendFailure> {
        let (mut parts, body) = request.into_parts();
        let tunnel = parts.extensions.get::<h2::ext::Protocol>().is_some();
        let end = body.is_end_stream() && !tunnel;
        let held = !end && !tunnel && parts.headers.contains_key(EXPECT);
        if end {
            parts.headers.remove(EXPECT);
        }
        match sender.open(http::Request::from_parts(parts, ()), end) {
            Ok((answer, stream, share)) => Ok(Self {
                answer,
                upload: Upload::new(stream, body, held.then(|| Clock.now() + CONTINUE_WAIT), end),
                silence: Silence::new(share, earliest([cx.head_by, cx.done_by]), cx.silence),
                interim: 0,
                tunnel,
            }),
            Err(error) if sender.is_open() => {
                Err(GatewayError::internal("building an HTTP/2 request")
                    .with_source(error)
                    .into())
            }
            // Nothing was sent: the connection takes no more requests.
            Err(error) => Err(SendFailure {
                error: GatewayError::new(ErrorClass::UpstreamReset, "opening an HTTP/2 stream")
                    .with_retry(RetrySafety::NotSent)
                    .with_source(error),
                again: Some((body, Again::Leaving)),
            }),
        }
    }

    fn poll_head(
        &mut self,
        task: &mut Context<'_>,
        exchange: &Exchange,
    ) -> Poll<Result<Head, Broken>> {
        loop {
            if !self.upload.is_over() {
                let sent = self.upload.poll(task);
                if self.upload.take_moved() {
                    self.silence.moved();
                }
                if let Poll::Ready(Err(error)) = sent {
                    return Poll::Ready(Err(Broken::Own(error)));
                }
            }
            match self.answer.poll_informational(task) {
                Poll::Ready(Some(Ok(head))) => {
                    self.take_interim(head.status(), head.headers(), exchange)?;
                    continue;
                }
                Poll::Ready(Some(Err(error))) => {
                    return Poll::Ready(Err(Broken::Stream(error)));
                }
                Poll::Ready(None) => {
                    if let Poll::Ready(outcome) = Pin::new(&mut self.answer).poll(task) {
                        return Poll::Ready(outcome.map_err(Broken::Stream).map(|mut response| {
                            Head {
                                first: arrived(response.body_mut(), task),
                                response,
                            }
                        }));
                    }
                }
                Poll::Pending => {}
            }
            let blameless = self.upload.waits_for_client();
            let held_until = self.upload.held_until();
            ready!(self.silence.poll_over(task, blameless, held_until));
            self.silence.moved();
            if held_until.is_none_or(|until| until > Clock.now()) || self.silence.is_late() {
                return Poll::Ready(Err(Broken::Own(
                    timed_out("waiting for the response head").with_retry(RetrySafety::Idempotent),
                )));
            }
            // Nobody said no: RFC 9110 10.1.1 lets the body go after a reasonable wait.
            self.upload.release();
        }
    }

    fn take_interim(
        &mut self,
        status: StatusCode,
        headers: &HeaderMap,
        exchange: &Exchange,
    ) -> Result<(), Broken> {
        self.silence.moved();
        self.interim += 1;
        // RFC 9113 8.6: there is no 101 in HTTP/2.
        if status == StatusCode::SWITCHING_PROTOCOLS || self.interim > MAX_INTERIM {
            return Err(Broken::Own(GatewayError::new(
                ErrorClass::UpstreamProtocol,
                "reading a final response: interim ones do not end",
            )));
        }
        if status == StatusCode::CONTINUE {
            // Polling the body is what passes the permission on to the client.
            self.upload.release();
        } else {
            exchange.interim(status, headers);
        }
        Ok(())
    }

    /// Builds the response; one that has arrived whole needs no stream.
    fn respond(self, head: Head, head_only: bool, cx: &AttemptCx) -> Response {
        let (parts, recv) = head.response.into_parts();
        let tunnel = self.tunnel && parts.status.is_success();
        let sent = self.upload.is_over();
        let body = match head.first {
            None if !tunnel && recv.is_end_stream() => Body::empty(),
            Some(data) if !tunnel && recv.is_end_stream() => Body::from(data),
            first => {
                let length = parts.headers.get(CONTENT_LENGTH);
                Body::h2_response(Box::new(UpstreamStream::new(Begun {
                    recv,
                    first,
                    length: length
                        .filter(|_| !head_only && !tunnel)
                        .and_then(|length| length.to_str().ok()?.parse().ok()),
                    // A tunnel that was refused has no body to send.
                    upload: (!sent && tunnel == self.tunnel).then(|| Box::new(self.upload)),
                    tunnel,
                    silence: self.silence.until(cx.done_by, cx.idle),
                })))
            }
        };
        Response::from_parts(parts, body)
    }
}

/// Data that came with the head.
fn arrived(recv: &mut RecvStream, task: &mut Context<'_>) -> Option<Bytes> {
    match recv.poll_data(task) {
        Poll::Ready(Some(Ok(data))) if !data.is_empty() => Some(data),
        // The end of the body and failures are told again.
        _ => None,
    }
}

/// Whether the endpoint will not look at the request: it is leaving, and the stream's number is above the last
/// one it names (RFC 9113 6.8).
fn is_farewell(error: &h2::Error) -> bool {
    error.is_go_away() && error.is_remote()
}

/// Whether the endpoint has not looked at the request (RFC 9113 8.7).
fn is_refusal(error: &h2::Error) -> bool {
    error.is_reset() && error.is_remote() && error.reason() == Some(Reason::REFUSED_STREAM)
}

/// What the end of a stream or connection means.
pub(super) fn broken(doing: &'static str, error: h2::Error) -> GatewayError {
    let (class, retry) = if error.is_library() {
        // The engine refused what the endpoint sent: a malformed message (RFC 9113 8.1.1) or worse.
        (ErrorClass::UpstreamProtocol, RetrySafety::Never)
    } else if is_farewell(&error) || is_refusal(&error) {
        (ErrorClass::UpstreamReset, RetrySafety::NotSent)
    } else {
        (ErrorClass::UpstreamReset, RetrySafety::Idempotent)
    };
    GatewayError::new(class, doing)
        .with_retry(retry)
        .with_source(error)
}

pub(super) fn timed_out(waiting: &'static str) -> GatewayError {
    GatewayError::new(ErrorClass::UpstreamTimeout, waiting)
}
