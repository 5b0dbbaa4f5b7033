//! One HTTP/1 connection to an endpoint, driven by the request that uses it.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use http::{HeaderMap, Method, Response as HttpResponse, StatusCode, Version};

use super::buffer::{OutBuf, is_quiet, poll_read_body, poll_read_early, poll_read_head};
use super::response_body::ResponseBody;
use super::spare::keep_read_buffer;
use super::writer::{BodyWriter, Filled};
use crate::body::Body;
use crate::clock::{Clock, Instant};
use crate::error::{ErrorClass, GatewayError, RetrySafety};
use crate::exchange::Exchange;
use crate::forward::AttemptCx;
use crate::handler::Response;
use crate::http1::{
    BodyDecoder, BodyFraming, Chunk, ConnectionDirective, EncodeError, HeadLimits, ResponseHead,
    ScanState, encode_request_head, parse_response,
};
use crate::hygiene::Lines;
use crate::pool::Lease;
use crate::timer::LazyTimer;
use crate::transport::Transport;

/// How long a request with `Expect: 100-continue` waits for the upstream's word before it sends its body.
pub(crate) const CONTINUE_WAIT: Duration = Duration::from_secs(1);
/// How many interim replies an upstream may send before its final one.
pub(crate) const MAX_INTERIM: u32 = 16;

/// A connection, idle or in use.
pub(crate) struct Connection {
    pub(super) io: Transport,
    pub(super) rbuf: BytesMut,
    pub(super) out: OutBuf,
    pub(super) timer: LazyTimer,
    pub(super) decoder: BodyDecoder,
    pub(super) limits: HeadLimits,
    /// Requests that were answered on it.
    uses: u64,
}

/// What goes out: a head that is ready to be encoded, and a body.
pub(crate) struct Outgoing<'a, 'h> {
    pub(crate) method: &'a Method,
    /// Path and query.
    pub(crate) target: &'h str,
    pub(crate) headers: &'h HeaderMap,
    pub(crate) framing: BodyFraming,
    pub(crate) expect_continue: bool,
    pub(crate) upgrade: bool,
    /// Fields that stand behind `headers`.
    pub(crate) late: Option<&'h Lines>,
}

/// How long the rest of an exchange may take once the response head is there.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SendLimits {
    /// The whole response must be there by then.
    pub(crate) done_by: Option<Instant>,
    /// The longest pause between two reads.
    pub(crate) idle: Option<Duration>,
}

/// A request that got no response.
#[derive(Debug)]
pub(crate) struct SendFailure {
    pub(crate) error: GatewayError,
    /// The body, whole, if it can be sent again.
    pub(crate) body: Option<Body>,
    /// The connection had been idle in the pool and broke before a byte of the response: it was stale.
    pub(crate) stale: bool,
    /// The connection took not a byte of the request.
    pub(crate) unsent: bool,
}

impl Connection {
    pub(crate) fn new(io: Transport, limits: HeadLimits) -> Self {
        Self {
            io,
            rbuf: BytesMut::new(),
            out: OutBuf::default(),
            timer: LazyTimer::default(),
            decoder: BodyDecoder::new(BodyFraming::Empty, &limits),
            limits,
            uses: 0,
        }
    }

    /// Whether an idle connection can be used: still open, and nothing arrived that nobody asked for.
    pub(crate) fn is_usable(&mut self) -> bool {
        self.rbuf.is_empty() && is_quiet(&mut self.io)
    }

    fn give_back_buffers(&mut self) {
        keep_read_buffer(std::mem::take(&mut self.rbuf));
        self.out.release();
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("io", &self.io)
            .field("uses", &self.uses)
            .finish_non_exhaustive()
    }
}

/// The sending half of an exchange.
pub(super) struct Sending {
    writer: BodyWriter,
    /// The body waits for `100 Continue` until then.
    held_until: Option<Instant>,
    /// After the last byte of a tunnel the write side is closed.
    tunnel: bool,
    shut: bool,
    /// How much was taken from the body and how much waited when last looked at.
    seen: (u64, usize),
}

impl Sending {
    pub(super) fn is_tunnel(&self) -> bool {
        self.tunnel
    }

