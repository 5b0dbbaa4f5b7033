//! Serving one HTTP/1 client connection.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::BytesMut;
use http::header::TE;
use http::{HeaderMap, Method, StatusCode, Version};
use http_body::Body as HttpBody;

use super::buffer::{OutBuf, poll_read_body, poll_read_head};
use super::request_body::RequestBody;
use super::writer::{BodyWriter, Filled};
use crate::body::Body;
use crate::clock::Clock;
use crate::conn::{ConnCx, ExchangeReport};
use crate::error::{ErrorClass, GatewayError};
use crate::exchange::{Exchange, Interim};
use crate::filter::settle;
use crate::handler::{BoxFuture, Request, Response};
use crate::http1::{
    BodyDecoder, BodyFraming, Chunk, ConnectionDirective, HeadError, HeadLimits, RequestHead,
    ResponseLine, ScanState, date, encode_interim, encode_response_head, parse_request,
};
use crate::settings::HttpSettings;
use crate::timer::LazyTimer;
use crate::transport::Transport;
use crate::upgrade::Upgrade;

/// Bytes of further requests taken in while one is being answered; beyond it the client waits.
const PIPELINE_LIMIT: usize = 64 * 1024;
/// How much of an unread request body is thrown away to keep a connection usable or to deliver a reply.
const DISCARD_LIMIT: u64 = 256 * 1024;
/// How long a closing connection waits for the client to take the reply.
const LINGER: Duration = Duration::from_secs(1);

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Between two requests: the client closed, was idle too long, or was told to close.
    Clean,
    /// In the middle of something.
    Broken,
}

/// The half of a connection's state that a request's body shares with the serving task.
pub(crate) struct Shared(Mutex<ServerConn>);

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, ServerConn> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What becomes of a connection whose request asked for an upgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tunnel {
    None,
    Offered,
    Open,
    Refused,
}

pub(super) struct ServerConn {
    io: Transport,
    rbuf: BytesMut,
    out: OutBuf,
    eof: bool,
    decoder: BodyDecoder,
    pub(super) tunnel: Tunnel,
    pub(super) tunnel_waker: Option<Waker>,
    pub(super) continue_pending: bool,
    pub(super) body_dropped: bool,
    pub(super) bytes_in: u64,
    body_error: bool,
    body_idle: Duration,
    body_timer: LazyTimer,
    interim_allowed: bool,
}

impl ServerConn {
    pub(super) fn out_is_clean(&self) -> bool {
        self.out.is_clean()
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.out.poll_flush(&mut self.io, cx)
    }

    pub(super) fn send_continue(&mut self) {
        self.continue_pending = false;
        encode_interim(self.out.tail(), StatusCode::CONTINUE, &HeaderMap::new());
    }

    pub(super) fn decode(&mut self) -> Result<Chunk, GatewayError> {
        self.decoder
            .decode(&mut self.rbuf, self.eof)
            .map_err(|error| {
                self.body_error = true;
                if self.eof {
                    GatewayError::new(ErrorClass::ClientGone, "reading the request body")
                        .with_source(error)
                } else {
                    GatewayError::new(ErrorClass::BadRequest, "decoding the request body")
                        .with_reason(error.reason())
                        .with_source(error)
                }
            })
    }

    pub(super) fn poll_read_body(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let read = ready!(poll_read_body(&mut self.io, &mut self.rbuf, cx))?;
        self.eof |= read == 0;
        self.body_timer.set(None);
        Poll::Ready(Ok(()))
    }

