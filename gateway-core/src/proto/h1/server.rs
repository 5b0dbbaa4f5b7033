//! Serving one HTTP/1 client connection.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, ready};

use bytes::BytesMut;
use http::{Method, Version};

use super::linger::{drain, linger, shut};
use super::reply::{Next, ReplyTo, Writing, begin_reply};
use super::request_body::RequestBody;
use super::server_conn::{Shared, Tunnel};
use super::spare::keep_read_buffer;
use crate::body::Body;
use crate::clock::Clock;
use crate::conn::{ConnCx, ExchangeReport};
use crate::error::{ErrorClass, GatewayError};
use crate::exchange::Exchange;
use crate::filter::settle;
use crate::gateway::ListenerEntry;
use crate::handler::{BoxFuture, Request, Response};
use crate::heads;
use crate::http1::{BodyFraming, HeadError, RequestHead, ScanState, parse_request};
use crate::hygiene::accepts_trailers;
use crate::settings::HttpSettings;
use crate::timer::LazyTimer;
use crate::transport::Transport;
use crate::upgrade::Upgrade;

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Between two requests: the client closed, was idle too long, or was told to close.
    Clean,
    /// In the middle of something.
    Broken,
}

/// Serves requests on `io` until either side closes. `initial` was read while the protocol was detected.
///
/// # Cancel safety
/// Dropping the future closes the connection and cancels the request being answered.
pub(crate) async fn serve(io: Transport, initial: BytesMut, cx: &ConnCx) -> End {
    let shared = Arc::new(Shared::new(io, initial, cx.settings()));
    let mut timer = LazyTimer::default();
    let mut first = true;
    loop {
        let head = match read_head(&shared, &mut timer, cx, first).await {
            Ok(Some(head)) => head,
            Ok(None) => {
                shut(&shared).await;
                return End::Clean;
            }
            Err(refusal) => {
                Box::pin(refuse(&shared, refusal, cx)).await;
                return End::Broken;
            }
        };
        first = false;
        // The steps of an exchange stand here and the work between them in functions: what those move about, the
        // request above all, would else be part of what every idle connection holds.
        let entry = cx.entry();
        let (mut turn, admitted) = Turn::begin(&shared, head, cx, &entry);
        let answered = match admitted {
            Ok(request) => drive(&shared, &mut entry.service.call(request)).await,
            Err(error) => Some(Err(error)),
        };
        // Writing the reply may take as long as the client likes; the generation need not wait for it.
        drop(entry);
        let next = match turn.reply(&shared, answered, cx) {
            Some(mut writing) => turn.end(writing.deliver(&shared).await, &shared),
            None => Next::Broken,
        };
        turn.exchange.end();
        match next {
            Next::Request => {}
            Next::Drain if drain(&shared).await => {}
            Next::Drain => {
                linger(&shared).await;
                return End::Clean;
            }
            Next::Close => {
                linger(&shared).await;
                return End::Clean;
            }
            Next::Broken => return End::Broken,
        }
    }
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
    let waiting = if first {
        settings.timeouts.head
    } else {
        settings.timeouts.idle
    };
    timer.set(Some(Clock.recent() + waiting));
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
                // An idle connection owns no buffers.
                keep_read_buffer(std::mem::take(&mut conn.rbuf));
                conn.out.release();
            }
            match conn.poll_read_head(task) {
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(_)) if idle => return Poll::Ready(Ok(None)),
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Refusal::Gone)),
                // Only after a look at the socket: a request that has arrived is still answered.
                Poll::Pending if idle && cx.handle.poll_closing(task) => {
                    return Poll::Ready(Ok(None));
                }
                Poll::Pending => {
                    if idle && let Some(by) = cx.handle.hurried_until() {
                        timer.pull_in(by);
                    }
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
        Refusal::Slow => {
            GatewayError::new(ErrorClass::RequestTimeout, "waiting for a request head")
        }
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
    if let Ok(mut writing) = begin_reply(shared, response, &request, cx)
        && let Ok((_, written)) = writing.deliver(shared).await
    {
        report.complete(0, written);
    }
    linger(shared).await;
}

/// One request and its reply.
struct Turn {
    exchange: Exchange,
    report: Option<ExchangeReport>,
    reply_to: ReplyTo,
}

impl Turn {
    fn begin(
        shared: &Arc<Shared>,
        head: RequestHead,
        cx: &ConnCx,
        entry: &ListenerEntry,
    ) -> (Self, Result<Request, GatewayError>) {
        let exchange = Exchange::with_interim(cx.info.clone(), shared.clone());
        let report = ExchangeReport::new(exchange.clone(), entry.telemetry.clone());
        let reply_to = ReplyTo {
            method: head.method.clone(),
            version: head.version,
            trailers: head.te && accepts_trailers(&head.headers),
            keep_alive: head.keep_alive,
            upgrade: head.upgrade,
        };
        let request = begin(shared, head, exchange.clone(), &entry.settings);
        let admitted = report
            .admit(&request, entry.settings.body.max_bytes)
            .map(|()| request);
        let turn = Self {
            exchange,
            report: Some(report),
            reply_to,
        };
        (turn, admitted)
    }

    /// Begins the reply; `None` when there is nobody to reply to or the reply cannot be sent.
    fn reply(
        &mut self,
        shared: &Arc<Shared>,
        answered: Option<Result<Response, GatewayError>>,
        cx: &ConnCx,
    ) -> Option<Writing> {
        // The report logs the request as abandoned when it is dropped.
        let response = answered?.unwrap_or_else(|error| settle(error, &self.exchange));
        self.report.as_mut()?.head(response.status());
        match begin_reply(shared, response, &self.reply_to, cx) {
            Ok(writing) => Some(writing),
            Err(error) => {
                self.report.take()?.failed(&error);
                None
            }
        }
    }

    fn end(&mut self, delivered: Result<(Next, u64), GatewayError>, shared: &Arc<Shared>) -> Next {
        let Some(report) = self.report.take() else {
            return Next::Broken;
        };
        match delivered {
            Ok((next, written)) => {
                report.complete(shared.lock().bytes_in, written);
                next
            }
            Err(error) => {
                report.failed(&error);
                Next::Broken
            }
        }
    }
}

fn begin(
    shared: &Arc<Shared>,
    head: RequestHead,
    exchange: Exchange,
    settings: &HttpSettings,
) -> Request {
    let mut conn = shared.lock();
    let upgrade = head.upgrade && matches!(head.framing, BodyFraming::Empty);
    let framing = if upgrade {
        BodyFraming::UntilClose
    } else {
        head.framing
    };
    conn.expect_body(framing, settings);
    conn.tunnel = if upgrade {
        Tunnel::Offered
    } else {
        Tunnel::None
    };
    conn.continue_pending = head.expect_continue && !conn.decoder.is_done();
    conn.interim_allowed = head.version == Version::HTTP_11;
    drop(conn);
    let body = match framing {
        BodyFraming::Empty | BodyFraming::Length(0) => Body::empty(),
        BodyFraming::Length(length) => {
            Body::h1_request(RequestBody::new(shared.clone(), Some(length)))
        }
        _ => Body::h1_request(RequestBody::new(shared.clone(), None)),
    };
    let mut request = Request::new(body);
    *request.method_mut() = head.method;
    *request.uri_mut() = head.uri;
    *request.version_mut() = head.version;
    *request.headers_mut() = head.headers;
    *request.extensions_mut() = heads::extensions();
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