    /// Everything there is was sent, and the body has nothing more yet: the upstream is not to blame.
    pub(super) fn waits_for_client(&self, conn: &Connection) -> bool {
        !self.tunnel && self.held_until.is_none() && !self.writer.is_done() && conn.out.is_clean()
    }

    /// Whether the request is wholly on the wire.
    pub(super) fn is_done(&self, conn: &Connection) -> bool {
        self.writer.is_done() && conn.out.is_clean() && (!self.tunnel || self.shut)
    }

    /// Moves the request forward as far as it goes now.
    pub(super) fn poll(
        &mut self,
        conn: &mut Connection,
        task: &mut Context<'_>,
    ) -> Poll<Result<(), GatewayError>> {
        loop {
            let filled = if self.held_until.is_some() {
                Filled::Waiting
            } else {
                self.writer.poll_fill(&mut conn.out, task)?
            };
            let flushed = conn
                .out
                .poll_flush(&mut conn.io, task)
                .map_err(|error| broken("sending the request", error))?;
            let now = (self.writer.written(), conn.out.len());
            if now != self.seen {
                // An upstream that takes data is not silent.
                self.seen = now;
                conn.timer.set(None);
            }
            match (filled, flushed) {
                (Filled::Done, Poll::Ready(())) => {
                    if self.tunnel && !self.shut {
                        ready!(tokio::io::AsyncWrite::poll_shutdown(
                            Pin::new(&mut conn.io),
                            task
                        ))
                        .map_err(|error| broken("closing the tunnel's write side", error))?;
                        self.shut = true;
                    }
                    return Poll::Ready(Ok(()));
                }
                (Filled::Full, Poll::Ready(())) => {}
                (Filled::Waiting, _) | (_, Poll::Pending) => return Poll::Pending,
            }
        }
    }
}

/// Sends a request and reads the head of its response.
///
/// The head is encoded at once: the future need not hold what it was made of.
///
/// # Errors
/// A [`SendFailure`] that tells whether the same request may be sent on another connection.
///
/// # Cancel safety
/// Dropping the future closes the connection.
pub(crate) fn send<'a>(
    mut lease: Lease,
    outgoing: &Outgoing<'a, '_>,
    body: Body,
    cx: &'a AttemptCx,
    exchange: &'a Exchange,
) -> impl Future<Output = Result<Response, SendFailure>> + Send + use<'a> {
    let conn = lease.connection();
    conn.out.start_untouched();
    let encoded = encode_request_head(
        conn.out.tail(),
        outgoing.method,
        outgoing.target,
        outgoing.headers,
        outgoing.framing,
        if outgoing.upgrade {
            ConnectionDirective::Upgrade
        } else {
            ConnectionDirective::KeepAlive
        },
    );
    if let (Some(lines), Ok(())) = (outgoing.late, &encoded) {
        let head = conn.out.tail();
        // Its last line end closes the head.
        head.truncate(head.len().saturating_sub(2));
        lines.write(head);
        head.extend_from_slice(b"\r\n");
    }
    let sending = Sending {
        writer: BodyWriter::new(body, outgoing.framing, true),
        held_until: outgoing
            .expect_continue
            .then(|| Clock.now() + CONTINUE_WAIT),
        tunnel: false,
        shut: false,
        seen: (0, 0),
    };
    let asked = Asked {
        encoded,
        head_length: u32::try_from(conn.out.len()).unwrap_or(u32::MAX),
        method: outgoing.method,
        upgrade: outgoing.upgrade,
        cx,
        exchange,
    };
    converse(lease, sending, asked)
}

/// What has to be known of a request to understand the answer.
struct Asked<'a> {
    encoded: Result<(), EncodeError>,
    /// Narrow, because every byte of this is in the box of every request; a head is far shorter.
    head_length: u32,
    method: &'a Method,
    upgrade: bool,
    cx: &'a AttemptCx,
    exchange: &'a Exchange,
}

