//! How an upstream is spoken to: validated settings.

use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::{AdaptiveLimit, CookieSpec, Sticky};
use crate::config::raw::ProxyVersion;
use crate::http1::HeadLimits;
use crate::pool::PoolLimits;
use crate::route::Pattern;
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
    /// Fewer, if the upstream's latency says that requests queue; `None` pays no attention to it.
    pub adaptive: Option<AdaptiveLimit>,
    /// How long connecting may take, TLS included.
    pub connect_timeout: Duration,
    /// How long the TLS handshake of a connection may take, beside that.
    pub tls_timeout: Option<Duration>,
    /// What the upstream sees as `Host`.
    pub host: HostPolicy,
    /// What consistent balancing hashes: the first of these that a request has.
    pub hash: Vec<HashKey>,
    /// Keeps clients on their endpoints; `None` for no client.
    pub sticky: Option<Box<Sticky>>,
    /// How endpoints that are gone are found.
    pub tcp_keepalive: TcpKeepalive,
    /// How endpoints of TCP routes are told of clients; `None` for not at all.
    pub proxy_protocol: Option<ProxyVersion>,
    /// Limits of response heads.
    pub limits: HeadLimits,
    /// How many pool shards to keep: one per worker.
    pub shards: usize,
}

impl UpstreamSettings {
    /// Whether replies may have to tell clients what to come back with.
    pub(crate) fn keeps_clients(&self) -> bool {
        let issues = |key: &HashKey| matches!(key, HashKey::IssuedCookie(_));
        self.sticky.is_some() || self.hash.iter().any(issues)
    }
}

impl Default for UpstreamSettings {
    fn default() -> Self {
        Self {
            protocol: Protocol::Auto,
            pool: PoolLimits::default(),
            max_requests: None,
            adaptive: None,
            connect_timeout: Duration::from_secs(5),
            tls_timeout: None,
            host: HostPolicy::Preserve,
            hash: vec![HashKey::ClientIp],
            sticky: None,
            tcp_keepalive: TcpKeepalive::default(),
            proxy_protocol: None,
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

/// What consistent balancing hashes to keep a client on an endpoint. A request that has it not is spread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum HashKey {
    /// The client's address.
    #[default]
    ClientIp,
    /// A header.
    Header(HeaderName),
    /// A cookie.
    Cookie(String),
    /// A cookie that clients without it are given.
    IssuedCookie(CookieSpec),
    /// The first value of a query parameter, decoded.
    Query(String),
    /// The path.
    Path,
    /// What the first group of the expression captures of the path.
    PathCapture(Pattern),
    /// Who made the request.
    Principal,
}
