//! Upgrades through a server that the gateway is mounted in.
//!
//! Inside the gateway a tunnel is two bodies ([`crate::upgrade`]). A server built on hyper hands out a byte stream
//! instead, once it has sent the reply: a task moves bytes between the two.

use std::convert::Infallible;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::header::{CONNECTION, CONTENT_LENGTH, SEC_WEBSOCKET_ACCEPT, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderValue, Method, StatusCode, Version};
use http_body::{Body as HttpBody, Frame};
use hyper::ext::Protocol;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, ReadHalf, WriteHalf};
use tokio::sync::oneshot;

use crate::body::Body;
use crate::conn::ExchangeReport;
use crate::error::{ErrorClass, GatewayError};
use crate::handler::{Request, Response};
use crate::spawn::spawn;
use crate::upgrade::Upgrade;

type Io = TokioIo<Upgraded>;

/// How much one read asks for.
const READ: usize = 8 * 1024;

/// What a client asked for and its server is able to give: the connection or stream itself.
pub(super) struct Offer {
    upgrade: OnUpgrade,
    /// Over HTTP/2 a tunnel is opened with 200.
    extended: bool,
    give: oneshot::Sender<ReadHalf<Io>>,
    received: Arc<AtomicU64>,
    /// Told when nobody wants the client's direction any more.
    over: oneshot::Receiver<Infallible>,
}

impl Offer {
    /// Recognises a request for an upgrade, and makes it look as it does on a listener of the gateway's own.
    pub(super) fn of(request: &mut Request) -> Option<Self> {
        let protocol = request.extensions_mut().remove::<Protocol>();
        let upgrade = request.extensions_mut().remove::<OnUpgrade>()?;
        let extended = match protocol {
            Some(protocol) if *request.method() == Method::CONNECT => {
                let protocol = HeaderValue::from_str(protocol.as_str()).ok()?;
                *request.method_mut() = Method::GET;
                request.extensions_mut().insert(Upgrade::new(protocol));
                true
            }
            _ if asks_for_another_protocol(request) => {
                Upgrade::offer(request);
                false
            }
            _ => return None,
        };
        let (give, given) = oneshot::channel();
        let (alive, over) = oneshot::channel();
        let received = Arc::<AtomicU64>::default();
        *request.body_mut() = Body::new(FromClient {
            state: State::Offered(given),
            received: received.clone(),
            _alive: alive,
        });
        Some(Self {
            upgrade,
            extended,
            give,
            received,
            over,
        })
    }

    /// Answers that the protocol changes. What follows goes through a task of its own, which reports its end.
    pub(super) fn take_up(self, response: Response, report: ExchangeReport) -> Response {
        let (mut parts, body) = response.into_parts();
        if self.extended {
            parts.status = StatusCode::OK;
            for name in [CONNECTION, UPGRADE, SEC_WEBSOCKET_ACCEPT] {
                parts.headers.remove(name);
            }
        } else {
            let option = HeaderValue::from_static("upgrade");
            parts.headers.insert(CONNECTION, option);
        }
        spawn(self.run(body, report));
        Response::from_parts(parts, Body::empty())
    }

    async fn run(self, body: Body, report: ExchangeReport) {
        let upgraded = match self.upgrade.await {
            Ok(upgraded) => upgraded,
            Err(error) => {
                let gone = GatewayError::new(ErrorClass::ClientGone, "switching protocols");
                return report.failed(&gone.with_source(error));
            }
        };
        let (read, io) = tokio::io::split(TokioIo::new(upgraded));
        // Nobody may want to read it.
        let _ = self.give.send(read);
        let mut to_client = ToClient {
            io,
            body,
            ended: false,
            waiting: Bytes::new(),
            sent: 0,
        };
        let done = std::future::poll_fn(|task| to_client.poll(task)).await;
        match done {
            Ok(()) => {
                let sent = to_client.sent;
                drop(to_client);
                // The client's direction may go on when the upstream has ended its own.
                let _ = self.over.await;
                report.complete(self.received.load(Ordering::Relaxed), sent);
            }
            Err(error) => report.failed(&error),
        }
    }
}

