//! Routes below HTTP as they are written: TCP connections and UDP sessions.

use std::{
    num::{NonZeroU32, NonZeroU64},
    time::Duration,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    is_default,
    route::{is_one, one},
};
use crate::config::{
    capture::Located,
    units::{ByteSize, TimeSpan},
    values::Cidr,
};

/// What happens to TCP connections that match.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "TcpRoute")]
#[non_exhaustive]
pub struct RawTcpRoute {
    /// Name, unique among TCP routes; logs and metrics use it.
    pub name: Located<String>,
    /// Listeners it belongs to, with `protocol: tcp` or `auto`. Default: all with `protocol: tcp`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub listeners: Vec<Located<String>>,
    /// What a connection must have. Left out: any connection.
    #[serde(default, rename = "match", skip_serializing_if = "is_default")]
    pub matches: RawTcpMatch,
    /// Comes before every other consideration; higher wins. Default: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i64>,
    /// What becomes of TLS: it goes to the endpoints unopened (`passthrough`), or ends here with the certificates of the
    /// listener (`terminate`). Left out: the route is for connections without TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TcpTls>,
    /// Clients may ask for TLS within this protocol, before the handshake. With `tls`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starttls: Option<Located<StartTls>>,
    /// How long the gateway waits.
    #[serde(default, skip_serializing_if = "is_default")]
    pub timeouts: RawTcpTimeouts,
    /// What the route may use.
    #[serde(default, skip_serializing_if = "is_default")]
    pub limits: RawTcpLimits,
    /// Endpoints that are tried for one connection, each another one as long as there are others. Default: 3.
    #[serde(default = "three", skip_serializing_if = "is_three")]
    pub connect_attempts: NonZeroU32,
    /// Where connections go, by weight.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backends: Vec<RawStreamBackend>,
}

impl Default for RawTcpRoute {
    fn default() -> Self {
        Self {
            name: Located::default(),
            listeners: Vec::new(),
            matches: RawTcpMatch::default(),
            priority: None,
            tls: None,
            starttls: None,
            timeouts: RawTcpTimeouts::default(),
            limits: RawTcpLimits::default(),
            connect_attempts: three(),
            backends: Vec::new(),
        }
    }
}

/// What a connection must have. Everything that is given must hold; in a list, one of it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "TcpMatch")]
#[non_exhaustive]
pub struct RawTcpMatch {
    /// Server names that clients ask for in TLS; `*.example.com` covers any number of labels in front, `*` every
    /// connection. With `tls`. Default: any, also none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sni: Vec<Located<String>>,
    /// Protocols that clients offer by ALPN (RFC 7301). With `tls`. Default: any, also none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alpn: Vec<Located<String>>,
    /// Addresses of clients. Default: any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub client_ip: Vec<Cidr>,
    /// Ports of this gateway that the connection came in on. Default: any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<u16>,
}

/// What becomes of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum TcpTls {
    /// It goes to the endpoints unopened.
    Passthrough,
    /// It ends here, with the certificates of the listener.
    Terminate,
}

/// Protocols in which clients ask for TLS before the handshake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum StartTls {
    /// PostgreSQL's `SSLRequest`.
    #[default]
    Postgres,
}

/// How long the gateway waits. `0s` switches a time-out off.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "TcpTimeouts")]
#[non_exhaustive]
pub struct RawTcpTimeouts {
    /// How long a connection may move nothing in either direction. Default: `10m`.
    pub idle: TimeSpan,
}

impl Default for RawTcpTimeouts {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(600).into(),
        }
    }
}

/// What a TCP route may use.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "TcpLimits")]
#[non_exhaustive]
pub struct RawTcpLimits {
    /// Connections open at a time; further ones are closed. Left out: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<NonZeroU64>,
}

/// A share of a route's connections or sessions.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "StreamBackend")]
#[non_exhaustive]
pub struct RawStreamBackend {
    /// Name of the upstream.
    pub upstream: Located<String>,
    /// Its share, relative to the weights of the other backends. 0: none. Default: 1.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub weight: u32,
}

/// What happens to datagrams of UDP listeners.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "UdpRoute")]
#[non_exhaustive]
pub struct RawUdpRoute {
    /// Name, unique among UDP routes; logs and metrics use it.
    pub name: Located<String>,
    /// Listeners it belongs to, with `protocol: udp`. A listener has one route. Default: all with `protocol: udp`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub listeners: Vec<Located<String>>,
    /// How long the gateway waits.
    #[serde(default, skip_serializing_if = "is_default")]
    pub timeouts: RawUdpTimeouts,
    /// Sessions open at a time; datagrams that would begin further ones are dropped. Default: 65536.
    #[serde(default = "sessions", skip_serializing_if = "is_sessions")]
    pub max_sessions: NonZeroU64,
    /// Size of a datagram in either direction; a larger one is dropped. Default: `65507`, the most that IPv4 carries.
    #[serde(default = "datagram", skip_serializing_if = "is_datagram")]
    pub max_datagram_bytes: ByteSize,
    /// Where sessions go, by weight.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backends: Vec<RawStreamBackend>,
}

impl Default for RawUdpRoute {
    fn default() -> Self {
        Self {
            name: Located::default(),
            listeners: Vec::new(),
            timeouts: RawUdpTimeouts::default(),
            max_sessions: sessions(),
            max_datagram_bytes: datagram(),
            backends: Vec::new(),
        }
    }
}

/// How long the gateway waits. `0s` switches a time-out off.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "UdpTimeouts")]
#[non_exhaustive]
pub struct RawUdpTimeouts {
    /// How long a session may be without a datagram in either direction before it is forgotten. More than `0s`. Default:
    /// `60s`.
    pub idle: TimeSpan,
}

impl Default for RawUdpTimeouts {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(60).into(),
        }
    }
}

/// The PROXY protocol towards a listener.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ProxyProtocol")]
#[non_exhaustive]
pub struct RawProxyProtocol {
    /// Networks of the peers whose header (version 1 or 2) is believed. A connection of anyone else that begins with one
    /// is closed.
    pub trusted: Vec<Cidr>,
    /// Every connection has to begin with a header: one without is closed, and so is any of a peer that is not trusted.
    /// Default: `false`, trusted peers may leave it out.
    #[serde(default, skip_serializing_if = "is_default")]
    pub required: bool,
}

/// Versions of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

const fn three() -> NonZeroU32 {
    NonZeroU32::MIN.saturating_add(2)
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature serde asks for"
)]
fn is_three(attempts: &NonZeroU32) -> bool {
    *attempts == three()
}

const fn sessions() -> NonZeroU64 {
    NonZeroU64::MIN.saturating_add(65_535)
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature serde asks for"
)]
fn is_sessions(count: &NonZeroU64) -> bool {
    *count == sessions()
}

const fn datagram() -> ByteSize {
    ByteSize::new(65_507)
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature serde asks for"
)]
fn is_datagram(size: &ByteSize) -> bool {
    *size == datagram()
}
