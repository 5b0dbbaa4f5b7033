//! Writing the reply to a request.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{HeaderMap, Method, StatusCode, Version};
use http_body::Body as HttpBody;

use super::server_conn::{Shared, Tunnel};
use super::writer::{BodyWriter, Filled};
use crate::body::Body;
use crate::clock::Clock;
use crate::conn::ConnCx;
use crate::error::{ErrorClass, GatewayError};
use crate::handler::Response;
use crate::http1::{
    BodyDecoder, BodyFraming, ConnectionDirective, HeadLimits, ResponseLine, date,
    encode_response_head,
};

/// How much of an unread request body is thrown away to keep a connection usable.
const DISCARD_LIMIT: u64 = 256 * 1024;

/// What becomes of the connection after a reply.
pub(super) enum Next {
    Request,
    Close,
    Broken,
}

/// What the reply must know of its request.
pub(super) struct ReplyTo {
    pub(super) method: Method,
    pub(super) version: Version,
    pub(super) trailers: bool,
    pub(super) keep_alive: bool,
    pub(super) upgrade: bool,
}

/// Writes a reply. Returns what comes next and how many bytes of body were written.
pub(super) async fn write_response(
    shared: &Arc<Shared>,
    response: Response,
    request: &ReplyTo,
    cx: &ConnCx,
) -> Result<(Next, u64), GatewayError> {
    let (parts, body) = response.into_parts();
    let switching = parts.status == StatusCode::SWITCHING_PROTOCOLS;
    if switching != request.upgrade && switching {
        return Err(GatewayError::internal(
            "switching protocols without being asked to",
        ));
    }
    let bodiless = request.method == Method::HEAD
        || parts.status == StatusCode::NO_CONTENT
        || parts.status == StatusCode::NOT_MODIFIED;
    let framing = if switching {
        BodyFraming::UntilClose
    } else if bodiless {
        // What the body would have been: a length is still told to HEAD.
        match body.size_hint().exact() {
            Some(length) if length > 0 => BodyFraming::Length(length),
            _ => BodyFraming::Empty,
        }
    } else {
        response_framing(&body, &parts.headers, request)
    };
    let mut writer = {
        let mut conn = shared.lock();
        let tunnel = if switching {
            Tunnel::Open
        } else {
            Tunnel::Refused
        };
        if conn.tunnel == Tunnel::Offered {
            conn.tunnel = tunnel;
            if let Some(waker) = conn.tunnel_waker.take() {
                waker.wake();
            }
            if !switching {
                conn.decoder = BodyDecoder::new(BodyFraming::Empty, &HeadLimits::default());
                conn.tunnel = Tunnel::None;
            }
        }
        // A client that was not told to send its body may keep it: what comes next cannot be told apart.
        let unasked = std::mem::take(&mut conn.continue_pending);
        conn.interim_allowed = false;
        // A body that was refused unread leaves the connection in doubt unless its end has arrived.
        let mut budget = DISCARD_LIMIT;
        let unread = !switching
            && !conn.decoder.is_done()
            && (conn.body_dropped || unasked)
            && !conn.discard_arrived(&mut budget);
        let directive = if switching {
            ConnectionDirective::Upgrade
        } else if !request.keep_alive
            || unread
            || conn.body_error
            || framing == BodyFraming::UntilClose
            || cx.handle.is_closing()
        {
            ConnectionDirective::Close
        } else {
            ConnectionDirective::KeepAlive
        };
        let line = ResponseLine {
            status: parts.status,
            version: request.version,
            method: &request.method,
            framing,
            connection: directive,
            date: &date::cached(Clock.wall()),
        };
        let encoded = encode_response_head(conn.out.tail(), &line, &parts.headers);
        let body = if encoded.framing == BodyFraming::Empty {
            Body::empty()
        } else {
            body
        };
        Writing {
            writer: BodyWriter::new(body, encoded.framing, request.trailers),
            keep: encoded.keep_alive,
        }
    };
    let result = poll_fn(|task| poll_write(shared, &mut writer.writer, task)).await;
    let written = writer.writer.written();
    result?;
    let mut conn = shared.lock();
    let mut budget = DISCARD_LIMIT;
    let clean = conn.tunnel == Tunnel::None
        && (conn.decoder.is_done() || conn.discard_arrived(&mut budget))
        && !conn.body_error;
    Ok((
        if writer.keep && clean {
            Next::Request
        } else {
            Next::Close
        },
        written,
    ))
}

struct Writing {
    writer: BodyWriter,
    keep: bool,
}

/// Moves the body to the client as fast as both allow, and notices a client that leaves meanwhile.
fn poll_write(
    shared: &Arc<Shared>,
    writer: &mut BodyWriter,
    task: &mut Context<'_>,
) -> Poll<Result<(), GatewayError>> {
    loop {
        // The body is polled without the connection's lock: an upgraded body reads from it.
        let mut out = std::mem::take(&mut shared.lock().out);
        let filled = writer.poll_fill(&mut out, task);
        let mut conn = shared.lock();
        conn.out = out;
        let filled = match filled {
            Ok(filled) => filled,
            Err(error) => {
                // What came before the failure is still delivered; then the connection breaks.
                let _ = conn.poll_flush(task);
                return Poll::Ready(Err(error));
            }
        };
        let flushed = conn.poll_flush(task).map_err(|error| {
            GatewayError::new(ErrorClass::ClientGone, "writing the reply").with_source(error)
        })?;
        match (filled, flushed) {
            (Filled::Done, Poll::Ready(())) => return Poll::Ready(Ok(())),
            (Filled::Full, Poll::Ready(())) => {}
            (Filled::Waiting, _) | (_, Poll::Pending) => {
                if conn.poll_gone(task).is_ready() {
                    return Poll::Ready(Err(GatewayError::new(
                        ErrorClass::ClientGone,
                        "waiting for the client to read the reply",
                    )));
                }
                return Poll::Pending;
            }
        }
    }
}

fn response_framing(body: &Body, headers: &HeaderMap, request: &ReplyTo) -> BodyFraming {
    let trailers_follow = request.trailers && headers.contains_key(http::header::TRAILER);
    match body.size_hint().exact() {
        Some(length) if !trailers_follow || request.version < Version::HTTP_11 => {
            BodyFraming::Length(length)
        }
        _ if request.version < Version::HTTP_11 => BodyFraming::UntilClose,
        _ => BodyFraming::Chunked,
    }
}
