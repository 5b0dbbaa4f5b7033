//! One address of an upstream, at run time.

use std::any::Any;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::clock::{Clock, Instant};
use crate::upstream::attach::Attachments;
use crate::upstream::outlier::Signal;
use crate::upstream::spec::{EndpointAddress, EndpointId, EndpointSpec};
use crate::upstream::stats::{EndpointStats, Health};

/// An endpoint: what discovery says about it and what its requests have shown.
///
/// When discovery changes its weight or metadata a new `Endpoint` takes the place of the old one and shares
/// its id, statistics and attachments with it. Requests in flight keep the one they were given.
#[derive(Debug)]
pub struct Endpoint {
    spec: EndpointSpec,
    fingerprint: u64,
    core: Arc<Core>,
    signal: Arc<Signal>,
}

/// What survives a change of the specification.
#[derive(Debug)]
struct Core {
    id: EndpointId,
    stats: EndpointStats,
    attachments: Attachments,
    /// Why the last active check failed, for the admin page.
    probe_error: Mutex<Option<String>>,
}

/// How a request ended, as far as it says something about its endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It answered, and not with a server error.
    Success,
    /// It answered with a 5xx other than those of [`GatewayError`](Self::GatewayError), or broke off.
    ServerError,
    /// It answered 502, 503 or 504, or not in time.
    GatewayError,
    /// No connection could be made; nothing was sent.
    ConnectFailure,
    /// It ended for a reason that is not the endpoint's, such as a client that went away.
    Cancelled,
}

impl Endpoint {
    /// An endpoint of its own, outside any upstream.
    #[must_use]
    pub fn new(spec: EndpointSpec) -> Arc<Self> {
        Self::joining(spec, &Arc::new(Signal::new(None)))
    }

    /// A new endpoint of the upstream that `signal` belongs to.
    pub(super) fn joining(spec: EndpointSpec, signal: &Arc<Signal>) -> Arc<Self> {
        Arc::new(Self {
            fingerprint: spec.fingerprint(),
            spec,
            core: Arc::new(Core {
                id: EndpointId::fresh(),
                stats: EndpointStats::new(),
                attachments: Attachments::default(),
                probe_error: Mutex::new(None),
            }),
            signal: Arc::clone(signal),
        })
    }

    /// The same endpoint with a changed specification or in another upstream.
    pub(super) fn renewed(&self, spec: EndpointSpec, signal: &Arc<Signal>) -> Arc<Self> {
        Arc::new(Self {
            fingerprint: spec.fingerprint(),
            spec,
            core: Arc::clone(&self.core),
            signal: Arc::clone(signal),
        })
    }

    /// Its name within this process; stays the same while the upstream has the endpoint.
    #[must_use]
    pub fn id(&self) -> EndpointId {
        self.core.id
    }