    /// Ready when the client has sent nothing of its body for too long.
    pub(super) fn poll_body_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.tunnel == Tunnel::Open {
            return Poll::Pending;
        }
        if !self.body_timer.is_set() {
            self.body_timer.set(Some(Clock.now() + self.body_idle));
        }
        ready!(self.body_timer.poll_elapsed(cx));
        self.body_error = true;
        Poll::Ready(())
    }

    fn poll_read_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let read = ready!(poll_read_head(&mut self.io, &mut self.rbuf, cx))?;
        self.eof |= read == 0;
        Poll::Ready(Ok(read))
    }

    /// Ready when the client closed the connection or broke it while its request is being answered.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            // While a body is outstanding only its reader may read; it will find out. That of a tunnel
            // is read by nobody until the tunnel opens.
            let watched = self.tunnel == Tunnel::Offered
                || self.tunnel == Tunnel::None && self.decoder.is_done();
            if !watched {
                return Poll::Pending;
            }
            if self.eof {
                return Poll::Ready(());
            }
            if self.rbuf.len() >= PIPELINE_LIMIT {
                return Poll::Pending;
            }
            if ready!(self.poll_read_head(cx)).is_err() {
                return Poll::Ready(());
            }
        }
    }

    /// Throws away what has arrived of a body nobody wants; true when its end was reached.
    fn discard_arrived(&mut self, budget: &mut u64) -> bool {
        while !self.decoder.is_done() && !self.body_error {
            match self.decode() {
                Ok(Chunk::Data(data)) => {
                    *budget = budget.saturating_sub(data.len() as u64);
                    if *budget == 0 {
                        return false;
                    }
                }
                Ok(Chunk::End(_)) => return true,
                Ok(Chunk::NeedMore) | Err(_) => return false,
            }
        }
        self.decoder.is_done() && !self.body_error
    }
}

impl Interim for Shared {
    fn send(&self, status: StatusCode, headers: &HeaderMap) {
        let mut conn = self.lock();
        if conn.interim_allowed {
            encode_interim(conn.out.tail(), status, headers);
        }
    }
}

/// Serves requests on `io` until either side closes. `initial` was read while the protocol was detected.
///
/// # Cancel safety
/// Dropping the future closes the connection and cancels the request being answered.
pub(crate) async fn serve(io: Transport, initial: BytesMut, cx: &ConnCx) -> End {
    let shared = Arc::new(Shared(Mutex::new(ServerConn {
        io,
        rbuf: initial,
        out: OutBuf::default(),
        eof: false,
        decoder: BodyDecoder::new(BodyFraming::Empty, &cx.settings().limits),
        tunnel: Tunnel::None,
        tunnel_waker: None,
        continue_pending: false,
        body_dropped: false,
        bytes_in: 0,
        body_error: false,
        body_idle: Duration::from_secs(60),
        body_timer: LazyTimer::default(),
        interim_allowed: false,
    })));
    let mut timer = LazyTimer::default();
    let mut first = true;
    loop {
        let head = match read_head(&shared, &mut timer, cx, first).await {
            Ok(Some(head)) => head,
            Ok(None) => return End::Clean,
            Err(refusal) => {
                refuse(&shared, refusal, cx).await;
                return End::Broken;
            }
        };
        first = false;
        match serve_one(&shared, head, cx).await {
            Next::Request => {}
            Next::Close => {
                linger(&shared).await;
                return End::Clean;
            }
            Next::Broken => return End::Broken,
        }
    }
}

enum Next {
    Request,
    Close,
    Broken,
}

/// Why a head was not accepted.
enum Refusal {
    Head(HeadError),
    Slow,
    Gone,
}

