//! HTTP/2 connections to endpoints, shared by the requests of one worker.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Notify;

use super::gather::{Gathered, gather};
use super::upload::Upload;
use crate::body::Body;
use crate::clock::{Clock, Instant};
use crate::error::{BoxError, ErrorClass, GatewayError, RetrySafety};
use crate::exchange::Exchange;
use crate::forward::{AttemptCx, AttemptFailure};
use crate::handler::{Request, Response};
use crate::http1::HeadLimits;
use crate::pool::Place;
use crate::proto::h1::earliest;
use crate::spawn::spawn;
use crate::timer::LazyTimer;
use crate::transport::Transport;
use crate::upstream::InFlight;

/// Requests on one connection before another one is opened; most servers allow 100 or more.
const MAX_STREAMS: usize = 100;
/// Bytes in flight towards the gateway per stream and per connection.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;
/// How often, and how many times, a new connection is looked at for the endpoint's offer of tunnels.
const LOOK_EVERY: Duration = Duration::from_millis(10);
const LOOKS: u32 = 100;
/// How often a connection in use is checked, and how long its answer may take.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_ANSWER: Duration = Duration::from_secs(10);

/// Sends requests on one connection. Clones share it.
#[derive(Clone)]
pub(crate) struct Sender {
    inner: http2::SendRequest<Body>,
    use_: Arc<Use>,
    secure: bool,
}

/// How much a connection is used.
#[derive(Debug, Default)]
struct Use {
    /// Streams that are open.
    streams: AtomicUsize,
    /// Streams that were ever opened.
    opened: AtomicUsize,
    /// The endpoint takes no more requests on it.
    retired: AtomicBool,
    /// The endpoint's settings offer extended CONNECT (RFC 8441 3).
    tunnels: AtomicBool,
    /// Told when they do.
    offered: Notify,
}

impl Sender {
    /// Whether the connection takes requests.
    pub(crate) fn is_open(&self) -> bool {
        !self.inner.is_closed() && !self.use_.retired.load(Ordering::Relaxed)
    }

    /// Whether another stream fits without waiting for the endpoint's permission.
    pub(crate) fn has_room(&self) -> bool {
        self.streams() < MAX_STREAMS
    }

    /// Streams that are open.
    pub(crate) fn streams(&self) -> usize {
        self.use_.streams.load(Ordering::Relaxed)
    }

    /// Streams that were ever opened.
    pub(crate) fn opened(&self) -> usize {
        self.use_.opened.load(Ordering::Relaxed)
    }

    /// Whether the connection is encrypted.
    pub(crate) fn is_secure(&self) -> bool {
        self.secure
    }
}

impl Sender {
    /// Whether the endpoint offers extended CONNECT. A new connection may not have its settings yet: they
    /// are waited for up to `limit`.
    pub(super) async fn takes_tunnels(&self, limit: Duration) -> bool {
        let offered = self.use_.offered.notified();
        if self.use_.tunnels.load(Ordering::Relaxed) {
            return true;
        }
        // Cancel safe: nothing is taken from whom it is told to.
        let _ = tokio::time::timeout(limit, offered).await;
        self.use_.tunnels.load(Ordering::Relaxed)
    }

    /// Sends a request as it is.
    pub(super) fn send(
        &mut self,
        request: Request,
    ) -> impl Future<Output = hyper::Result<http::Response<Incoming>>> + use<> {
        self.inner.send_request(request)
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("use", &self.use_)
            .finish_non_exhaustive()
    }
}

/// Runs what hyper spawns for a connection, writing what each turn gathered.
#[derive(Clone)]
struct Executor(Gathered);

impl<F> hyper::rt::Executor<F> for Executor
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, future: F) {
        let gathered = self.0.clone();
        spawn(async move {
            if gathered.drive(future).await.is_some() {
                gathered.finish().await;
            }
        });
    }
}