#[expect(
    clippy::manual_async_fn,
    reason = "an async fn keeps two copies of each argument that outlives an await"
)]
fn converse(
    mut lease: Lease,
    mut sending: Sending,
    asked: Asked<'_>,
) -> impl Future<Output = Result<Response, SendFailure>> + Send {
    async move {
        let mut received = false;
        let result = match asked.encoded {
            Ok(()) => exchange_heads(lease.connection(), &mut sending, &asked, &mut received).await,
            Err(error) => {
                Err(GatewayError::internal("encoding the request head").with_source(error))
            }
        };
        match result {
            Ok(head) => Ok(respond(lease, sending, head, asked.cx)),
            Err(error) => {
                let broke = !received && matches!(error.class(), ErrorClass::UpstreamReset);
                let stale = broke && lease.was_reused();
                let conn = lease.connection();
                let unsent = if broke { conn.out.take_unsent() } else { None };
                let safety = match &unsent {
                    Some(_) => RetrySafety::NotSent,
                    None if stale => RetrySafety::Idempotent,
                    None => error.retry_safety(),
                };
                Err(SendFailure {
                    error: error.with_retry(safety),
                    stale,
                    unsent: unsent.is_some(),
                    body: match unsent {
                        Some(mut unsent) => {
                            unsent.advance(unsent.len().min(asked.head_length as usize));
                            sending.writer.into_whole(unsent, &conn.limits)
                        }
                        None => sending.writer.into_untouched(),
                    },
                })
            }
        }
    }
}

async fn exchange_heads(
    conn: &mut Connection,
    sending: &mut Sending,
    asked: &Asked<'_>,
    received: &mut bool,
) -> Result<ResponseHead, GatewayError> {
    let limits = asked.cx;
    let mut scan = ScanState::default();
    let mut interim = 0;
    let mut sent = false;
    conn.timer.set(None);
    poll_fn(|task| {
        loop {
            // An upstream hardly answers before it has the request.
            let early = !sent;
            if !sent {
                match sending.poll(conn, task) {
                    Poll::Ready(Ok(())) => sent = true,
                    Poll::Ready(Err(error)) => {
                        // The upstream may have answered before it stopped reading: look once more. What it
                        // said before it got anything is no answer, though.
                        if error.class() != ErrorClass::UpstreamReset
                            || conn.out.is_untouched()
                            || !matches!(read_head(conn, early, task), Poll::Ready(Ok(read)) if read > 0)
                        {
                            return Poll::Ready(Err(error));
                        }
                        sent = true;
                    }
                    Poll::Pending => {}
                }
            }
            while !conn.rbuf.is_empty() {
                *received = true;
                let parsed = parse_response(&mut conn.rbuf, &mut scan, asked.method, &conn.limits)
                    .map_err(|error| {
                        GatewayError::new(ErrorClass::UpstreamProtocol, "parsing the response head")
                            .with_source(error)
                    })?;
                let Some(head) = parsed else { break };
                scan = ScanState::default();
                if head.status == StatusCode::SWITCHING_PROTOCOLS && asked.upgrade {
                    return Poll::Ready(Ok(head));
                }
                if !head.status.is_informational() {
                    return Poll::Ready(Ok(head));
                }
                interim += 1;
                if head.status == StatusCode::SWITCHING_PROTOCOLS || interim > MAX_INTERIM {
                    return Poll::Ready(Err(GatewayError::new(
                        ErrorClass::UpstreamProtocol,
                        "reading a final response: interim ones do not end",
                    )));
                }
                if head.status == StatusCode::CONTINUE {
                    // Polling the body is what passes the permission on to the client.
                    sending.held_until = None;
                } else {
                    asked.exchange.interim(head.status, &head.headers);
                }
                if !sent {
                    let _ = sending.poll(conn, task)?;
                }
            }
            match read_head(conn, early, task) {
                Poll::Ready(Ok(0)) => {
                    return Poll::Ready(Err(GatewayError::new(
                        ErrorClass::UpstreamReset,
                        "reading the response head: the upstream closed the connection",
                    )));
                }
                Poll::Ready(Ok(_)) => continue,
                Poll::Ready(Err(error)) => {
                    return Poll::Ready(Err(broken("reading the response head", error)));
                }
                Poll::Pending => {}
            }
            if !conn.timer.is_set() {
                let idle = limits.silence.filter(|_| !sending.waits_for_client(conn));
                let idle_by = idle.map(|idle| Clock.recent() + idle);
                conn.timer.set(earliest([
                    limits.head_by,
                    limits.done_by,
                    idle_by,
                    sending.held_until,
                ]));
            }
            ready!(conn.timer.poll_elapsed(task));
            conn.timer.set(None);
            if sending.held_until.is_some_and(|until| until <= Clock.now()) {
                // Nobody said no: RFC 9110 10.1.1 lets the body go after a reasonable wait.
                sending.held_until = None;
                continue;
            }
            return Poll::Ready(Err(GatewayError::new(
                ErrorClass::UpstreamTimeout,
                "waiting for the response head",
            )));
        }
    })
    .await
}

