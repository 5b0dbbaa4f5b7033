//! Active health: endpoints are asked how they are.

use std::collections::HashSet;
use std::error::Error;
use std::fmt::Debug;
use std::io;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::net::TcpStream;

use crate::balance::rng;
use crate::upstream::endpoint::Endpoint;
use crate::upstream::group::Upstream;
use crate::upstream::spec::{EndpointAddress, EndpointId};
use crate::upstream::stats::Health;

/// A boxed future that may move between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// How endpoints are checked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ActiveHealth {
    /// The path that HTTP probes ask for. Default: `/`.
    pub path: String,
    /// The statuses that HTTP probes accept. Default: 200 to 399.
    pub expected_statuses: Vec<RangeInclusive<u16>>,
    /// The pause between two probes of one endpoint. Default: 10 s.
    pub interval: Duration,
    /// The same while the endpoint is unhealthy. Default: `interval`.
    pub unhealthy_interval: Option<Duration>,
    /// How long a probe may take. Default: 2 s.
    pub timeout: Duration,
    /// Good probes in a row after which an unhealthy endpoint is healthy again. One that was never checked
    /// before is healthy after its first. Default: 2.
    pub healthy_threshold: u32,
    /// Bad probes in a row after which an endpoint is unhealthy. Default: 3.
    pub unhealthy_threshold: u32,
    /// How far, in per cent, each pause may be shorter or longer, so that probes of many endpoints and many
    /// gateways do not meet; 0 to 100. Default: 20.
    pub jitter_percent: u8,
}

impl Default for ActiveHealth {
    fn default() -> Self {
        Self {
            path: "/".to_owned(),
            expected_statuses: vec![200..=399],
            interval: Duration::from_secs(10),
            unhealthy_interval: None,
            timeout: Duration::from_secs(2),
            healthy_threshold: 2,
            unhealthy_threshold: 3,
            jitter_percent: 20,
        }
    }
}

impl ActiveHealth {
    /// Whether HTTP probes accept `status`.
    #[must_use]
    pub fn expects(&self, status: u16) -> bool {
        self.expected_statuses
            .iter()
            .any(|range| range.contains(&status))
    }

    fn pause(&self, health: Health) -> Duration {
        let pause = match health {
            Health::Unhealthy => self.unhealthy_interval.unwrap_or(self.interval),
            Health::Unknown | Health::Healthy => self.interval,
        };
        let jitter = f64::from(self.jitter_percent.min(100)) / 100.0;
        let factor = 1.0 + jitter * (2.0 * rng::fraction(rng::next()) - 1.0);
        // an interval of zero must not become a busy loop
        pause.mul_f64(factor).max(Duration::from_millis(10))
    }

    /// The pause before the first probe: short, but not the same for all.
    fn first_pause(&self) -> Duration {
        let jitter = f64::from(self.jitter_percent.min(100)) / 100.0;
        let longest = self.interval.min(Duration::from_secs(1));
        longest.mul_f64(jitter * rng::fraction(rng::next()))
    }
}

/// Why a probe failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// No connection could be made.
    #[error("connecting to {address}")]
    Connect {
        /// Where to.
        address: EndpointAddress,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// It did not answer in time.
    #[error("no answer within {} ms", after.as_millis())]
    Timeout {
        /// The time it had.
        after: Duration,
    },
    /// It answered with a status that is not expected.
    #[error("unexpected status {status}")]
    Status {
        /// The status.
        status: u16,
    },
    /// Anything else.
    #[error("probe failed: {0}")]
    Other(#[source] Box<dyn Error + Send + Sync>),
}

/// Asks an endpoint how it is.
///
/// # Contract
/// - `Ok` means that the endpoint can take requests; how often it takes one or the other to change its health
///   is not the probe's business, and neither is the timeout: the future is dropped when it takes too long;
/// - probes of several endpoints run at once;
/// - a probe takes no connection from the endpoint's pool: it would measure that connection instead.
///
/// # Example
/// ```
/// use portcullis_core::upstream::{BoxFuture, Endpoint, Probe, ProbeError};
///
/// /// Trusts what discovery says.
/// #[derive(Debug)]
/// struct Labelled;
///
/// impl Probe for Labelled {
///     fn probe<'a>(&'a self, endpoint: &'a Endpoint) -> BoxFuture<'a, Result<(), ProbeError>> {
///         Box::pin(async move {
///             match endpoint.spec().metadata.get("state").map(|state| &**state) {
///                 Some("broken") => Err(ProbeError::Other("labelled as broken".into())),
///                 _ => Ok(()),
///             }
///         })
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot probe endpoints",
    label = "this type does not implement `Probe`",
    note = "`TcpProbe` checks that a connection can be made"
)]
pub trait Probe: Debug + Send + Sync + 'static {
    /// Probes `endpoint` once.
    ///
    /// # Errors
    /// When the endpoint should not get requests.
    fn probe<'a>(&'a self, endpoint: &'a Endpoint) -> BoxFuture<'a, Result<(), ProbeError>>;
}

