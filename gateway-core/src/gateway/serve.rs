//! Serving the live configuration, and coming to an end.

use crate::config::{Diagnostics, ir};
use crate::listen::{self, DoorPolicy, Families, Running};
use crate::runtime::Worker;

use super::compile::Controller;

impl Controller {
    /// Binds and serves every listener of the live configuration on `workers`.
    pub(crate) fn serve(&self, workers: Vec<Worker>) -> Result<(), Diagnostics> {
        let mut state = self.state();
        let Some(config) = state.config.clone() else {
            return Ok(());
        };
        let mut problems = Diagnostics::default();
        let mut bound = Vec::new();
        for listener in &config.listeners {
            let is_udp = |listener: &ir::Listener| listener.kind == ir::ListenerKind::Udp;
            let udp = is_udp(listener);
            let others = config.listeners.iter().filter(|other| is_udp(other) == udp);
            let families = Families::beside(&listener.bind, others.map(|other| &*other.bind));
            let (name, bind, count) = (&listener.name, &listener.bind, workers.len());
            let reuse_port = listener.reuse_port;
            let sockets = if udp {
                listen::bind_udp(name, bind, count, reuse_port, families)
            } else {
                let keepalive = &listener.tcp_keepalive;
                listen::bind(name, bind, count, reuse_port, families, keepalive)
            };
            match sockets {
                Ok(sockets) => {
                    bound.push((listener.name.clone(), sockets, DoorPolicy::from(listener)));
                }
                Err(error) => problems.push(listener.bind.error(crate::error::chain(&error))),
            }
        }
        if problems.has_errors() {
            return Err(problems);
        }
        for (name, sockets, policy) in bound {
            if let Some(live) = state.listeners.get_mut(&name) {
                live.running = Some(listen::start(
                    sockets,
                    live.cell.clone(),
                    &workers,
                    &policy,
                    self.process.door(),
                ));
            }
        }
        state.workers = workers;
        state.run_upstreams();
        Ok(())
    }

    /// Starts discovery and health checks without serving sockets, for a mounted gateway.
    pub(crate) fn run_upstreams(&self) {
        self.state().run_upstreams();
    }

    /// Stops accepting and tells open connections to finish.
    pub(crate) fn begin_drain(&self) {
        self.process.set_ready(false);
        let mut state = self.state();
        let stopped: Vec<Running> = state
            .listeners
            .values_mut()
            .filter_map(|live| live.running.take())
            .collect();
        for running in stopped {
            running.stop_accepting();
            running.connections.close_all();
            state.draining.push(running);
        }
    }

    /// Client connections that are open, of former configurations too.
    pub(crate) fn open_connections(&self) -> usize {
        let state = self.state();
        let live = state
            .listeners
            .values()
            .filter_map(|live| live.running.as_ref());
        live.chain(&state.draining)
            .map(|running| running.connections.open())
            .sum()
    }

    /// Writes out what waits in logs and span queues.
    pub(crate) fn flush(&self, limit: std::time::Duration) {
        let sinks = self.state().sinks.clone();
        sinks.flush(limit);
    }

    /// The files with certificates and keys that the live configuration names.
    pub(crate) fn pem_files(&self) -> Vec<std::path::PathBuf> {
        let state = self.state();
        let files = state.config.iter().flat_map(|config| config.pem_files());
        files.map(std::path::Path::to_owned).collect()
    }

    /// Opens log files again, after they were moved away.
    pub(crate) fn reopen_logs(&self) {
        if let Some(log) = self.state().sinks.access_log() {
            log.reopen();
        }
    }
}
