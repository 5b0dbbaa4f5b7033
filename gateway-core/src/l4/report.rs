//! What is counted and logged of a connection or session when it is over.

use std::sync::Arc;

use super::route::{End, StreamMetrics};
use crate::clock::{Clock, Instant};
use crate::exchange::ConnInfo;
use crate::forward::UpstreamClient;
use crate::gateway::Telemetry;
use crate::observe::{AccessRecord, Event};
use crate::principal::Principal;
use crate::upstream::Endpoint;

/// Reports a connection or session when it is dropped, however it ended.
pub(super) struct Report<'t> {
    /// `TCP` or `UDP`.
    pub(super) transport: &'static str,
    pub(super) route: &'t str,
    pub(super) metrics: &'t StreamMetrics,
    pub(super) telemetry: &'t Telemetry,
    pub(super) info: &'t ConnInfo,
    pub(super) sni: Option<&'t str>,
    pub(super) began: Instant,
    pub(super) upstream: Option<Arc<UpstreamClient>>,
    pub(super) endpoint: Option<Arc<Endpoint>>,
    pub(super) attempts: u32,
    /// Bytes from the client and to it.
    pub(super) moved: (u64, u64),
    pub(super) end: End,
}

impl<'t> Report<'t> {
    /// Counts a connection or session of `route` as open until this is dropped.
    pub(super) fn new(
        transport: &'static str,
        route: &'t str,
        metrics: &'t StreamMetrics,
        telemetry: &'t Telemetry,
        info: &'t ConnInfo,
    ) -> Self {
        metrics.open.inc();
        Self {
            transport,
            route,
            metrics,
            telemetry,
            info,
            sni: None,
            began: Clock.now(),
            upstream: None,
            endpoint: None,
            attempts: 0,
            moved: (0, 0),
            end: End::Cut,
        }
    }
}

impl Drop for Report<'_> {
    fn drop(&mut self) {
        self.metrics.open.dec();
        self.metrics.count(self.end);
        let telemetry = self.telemetry;
        if telemetry.access_log.is_none() && telemetry.observers.is_empty() {
            return;
        }
        let duration = Clock.since(self.began);
        let endpoint = self.endpoint.as_ref();
        let endpoint = endpoint.map(|endpoint| endpoint.address().to_string());
        let upstream = self.upstream.as_ref();
        let tls = self.info.tls.as_deref();
        let mut record = AccessRecord::new(Clock.wall() - duration);
        record.transport = Some(self.transport);
        record.listener = &telemetry.listener;
        record.client = self.info.peer.map(|peer| peer.ip());
        record.peer = self.info.peer;
        record.principal = self.info.principal.as_ref().map(Principal::id);
        record.reason = self.end.reason();
        record.route = Some(self.route);
        record.upstream = upstream.map(|client| &**client.upstream().name());
        record.endpoint = endpoint.as_deref();
        record.attempts = self.attempts;
        (record.bytes_in, record.bytes_out) = self.moved;
        record.duration = duration;
        record.sni = tls.and_then(|tls| tls.server_name.as_deref()).or(self.sni);
        record.tls_version = tls.map(|tls| tls.version);
        record.retried = self.attempts > 1;
        record.aborted = self.end != End::Complete;
        if let Some(log) = &telemetry.access_log {
            log.log(&record);
        }
        telemetry.observers.emit(&Event::StreamEnd(&record));
    }
}
