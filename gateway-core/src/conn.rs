//! One client connection, as the code that serves it sees it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Context;
use std::time::Duration;

use futures_util::task::AtomicWaker;
use http::StatusCode;
use http_body::Body as _;

use crate::clock::{Clock, Instant};
use crate::error::{ErrorClass, GatewayError, chain};
use crate::exchange::{ConnInfo, Exchange};
use crate::gateway::{Admitted, ListenerCell, ListenerEntry, Telemetry};
use crate::handler::Request;
use crate::hygiene::note;
use crate::settings::HttpSettings;

/// How long a connection may be idle while memory is short.
const HURRIED_IDLE: Duration = Duration::from_secs(1);

/// What serving a connection needs.
pub(crate) struct ConnCx {
    pub(crate) info: Arc<ConnInfo>,
    pub(crate) listener: Arc<ListenerCell>,
    pub(crate) handle: Arc<ConnHandle>,
    /// Settings as of the start of the connection; stacks are looked up for each request.
    settings: HttpSettings,
}

impl ConnCx {
    pub(crate) fn new(
        info: Arc<ConnInfo>,
        listener: Arc<ListenerCell>,
        handle: Arc<ConnHandle>,
    ) -> Self {
        let settings = listener.current().settings.clone();
        Self {
            info,
            listener,
            handle,
            settings,
        }
    }

    pub(crate) fn settings(&self) -> &HttpSettings {
        &self.settings
    }

    /// The stack that answers a request that starts now.
    pub(crate) fn entry(&self) -> Arc<ListenerEntry> {
        self.listener.current()
    }
}

/// How the rest of the gateway reaches a connection: to tell it to close.
#[derive(Default)]
pub(crate) struct ConnHandle {
    closing: AtomicBool,
    /// The client takes nothing: that is why its connection ends.
    stalled: AtomicBool,
    /// It may not be idle for long.
    hurried: AtomicBool,
    waker: AtomicWaker,
}

impl ConnHandle {
    /// Tells the connection to finish what it does and close.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::Release);
        self.waker.wake();
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Notes that the connection ends because its client takes nothing.
    pub(crate) fn stall(&self) {
        self.stalled.store(true, Ordering::Release);
    }

    pub(crate) fn is_stalled(&self) -> bool {
        self.stalled.load(Ordering::Acquire)
    }

    /// Tells the connection whether memory is short: then it closes when it is idle.
    pub(crate) fn hurry(&self, hurry: bool) {
        self.hurried.store(hurry, Ordering::Release);
        if hurry {
            self.waker.wake();
        }
    }

    /// The end of patience with an idle connection, if memory is short.
    pub(crate) fn hurried_until(&self) -> Option<Instant> {
        let hurried = self.hurried.load(Ordering::Acquire);
        hurried.then(|| Clock.now() + HURRIED_IDLE)
    }

    /// Whether the connection was told to close; if not, the task is woken when it is.
    pub(crate) fn poll_closing(&self, task: &Context<'_>) -> bool {
        self.waker.register(task.waker());
        self.is_closing()
    }
}

impl fmt::Debug for ConnHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnHandle")
            .field("closing", &self.is_closing())
            .finish()
    }
}

/// Reports an exchange when it is over, however it ended: completed, failed, or dropped because the
/// client went away.
pub(crate) struct ExchangeReport {
    exchange: Exchange,
    /// Not the listener's entry: a long exchange must not keep a whole generation alive.
    telemetry: Arc<Telemetry>,
    status: Option<StatusCode>,
    received: u64,
    sent: u64,
    aborted: bool,
    admitted: Admitted,
}

impl ExchangeReport {
    pub(crate) fn new(exchange: Exchange, telemetry: Arc<Telemetry>) -> Self {
        let admitted = telemetry.begin();
        Self {
            admitted,
            exchange,
            telemetry,
            status: None,
            received: 0,
            sent: 0,
            aborted: true,
        }
    }

    /// Whether the listener takes `request` now; when not, it is written down for the log, as no layer sees it.
    ///
    /// # Errors
    /// 503 when as many as it may are in flight, or memory is short; 413 when its body has more than `max_body` bytes.
    pub(crate) fn admit(&self, request: &Request, max_body: u64) -> Result<(), GatewayError> {
        let fits =
            max_body == u64::MAX || request.body().size_hint().exact().unwrap_or(0) <= max_body;
        if self.admitted == Admitted::Yes && fits {
            return Ok(());
        }
        note(request, &self.exchange);
        Err(match self.admitted {
            Admitted::Yes => body_too_large(max_body),
            Admitted::Full => GatewayError::new(
                ErrorClass::Overloaded,
                "admitting a request: too many are in flight",
            )
            .with_reason("max_requests_in_flight")
            .with_retry_after(1),
            Admitted::ShortOfMemory => GatewayError::new(
                ErrorClass::Overloaded,
                "admitting a request: memory is short",
            )
            .with_reason("memory")
            .with_retry_after(1),
        })
    }

    /// The head of the reply is known.
    pub(crate) fn head(&mut self, status: StatusCode) {
        self.status = Some(status);
    }

    /// Body bytes so far.
    pub(crate) fn bytes(&mut self, received: u64, sent: u64) {
        self.received = received;
        self.sent = sent;
    }

    /// The reply was delivered whole.
    pub(crate) fn complete(mut self, received: u64, sent: u64) {
        self.bytes(received, sent);
        self.aborted = false;
    }

    /// The reply broke off.
    pub(crate) fn failed(self, error: &GatewayError) {
        let mut state = self.exchange.state();
        state.reason = Some(error.reason());
        state.error = Some(chain(error));
    }
}

impl Drop for ExchangeReport {
    fn drop(&mut self) {
        self.telemetry.end(
            &self.exchange,
            self.status,
            self.received,
            self.sent,
            self.aborted,
        );
    }
}

/// A request whose body has more bytes than it may have.
pub(crate) fn body_too_large(max: u64) -> GatewayError {
    GatewayError::new(
        ErrorClass::BodyTooLarge,
        format!("reading a request body of more than {max} bytes"),
    )
}

/// A client that has read nothing of its reply for too long.
pub(crate) fn write_timeout() -> GatewayError {
    GatewayError::new(
        ErrorClass::RequestTimeout,
        "waiting for the client to read its reply",
    )
    .with_reason("client_write_timeout")
}
