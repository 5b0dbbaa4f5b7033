//! One HTTP/2 connection to an endpoint, shared by the requests of one worker.
//!
//! A task of its own reads and writes the connection; requests open streams on it and drive them themselves.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use h2::SendStream;
use h2::client::{Builder, Connection, ResponseFuture, SendRequest};
use tokio::sync::Notify;

use super::gather::{Gather, Gathered, gather};
use super::keep_alive::KeepAlive;
use crate::clock::Instant;
use crate::error::{ErrorClass, GatewayError};
use crate::http1::HeadLimits;
use crate::pool::{Place, Tally};
use crate::spawn::spawn;
use crate::timer::LazyTimer;
use crate::transport::Transport;

/// Requests on one connection before another one is opened; most servers allow 100 or more.
const MAX_STREAMS: usize = 100;
/// Bytes in flight towards the gateway per stream and per connection.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;
/// Bytes of one stream that may wait for the endpoint's window.
const SEND_BUFFER: usize = 256 * 1024;
/// What frames may cost beside their data while they wait for slow clients. With the engine's own bound one
/// client that does not read small messages would end the connection for all others.
const FRAME_BUDGET: usize = 16 << 20;
/// Streams that were given up and whose late frames are still recognised as theirs.
const FORGOTTEN_STREAMS: usize = 1000;

/// Armed timers that are kept for further streams: arming one costs more than a request's deadlines should.
const SPARE_TIMERS: usize = 32;

/// Opens streams on one connection. Clones share it.
#[derive(Clone)]
pub(crate) struct Sender {
    inner: SendRequest<Bytes>,
    use_: Arc<Use>,
    secure: bool,
}

/// How much a connection is used.
#[derive(Debug)]
pub(super) struct Use {
    /// Streams that are open.
    streams: AtomicUsize,
    /// Streams that were ever opened.
    opened: AtomicUsize,
    /// The endpoint takes no more requests on it.
    retired: AtomicBool,
    /// The endpoint's settings are known.
    settled: AtomicBool,
    /// Told when they may be, or when there will be none.
    settling: Notify,
    /// Timers of streams that have ended, for those to come.
    timers: Mutex<Vec<LazyTimer>>,
    /// Knows of requests that wait for a stream to end.
    tally: Arc<Tally>,
}

impl Use {
    /// Streams that are open.
    pub(super) fn streams(&self) -> usize {
        self.streams.load(Ordering::Relaxed)
    }

    /// Streams that were ever opened.
    pub(super) fn opened(&self) -> usize {
        self.opened.load(Ordering::Relaxed)
    }

    /// The endpoint's settings have been applied.
    pub(super) fn settle(&self) {
        self.settled.store(true, Ordering::Release);
        self.settling.notify_waiters();
    }

    fn timers(&self) -> MutexGuard<'_, Vec<LazyTimer>> {
        self.timers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Relaxed)
    }

    /// No more requests on this connection.
    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }
}

impl Sender {
    /// Whether the connection takes requests.
    pub(crate) fn is_open(&self) -> bool {
        !self.use_.is_retired()
    }

    /// Whether another stream fits, as few as a connection should have.
    pub(crate) fn has_room(&self) -> bool {
        self.streams() < MAX_STREAMS && self.takes_more()
    }

    /// Whether the endpoint permits another stream now (RFC 9113 5.1.2).
    pub(crate) fn takes_more(&self) -> bool {
        self.streams() < self.limit()
    }

    /// Streams that the endpoint permits at a time, as far as is known.
    pub(crate) fn limit(&self) -> usize {
        self.inner.current_max_send_streams()
    }

    /// Streams that are open.
    pub(crate) fn streams(&self) -> usize {
        self.use_.streams()
    }

    /// Streams that were ever opened.
    pub(crate) fn opened(&self) -> usize {
        self.use_.opened()
    }

    /// Whether the connection is encrypted.
    pub(crate) fn is_secure(&self) -> bool {
        self.secure
    }

    /// Whether the endpoint's settings are known.
    pub(super) fn is_settled(&self) -> bool {
        self.use_.settled.load(Ordering::Acquire)
    }

    /// Whether the endpoint offers extended CONNECT (RFC 8441 3). A new connection may not have its settings
    /// yet: they are waited for until `by`. `None` when they did not come.
    pub(super) async fn takes_tunnels(&self, by: Instant) -> Option<bool> {
        loop {
            let news = self.use_.settling.notified();
            if self.inner.is_extended_connect_protocol_enabled() {
                return Some(true);
            }
            if self.is_settled() {
                return Some(false);
            }
            // Cancel safe: nothing is taken from whom it is told to.
            if !self.is_open() || tokio::time::timeout_at(by, news).await.is_err() {
                return None;
            }
        }
    }