/// Starts HTTP/2 on a transport.
pub(crate) async fn connect(
    io: Transport,
    place: Place,
    limits: &HeadLimits,
) -> Result<Sender, GatewayError> {
    let secure = io.is_tls_client();
    let (io, gathered) = gather(io, Some(place));
    let mut builder = http2::Builder::new(Executor(gathered.clone()));
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(u32::try_from(limits.max_head_bytes).unwrap_or(u32::MAX))
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_ANSWER);
    // The preface is gathered too, so it is sent as soon as the handshake has produced it.
    let (sender, connection) = gathered
        .drive(builder.handshake::<_, Body>(TokioIo::new(io)))
        .await
        .ok_or_else(|| {
            GatewayError::new(ErrorClass::Connect, "starting HTTP/2: the connection broke")
        })?
        .map_err(|error| {
            GatewayError::new(ErrorClass::Connect, "starting HTTP/2").with_source(error)
        })?;
    let use_: Arc<Use> = Arc::default();
    let told = use_.clone();
    spawn(async move {
        let mut connection = pin!(connection);
        // Settings are read by a task of hyper's own, so this one is not woken when they are there.
        let mut looks = tokio::time::interval(LOOK_EVERY);
        let mut left = LOOKS;
        let watched = poll_fn(move |task| {
            loop {
                let done = connection.as_mut().poll(task);
                if left == 0 || done.is_ready() {
                    return done;
                }
                if connection.is_extended_connect_protocol_enabled() {
                    told.tunnels.store(true, Ordering::Relaxed);
                    told.offered.notify_waiters();
                    left = 0;
                    continue;
                }
                ready!(looks.poll_tick(task));
                left -= 1;
            }
        });
        gathered.drive(watched).await;
    });
    Ok(Sender {
        inner: sender,
        use_,
        secure,
    })
}

/// One stream's share of its connection.
pub(super) struct Stream(Arc<Use>);

