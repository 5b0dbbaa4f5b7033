//! Making a configuration live: compile, prepare, commit.
//!
//! Everything that can fail happens before the commit; a configuration that does not get there changes
//! nothing. What did not change is kept: upstreams with their health and connections, routes with their
//! counters, sockets with their queues, TLS sessions.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::cell::{ListenerCell, ListenerEntry};
use super::endpoints::Announcer;
use super::listeners;
use super::mistakes;
use super::process::Process;
use super::routes::{self, LiveRoutes};
use super::sinks::Sinks;
use super::snapshot::Generation;
use super::stack::{ListenerParts, Mode};
use super::streams::{self, LiveStreams};
use super::telemetry::{Admission, Drops, Refusals, RouteMetrics, Telemetry};
use super::tls::{LiveTls, TlsCommit};
use super::upstreams::{self, LiveUpstreams};
use crate::config::raw::RawConfig;
use crate::config::values::BindAddress;
use crate::config::{Damage, Diagnostic, Diagnostics, Located, Reading, ir, lower_rest};
use crate::listen::{self, DoorPolicy, Families, ProcessDoor, Running, Sockets};
use crate::observe::Event;
use crate::registry::Registry;
use crate::route::RouteIndex;
use crate::route_entry::RouteEntry;
use crate::runtime::Worker;

/// Owns the live configuration and replaces it.
pub(crate) struct Controller {
    pub(crate) process: Process,
    pub(crate) registry: Registry,
    pub(crate) mode: Arc<dyn Mode>,
    state: Mutex<State>,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) config: Option<Arc<ir::Config>>,
    pub(crate) raw: Option<Arc<RawConfig>>,
    pub(crate) upstreams: LiveUpstreams,
    pub(crate) routes: LiveRoutes,
    streams: LiveStreams,
    pub(crate) listeners: HashMap<Arc<str>, LiveListener>,
    /// What the last configuration that was refused did wrong; empty once one went live after it.
    pub(crate) rejected: Vec<Diagnostic>,
    pub(super) sinks: Sinks,
    announcer: Arc<Announcer>,
    /// Set once sockets are served.
    pub(super) workers: Vec<Worker>,
    /// Listeners of former configurations whose connections finish.
    pub(super) draining: Vec<Running>,
}

/// A listener of the live configuration.
pub(crate) struct LiveListener {
    bind: BindAddress,
    udp: bool,
    pub(crate) cell: Arc<ListenerCell>,
    pub(crate) table: Arc<RouteIndex<Arc<RouteEntry>>>,
    pub(crate) running: Option<Running>,
    pub(super) tls: Option<LiveTls>,
    telemetry: (TelemetryKey, Arc<Telemetry>),
}

impl LiveListener {
    /// The address as it was written.
    pub(crate) fn bind(&self) -> &BindAddress {
        &self.bind
    }

    pub(super) fn telemetry(&self) -> &Telemetry {
        &self.telemetry.1
    }
}

/// What a listener's telemetry is made from.
#[derive(PartialEq)]
struct TelemetryKey {
    sinks: u64,
    limit: Option<u64>,
}

/// What one listener will be, once committed.
struct Planned {
    name: Arc<str>,
    bind: Located<BindAddress>,
    /// For datagrams.
    udp: bool,
    reuse_port: bool,
    door: DoorPolicy,
    entry: Arc<ListenerEntry>,
    table: Arc<RouteIndex<Arc<RouteEntry>>>,
    tls: Option<TlsCommit>,
    telemetry: (TelemetryKey, Arc<Telemetry>),
    sockets: Option<Sockets>,
}