    /// Opens a stream. One beyond what the endpoint permits waits in the engine.
    pub(super) fn open(
        &mut self,
        head: http::Request<()>,
        end: bool,
    ) -> Result<(ResponseFuture, SendStream<Bytes>, Stream), h2::Error> {
        let opened = self.inner.send_request(head, end);
        match opened {
            Ok((answer, stream)) => Ok((answer, stream, Stream::open(&self.use_))),
            Err(error) => {
                // A head that cannot be sent says nothing about the connection.
                if self.is_spent() {
                    self.retire();
                }
                Err(error)
            }
        }
    }

    /// Nobody else needs to find out that this connection takes no more.
    pub(super) fn retire(&self) {
        self.use_.retire();
    }

    /// Whether the endpoint is leaving, the connection broke or its stream numbers are used up.
    fn is_spent(&mut self) -> bool {
        let mut task = Context::from_waker(Waker::noop());
        matches!(self.inner.poll_ready(&mut task), Poll::Ready(Err(_)))
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("use", &self.use_)
            .finish_non_exhaustive()
    }
}

/// One stream's share of its connection.
pub(super) struct Stream {
    use_: Arc<Use>,
    /// A timer that may have served other streams.
    pub(super) timer: LazyTimer,
}

impl Stream {
    fn open(use_: &Arc<Use>) -> Self {
        use_.streams.fetch_add(1, Ordering::Relaxed);
        use_.opened.fetch_add(1, Ordering::Relaxed);
        Self {
            timer: use_.timers().pop().unwrap_or_default(),
            use_: use_.clone(),
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if self.timer.rest() {
            let mut timers = self.use_.timers();
            if timers.len() < SPARE_TIMERS {
                timers.push(std::mem::take(&mut self.timer));
            }
        }
        self.use_.streams.fetch_sub(1, Ordering::Relaxed);
        self.use_.tally.wake_one();
    }
}

/// Starts HTTP/2 on a transport. Nothing is waited for: the preface goes out with the first request. Until the
/// endpoint says otherwise it is taken to permit `streams` at a time, if that is known from elsewhere.
pub(crate) async fn connect(
    io: Transport,
    place: Place,
    limits: &HeadLimits,
    streams: Option<usize>,
) -> Result<Sender, GatewayError> {
    let secure = io.is_tls_client();
    let tally = place.tally();
    let (io, gathered) = gather(io, Some(place));
    let (inner, connection) = builder(limits, streams)
        .handshake(io)
        .await
        .map_err(|error| {
            GatewayError::new(ErrorClass::Connect, "starting HTTP/2").with_source(error)
        })?;
    let use_ = Arc::new(Use {
        streams: AtomicUsize::new(0),
        opened: AtomicUsize::new(0),
        retired: AtomicBool::new(false),
        settled: AtomicBool::new(false),
        settling: Notify::new(),
        timers: Mutex::default(),
        tally,
    });
    spawn(run(connection, gathered, use_.clone()));
    Ok(Sender {
        inner,
        use_,
        secure,
    })
}

fn builder(limits: &HeadLimits, streams: Option<usize>) -> Builder {
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        .initial_max_send_streams(streams.map_or(MAX_STREAMS, |known| known.clamp(1, MAX_STREAMS)))
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(u32::try_from(limits.max_head_bytes).unwrap_or(u32::MAX))
        .max_send_buffer_size(SEND_BUFFER)
        .max_concurrent_reset_streams(FORGOTTEN_STREAMS)
        .data_frame_budget(FRAME_BUDGET);
    builder
}

/// Reads and writes a connection until it is over.
async fn run(mut connection: Connection<Gather, Bytes>, gathered: Gathered, use_: Arc<Use>) {
    let mut keep_alive = connection.ping_pong().map(KeepAlive::start);
    let watched = async {
        let mut connection = pin!(connection);
        poll_fn(|task| {
            if let Poll::Ready(outcome) = Pin::new(&mut connection).poll(task) {
                return Poll::Ready(outcome.err());
            }
            if !use_.settled.load(Ordering::Acquire) {
                use_.settling.notify_waiters();
            }
            let gone = keep_alive
                .as_mut()
                .is_some_and(|alive| alive.poll_gone(task, &gathered, &use_).is_ready());
            if gone {
                tracing::debug!("an http/2 endpoint stopped answering");
                return Poll::Ready(None);
            }
            Poll::Pending
        })
        .await
    };
    let over = gathered.drive(watched).await;
    use_.retire();
    use_.settling.notify_waiters();
    if let Some(Some(error)) = &over {
        tracing::debug!(%error, "an http/2 connection to an endpoint failed");
    }
    if over.is_some() {
        gathered.finish().await;
    }
}
