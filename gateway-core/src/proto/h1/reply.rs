//! Writing the reply to a request.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderMap, Method, StatusCode, Version};
use http_body::Body as HttpBody;

use super::linger::{DISCARD_LIMIT, end_tunnel};
use super::server_conn::{ServerConn, Shared, Tunnel};
use super::writer::{BodyWriter, Filled};
use crate::body::Body;
use crate::clock::Clock;
use crate::conn::ConnCx;
use crate::error::{ErrorClass, GatewayError};
use crate::handler::Response;
use crate::heads;
use crate::http1::{
    BodyDecoder, BodyFraming, ConnectionDirective, HeadLimits, ResponseLine, date,
    encode_response_head,
};

/// What becomes of the connection after a reply.
pub(super) enum Next {
    Request,
    /// Another request, once the rest of this one's body is out of the way.
    Drain,
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

/// Encodes the head of a reply; [`Writing::deliver`] sends it and the body behind it.
pub(super) fn begin_reply(
    shared: &Arc<Shared>,
    response: Response,
    request: &ReplyTo,
    cx: &ConnCx,
) -> Result<Writing, GatewayError> {
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
    let failed = parts.status.is_client_error() || parts.status.is_server_error();
    if conn.continue_pending && !conn.body_dropped && !failed {
        // Whoever answers goes on reading, and the client must not take the reply for a refusal of its body.
        conn.send_continue();
    }
    let unasked = std::mem::take(&mut conn.continue_pending);
    conn.interim_allowed = false;
    let directive = if switching {
        ConnectionDirective::Upgrade
    } else if !request.keep_alive
        || conn.body_error
        || framing == BodyFraming::UntilClose
        || cx.handle.is_closing()
        || leaves_doubt(&mut conn, unasked, parts.status)
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
        trailers: request.trailers,
        date: || date::cached(Clock.wall()),
    };
    let encoded = encode_response_head(conn.out.tail(), &line, &parts.headers);
    heads::keep_header_map(parts.headers);
    // Until it is whole, a body that ends with the connection must not end in order.
    let unframed = encoded.framing == BodyFraming::UntilClose && !switching;
    if unframed {
        conn.io.reset_on_close(true);
    }
    let body = if encoded.framing == BodyFraming::Empty {
        Body::empty()
    } else {
        body
    };
    Ok(Writing {
        writer: BodyWriter::new(body, encoded.framing, request.trailers),
        keep: encoded.keep_alive,
        unframed,
        switching,
        idle: cx.settings().timeouts.write_idle,
    })
}

/// Whether a request body that is not read to its end makes the connection unusable, so that its end is announced
/// with the reply. A little is thrown away behind the reply instead.
fn leaves_doubt(conn: &mut ServerConn, unasked: bool, status: StatusCode) -> bool {
    let mut budget = DISCARD_LIMIT;
    if conn.decoder.is_done() || conn.body_dropped && conn.discard_arrived(&mut budget) {
        return false;
    }
    match conn.decoder.remaining_hint() {
        // A client that was not told to send its body may keep it: what comes next cannot be told apart.
        _ if unasked => true,
        Some(left) => left > budget,
        // An upload that goes on while it is answered may well come to its end; after an error it rarely does.
        None => conn.body_dropped || status.is_client_error() || status.is_server_error(),
    }
}

/// What comes after a whole reply.
fn next(conn: &mut ServerConn, keep: bool) -> Next {
    let mut budget = DISCARD_LIMIT;
    if !keep || conn.body_error {
        Next::Close
    } else if conn.decoder.is_done() || conn.discard_arrived(&mut budget) {
        Next::Request
    } else if conn.body_dropped && budget > 0 && !conn.body_error {
        Next::Drain
    } else {
        Next::Close
    }
}

/// A reply on its way to the client.
pub(super) struct Writing {
    writer: BodyWriter,
    keep: bool,
    /// Its end is that of the connection.
    unframed: bool,
    /// What follows the head is a tunnel.
    switching: bool,
    idle: Duration,
}

impl Writing {
    /// Sends the reply. Returns what comes next and how many bytes of body were written.
    pub(super) async fn deliver(
        &mut self,
        shared: &Arc<Shared>,
    ) -> Result<(Next, u64), GatewayError> {
        poll_fn(|task| poll_write(shared, &mut self.writer, self.idle, task)).await?;
        let written = self.writer.written();
        if self.switching {
            end_tunnel(shared).await;
            return Ok((Next::Close, written));
        }
        let mut conn = shared.lock();
        if self.unframed {
            conn.io.reset_on_close(false);
        }
        Ok((next(&mut conn, self.keep), written))
    }
}

/// Moves the body to the client as fast as both allow, and notices a client that leaves meanwhile.
fn poll_write(
    shared: &Arc<Shared>,
    writer: &mut BodyWriter,
    idle: Duration,
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
        let flushed = conn.poll_deliver(idle, task)?;
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
                // The upload reads from this connection, so it needs its lock.
                drop(conn);
                writer.poll_upload(task);
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