fn read_head(
    conn: &mut Connection,
    early: bool,
    task: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let read = if early {
        ready!(poll_read_early(&mut conn.io, &mut conn.rbuf, task))?
    } else {
        ready!(poll_read_head(&mut conn.io, &mut conn.rbuf, task))?
    };
    conn.timer.set(None);
    Poll::Ready(Ok(read))
}

/// Builds the response; one whose body has arrived already releases the connection at once.
fn respond(mut lease: Lease, mut sending: Sending, head: ResponseHead, cx: &AttemptCx) -> Response {
    let switching = head.status == StatusCode::SWITCHING_PROTOCOLS;
    let conn = lease.connection();
    conn.timer.set(None);
    conn.uses += 1;
    conn.decoder = BodyDecoder::new(head.framing, &conn.limits);
    if switching {
        sending.tunnel = true;
        sending.writer = sending.writer.into_tunnel();
    }
    let reusable = head.keep_alive && !switching;
    let length = match head.framing {
        BodyFraming::Length(length) => Some(length),
        _ => None,
    };
    let limits = SendLimits {
        done_by: cx.done_by,
        idle: cx.idle,
    };
    let body = if !sending.is_done(conn) || switching {
        // A tunnel lasts as long as its sides like; only silence in both directions ends it.
        Body::h1_response(Box::new(ResponseBody::new(
            lease,
            Some(sending),
            length,
            reusable,
            limits,
        )))
    } else if let Some(data) = arrived(conn) {
        lease.finish(reusable);
        Body::from(data)
    } else {
        Body::h1_response(Box::new(ResponseBody::new(
            lease, None, length, reusable, limits,
        )))
    };
    let mut response = HttpResponse::new(body);
    *response.status_mut() = head.status;
    *response.version_mut() = if head.version == Version::HTTP_10 {
        Version::HTTP_10
    } else {
        Version::HTTP_11
    };
    *response.headers_mut() = head.headers;
    response
}

/// The whole body of a response with a known length, if it came with the head.
fn arrived(conn: &mut Connection) -> Option<bytes::Bytes> {
    if conn.decoder.is_done() {
        return Some(bytes::Bytes::new());
    }
    let remaining = usize::try_from(conn.decoder.remaining_hint()?).ok()?;
    if conn.rbuf.len() < remaining {
        return None;
    }
    match conn.decoder.decode(&mut conn.rbuf, false) {
        Ok(Chunk::Data(data)) if conn.decoder.is_done() => Some(data),
        _ => None,
    }
}

impl Connection {
    /// Makes the connection ready for the pool; false when it must be closed.
    pub(crate) fn recycle(&mut self) -> bool {
        if !self.rbuf.is_empty() || !self.out.is_clean() {
            return false;
        }
        self.timer.set(None);
        self.give_back_buffers();
        true
    }

    pub(super) fn poll_read_body(&mut self, task: &mut Context<'_>) -> Poll<io::Result<usize>> {
        poll_read_body(&mut self.io, &mut self.rbuf, task)
    }
}

pub(super) fn broken(doing: &'static str, error: io::Error) -> GatewayError {
    GatewayError::new(ErrorClass::UpstreamReset, doing).with_source(error)
}

pub(crate) fn earliest<const N: usize>(times: [Option<Instant>; N]) -> Option<Instant> {
    times.into_iter().flatten().min()
}
