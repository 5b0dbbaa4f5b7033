//! Serving one HTTP/2 client connection.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use h2::server::{Builder, Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::header::EXPECT;
use http::{HeaderMap, Method, StatusCode};

use super::fields::strip_connection_fields;
use super::flood::{Guarded, HeadDeadline, Watch};
use super::gather::{Gather, gather};
use super::reply::reply;
use super::request::translate;
use crate::clock::Clock;
use crate::conn::{ConnCx, ExchangeReport, body_too_large, write_timeout};
use crate::error::{ErrorClass, GatewayError};
use crate::exchange::{Exchange, Interim};
use crate::filter::settle;
use crate::grpc::is_grpc;
use crate::pace::Pace;
use crate::settings::HttpSettings;
use crate::spawn::spawn;
use crate::timer::LazyTimer;
use crate::transport::Transport;
use crate::upgrade::Upgrade;

/// Memory that the frames of small DATA frames may take while they wait for an upstream, at about 256 bytes each.
/// The engine's own default is half a connection's window, some 2000 frames: less than a gRPC client sends in a
/// moment when each message is a frame, and the connection would be closed for it.
const SMALL_DATA: usize = 4 << 20;

/// Serves streams on `io` until either side closes.
///
/// # Cancel safety
/// Dropping the future closes the connection; streams being answered are reset.
pub(crate) async fn serve(io: Transport, cx: Arc<ConnCx>) {
    let settings = cx.settings();
    let (io, gathered) = gather(io, None);
    let (io, watch) = Guarded::new(io, &settings.http2);
    let connection = async {
        let handshake = builder(settings).handshake::<_, Bytes>(io);
        match tokio::time::timeout(settings.timeouts.head, handshake).await {
            Ok(Ok(connection)) => accept(connection, watch, &cx).await,
            Ok(Err(error)) => tracing::debug!(%error, "http/2 handshake failed"),
            Err(_) => tracing::debug!("http/2 handshake took too long"),
        }
    };
    let write_idle = settings.timeouts.write_idle;
    let driven = gathered.drive_within(connection, write_idle, || cx.handle.stall());
    if driven.await.is_some() {
        gathered.finish().await;
    }
}

fn builder(settings: &HttpSettings) -> Builder {
    let mut builder = Builder::new();
    builder
        .initial_window_size(settings.http2.stream_window)
        .initial_connection_window_size(settings.http2.connection_window)
        .max_concurrent_streams(settings.http2.max_concurrent_streams)
        .max_header_list_size(u32::try_from(settings.limits.max_head_bytes).unwrap_or(u32::MAX))
        .max_send_buffer_size(settings.http2.max_send_buffer)
        // As many as can be open: a client may give up all it asked for at once.
        .max_pending_accept_reset_streams(
            usize::try_from(settings.http2.max_concurrent_streams).unwrap_or(usize::MAX),
        )
        .max_local_error_reset_streams(Some(settings.http2.max_refused_streams))
        .data_frame_budget(SMALL_DATA)
        .enable_connect_protocol();
    builder
}

/// How long a client that was idle may take to say goodbye.
const FAREWELL: Duration = Duration::from_secs(5);

