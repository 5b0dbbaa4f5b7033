//! A compiled TCP route.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::balance::PickCx;
use crate::forward::UpstreamClient;
use crate::gateway::Room;
use crate::observe::{Counter, Gauge, Metrics};
use crate::upstream::{Endpoint, EndpointId};

/// Where the connections of a route go, and what is counted of them. Kept across reloads that leave it alone.
pub(crate) struct TcpRoute {
    pub(crate) name: Arc<str>,
    pub(crate) idle: Option<Duration>,
    pub(crate) connect_attempts: u32,
    pub(crate) backends: Shares,
    /// How many connections it may have.
    pub(crate) room: Arc<Room>,
    pub(crate) metrics: StreamMetrics,
}

impl fmt::Debug for TcpRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpRoute")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// The backends of a route with their weights.
#[derive(Debug)]
pub(crate) struct Shares {
    backends: Box<[(Arc<UpstreamClient>, u32)]>,
    total: usize,
}

impl Shares {
    pub(crate) fn new(backends: Vec<(Arc<UpstreamClient>, u32)>) -> Self {
        let total = backends
            .iter()
            .map(|(_, weight)| u64::from(*weight))
            .sum::<u64>();
        Self {
            total: usize::try_from(total).unwrap_or(usize::MAX),
            backends: backends.into(),
        }
    }

    /// Chooses an upstream; `None` when all weights are 0.
    pub(crate) fn choose(&self) -> Option<&Arc<UpstreamClient>> {
        if self.total == 0 {
            return None;
        }
        let mut ticket = match &*self.backends {
            [_] => 0,
            _ => PickCx::new().random_below(self.total) as u64,
        };
        let mut shares = self.backends.iter();
        let chosen = shares.find(|(_, weight)| {
            let weight = u64::from(*weight);
            let hit = ticket < weight;
            ticket = ticket.saturating_sub(weight);
            hit
        });
        chosen.map(|(client, _)| client)
    }
}

/// An endpoint for a client that is no HTTP request: not one of `tried` as long as there are others.
pub(crate) fn pick(
    client: &UpstreamClient,
    peer: Option<IpAddr>,
    tried: &[EndpointId],
) -> Option<Arc<Endpoint>> {
    let attempt = u32::try_from(tried.len()).unwrap_or(u32::MAX);
    let mut cx = PickCx::new().with_attempt(attempt, tried);
    if let Some(peer) = peer {
        cx = cx.with_hash_key(crate::balance::stable_hash(
            peer.to_canonical().to_string().as_bytes(),
        ));
    }
    client.upstream().pick(&cx)
}

/// Why a connection or session through a route ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Complete,
    Idle,
    ClientReset,
    UpstreamReset,
    Connect,
    ConnectTimeout,
    ConnectTls,
    NoEndpoint,
    Full,
    UpstreamFull,
    StartTls,
    /// The gateway stopped.
    Cut,
}

impl End {
    const ALL: [Self; 12] = [
        Self::Complete,
        Self::Idle,
        Self::ClientReset,
        Self::UpstreamReset,
        Self::Connect,
        Self::ConnectTimeout,
        Self::ConnectTls,
        Self::NoEndpoint,
        Self::Full,
        Self::UpstreamFull,
        Self::StartTls,
        Self::Cut,
    ];

    /// The reason code; empty for an end in order.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Complete => "",
            Self::Idle => "idle_timeout",
            Self::ClientReset => "client_reset",
            Self::UpstreamReset => "upstream_reset",
            Self::Connect => "upstream_connect_failed",
            Self::ConnectTimeout => "upstream_connect_timeout",
            Self::ConnectTls => "upstream_tls_failed",
            Self::NoEndpoint => "no_healthy_endpoint",
            Self::Full => "max_connections",
            Self::UpstreamFull => "upstream_max_requests",
            Self::StartTls => "upstream_no_tls",
            Self::Cut => "shutdown",
        }
    }
}

/// What is counted of a route below HTTP.
pub(crate) struct StreamMetrics {
    pub(crate) open: Gauge,
    pub(crate) received: Counter,
    pub(crate) sent: Counter,
    ended: [Counter; End::ALL.len()],
}

impl StreamMetrics {
    /// `kind` is `tcp` or `udp`.
    pub(crate) fn new(metrics: &Metrics, kind: &str, route: &str) -> Self {
        let labels = [("protocol", kind), ("route", route)];
        Self {
            open: metrics.gauge(
                "portcullis_streams_open",
                "TCP connections and UDP sessions that are open.",
                &labels,
            ),
            received: metrics.counter(
                "portcullis_streams_received_bytes_total",
                "Bytes that clients sent through TCP connections and UDP sessions.",
                &labels,
            ),
            sent: metrics.counter(
                "portcullis_streams_sent_bytes_total",
                "Bytes that were sent to clients through TCP connections and UDP sessions.",
                &labels,
            ),
            ended: End::ALL.map(|end| {
                let outcome = match end {
                    End::Complete => "complete",
                    other => other.reason(),
                };
                metrics.counter(
                    "portcullis_streams_total",
                    "TCP connections and UDP sessions that ended, by outcome.",
                    &[("protocol", kind), ("route", route), ("outcome", outcome)],
                )
            }),
        }
    }

    pub(crate) fn count(&self, end: End) {
        self.ended[end as usize].inc();
    }
}
