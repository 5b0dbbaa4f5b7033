//! Composing a gateway.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use super::compile::Controller;
use super::handle::GatewayHandle;
use super::pressure;
use super::process::Process;
use super::source::{Origin, Source};
use super::stack::{EdgeMode, Mode};
use crate::admin;
use crate::config::raw::RawConfig;
use crate::config::values::BindAddress;
use crate::config::{Diagnostics, Format};
use crate::error::chain;
use crate::listen::BindError;
use crate::observe::{Observer, Observers};
use crate::registry::{Registry, RegistryError};
use crate::runtime::{RuntimeProfile, Worker, Workers};
use crate::spawn::spawn;

/// Why a gateway did not start.
///
/// Its `Debug` form is the message with all causes, so that a `main` that returns it prints what a user
/// can read.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration is wrong; every problem is listed.
    #[error("{0}")]
    Config(Diagnostics),
    /// Plugins were registered under names that are taken.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// Addresses could not be bound; each one is listed.
    #[error("{0}")]
    Bind(Diagnostics),
    /// The admin address could not be bound.
    #[error(transparent)]
    Admin(#[from] BindError),
    /// Threads could not be started.
    #[error("starting the worker threads")]
    Threads(#[source] io::Error),
    /// A listener was asked for that the configuration does not have.
    #[error("there is no listener called `{0}`")]
    NoListener(String),
}

impl std::fmt::Debug for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&chain(self))
    }
}

/// A composed gateway, its configuration compiled. [`run`](Self::run) serves it;
/// [`http_service`](GatewayHandle::http_service) mounts it in another server.
#[derive(Debug)]
pub struct Gateway {
    pub(super) controller: Arc<Controller>,
    source: Source,
    profile: RuntimeProfile,
    workers: Workers,
    admin: AdminChoice,
    watch: bool,
    watched: Vec<PathBuf>,
    warnings: Diagnostics,
}

#[derive(Clone, Debug, Default)]
enum AdminChoice {
    /// What the configuration says.
    #[default]
    Configured,
    Off,
    At(SocketAddr),
}

/// Collects the parts of a [`Gateway`].
#[derive(Debug)]
#[must_use]
pub struct GatewayBuilder {
    registry: Registry,
    mode: Arc<dyn Mode>,
    origin: Option<Origin>,
    text: Option<(String, String, Format)>,
    profile: RuntimeProfile,
    admin: AdminChoice,
    observers: Observed,
    listen: Vec<(String, String)>,
    watch: bool,
}

#[derive(Default)]
struct Observed(Vec<Arc<dyn Observer>>);

impl std::fmt::Debug for Observed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} observers", self.0.len())
    }
}

impl Gateway {
    /// Starts composing a gateway whose configuration may name what `registry` has.
    pub fn builder(registry: Registry) -> GatewayBuilder {
        GatewayBuilder {
            registry,
            mode: Arc::new(EdgeMode),
            origin: None,
            text: None,
            profile: RuntimeProfile::default(),
            admin: AdminChoice::default(),
            observers: Observed::default(),
            listen: Vec::new(),
            watch: false,
        }
    }

    /// Warnings about the configuration.
    #[must_use]
    pub fn warnings(&self) -> &Diagnostics {
        &self.warnings
    }

    /// Binds the listeners and serves them. Must be called within a tokio runtime, which then carries
    /// discovery, health checks and the admin page; requests run on threads of the gateway's own.
    ///
    /// # Errors
    /// Addresses that could not be bound. Nothing is left running then.
    pub async fn start(self) -> Result<GatewayHandle, StartError> {
        let admin = self.admin_address();
        self.controller
            .serve(self.workers.all().to_vec())
            .map_err(StartError::Bind)?;
        let admin = match admin {
            None => None,
            Some(address) => Some(admin::start(&self.controller, &address, Worker::here())?),
        };
        self.controller.process.set_ready(true);
        spawn(pressure::watch(Arc::downgrade(&self.controller)));
        let handle = GatewayHandle::new(
            self.controller,
            self.source,
            Some(self.workers),
            admin,
            self.watched,
        );
        if self.watch {
            super::watch::start(&handle);
        }
        Ok(handle)
    }

