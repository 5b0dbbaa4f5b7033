//! The queue and the thread behind it.

use std::fmt;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::encode::encode;
use super::endpoint::{Endpoint, OtlpError};
use super::post::post;
use crate::clock::Clock;
use crate::observe::config::OtlpConfig;
use crate::observe::metrics::{Counter, Metrics};
use crate::observe::trace::{SpanRecord, SpanSink};

/// Spans that may wait for the exporter.
const QUEUE: usize = 4096;

/// Most spans in one request.
const BATCH: usize = 512;

/// How long a span waits for others at most.
const LINGER: Duration = Duration::from_secs(1);

/// Pauses before a failed batch is tried again; after the last it is dropped.
const PAUSES: [Duration; 3] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
];

/// Sends spans to a collector. Cloning gives another handle of the same exporter; when the last one is
/// dropped the rest is sent and the thread ends.
#[derive(Clone)]
pub struct OtlpExporter {
    inner: Arc<Inner>,
}

struct Inner {
    spans: mpsc::Sender<SpanRecord>,
    commands: mpsc::UnboundedSender<Command>,
    counters: Counters,
    thread: Mutex<Option<thread::JoinHandle<()>>>,
}

/// Held by both sides, so that they stay in the exposition until the last handle goes.
#[derive(Clone)]
struct Counters {
    exported: Counter,
    failed: Counter,
    /// Spans that found no room, or nobody to take them after the end.
    queue_full: Counter,
}

/// What a handle asks of the thread; it answers when everything queued before is sent or dropped.
enum Command {
    Flush(SyncSender<()>),
    Stop(SyncSender<()>),
}

/// What the thread owns.
struct Sender {
    endpoint: Endpoint,
    service_name: String,
    pauses: [Duration; 3],
    counters: Counters,
    /// The last batch failed; used to report a change and not every failure.
    failing: bool,
}

impl OtlpExporter {
    /// Starts the exporter. Needs no runtime around it.
    ///
    /// # Errors
    ///
    /// When the endpoint is no `http://` address, or the thread cannot be started.
    pub fn start(config: &OtlpConfig, metrics: &Metrics) -> Result<Self, OtlpError> {
        Self::with_pauses(config, metrics, PAUSES)
    }

    pub(super) fn with_pauses(
        config: &OtlpConfig,
        metrics: &Metrics,
        pauses: [Duration; 3],
    ) -> Result<Self, OtlpError> {
        let dropped = |reason| {
            metrics.counter(
                "portcullis_otlp_spans_dropped_total",
                "Spans lost because the queue was full or the collector did not take them.",
                &[("reason", reason)],
            )
        };
        let counters = Counters {
            exported: metrics.counter(
                "portcullis_otlp_spans_exported_total",
                "Spans the collector took.",
                &[],
            ),
            failed: dropped("export_failed"),
            queue_full: dropped("queue_full"),
        };
        let sender = Sender {
            endpoint: Endpoint::parse(&config.endpoint)?,
            service_name: config.service_name.clone(),
            pauses,
            counters: counters.clone(),
            failing: false,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(OtlpError::Start)?;
        let (spans, span_queue) = mpsc::channel(QUEUE);
        let (commands, command_queue) = mpsc::unbounded_channel();
        let thread = thread::Builder::new()
            .name("otlp".into())
            .spawn(move || runtime.block_on(sender.run(span_queue, command_queue)))
            .map_err(OtlpError::Start)?;
        Ok(Self {
            inner: Arc::new(Inner {
                spans,
                commands,
                counters,
                thread: Mutex::new(Some(thread)),
            }),
        })
    }

    /// Waits until the spans submitted before are sent or dropped; `false` when `timeout` passes first.
    /// Blocks the thread: not for the request path.
    #[must_use]
    pub fn flush(&self, timeout: Duration) -> bool {
        self.ask(Command::Flush, timeout)
    }

    /// Sends what is left and ends the thread; `false` when `timeout` passes first. Spans submitted
    /// later are dropped and counted. Blocks the thread: not for the request path.
    pub fn shutdown(&self, timeout: Duration) -> bool {
        let mut thread = self
            .inner
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if thread.is_none() {
            return true;
        }
        self.ask(Command::Stop, timeout) && thread.take().is_none_or(|thread| thread.join().is_ok())
    }

    fn ask(&self, command: impl FnOnce(SyncSender<()>) -> Command, timeout: Duration) -> bool {
        let (answer, answered) = sync_channel(1);
        self.inner.commands.send(command(answer)).is_ok() && answered.recv_timeout(timeout).is_ok()
    }
}

impl SpanSink for OtlpExporter {
    fn submit(&self, span: SpanRecord) {
        if self.inner.spans.try_send(span).is_err() {
            self.inner.counters.queue_full.inc();
        }
    }

