//! A running gateway.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use super::build::StartError;
use super::compile::Controller;
use super::mounted::HttpService;
use super::process::Process;
use super::source::Source;
use crate::clock::Clock;
use crate::config::Diagnostics;
use crate::config::raw::RawConfig;
use crate::listen::Running;
use crate::runtime::Workers;

/// How long logs may take to be written out at the end.
const FLUSH: Duration = Duration::from_secs(2);

/// A configuration that went live, or why it did not.
pub type Reloaded = Result<Diagnostics, Diagnostics>;

/// Controls a running gateway. Clones control the same one.
#[derive(Clone, Debug)]
pub struct GatewayHandle(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    controller: Arc<Controller>,
    source: Source,
    /// One reload at a time.
    reloading: Mutex<()>,
    workers: Mutex<Option<Workers>>,
    admin: Option<Running>,
    /// Files and folders that the live configuration was read from.
    read_from: Mutex<Vec<PathBuf>>,
}

impl GatewayHandle {
    pub(super) fn new(
        controller: Arc<Controller>,
        source: Source,
        workers: Option<Workers>,
        admin: Option<Running>,
        read_from: Vec<PathBuf>,
    ) -> Self {
        Self(Arc::new(Inner {
            controller,
            source,
            reloading: Mutex::default(),
            workers: Mutex::new(workers),
            admin,
            read_from: Mutex::new(read_from),
        }))
    }

    /// The address a listener is bound to; the port is the real one. `None` for Unix sockets.
    #[must_use]
    pub fn local_addr(&self, listener: &str) -> Option<SocketAddr> {
        let state = self.0.controller.state();
        state.listeners.get(listener)?.running.as_ref()?.local
    }

    /// The listeners that accept, by name, and where: `ADDRESS:PORT` with the real port, or `unix:PATH`.
    #[must_use]
    pub fn bound(&self) -> BTreeMap<String, String> {
        let state = self.0.controller.state();
        let listeners = state.listeners.iter();
        listeners
            .filter_map(|(name, live)| {
                let local = live.running.as_ref()?.local;
                let address =
                    local.map_or_else(|| live.bind().to_string(), |local| local.to_string());
                Some((name.to_string(), address))
            })
            .collect()
    }

    /// The admin address.
    #[must_use]
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.0.admin.as_ref()?.local
    }

    /// State of the process: metrics, readiness, generations.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.0.controller.process
    }

    /// Reads the configuration again and makes it live.
    ///
    /// # Errors
    /// Everything that is wrong with it; the old one stays live then.
    pub fn reload(&self) -> Reloaded {
        let _one = self
            .0
            .reloading
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut read = self.0.source.read(&self.0.controller.registry);
        let watch = std::mem::take(&mut read.watch);
        let warnings = self.0.controller.apply(read)?;
        *self
            .0
            .read_from
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = watch;
        Ok(warnings)
    }

    /// Reloads and says on the log what came of it.
    pub fn reload_and_tell(&self, why: &str) {
        match self.reload() {
            Ok(warnings) => {
                for warning in warnings.iter() {
                    tracing::warn!("{warning}");
                }
                tracing::info!(
                    why,
                    generation = self.process().generation(),
                    "a new configuration is live"
                );
            }
            Err(problems) => {
                tracing::error!(
                    why,
                    "the configuration was refused; the old one stays live\n{problems}"
                );
            }
        }
    }

    /// The files and folders that the live configuration depends on.
    pub(super) fn watched(&self) -> Vec<PathBuf> {
        let read_from = self
            .0
            .read_from
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut paths = read_from.clone();
        paths.extend(self.0.controller.pem_files());
        paths
    }

    pub(super) fn downgrade(&self) -> WeakHandle {
        WeakHandle(Arc::downgrade(&self.0))
    }

    /// Makes a configuration of the program live.
    ///
    /// # Errors
    /// As [`reload`](Self::reload).
    pub fn apply(&self, config: RawConfig) -> Reloaded {
        let _one = self
            .0
            .reloading
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        self.0.controller.apply(config.into())
    }

    /// Opens log files again, after they were moved away.
    pub fn reopen_logs(&self) {
        self.0.controller.reopen_logs();
    }

    /// Waits until the process is told to end: by SIGTERM or SIGINT (ctrl-c). Meanwhile SIGHUP reloads and
    /// SIGUSR1 opens log files again. Where there are no such signals, only ctrl-c counts.
    ///
    /// The signals are caught from the call on, not only once the future is polled: call it before you say
    /// that you are ready, because an uncaught SIGHUP ends the process.
    ///
    /// # Cancel safety
    /// Cancel safe; the signals stay caught, though, as tokio never gives them back to the system.
    ///
    /// # Panics
    /// Outside of a tokio runtime with IO.
    pub fn until_signalled(&self) -> impl Future<Output = ()> + Send {
        let signals = super::signals::Signals::catch();
        async move { signals.until_told(self).await }
    }

    /// A listener as a `tower::Service`, for mounting in axum, hyper or any other server.
    ///
    /// Insert a [`ConnInfo`](crate::ConnInfo) into the extensions of the requests: without it features that need the
    /// client's address fail closed.
    ///
    /// # Errors
    /// There is no such listener.
    pub fn http_service(&self, listener: &str) -> Result<HttpService, StartError> {
        let state = self.0.controller.state();
        let live = state
            .listeners
            .get(listener)
            .ok_or_else(|| StartError::NoListener(listener.to_owned()))?;
        Ok(HttpService::new(live.cell.clone()))
    }

    /// As [`shutdown`](Self::shutdown), unless the process is told a second time to end: then nothing is
    /// waited for.
    pub async fn shutdown_unless_signalled(&self) {
        tokio::select! {
            () = self.shutdown() => {}
            // What is cut off here was asked for.
            () = self.until_signalled() => tracing::warn!("told again: not waiting for what is in flight"),
        }
    }

    /// Drains: readiness off, no new connections, open ones told to finish; waits for them as long as the
    /// configuration's `limits.drain` says; then stops.
    pub async fn shutdown(&self) {
        let controller = &self.0.controller;
        controller.begin_drain();
        let limit = controller
            .state()
            .config
            .as_ref()
            .map_or(Duration::from_secs(30), |config| config.drain);
        let until = Clock.now() + limit;
        while controller.open_connections() > 0 && Clock.now() < until {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let left = controller.open_connections();
        if left > 0 {
            tracing::warn!(
                connections = left,
                "the drain time is over; closing what is left"
            );
        }
        if let Some(admin) = &self.0.admin {
            admin.stop_accepting();
            admin.connections.close_all();
        }
        let workers = self
            .0
            .workers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(workers) = workers {
            // Joining threads blocks: not on a runtime that others share.
            let stopped = tokio::task::spawn_blocking(move || workers.stop()).await;
            if stopped.is_err() {
                tracing::error!("stopping the worker threads failed");
            }
        }
        controller.flush(FLUSH);
    }
}

/// Does not keep a gateway from ending.
pub(super) struct WeakHandle(Weak<Inner>);

impl WeakHandle {
    pub(super) fn upgrade(&self) -> Option<GatewayHandle> {
        self.0.upgrade().map(GatewayHandle)
    }
}