    /// Serves until `shutdown` is ready, then drains and returns.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), StartError> {
        let handle = self.start().await?;
        shutdown.await;
        handle.shutdown().await;
        Ok(())
    }

    /// Serves until the process is told to end, then drains and returns: what a binary calls. For signals
    /// see [`GatewayHandle::until_signalled`]; a second one cuts the drain short.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn serve(self) -> Result<(), StartError> {
        let handle = self.start().await?;
        handle.until_signalled().await;
        handle.shutdown_unless_signalled().await;
        Ok(())
    }

    /// Makes the gateway usable inside another server, without sockets of its own. Must be called within
    /// a tokio runtime, which carries discovery and health checks.
    #[must_use]
    pub fn mount(self) -> GatewayHandle {
        self.controller.run_upstreams();
        self.controller.process.set_ready(true);
        spawn(pressure::watch(Arc::downgrade(&self.controller)));
        GatewayHandle::new(self.controller, self.source, None, None, self.watched)
    }

    /// What a request would meet, without sending it.
    #[must_use]
    pub fn explain(&self, query: &admin::ExplainQuery) -> admin::Explanation {
        admin::explain(&self.controller, query)
    }

    /// The native form of the configuration.
    #[must_use]
    pub fn configuration(&self) -> Option<Arc<RawConfig>> {
        self.controller.state().raw.clone()
    }

    fn admin_address(&self) -> Option<BindAddress> {
        match &self.admin {
            AdminChoice::Off => None,
            AdminChoice::At(address) => Some(BindAddress::Tcp(*address)),
            AdminChoice::Configured => {
                let state = self.controller.state();
                let config = state.config.as_ref()?;
                config.admin.as_ref().map(|admin| admin.bind.clone())
            }
        }
    }

    /// The profile threads were started with.
    #[must_use]
    pub fn profile(&self) -> RuntimeProfile {
        self.profile
    }
}

impl GatewayBuilder {
    /// The order of layers. Default: what all modes share.
    pub fn mode(mut self, mode: impl Mode) -> Self {
        self.mode = Arc::new(mode);
        self
    }

    /// A configuration in YAML, as text.
    pub fn yaml(mut self, text: impl Into<String>) -> Self {
        self.text = Some(("inline".to_owned(), text.into(), Format::Yaml));
        self
    }

    /// A configuration made by the program.
    pub fn config(mut self, config: RawConfig) -> Self {
        self.origin = Some(Origin::Fixed(Box::new(config)));
        self
    }

    /// Files and folders to read the configuration from, in native form or any registered dialect.
    pub fn files<P: Into<PathBuf>>(mut self, paths: impl IntoIterator<Item = P>) -> Self {
        self.origin = Some(Origin::Files(paths.into_iter().map(Into::into).collect()));
        self
    }

    /// Reads files again when they change.
    pub fn watch(mut self, watch: bool) -> Self {
        self.watch = watch;
        self
    }

    /// How threads are used.
    pub fn runtime(mut self, profile: RuntimeProfile) -> Self {
        self.profile = profile;
        self
    }

    /// The number of workers; see [`RuntimeProfile::with_workers`].
    pub fn workers(self, workers: usize) -> Self {
        self.runtime(RuntimeProfile::with_workers(NonZeroUsize::new(workers)))
    }

    /// The admin address, whatever the configuration says.
    pub fn admin(mut self, address: SocketAddr) -> Self {
        self.admin = AdminChoice::At(address);
        self
    }

    /// No admin listener, whatever the configuration says.
    pub fn without_admin(mut self) -> Self {
        self.admin = AdminChoice::Off;
        self
    }

    /// Binds a listener to another address than the configuration says, for example `127.0.0.1:0`.
    pub fn listen(mut self, listener: impl Into<String>, address: impl Into<String>) -> Self {
        self.listen.push((listener.into(), address.into()));
        self
    }

    /// Tells `observer` of connections, requests and configurations.
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.observers.0.push(Arc::new(observer));
        self
    }

    /// Reads, validates and compiles the configuration. Nothing is bound or connected.
    ///
    /// # Errors
    /// Everything that is wrong with the configuration, at once.
    pub fn build(self) -> Result<Gateway, StartError> {
        let origin = match (self.origin, self.text) {
            (Some(origin), None) => origin,
            (None, Some((name, text, format))) => Origin::Text(name, text, format),
            (None, None) => Origin::Fixed(Box::default()),
            (Some(_), Some(_)) => {
                return Err(StartError::Config(
                    crate::config::Diagnostic::error(
                        "a configuration was given as text and as files or a value; give one",
                    )
                    .into(),
                ));
            }
        };
        let source = Source {
            origin,
            listen: self.listen,
        };
        let mut read = source.read(&self.registry);
        let watched = std::mem::take(&mut read.watch);
        let workers = Workers::start(self.profile).map_err(StartError::Threads)?;
        let process = Process::new(
            workers.shards(),
            read.config.metrics.max_series.get(),
            Observers::new(self.observers.0),
        );
        let controller = Controller::new(process, self.registry, self.mode);
        let warnings = controller.apply(read).map_err(StartError::Config)?;
        let controller = Arc::new(controller);
        super::endpoints::show(&controller);
        Ok(Gateway {
            controller,
            source,
            profile: self.profile,
            workers,
            admin: self.admin,
            watch: self.watch,
            watched,
            warnings,
        })
    }
}
