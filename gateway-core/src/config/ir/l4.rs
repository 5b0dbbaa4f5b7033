//! What is served below HTTP.

use std::{sync::Arc, time::Duration};

use ipnet::IpNet;

use crate::{
    config::{
        capture::Located,
        raw::{StartTls, TcpTls},
    },
    hygiene::TrustedProxies,
    route::HostPattern,
};

/// What a listener serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ListenerKind {
    /// HTTP, and the TCP routes that name it.
    #[default]
    Http,
    /// TCP routes only.
    Tcp,
    /// A UDP route.
    Udp,
}

/// Who may say on whose behalf it connects.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ProxyProtocol {
    /// The peers whose header is believed.
    pub trusted: TrustedProxies,
    /// Connections without one are closed.
    pub required: bool,
}

/// What happens to TCP connections that match.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TcpRoute {
    /// Its name.
    pub name: Arc<str>,
    /// Positions of its listeners in [`Config::listeners`](super::Config::listeners), ascending.
    pub listeners: Vec<usize>,
    /// What a connection must have.
    pub matches: TcpMatch,
    /// Comes before every other consideration; higher wins.
    pub priority: i64,
    /// What becomes of TLS; `None` for a route of connections without it.
    pub tls: Option<TcpTls>,
    /// Clients may ask for TLS within this protocol.
    pub starttls: Option<StartTls>,
    /// How long a connection may move nothing; `None` for any time.
    pub idle: Option<Duration>,
    /// Connections open at a time; `None` for no limit.
    pub max_connections: Option<usize>,
    /// Endpoints that are tried for one connection.
    pub connect_attempts: u32,
    /// Where connections go, at least one.
    pub backends: Vec<StreamBackend>,
    /// Equal when nothing about it or its upstreams has changed.
    pub fingerprint: u64,
    /// Where its name was written.
    pub place: Located<()>,
}

/// What a TCP connection must have. An empty list asks for nothing; in others, one of it has to hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TcpMatch {
    /// Server names that the client asks for.
    pub sni: Vec<HostPattern>,
    /// Protocols that the client offers by ALPN.
    pub alpn: Vec<Box<[u8]>>,
    /// Networks of clients.
    pub client_ip: Vec<IpNet>,
    /// Local ports.
    pub ports: Vec<u16>,
}

/// A share of a route's connections or sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamBackend {
    /// Position in [`Config::upstreams`](super::Config::upstreams).
    pub upstream: usize,
    /// The share, relative to the other backends; 0 for none.
    pub weight: u32,
}

/// What happens to the datagrams of a listener.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct UdpRoute {
    /// Its name.
    pub name: Arc<str>,
    /// Positions of its listeners in [`Config::listeners`](super::Config::listeners), ascending.
    pub listeners: Vec<usize>,
    /// How long a session may move nothing.
    pub idle: Duration,
    /// Sessions open at a time.
    pub max_sessions: usize,
    /// The largest datagram in bytes.
    pub max_datagram: usize,
    /// Where sessions go, at least one.
    pub backends: Vec<StreamBackend>,
    /// Equal when nothing about it or its upstreams has changed.
    pub fingerprint: u64,
    /// Where its name was written.
    pub place: Located<()>,
}