/// Takes streams until the client is done, was idle for too long, or the gateway drains.
async fn accept(
    mut connection: Connection<Guarded<Gather>, Bytes>,
    watch: Watch,
    cx: &Arc<ConnCx>,
) {
    let idle = cx.settings().timeouts.idle;
    let mut timer = LazyTimer::default();
    let mut heads = HeadDeadline::default();
    let mut draining = false;
    let mut calming = false;
    poll_fn(|task| {
        loop {
            if !draining && cx.handle.poll_closing(task) {
                draining = true;
                connection.graceful_shutdown();
            }
            match connection.poll_accept(task) {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    timer.set(None);
                    // In a box, because a task moves its future about.
                    spawn(Box::pin(answer(request, respond, cx.clone())));
                }
                Poll::Ready(Some(Err(error))) => {
                    tracing::debug!(%error, "http/2 connection failed");
                    return Poll::Ready(());
                }
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending if watch.is_flooded() && !calming => {
                    calming = true;
                    tracing::debug!("http/2 connection floods: it is closed");
                    connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                }
                Poll::Pending
                    if !calming
                        && heads
                            .poll_missed(&watch, cx.settings().timeouts.head, task)
                            .is_ready() =>
                {
                    calming = true;
                    tracing::debug!("http/2 connection has a head that does not end: it is closed");
                    connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                }
                Poll::Pending => {
                    if connection.has_streams() {
                        timer.set(None);
                        return Poll::Pending;
                    }
                    if !timer.is_set() {
                        timer.set(Some(Clock.now() + idle));
                    }
                    if let Some(by) = cx.handle.hurried_until() {
                        timer.pull_in(by);
                    }
                    ready!(timer.poll_elapsed(task));
                    if draining {
                        return Poll::Ready(());
                    }
                    draining = true;
                    connection.graceful_shutdown();
                    timer.set(Some(Clock.now() + idle.min(FAREWELL)));
                }
            }
        }
    })
    .await;
}

/// The sending half of a stream, shared by the reply, interim replies and `100 Continue`.
pub(super) struct StreamShared {
    respond: Mutex<SendResponse<Bytes>>,
    continue_pending: AtomicBool,
    /// More bytes of the request's body are too many.
    max_body: u64,
    /// How slow the client may be with the request's body until it is answered; `None` for tunnels.
    upload: Option<Mutex<Upload>>,
    pub(super) answered: AtomicBool,
    /// Whether nobody reads the request's body any more, and who wants to know.
    body_over: AtomicBool,
    waker: AtomicWaker,
}

/// How long a body has been waited for.
struct Upload {
    pace: Pace,
    timer: LazyTimer,
}

impl StreamShared {
    pub(super) fn respond(&self) -> std::sync::MutexGuard<'_, SendResponse<Bytes>> {
        self.respond.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A piece of the request's body came.
    pub(super) fn upload_moved(&self) {
        if let Some(upload) = &self.upload {
            let mut upload = upload.lock().unwrap_or_else(PoisonError::into_inner);
            upload.timer.set(None);
            upload.pace.arrived();
        }
    }

    /// Ready when the next piece of an upload, of which `received` bytes are there, has been waited for too long, and no
    /// reply has begun.
    pub(super) fn poll_upload_stuck(&self, received: u64, task: &mut Context<'_>) -> Poll<()> {
        match &self.upload {
            Some(upload) if !self.answered.load(Ordering::Relaxed) => {
                let mut upload = upload.lock().unwrap_or_else(PoisonError::into_inner);
                if !upload.timer.is_set() {
                    let by = upload.pace.wait(received);
                    upload.timer.set(Some(by));
                }
                upload.timer.poll_elapsed(task)
            }
            _ => Poll::Pending,
        }
    }

    /// Looks at how many bytes of the request's body there are.
    pub(super) fn check_length(&self, received: u64) -> Result<(), GatewayError> {
        if received > self.max_body {
            return Err(body_too_large(self.max_body));
        }
        Ok(())
    }

    /// The request's body is read no more.
    pub(super) fn body_over(&self) {
        self.body_over.store(true, Ordering::Release);
        self.waker.wake();
    }