async fn read_head(
    shared: &Arc<Shared>,
    timer: &mut LazyTimer,
    cx: &ConnCx,
    first: bool,
) -> Result<Option<RequestHead>, Refusal> {
    let settings = cx.settings();
    let mut scan = ScanState::default();
    let waiting = if first { settings.timeouts.head } else { settings.timeouts.idle };
    timer.set(Some(Clock.now() + waiting));
    let mut begun = first;
    poll_fn(|task| {
        let mut conn = shared.lock();
        loop {
            if !conn.rbuf.is_empty() {
                match parse_request(&mut conn.rbuf, &mut scan, &settings.limits) {
                    Ok(Some(head)) => return Poll::Ready(Ok(Some(head))),
                    Ok(None) => {
                        // The head's deadline runs from its first byte, not from each of them.
                        if !begun {
                            begun = true;
                            timer.set(Some(Clock.now() + settings.timeouts.head));
                        }
                    }
                    Err(error) => return Poll::Ready(Err(Refusal::Head(error))),
                }
            }
            if conn.eof {
                return Poll::Ready(if conn.rbuf.is_empty() {
                    Ok(None)
                } else {
                    Err(Refusal::Gone)
                });
            }
            let idle = conn.rbuf.is_empty();
            if idle {
                // An idle connection owns no buffers; it is told to go when the gateway drains.
                conn.rbuf = BytesMut::new();
                conn.out.release();
                if cx.handle.poll_closing(task) {
                    return Poll::Ready(Ok(None));
                }
            }
            match conn.poll_read_head(task) {
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(_)) if idle => return Poll::Ready(Ok(None)),
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Refusal::Gone)),
                Poll::Pending => {
                    ready!(timer.poll_elapsed(task));
                    return Poll::Ready(if idle { Ok(None) } else { Err(Refusal::Slow) });
                }
            }
        }
    })
    .await
}

/// Answers a head that was not accepted and closes; framing is in doubt, so nothing more is read as a request.
async fn refuse(shared: &Arc<Shared>, refusal: Refusal, cx: &ConnCx) {
    let error = match refusal {
        Refusal::Gone => return,
        Refusal::Slow => GatewayError::new(ErrorClass::RequestTimeout, "waiting for a request head"),
        Refusal::Head(error) => GatewayError::new(ErrorClass::BadRequest, "parsing a request head")
            .with_status(error.status())
            .with_reason(error.reason())
            .with_source(error),
    };
    let entry = cx.entry();
    let exchange = Exchange::new(cx.info.clone());
    let mut report = ExchangeReport::new(exchange.clone(), entry.telemetry.clone());
    let response = settle(error, &exchange);
    report.head(response.status());
    let request = ReplyTo {
        method: Method::GET,
        version: Version::HTTP_11,
        trailers: false,
        keep_alive: false,
        upgrade: false,
    };
    if let Ok((_, written)) = write_response(shared, response, &request, cx).await {
        report.complete(0, written);
    }
    linger(shared).await;
}

/// What the reply must know of its request.
struct ReplyTo {
    method: Method,
    version: Version,
    trailers: bool,
    keep_alive: bool,
    upgrade: bool,
}

async fn serve_one(shared: &Arc<Shared>, head: RequestHead, cx: &ConnCx) -> Next {
    let entry = cx.entry();
    let exchange = Exchange::with_interim(cx.info.clone(), shared.clone());
    let mut report = ExchangeReport::new(exchange.clone(), entry.telemetry.clone());
    let reply_to = ReplyTo {
        method: head.method.clone(),
        version: head.version,
        trailers: accepts_trailers(&head.headers),
        keep_alive: head.keep_alive,
        upgrade: head.upgrade,
    };
    let request = begin(shared, head, exchange.clone(), &entry.settings);
    let answered = match report.admit(&request) {
        Ok(()) => drive(shared, &mut entry.service.call(request)).await,
        Err(error) => Some(Err(error)),
    };
    // Writing the reply may take as long as the client likes; the generation need not wait for it.
    drop(entry);
    let Some(outcome) = answered else {
        // The report logs the request as abandoned when it is dropped.
        return Next::Broken;
    };
    let response = outcome.unwrap_or_else(|error| settle(error, &exchange));
    report.head(response.status());
    drop(exchange);
    let (next, written) = match write_response(shared, response, &reply_to, cx).await {
        Ok(done) => done,
        Err(error) => {
            report.failed(&error);
            return Next::Broken;
        }
    };
    let received = shared.lock().bytes_in;
    report.complete(received, written);
    next
}