/// A reply that switches protocols where nobody asked for it, or that means a tunnel to its client although there is
/// none, is a fault.
pub(super) fn check_switch(
    response: Response,
    offer: Option<&Offer>,
) -> Result<Response, GatewayError> {
    let switching = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    match offer {
        None if switching => Err(GatewayError::internal(
            "switching protocols without being asked to",
        )),
        Some(offer) if offer.extended => Upgrade::check_extended(response),
        _ => Ok(response),
    }
}

/// As on a listener of the gateway's own: HTTP/1.1, no body, and not the obsolete way to HTTP/2.
fn asks_for_another_protocol(request: &Request) -> bool {
    let headers = request.headers();
    let bodiless = !headers.contains_key(TRANSFER_ENCODING)
        && headers
            .get(CONTENT_LENGTH)
            .is_none_or(|length| length.as_bytes() == b"0");
    request.version() == Version::HTTP_11
        && *request.method() != Method::CONNECT
        && bodiless
        && headers
            .get(UPGRADE)
            .is_some_and(|protocol| !protocol.as_bytes().eq_ignore_ascii_case(b"h2c"))
}

/// The client's direction: the request's body.
struct FromClient {
    state: State,
    received: Arc<AtomicU64>,
    _alive: oneshot::Sender<Infallible>,
}

enum State {
    Offered(oneshot::Receiver<ReadHalf<Io>>),
    Open(ReadHalf<Io>),
    Over,
}

impl HttpBody for FromClient {
    type Data = Bytes;
    type Error = GatewayError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, GatewayError>>> {
        loop {
            match &mut self.state {
                State::Offered(given) => {
                    self.state = match ready!(Pin::new(given).poll(task)) {
                        Ok(io) => State::Open(io),
                        // The answer was another one.
                        Err(_) => State::Over,
                    };
                }
                State::Open(io) => {
                    // Through the stack: a tunnel that waits owns no buffer.
                    let mut space = [const { MaybeUninit::<u8>::uninit() }; READ];
                    let mut read = ReadBuf::uninit(&mut space);
                    let frame = match ready!(Pin::new(io).poll_read(task, &mut read)) {
                        Ok(()) if read.filled().is_empty() => None,
                        Ok(()) => {
                            let data = Bytes::copy_from_slice(read.filled());
                            self.received
                                .fetch_add(data.len() as u64, Ordering::Relaxed);
                            return Poll::Ready(Some(Ok(Frame::data(data))));
                        }
                        Err(error) => Some(Err(gone("reading from a tunnel", error))),
                    };
                    self.state = State::Over;
                    return Poll::Ready(frame);
                }
                State::Over => return Poll::Ready(None),
            }
        }
    }
}

/// The upstream's direction: the reply's body, on its way out. Polling it is what moves the other one, too.
struct ToClient {
    io: WriteHalf<Io>,
    body: Body,
    ended: bool,
    waiting: Bytes,
    sent: u64,
}

impl ToClient {
    fn poll(&mut self, task: &mut Context<'_>) -> Poll<Result<(), GatewayError>> {
        let broken = |error| gone("writing to a tunnel", error);
        loop {
            while !self.waiting.is_empty() {
                let written = ready!(Pin::new(&mut self.io).poll_write(task, &self.waiting))
                    .map_err(broken)?;
                if written == 0 {
                    return Poll::Ready(Err(broken(io::ErrorKind::WriteZero.into())));
                }
                self.waiting.advance(written);
                self.sent += written as u64;
            }
            if self.ended {
                return Pin::new(&mut self.io).poll_shutdown(task).map_err(broken);
            }
            match Pin::new(&mut self.body).poll_frame(task) {
                Poll::Ready(Some(frame)) => {
                    self.waiting = frame?.into_data().unwrap_or_default();
                }
                Poll::Ready(None) => self.ended = true,
                Poll::Pending => {
                    ready!(Pin::new(&mut self.io).poll_flush(task)).map_err(broken)?;
                    return Poll::Pending;
                }
            }
        }
    }
}

fn gone(doing: &'static str, error: io::Error) -> GatewayError {
    GatewayError::new(ErrorClass::ClientGone, doing).with_source(error)
}
