//! Threads: the workers of the data plane, and one runtime for everything else.

use std::fmt;
use std::future::Future;
use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;

use crate::clock::Clock;
use crate::worker;

/// How the data plane uses threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RuntimeProfile {
    /// Per core on Linux, with as many workers as the process may use CPUs; multi-thread elsewhere.
    #[default]
    Auto,
    /// One single-threaded runtime per worker, each with its own `SO_REUSEPORT` sockets, pools and counters.
    PerCore(NonZeroUsize),
    /// One work-stealing runtime: for few, long and uneven connections.
    MultiThread(NonZeroUsize),
}

impl RuntimeProfile {
    /// Auto with a number of workers, if one was given.
    #[must_use]
    pub fn with_workers(workers: Option<NonZeroUsize>) -> Self {
        match workers {
            Some(workers) if cfg!(target_os = "linux") => Self::PerCore(workers),
            Some(workers) => Self::MultiThread(workers),
            None => Self::Auto,
        }
    }

    fn resolve(self) -> Self {
        // Counts what the process may use: affinity and the cgroup's quota included.
        let cpus = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        match self {
            Self::Auto => Self::with_workers(Some(cpus)),
            chosen => chosen,
        }
    }
}

/// The started workers.
pub(crate) struct Workers {
    handles: Vec<Worker>,
    threads: Vec<(oneshot::Sender<()>, JoinHandle<()>)>,
    shared: Option<Runtime>,
    shards: usize,
}

/// One place where connections can be served.
#[derive(Clone)]
pub(crate) struct Worker {
    handle: Handle,
    /// Connections that were handed to it, for dealing out skewed listeners.
    pub(crate) load: Arc<AtomicUsize>,
}

impl Worker {
    /// The runtime this is called in, as a place to serve connections.
    pub(crate) fn here() -> Self {
        Self {
            handle: Handle::current(),
            load: Arc::default(),
        }
    }

    /// Starts a task on the worker.
    #[allow(clippy::disallowed_methods)]
    pub(crate) fn spawn<F>(&self, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        drop(self.handle.spawn(future));
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("load", &self.load.load(Ordering::Relaxed))
            .finish()
    }
}

impl Workers {
    /// Starts the threads of a profile.
    pub(crate) fn start(profile: RuntimeProfile) -> io::Result<Self> {
        match profile.resolve() {
            RuntimeProfile::MultiThread(threads) => Self::start_shared(threads),
            RuntimeProfile::PerCore(workers) => Self::start_per_core(workers),
            RuntimeProfile::Auto => Self::start_per_core(NonZeroUsize::MIN),
        }
    }

    fn start_shared(threads: NonZeroUsize) -> io::Result<Self> {
        let next = AtomicUsize::new(0);
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads.get())
            .thread_name("portcullis")
            .on_thread_start(move || worker::enter(next.fetch_add(1, Ordering::Relaxed)))
            .on_thread_park(Clock::forget)
            .enable_all()
            .build()?;
        Ok(Self {
            handles: vec![Worker {
                handle: runtime.handle().clone(),
                load: Arc::default(),
            }],
            threads: Vec::new(),
            shared: Some(runtime),
            shards: threads.get(),
        })
    }

    fn start_per_core(workers: NonZeroUsize) -> io::Result<Self> {
        let mut this = Self {
            handles: Vec::new(),
            threads: Vec::new(),
            shared: None,
            shards: workers.get(),
        };
        for index in 0..workers.get() {
            let runtime = Builder::new_current_thread()
                .enable_all()
                .on_thread_park(Clock::forget)
                .build()?;
            let handle = runtime.handle().clone();
            let (stop, stopped) = oneshot::channel();
            let thread = std::thread::Builder::new()
                .name(format!("portcullis-{index}"))
                .spawn(move || {
                    worker::enter(index);
                    // An error means that the sender is gone, which is the same order: stop.
                    let _ = runtime.block_on(stopped);
                    runtime.shutdown_timeout(Duration::from_millis(100));
                })?;
            this.handles.push(Worker {
                handle,
                load: Arc::default(),
            });
            this.threads.push((stop, thread));
        }
        Ok(this)
    }

    /// Where connections can be served: one per core, or one for all.
    pub(crate) fn all(&self) -> &[Worker] {
        &self.handles
    }

    /// How many slots sharded state should have.
    pub(crate) fn shards(&self) -> usize {
        self.shards
    }

    /// Stops the threads; tasks that still run are dropped.
    pub(crate) fn stop(self) {
        let (stops, threads): (Vec<_>, Vec<_>) = self.threads.into_iter().unzip();
        drop(stops);
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a worker thread had panicked");
            }
        }
        if let Some(runtime) = self.shared {
            runtime.shutdown_timeout(Duration::from_millis(100));
        }
    }
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workers")
            .field("handles", &self.handles)
            .finish_non_exhaustive()
    }
}