impl Controller {
    pub(crate) fn new(process: Process, registry: Registry, mode: Arc<dyn Mode>) -> Self {
        let announcer = Arc::new(Announcer::new(process.observers().clone()));
        Self {
            process,
            registry,
            mode,
            state: Mutex::new(State {
                announcer,
                ..State::default()
            }),
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a configuration live, or reports everything that is wrong with it, what was found when it was
    /// read included, and changes nothing.
    ///
    /// Returns the warnings.
    pub(crate) fn apply(&self, read: Reading) -> Result<Diagnostics, Diagnostics> {
        let mut problems = read.problems;
        let outcome = self.try_apply(read.config, &read.damage, &mut problems);
        if outcome.is_some() {
            return Ok(problems);
        }
        self.reject(&problems);
        Err(problems)
    }

    /// Records that a configuration was refused.
    fn reject(&self, problems: &Diagnostics) {
        self.process.rejected();
        self.state().rejected = problems.iter().cloned().collect();
        if !self.process.observers().is_empty() {
            let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
            self.process
                .observers()
                .emit(&Event::ConfigRejected { problems: &lines });
        }
    }

    fn try_apply(&self, raw: RawConfig, damage: &Damage, problems: &mut Diagnostics) -> Option<()> {
        let config = lower_rest(&raw, damage, problems);
        let mut state = self.state();
        if problems.has_errors() {
            mistakes::find(&config, &state, &self.registry, problems);
            return None;
        }
        let upstreams = upstreams::build(
            &config.upstreams,
            &state.upstreams,
            &self.registry,
            &self.process,
            problems,
        );
        let routes = routes::build(
            &config,
            &upstreams,
            &state.routes,
            &self.registry,
            &self.process,
            problems,
        );
        let streams = streams::build(&config, &upstreams, &state.streams, &self.process);
        let sinks = state.sinks.renew(&config, &self.process, problems);
        let generation = self.process.next_generation();
        let planned: Vec<Option<Planned>> = config
            .listeners
            .iter()
            .enumerate()
            .map(|(position, _)| {
                self.plan(
                    position,
                    &config,
                    (&routes, &streams),
                    &state,
                    sinks.as_ref(),
                    &generation,
                    problems,
                )
            })
            .collect();
        if problems.has_errors() {
            return None;
        }
        let (sinks, mut planned) = (sinks?, planned.into_iter().collect::<Option<Vec<_>>>()?);
        if !state.workers.is_empty() {
            bind_new(&mut planned, &state, problems);
        }
        if problems.has_errors() {
            return None;
        }
        state.commit(planned, upstreams, routes, sinks, &self.process.door());
        streams.limit(&config);
        state.streams = streams;
        self.process.limit(&config);
        state.raw = Some(Arc::new(raw));
        state.config = Some(Arc::new(config));
        state.rejected.clear();
        drop(state);
        self.process.applied(generation.number());
        self.process.observers().emit(&Event::ConfigApplied {
            generation: generation.number(),
        });
        Some(())
    }

    #[allow(clippy::too_many_arguments)]
    fn plan(
        &self,
        position: usize,
        config: &ir::Config,
        (routes, streams): (&LiveRoutes, &LiveStreams),
        state: &State,
        sinks: Option<&Sinks>,
        generation: &Arc<Generation>,
        problems: &mut Diagnostics,
    ) -> Option<Planned> {
        let listener = config.listeners.get(position)?;
        let before = state.listeners.get(&listener.name);
        let live_tls = before.and_then(|before| before.tls.as_ref());
        let store = self.process.store();
        let parts = listeners::parts(listener, live_tls, store, &self.registry, problems);
        let live = |route: &ir::Route| {
            let live = routes.get(&route.name)?;
            Some((live.matches().to_vec(), live.entry.clone()))
        };
        let table = listeners::table(config, position, live, problems);
        let server = parts.as_ref().and_then(|parts| parts.tls.as_ref());
        let server = server.map(|tls| tls.server());
        let layer4 = streams::layer4(config, position, streams, server, &self.process, problems);
        let (sinks, parts, table) = (sinks?, parts?, Arc::new(table?));
        let key = TelemetryKey {
            sinks: sinks.version(),
            limit: listener
                .limits
                .max_requests_in_flight
                .map(|limit| limit as u64),
        };
        let telemetry = match before.filter(|before| before.telemetry.0 == key) {
            Some(before) => before.telemetry.1.clone(),
            None => Arc::new(self.telemetry(listener, sinks)),
        };
        let mut hygiene = listener.hygiene.clone();
        hygiene.tracer = sinks.tracer();
        let service = self.mode.assemble(ListenerParts {
            hygiene,
            filters: parts.filters,
            table: table.clone(),
        });
        Some(Planned {
            name: listener.name.clone(),
            bind: listener.bind.clone(),
            udp: listener.kind == ir::ListenerKind::Udp,
            reuse_port: listener.reuse_port,
            door: DoorPolicy::from(listener),
            entry: Arc::new(ListenerEntry {
                service,
                settings: listener.http.clone(),
                tls: parts.tls.as_ref().map(|tls| tls.server().clone()),
                handler: parts.handler,
                layer4: layer4?,
                http: listener.kind == ir::ListenerKind::Http,
                telemetry: telemetry.clone(),
                _generation: generation.clone(),
            }),
            table,
            tls: parts.tls,
            telemetry: (key, telemetry),
            sockets: None,
        })
    }

    fn telemetry(&self, listener: &ir::Listener, sinks: &Sinks) -> Telemetry {
        let metrics = self.process.metrics();
        let labels = [("listener", &*listener.name)];
        Telemetry {
            listener: listener.name.clone(),
            unrouted: RouteMetrics::new(metrics, ""),
            in_flight: metrics.gauge(
                "portcullis_requests_in_flight",
                "Requests that are being answered.",
                &labels,
            ),
            connections: metrics.counter(
                "portcullis_connections_total",
                "Client connections that were accepted.",
                &labels,
            ),
            handshakes_failed: metrics.counter(
                "portcullis_tls_handshake_failures_total",
                "TLS handshakes with clients that failed.",
                &labels,
            ),
            refused: Refusals::new(metrics, &listener.name),
            dropped: Drops::new(metrics, &listener.name),
            access_log: sinks.access_log(),
            log_query: sinks.log_query(),
            observers: self.process.observers().clone(),
            spans: sinks.spans(),
            admission: listener
                .limits
                .max_requests_in_flight
                .map(|limit| Admission::new(limit as u64)),
            process: self.process.admission().clone(),
        }
    }
}

impl fmt::Debug for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Controller")
            .field("process", &self.process)
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

/// Binds the addresses that the live configuration does not have.
fn bind_new(planned: &mut [Planned], state: &State, problems: &mut Diagnostics) {
    let addresses: Vec<(BindAddress, bool)> = planned
        .iter()
        .map(|plan| (plan.bind.value.clone(), plan.udp))
        .collect();
    for plan in planned {
        let others = addresses.iter().filter(|(_, udp)| *udp == plan.udp);
        let families = Families::beside(&plan.bind, others.map(|(address, _)| address));
        let kept = state.listeners.get(&plan.name).is_some_and(|live| {
            live.bind == *plan.bind && live.udp == plan.udp && live.running.is_some()
        });
        if kept {
            continue;
        }
        let workers = state.workers.len();
        let bound = if plan.udp {
            listen::bind_udp(&plan.name, &plan.bind, workers, plan.reuse_port, families)
        } else {
            listen::bind(
                &plan.name,
                &plan.bind,
                workers,
                plan.reuse_port,
                families,
                &plan.door.keepalive,
            )
        };
        match bound {
            Ok(sockets) => plan.sockets = Some(sockets),
            Err(error) => problems.push(plan.bind.error(crate::error::chain(&error))),
        }
    }
}

impl State {
    /// Cannot fail: everything it needs was prepared.
    fn commit(
        &mut self,
        planned: Vec<Planned>,
        upstreams: LiveUpstreams,
        routes: LiveRoutes,
        sinks: Sinks,
        process: &ProcessDoor,
    ) {
        let mut before = std::mem::take(&mut self.listeners);
        for plan in planned {
            let old = before.remove(&plan.name);
            let (cell, mut running) = match old {
                Some(old) => {
                    old.cell.replace(&plan.entry);
                    (old.cell, old.running)
                }
                None => {
                    let shards = cell_slots(&self.workers);
                    let cell = ListenerCell::new(plan.name.clone(), plan.entry.clone(), shards);
                    (Arc::new(cell), None)
                }
            };
            if let Some(sockets) = plan.sockets {
                if let Some(moved) = running.take() {
                    moved.stop_accepting();
                    moved.connections.close_all();
                    self.draining.push(moved);
                }
                running = Some(listen::start(
                    sockets,
                    cell.clone(),
                    &self.workers,
                    &plan.door,
                    process.clone(),
                ));
            } else if let Some(running) = &running {
                running.limit(&plan.door);
            }
            self.listeners.insert(
                plan.name,
                LiveListener {
                    bind: plan.bind.value,
                    udp: plan.udp,
                    cell,
                    table: plan.table,
                    running,
                    tls: plan.tls.map(TlsCommit::commit),
                    telemetry: plan.telemetry,
                },
            );
        }
        for removed in before.into_values() {
            if let Some(running) = removed.running {
                running.stop_accepting();
                running.connections.close_all();
                self.draining.push(running);
            }
        }
        self.draining
            .retain(|running| running.connections.open() > 0);
        self.upstreams = upstreams;
        self.routes = routes;
        self.sinks = sinks;
        if !self.workers.is_empty() {
            self.run_upstreams();
        }
    }

    pub(super) fn run_upstreams(&mut self) {
        upstreams::run(&mut self.upstreams, &self.announcer);
    }
}

/// Slots of a listener's cell: one per worker, and enough of them before the workers are known.
fn cell_slots(workers: &[Worker]) -> usize {
    match workers.len() {
        0 | 1 => std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get),
        workers => workers,
    }
}