/// Connects, and is content with that.
#[derive(Clone, Copy, Debug, Default)]
pub struct TcpProbe;

impl Probe for TcpProbe {
    fn probe<'a>(&'a self, endpoint: &'a Endpoint) -> BoxFuture<'a, Result<(), ProbeError>> {
        Box::pin(async move {
            let address = endpoint.address();
            connect(address).await.map_err(|cause| ProbeError::Connect {
                address: address.clone(),
                cause,
            })
        })
    }
}

async fn connect(address: &EndpointAddress) -> io::Result<()> {
    match address {
        EndpointAddress::Socket(address) => TcpStream::connect(address).await.map(drop),
        #[cfg(unix)]
        EndpointAddress::Unix(path) => tokio::net::UnixStream::connect(path).await.map(drop),
        #[cfg(not(unix))]
        EndpointAddress::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// Probes all endpoints of an upstream, those that join later included, until the upstream is dropped.
///
/// It holds the upstream only weakly. The caller spawns it, on a runtime with time and io. Changes of health
/// reach the picker through [`drive`](crate::upstream::drive).
pub fn check_health(
    upstream: &Arc<Upstream>,
    probe: Arc<dyn Probe>,
    config: ActiveHealth,
) -> impl Future<Output = ()> + Send + use<> {
    let mut changes = upstream.changes();
    let upstream = Arc::downgrade(upstream);
    async move {
        let mut watches = FuturesUnordered::new();
        let mut watched = HashSet::new();
        loop {
            changes.borrow_and_update();
            let Some(live) = upstream.upgrade() else {
                return;
            };
            for endpoint in live.snapshot().endpoints() {
                if watched.insert(endpoint.id()) {
                    watches.push(watch(&upstream, endpoint.id(), &*probe, &config));
                }
            }
            drop(live);
            tokio::select! {
                changed = changes.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                Some(left) = watches.next(), if !watches.is_empty() => {
                    watched.remove(&left);
                }
            }
        }
    }
}

/// Probes one endpoint until it leaves the upstream, and returns its id.
async fn watch(
    upstream: &Weak<Upstream>,
    id: EndpointId,
    probe: &dyn Probe,
    config: &ActiveHealth,
) -> EndpointId {
    let (mut good, mut bad) = (0_u32, 0_u32);
    tokio::time::sleep(config.first_pause()).await;
    loop {
        // looked up each time: discovery may have changed or removed it, and neither the upstream nor the
        // endpoint may be kept alive over the pause
        let Some(endpoint) = upstream.upgrade().and_then(|live| live.endpoint(id)) else {
            return id;
        };
        let result = tokio::time::timeout(config.timeout, probe.probe(&endpoint)).await;
        let result = result.unwrap_or(Err(ProbeError::Timeout {
            after: config.timeout,
        }));
        let before = endpoint.stats().health();
        match &result {
            Ok(()) => (good, bad) = (good.saturating_add(1), 0),
            Err(_) => (good, bad) = (0, bad.saturating_add(1)),
        }
        let after = match before {
            Health::Unknown if good > 0 => Health::Healthy,
            Health::Unhealthy if good >= config.healthy_threshold.max(1) => Health::Healthy,
            Health::Unknown | Health::Healthy if bad >= config.unhealthy_threshold.max(1) => {
                Health::Unhealthy
            }
            same => same,
        };
        if before != after && (before, after) != (Health::Unknown, Health::Healthy) {
            tracing::info!(endpoint = %endpoint.address(), health = ?after, "endpoint changed health");
        }
        endpoint.set_probe_error(result.err().map(|error| describe(&error)));
        endpoint.set_health(after);
        drop(endpoint);
        tokio::time::sleep(config.pause(after)).await;
    }
}

fn describe(error: &ProbeError) -> String {
    match error {
        ProbeError::Connect { cause, .. } => format!("{error}: {cause}"),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
