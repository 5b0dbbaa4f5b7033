//! The log: buffers of the workers, and the thread that writes them.

use std::fmt;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::queue::{Block, CAPACITY, FULL, Queue, Sweep, Work};
use super::record::AccessRecord;
use super::sink::{self, Sink};
use super::{json, text};
use crate::clock::Clock;
use crate::observe::config::{AccessLogConfig, LogFormat};
use crate::observe::event::{Event, Observer};
use crate::observe::metrics::{Counter, Metrics};
use crate::worker::{self, MAX_SHARDS};

/// How often the writer asks the workers for what they hold.
const TICK: Duration = Duration::from_millis(200);

/// Writes [`AccessRecord`]s. Cloning gives another handle of the same log; when the last one is dropped
/// the rest is written and the thread ends.
///
/// It is an [`Observer`] that logs every [`Event::RequestEnd`].
#[derive(Clone)]
pub struct AccessLog {
    inner: Arc<Inner>,
}

/// Ends the writer when the last handle goes.
struct Inner {
    shared: Arc<Shared>,
    writer: Mutex<Option<thread::JoinHandle<()>>>,
}

struct Shared {
    format: LogFormat,
    query: bool,
    /// One per worker; the length is a power of two. Locked by its worker for a line and by the writer
    /// for a swap of buffers.
    shards: Box<[Shard]>,
    queue: Queue,
    stopped: AtomicBool,
    dropped: Counter,
}

/// Alone in its lines of memory.
#[derive(Default)]
#[repr(align(128))]
struct Shard(Mutex<Block>);

impl AccessLog {
    /// Opens the destination and starts the writer, with a buffer for each of `workers`.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened or the thread cannot be started.
    pub fn open(config: &AccessLogConfig, workers: usize, metrics: &Metrics) -> io::Result<Self> {
        let sink = Sink::open(&config.path)?;
        Self::start(sink, config, workers, metrics)
    }

    /// Whether [`open`](Self::open) would probably work; opens and creates nothing for good.
    pub(crate) fn check(config: &AccessLogConfig) -> io::Result<()> {
        sink::check(&config.path)
    }

    /// Writes to `out` instead of the configured destination. Whole buffers come in one call each.
    ///
    /// # Errors
    ///
    /// When the thread cannot be started.
    pub fn with_writer(
        out: impl Write + Send + 'static,
        config: &AccessLogConfig,
        workers: usize,
        metrics: &Metrics,
    ) -> io::Result<Self> {
        Self::start(Sink::new(Box::new(out)), config, workers, metrics)
    }

    fn start(
        sink: Sink,
        config: &AccessLogConfig,
        workers: usize,
        metrics: &Metrics,
    ) -> io::Result<Self> {
        let shards = workers.clamp(1, MAX_SHARDS).next_power_of_two();
        let shared = Arc::new(Shared {
            format: config.format,
            query: config.query,
            shards: (0..shards).map(|_| Shard::default()).collect(),
            queue: Queue::default(),
            stopped: AtomicBool::new(false),
            dropped: metrics.counter(
                "portcullis_access_log_dropped_total",
                "Access log lines lost because the destination did not keep up or failed.",
                &[],
            ),
        });
        let writer = thread::Builder::new().name("access-log".into()).spawn({
            let shared = Arc::clone(&shared);
            move || shared.run(sink)
        })?;
        Ok(Self {
            inner: Arc::new(Inner {
                shared,
                writer: Mutex::new(Some(writer)),
            }),
        })
    }

    /// Logs one request: formats a line into the buffer of this worker. Never waits for the writer; a
    /// line that finds no room, or comes after [`AccessLog::shutdown`], is counted as dropped.
    pub fn log(&self, record: &AccessRecord<'_>) {
        self.inner.shared.log(record);
    }

    /// Opens the file anew, after a log rotation renamed it. Lines that were logged before may still go
    /// to the old file. Does nothing for standard output and error.
    pub fn reopen(&self) {
        self.inner.shared.queue.reopen();
    }

    /// Waits until everything logged before is written; `false` when `timeout` passes first. Blocks the
    /// thread: not for the request path.
    #[must_use]
    pub fn flush(&self, timeout: Duration) -> bool {
        self.inner.shared.queue.flush(timeout)
    }

    /// Writes what is left and ends the writer; `false` when `timeout` passes first, because the
    /// destination hangs. Blocks the thread: not for the request path.
    pub fn shutdown(&self, timeout: Duration) -> bool {
        let shared = &self.inner.shared;
        shared.stop();
        if !shared.queue.wait_finished(timeout) {
            return false;
        }
        let writer = lock(&self.inner.writer).take();
        // The thread is past its last step; a panic in it was reported by the runtime.
        writer.is_none_or(|writer| writer.join().is_ok())
    }
}

impl Observer for AccessLog {
    fn on_event(&self, event: &Event<'_>) {
        if let Event::RequestEnd(record) = event {
            self.log(record);
        }
    }
}

impl fmt::Debug for AccessLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessLog")
            .field("format", &self.inner.shared.format)
            .field("query", &self.inner.shared.query)
            .finish_non_exhaustive()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

impl Shared {
    fn log(&self, record: &AccessRecord<'_>) {
        let shard = &self.shards[worker::index() & (self.shards.len() - 1)];
        let mut block = lock(&shard.0);
        // Looked at under the lock: the last sweep of the writer comes after `stopped` is set.
        if self.stopped.load(Ordering::Relaxed) {
            self.dropped.inc();
            return;
        }
        match self.format {
            LogFormat::Json => json::write(&mut block.bytes, record, self.query),
            LogFormat::Text => text::write(&mut block.bytes, record, self.query),
        }
        block.lines += 1;
        if block.bytes.len() >= FULL && !self.queue.push(&mut block) {
            self.dropped.add(block.lines);
            block.bytes.clear();
            block.lines = 0;
        }
    }

    fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        self.queue.stop();
    }

    fn run(&self, mut sink: Sink) {
        let mut tick = Clock.now() + TICK;
        loop {
            match self.queue.next(tick) {
                Work::Write(block) => self.write(&mut sink, block),
                Work::Reopen => sink.reopen(),
                Work::Sweep(sweep) => {
                    self.sweep(&mut sink, sweep);
                    tick = Clock.now() + TICK;
                    self.queue.swept(sweep);
                    if sweep == Sweep::Stop {
                        return;
                    }
                }
            }
        }
    }

    /// Moves what the workers hold to the queue; through the queue, so that the lines of a worker stay
    /// in order. On a tick they are written in their turn, otherwise now.
    fn sweep(&self, sink: &mut Sink, sweep: Sweep) {
        for shard in self.shards.iter() {
            let mut block = lock(&shard.0);
            while block.lines > 0 && !self.queue.push(&mut block) {
                // Full. A tick leaves the lines where they are; others make room.
                if sweep == Sweep::Tick {
                    break;
                }
                drop(block);
                self.write_one(sink);
                block = lock(&shard.0);
            }
        }
        if sweep != Sweep::Tick {
            // No more than what was there when somebody asked: others may go on logging.
            for _ in 0..CAPACITY {
                if !self.write_one(sink) {
                    break;
                }
            }
        }
    }

    fn write_one(&self, sink: &mut Sink) -> bool {
        let block = self.queue.pop();
        block.map(|block| self.write(sink, block)).is_some()
    }

    fn write(&self, sink: &mut Sink, block: Block) {
        if !sink.write(&block.bytes, || self.queue.stopping()) {
            self.dropped.add(block.lines);
        }
        self.queue.recycle(block.bytes);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
