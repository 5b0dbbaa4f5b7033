//! How an upstream is spoken to: validated settings.

use std::time::Duration;

use http::{HeaderName, HeaderValue};

use crate::http1::HeadLimits;
use crate::pool::PoolLimits;
use crate::settings::Protocol;
use crate::socket::TcpKeepalive;

/// How an upstream is spoken to.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct UpstreamSettings {
    /// The HTTP version spoken.
    pub protocol: Protocol,
    /// Limits of the connections to each endpoint.
    pub pool: PoolLimits,
    /// Requests in flight at most, over all endpoints; `None` for no limit.
    pub max_requests: Option<u32>,
    /// How long connecting may take, TLS included.
    pub connect_timeout: Duration,
    /// How long the TLS handshake of a connection may take, beside that.
    pub tls_timeout: Option<Duration>,
    /// What the upstream sees as `Host`.
    pub host: HostPolicy,
    /// What consistent balancing hashes.
    pub hash: HashKey,
    /// How endpoints that are gone are found.
    pub tcp_keepalive: TcpKeepalive,
    /// Limits of response heads.
    pub limits: HeadLimits,
    /// How many pool shards to keep: one per worker.
    pub shards: usize,
}

impl Default for UpstreamSettings {
    fn default() -> Self {
        Self {
            protocol: Protocol::Auto,
            pool: PoolLimits::default(),
            max_requests: None,
            connect_timeout: Duration::from_secs(5),
            tls_timeout: None,
            host: HostPolicy::Preserve,
            hash: HashKey::ClientIp,
            tcp_keepalive: TcpKeepalive::default(),
            limits: HeadLimits::default(),
            shards: 1,
        }
    }
}

/// What an upstream sees as `Host`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum HostPolicy {
    /// What the client sent.
    #[default]
    Preserve,
    /// The endpoint's host name, or its address.
    Endpoint,
    /// This.
    Fixed(HeaderValue),
}

/// What ring hash and maglev hash to keep a client on an endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum HashKey {
    /// The client's address.
    #[default]
    ClientIp,
    /// A header; requests without it are spread.
    Header(HeaderName),
    /// A cookie; requests without it are spread.
    Cookie(String),
    /// The path.
    Path,
}