    fn poll_body_over(&self, task: &mut Context<'_>) -> Poll<()> {
        self.waker.register(task.waker());
        match self.body_over.load(Ordering::Acquire) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    /// The body is wanted: a client that waits for permission gets it.
    pub(super) fn send_continue(&self) {
        if self.continue_pending.load(Ordering::Relaxed)
            && self.continue_pending.swap(false, Ordering::Relaxed)
        {
            self.send(StatusCode::CONTINUE, &HeaderMap::new());
        }
    }
}

impl Interim for StreamShared {
    fn send(&self, status: StatusCode, headers: &HeaderMap) {
        let mut response = http::Response::new(());
        *response.status_mut() = status;
        *response.headers_mut() = headers.clone();
        strip_connection_fields(response.headers_mut());
        if let Err(error) = self.respond().send_informational(response) {
            tracing::debug!(%error, "an interim reply was not sent");
        }
    }
}

async fn answer(request: http::Request<RecvStream>, respond: SendResponse<Bytes>, cx: Arc<ConnCx>) {
    let entry = cx.entry();
    let settings = cx.settings();
    let tunnel = request.method() == Method::CONNECT;
    let upload = (!tunnel).then(|| {
        let pace = Pace::new(settings);
        Mutex::new(Upload {
            // In a conversation, such as a gRPC call or a tunnel, a client may well have nothing to say for hours.
            pace: if is_grpc(request.headers()) {
                pace.patient()
            } else {
                pace
            },
            timer: LazyTimer::default(),
        })
    });
    let shared = Arc::new(StreamShared {
        continue_pending: request.headers().contains_key(EXPECT).into(),
        respond: Mutex::new(respond),
        max_body: if tunnel {
            u64::MAX
        } else {
            settings.body.max_bytes
        },
        upload,
        answered: AtomicBool::new(false),
        body_over: AtomicBool::new(request.body().is_end_stream()),
        waker: AtomicWaker::new(),
    });
    let received = Arc::new(AtomicU64::new(0));
    let exchange = Exchange::with_interim(cx.info.clone(), shared.clone());
    let mut report = ExchangeReport::new(exchange.clone(), entry.telemetry.clone());
    let method = request.method().clone();
    let (request, tunnel) = match translate(
        request,
        &shared,
        &received,
        &exchange,
        &cx.settings().limits,
    ) {
        Ok(translated) => translated,
        Err(error) => {
            let response = settle(error, &exchange);
            report.head(response.status());
            let idle = cx.settings().timeouts.write_idle;
            // Boxed, so that the usual stream is smaller.
            let replying = Box::pin(reply(&shared, response, &Method::GET, false, idle));
            if let Ok(sent) = replying.await {
                report.complete(0, sent);
            }
            return;
        }
    };
    let mut answering = match report.admit(&request, entry.settings.body.max_bytes) {
        Ok(()) => entry.service.call(request),
        Err(error) => Box::pin(std::future::ready(Err(error))),
    };
    let outcome = poll_fn(|task| {
        if let Poll::Ready(outcome) = answering.as_mut().poll(task) {
            return Poll::Ready(Some(outcome));
        }
        // A stream that was reset has nobody to answer.
        match shared.respond().poll_reset(task) {
            Poll::Ready(_) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await;
    drop(answering);
    // Writing the reply may take as long as the client likes; the generation need not wait for it.
    drop(entry);
    let Some(outcome) = outcome else { return };
    let response = outcome
        .and_then(|response| match tunnel {
            true => Upgrade::check_extended(response),
            false => Ok(response),
        })
        .unwrap_or_else(|error| settle(error, &exchange));
    report.head(response.status());
    let switched = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    let idle = cx.settings().timeouts.write_idle;
    match reply(&shared, response, &method, tunnel, idle).await {
        Ok(sent) => {
            if switched {
                // The client's direction of a tunnel may go on when the upstream has ended its own.
                poll_fn(|task| shared.poll_body_over(task)).await;
            }
            report.complete(received.load(Ordering::Relaxed), sent);
        }
        // The connection broke under the stream because nothing of it was read.
        Err(error) if error.class() == ErrorClass::ClientGone && cx.handle.is_stalled() => {
            report.failed(&write_timeout());
        }
        Err(error) => report.failed(&error),
    }
    exchange.end();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::future_sizes::{assert_within, of};

    #[test]
    fn the_future_of_a_stream_stays_within_its_budget() {
        let stream = of(|(request, respond, cx)| answer(request, respond, cx));
        assert_within(&[("a stream", stream, 1832)]);
    }
}