impl Stream {
    pub(super) fn open(sender: &Sender) -> Self {
        sender.use_.streams.fetch_add(1, Ordering::Relaxed);
        sender.use_.opened.fetch_add(1, Ordering::Relaxed);
        Self(sender.use_.clone())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Sends a request and waits for the head of its response.
pub(crate) async fn send(
    mut sender: Sender,
    request: Request,
    cx: &AttemptCx,
    _exchange: &Exchange,
) -> Result<Response, AttemptFailure> {
    let stream = Stream::open(&sender);
    let bodiless = request.body().is_end_stream();
    let (parts, body) = request.into_parts();
    let (body, upload) = Upload::watch(body);
    let mut silence = Silence {
        timer: LazyTimer::default(),
        by: earliest([cx.head_by, cx.done_by]),
        idle: cx.idle,
        upload,
        seen: 0,
    };
    let mut answer = pin!(
        sender
            .inner
            .try_send_request(Request::from_parts(parts, body))
    );
    let outcome = poll_fn(|task| {
        if let Poll::Ready(outcome) = answer.as_mut().poll(task) {
            return Poll::Ready(Some(outcome));
        }
        silence.poll_over(task).map(|()| None)
    })
    .await;
    match outcome {
        None => Err(GatewayError::new(
            ErrorClass::UpstreamTimeout,
            "waiting for the response head",
        )
        .with_retry(RetrySafety::Idempotent)
        .into()),
        Some(Err(mut failure)) => {
            let body = failure.take_message().map(http::Request::into_body);
            let error = failure.into_error();
            let left = body.is_some() || is_farewell(&error);
            if left {
                // The endpoint is leaving (GOAWAY): nobody else needs to find out.
                stream.0.retired.store(true, Ordering::Relaxed);
            }
            Err(AttemptFailure {
                error: classify(error, left),
                body: body.or_else(|| (left && bodiless).then(Body::empty)),
            })
        }
        Some(Ok(response)) => {
            let (parts, incoming) = response.into_parts();
            let body = if incoming.is_end_stream() {
                Body::empty()
            } else {
                Body::h2_response(Box::new(UpstreamStream {
                    incoming,
                    silence: silence.until(cx.done_by),
                    _stream: stream,
                    in_flight: None,
                }))
            };
            Ok(Response::from_parts(parts, body))
        }
    }
}

/// Whether the endpoint said that it will not look at the request: it is leaving, and the stream's number is
/// above the last one it names (RFC 9113 6.8).
fn is_farewell(error: &hyper::Error) -> bool {
    std::error::Error::source(error)
        .and_then(|source| source.downcast_ref::<h2::Error>())
        .is_some_and(|error| error.is_go_away() && error.is_remote())
}

fn classify(error: hyper::Error, returned: bool) -> GatewayError {
    // The error of a request body that broke comes back wrapped: it says who broke it.
    let mut cause: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(&error);
    while let Some(current) = cause {
        if let Some(own) = current.downcast_ref::<GatewayError>() {
            return GatewayError::new(own.class(), "sending the request body")
                .with_status(own.status())
                .with_reason(own.reason())
                .with_source(error);
        }
        cause = current.source();
    }
    let refused = returned || reason(&error) == Some(h2::Reason::REFUSED_STREAM);
    let safety = if refused {
        RetrySafety::NotSent
    } else {
        RetrySafety::Idempotent
    };
    GatewayError::new(ErrorClass::UpstreamReset, "sending an HTTP/2 request")
        .with_retry(safety)
        .with_source(error)
}

fn reason(error: &hyper::Error) -> Option<h2::Reason> {
    std::error::Error::source(error)?
        .downcast_ref::<h2::Error>()?
        .reason()
}

/// How long an endpoint may be silent while its client is not to blame.
struct Silence {
    timer: LazyTimer,
    /// The end of patience, whatever happens until then.
    by: Option<Instant>,
    idle: Option<Duration>,
    upload: Option<Arc<Upload>>,
    seen: u64,
}

impl Silence {
    /// Counts anew, up to another end.
    fn until(mut self, by: Option<Instant>) -> Self {
        self.timer.set(None);
        self.by = by;
        self
    }

    /// Ready when the endpoint was silent for too long.
    fn poll_over(&mut self, task: &mut Context<'_>) -> Poll<()> {
        loop {
            if !self.timer.is_set() {
                let idle_by = self.idle.map(|idle| Clock.now() + idle);
                self.timer.set(earliest([self.by, idle_by]));
            }
            ready!(self.timer.poll_elapsed(task));
            let over = self.by.is_some_and(|by| by <= Clock.now());
            let upload = self.upload.as_ref();
            if over || upload.is_none_or(|upload| upload.is_over_or_stuck(&mut self.seen)) {
                return Poll::Ready(());
            }
            self.timer.set(None);
        }
    }
}

/// The body of a response on an HTTP/2 stream.
pub(crate) struct UpstreamStream {
    incoming: Incoming,
    silence: Silence,
    _stream: Stream,
    in_flight: Option<InFlight>,
}

impl UpstreamStream {
    /// Counts the request against its endpoint until the body is gone.
    pub(crate) fn carry(&mut self, in_flight: InFlight) {
        self.in_flight = Some(in_flight);
    }

    pub(crate) fn poll_frame(
        &mut self,
        task: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, GatewayError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(task) {
            self.silence.timer.set(None);
            if frame.is_none() {
                self.in_flight = None;
            }
            return Poll::Ready(frame.map(|result| {
                result.map_err(|error| {
                    GatewayError::new(ErrorClass::UpstreamReset, "reading an HTTP/2 response body")
                        .with_source(BoxError::from(error))
                })
            }));
        }
        ready!(self.silence.poll_over(task));
        Poll::Ready(Some(Err(GatewayError::new(
            ErrorClass::UpstreamTimeout,
            "waiting for more of the response body",
        ))))
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