    fn flush(&self, timeout: Duration) -> bool {
        Self::flush(self, timeout)
    }
}

impl fmt::Debug for OtlpExporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OtlpExporter").finish_non_exhaustive()
    }
}

impl Sender {
    async fn run(
        mut self,
        mut spans: mpsc::Receiver<SpanRecord>,
        mut commands: mpsc::UnboundedReceiver<Command>,
    ) {
        let mut batch = Vec::with_capacity(BATCH);
        // When the batch goes even if it is not full; of no meaning while it is empty.
        let mut due = Clock.now();
        loop {
            let room = BATCH - batch.len();
            // Every arm is cancel safe: nothing is taken from a queue unless the arm is chosen.
            tokio::select! {
                command = commands.recv() => {
                    if !matches!(command, Some(Command::Flush(_))) {
                        // What is submitted from here on is counted by the handle.
                        spans.close();
                    }
                    self.drain(&mut spans, &mut batch).await;
                    match command {
                        Some(Command::Flush(answer)) => {
                            let _ = answer.try_send(());
                        }
                        Some(Command::Stop(answer)) => {
                            let _ = answer.try_send(());
                            return;
                        }
                        // Every handle is gone.
                        None => return,
                    }
                }
                received = spans.recv_many(&mut batch, room) => {
                    if received == batch.len() {
                        due = Clock.now() + LINGER;
                    }
                    if batch.len() >= BATCH {
                        self.send(&mut batch).await;
                    } else if received == 0 {
                        self.send(&mut batch).await;
                        return;
                    }
                }
                () = tokio::time::sleep_until(due), if !batch.is_empty() => {
                    self.send(&mut batch).await;
                }
            }
        }
    }

    /// Sends what waits now, which is not more than the queue holds.
    async fn drain(&mut self, spans: &mut mpsc::Receiver<SpanRecord>, batch: &mut Vec<SpanRecord>) {
        for _ in 0..QUEUE {
            let Ok(span) = spans.try_recv() else { break };
            batch.push(span);
            if batch.len() >= BATCH {
                self.send(batch).await;
            }
        }
        self.send(batch).await;
    }

    async fn send(&mut self, batch: &mut Vec<SpanRecord>) {
        if batch.is_empty() {
            return;
        }
        let count = batch.len() as u64;
        let body = Bytes::from(encode(&self.service_name, batch));
        let mut pauses = self.pauses.iter();
        loop {
            let Err(error) = post(&self.endpoint, body.clone()).await else {
                self.counters.exported.add(count);
                if std::mem::take(&mut self.failing) {
                    tracing::info!("the collector takes spans again");
                }
                return;
            };
            match pauses.next() {
                Some(pause) if error.is_retryable() => tokio::time::sleep(*pause).await,
                _ => {
                    self.counters.failed.add(count);
                    if !std::mem::replace(&mut self.failing, true) {
                        let cause = std::error::Error::source(&error).map(ToString::to_string);
                        tracing::warn!(%error, cause, "cannot export spans, dropping them");
                    }
                    return;
                }
            }
        }
    }
}