    /// A hash of its address and host name: the same in every process. Consistent policies place it by this,
    /// and cookies that pin a client name it by this.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// What discovery says about it.
    #[must_use]
    pub fn spec(&self) -> &EndpointSpec {
        &self.spec
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> &EndpointAddress {
        &self.spec.address
    }

    /// Its share relative to the other endpoints.
    #[must_use]
    pub fn weight(&self) -> u32 {
        self.spec.weight
    }

    /// What its requests and probes have shown.
    #[must_use]
    pub fn stats(&self) -> &EndpointStats {
        &self.core.stats
    }

    /// The `T` attached to it, made by `init` on first use. See [`Attachments`].
    pub fn attached<T: Any + Send + Sync>(&self, init: impl Fn() -> T) -> &T {
        self.core.attachments.find_or_init(init)
    }

    /// Everything attached to it.
    #[must_use]
    pub fn attachments(&self) -> &Attachments {
        &self.core.attachments
    }

    /// Begins a request: it counts as in flight until the guard is dropped.
    pub fn begin(self: Arc<Self>) -> InFlight {
        self.core.stats.begin();
        InFlight {
            endpoint: self,
            recorded: false,
        }
    }

    /// Records how a request ended, for code that counts requests in flight by itself.
    pub fn record(&self, outcome: Outcome, latency: Duration) {
        self.record_at(outcome, latency, Clock.recent());
    }

    /// Sets what active checks found. A change reaches the picker once the upstream is driven.
    pub fn set_health(&self, health: Health) {
        let before = self.core.stats.set_health(health);
        // the picker does not tell healthy from unknown
        if (before == Health::Unhealthy) != (health == Health::Unhealthy) {
            self.signal.notify();
        }
    }

    pub(super) fn set_probe_error(&self, error: Option<String>) {
        *self
            .core
            .probe_error
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = error;
    }

    pub(super) fn probe_error(&self) -> Option<String> {
        self.core
            .probe_error
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn record_at(&self, outcome: Outcome, latency: Duration, now: Instant) {
        let stats = &self.core.stats;
        match outcome {
            Outcome::Success => return stats.succeed(latency, now),
            Outcome::Cancelled => return stats.cancel(),
            Outcome::ServerError | Outcome::GatewayError | Outcome::ConnectFailure => {}
        }
        stats.fail(latency, now);
        let streaks = &stats.streaks;
        let bump = |streak: &AtomicU32| streak.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        // an answer, however bad, ends a run of failed connects; connects that fail are gateway errors too
        let gateway = match outcome {
            Outcome::ServerError => {
                streaks.gateway.store(0, Ordering::Relaxed);
                0
            }
            _ => bump(&streaks.gateway),
        };
        let connect = match outcome {
            Outcome::ConnectFailure => bump(&streaks.connect),
            _ => {
                streaks.connect.store(0, Ordering::Relaxed);
                0
            }
        };
        self.signal
            .failed(self, [bump(&streaks.any), gateway, connect], now);
    }
}

/// A request in flight at an endpoint. Ends with the response body, not with its head.
///
/// Dropping it without a record counts as [`Outcome::Cancelled`], so a client that goes away does no harm to
/// the endpoint's reputation.
#[derive(Debug)]
#[must_use = "the request counts as ended when this is dropped"]
pub struct InFlight {
    endpoint: Arc<Endpoint>,
    recorded: bool,
}

impl InFlight {
    /// The endpoint the request is at.
    #[must_use]
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// Records how it went so far; the request stays in flight. `latency` is the time to the response head or
    /// to the failure. May be called again, for example when the body breaks off after a good head.
    pub fn record(&mut self, outcome: Outcome, latency: Duration) {
        self.recorded = true;
        self.endpoint.record(outcome, latency);
    }

    /// Records how it went and ends it.
    pub fn finish(mut self, outcome: Outcome, latency: Duration) {
        self.record(outcome, latency);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let stats = &self.endpoint.core.stats;
        stats.end();
        if !self.recorded {
            stats.cancel();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint() -> Arc<Endpoint> {
        Endpoint::new(EndpointSpec::new(([127, 0, 0, 1], 80)))
    }

    #[test]
    fn a_dropped_request_counts_as_cancelled() {
        let endpoint = endpoint();
        let guard = Arc::clone(&endpoint).begin();
        assert_eq!(endpoint.stats().in_flight(), 1);
        drop(guard);
        let stats = endpoint.stats();
        assert_eq!(
            (stats.in_flight(), stats.cancelled(), stats.failures()),
            (0, 1, 0)
        );
    }

    #[test]
    fn a_recorded_request_stays_in_flight_until_its_body_ends() {
        let endpoint = endpoint();
        let mut guard = Arc::clone(&endpoint).begin();
        guard.record(Outcome::Success, Duration::from_millis(5));
        assert_eq!(
            (endpoint.stats().in_flight(), endpoint.stats().successes()),
            (1, 1)
        );
        drop(guard);
        assert_eq!(
            (endpoint.stats().in_flight(), endpoint.stats().cancelled()),
            (0, 0)
        );
    }

    #[test]
    fn a_success_ends_a_run_of_failures() {
        let endpoint = endpoint();
        for outcome in [
            Outcome::ServerError,
            Outcome::ConnectFailure,
            Outcome::GatewayError,
        ] {
            endpoint.record(outcome, Duration::ZERO);
        }
        assert_eq!(endpoint.stats().consecutive_failures(), 3);
        endpoint.record(Outcome::Success, Duration::ZERO);
        assert_eq!(endpoint.stats().consecutive_failures(), 0);
    }

    #[test]
    fn attachments_and_statistics_outlive_a_new_specification() {
        let before = endpoint();
        before.attached(|| String::from("pool"));
        before.record(Outcome::Success, Duration::from_millis(1));
        let after = before.renewed(before.spec().clone().with_weight(9), &before.signal);
        assert_eq!(after.attached(String::new), "pool");
        assert_eq!(
            (after.id(), after.weight(), after.stats().successes()),
            (before.id(), 9, 1)
        );
    }

    #[test]
    fn fingerprints_tell_host_names_apart() {
        let spec = || EndpointSpec::new(([127, 0, 0, 1], 80));
        assert_eq!(spec().fingerprint(), spec().with_weight(3).fingerprint());
        assert_ne!(
            spec().fingerprint(),
            spec().with_hostname("a.example").fingerprint()
        );
    }
}