fn begin(
    shared: &Arc<Shared>,
    head: RequestHead,
    exchange: Exchange,
    settings: &HttpSettings,
) -> Request {
    let mut conn = shared.lock();
    let upgrade = head.upgrade && matches!(head.framing, BodyFraming::Empty);
    let framing = if upgrade { BodyFraming::UntilClose } else { head.framing };
    conn.decoder = BodyDecoder::new(framing, &settings.limits);
    conn.tunnel = if upgrade { Tunnel::Offered } else { Tunnel::None };
    conn.continue_pending = head.expect_continue && !conn.decoder.is_done();
    conn.body_dropped = false;
    conn.body_error = false;
    conn.bytes_in = 0;
    conn.body_idle = settings.timeouts.body_idle;
    conn.body_timer.set(None);
    conn.interim_allowed = head.version == Version::HTTP_11;
    drop(conn);
    let body = match framing {
        BodyFraming::Empty | BodyFraming::Length(0) => Body::empty(),
        BodyFraming::Length(length) => Body::h1_request(RequestBody::new(shared.clone(), Some(length))),
        _ => Body::h1_request(RequestBody::new(shared.clone(), None)),
    };
    let mut request = Request::new(body);
    *request.method_mut() = head.method;
    *request.uri_mut() = head.uri;
    *request.version_mut() = head.version;
    *request.headers_mut() = head.headers;
    if upgrade {
        Upgrade::offer(&mut request);
    }
    request.extensions_mut().insert(exchange);
    request
}

/// Runs the handler, watching for a client that leaves and passing interim replies on.
async fn drive(
    shared: &Arc<Shared>,
    answer: &mut BoxFuture<'_, Result<Response, GatewayError>>,
) -> Option<Result<Response, GatewayError>> {
    poll_fn(|task| {
        if let Poll::Ready(outcome) = answer.as_mut().poll(task) {
            return Poll::Ready(Some(outcome));
        }
        let mut conn = shared.lock();
        if !conn.out.is_clean() && matches!(conn.poll_flush(task), Poll::Ready(Err(_))) {
            return Poll::Ready(None);
        }
        ready!(conn.poll_gone(task));
        Poll::Ready(None)
    })
    .await
}

/// Writes a reply. Returns what comes next and how many bytes of body were written.
async fn write_response(
    shared: &Arc<Shared>,
    response: Response,
    request: &ReplyTo,
    cx: &ConnCx,
) -> Result<(Next, u64), GatewayError> {
    let (parts, body) = response.into_parts();
    let switching = parts.status == StatusCode::SWITCHING_PROTOCOLS;
    if switching != request.upgrade && switching {
        return Err(GatewayError::internal("switching protocols without being asked to"));
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
        let tunnel = if switching { Tunnel::Open } else { Tunnel::Refused };
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
        let body = if encoded.framing == BodyFraming::Empty { Body::empty() } else { body };
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
        if writer.keep && clean { Next::Request } else { Next::Close },
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

fn accepts_trailers(headers: &HeaderMap) -> bool {
    headers.get_all(TE).iter().any(|value| {
        value.as_bytes().split(|byte| *byte == b',').any(|item| {
            item.trim_ascii().eq_ignore_ascii_case(b"trailers")
        })
    })
}

/// Closes the write side and waits a moment for the client, so that a reset does not destroy the reply.
async fn linger(shared: &Arc<Shared>) {
    let mut timer = LazyTimer::default();
    timer.set(Some(Clock.now() + LINGER));
    let mut budget = DISCARD_LIMIT as usize;
    let mut shut = false;
    poll_fn(|task| {
        let mut conn = shared.lock();
        if !shut {
            let conn = &mut *conn;
            if ready!(conn.out.poll_flush(&mut conn.io, task)).is_err()
                || ready!(tokio::io::AsyncWrite::poll_shutdown(
                    Pin::new(&mut conn.io),
                    task
                ))
                .is_err()
            {
                return Poll::Ready(());
            }
            shut = true;
        }
        loop {
            if conn.eof || budget == 0 {
                return Poll::Ready(());
            }
            conn.rbuf.clear();
            match conn.poll_read_head(task) {
                Poll::Ready(Ok(read)) => budget = budget.saturating_sub(read.max(1)),
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => return timer.poll_elapsed(task),
            }
        }
    })
    .await;
}

