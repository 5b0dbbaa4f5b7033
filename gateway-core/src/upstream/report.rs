//! What the admin page shows of upstreams.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::clock::Clock;
use crate::upstream::endpoint::Endpoint;
use crate::upstream::group::Status;
use crate::upstream::snapshot::Snapshot;
use crate::upstream::stats::Health;

/// The state of one upstream.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct UpstreamReport {
    /// Its name.
    pub name: Arc<str>,
    /// The name of its balancing policy.
    pub balancer: String,
    /// Whether its endpoints are known.
    pub discovered: bool,
    /// Whether health is ignored because too few endpoints are usable.
    pub panic: bool,
    /// How discovery is doing.
    pub discovery: DiscoveryReport,
    /// Its endpoints, in the order of discovery.
    pub endpoints: Vec<EndpointReport>,
}

/// The state of an upstream's discovery.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct DiscoveryReport {
    /// Updates received.
    pub updates: u64,
    /// How often the source ended and had to be watched again.
    pub resubscriptions: u64,
    /// Whether the source says that what it watched does not exist.
    pub gone: bool,
    /// For how many milliseconds it has been failing, if it is.
    pub stale_ms: Option<u64>,
    /// The last error, even if it is over.
    pub last_error: Option<String>,
}

/// The state of one endpoint.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct EndpointReport {
    /// Where it listens.
    pub address: String,
    /// Its host name.
    pub hostname: Option<Arc<str>>,
    /// Its zone.
    pub zone: Option<Arc<str>>,
    /// Its weight.
    pub weight: u32,
    /// Its level.
    pub priority: u32,
    /// What active checks say: `unknown`, `healthy` or `unhealthy`.
    pub health: &'static str,
    /// Whether it is neither unhealthy nor ejected.
    pub available: bool,
    /// For how many more milliseconds it is ejected, if it is.
    pub ejected_for_ms: Option<u64>,
    /// How often it was ejected.
    pub ejections: u32,
    /// Requests in flight.
    pub in_flight: u32,
    /// Decayed latency in milliseconds.
    pub latency_ms: Option<f64>,
    /// Requests that ended well.
    pub successes: u64,
    /// Requests that failed.
    pub failures: u64,
    /// Requests that ended without saying anything about it.
    pub cancelled: u64,
    /// Failures since the last success.
    pub consecutive_failures: u32,
    /// Why the last active check failed, if it did.
    pub probe_error: Option<String>,
}

pub(super) fn discovery(status: &Status) -> DiscoveryReport {
    DiscoveryReport {
        updates: status.updates,
        resubscriptions: status.resubscriptions,
        gone: status.gone,
        stale_ms: status.failing_since.map(|since| millis(Clock.since(since))),
        last_error: status.last_error.clone(),
    }
}

pub(super) fn endpoints(snapshot: &Snapshot) -> Vec<EndpointReport> {
    let endpoints = snapshot.endpoints().iter();
    endpoints.map(|each| endpoint(each)).collect()
}

fn endpoint(endpoint: &Endpoint) -> EndpointReport {
    let (now, spec, stats) = (Clock.now(), endpoint.spec(), endpoint.stats());
    let load = stats.load(now);
    let ejected_until = stats.ejected_until(now);
    EndpointReport {
        address: spec.address.to_string(),
        hostname: spec.hostname.clone(),
        zone: spec.zone.clone(),
        weight: spec.weight,
        priority: spec.priority,
        health: match stats.health() {
            Health::Unknown => "unknown",
            Health::Healthy => "healthy",
            Health::Unhealthy => "unhealthy",
        },
        available: stats.is_available(now),
        ejected_for_ms: ejected_until.map(|until| millis(until.saturating_duration_since(now))),
        ejections: stats.ejections(),
        in_flight: load.in_flight,
        latency_ms: load.latency.map(|latency| latency.as_secs_f64() * 1000.0),
        successes: stats.successes(),
        failures: stats.failures(),
        cancelled: stats.cancelled(),
        consecutive_failures: stats.consecutive_failures(),
        probe_error: endpoint.probe_error(),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
