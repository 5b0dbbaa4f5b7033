//! Upstreams as they are written.

use std::{
    num::{NonZeroU32, NonZeroU64},
    time::Duration,
};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize};

use super::{
    Protocol, ProxyVersion, RawTcpKeepalive,
    affinity::{HashKeys, RawSticky},
    is_default,
    matching::text_or_map,
    route::{is_one, one},
};
use crate::PoolLimits;
use crate::config::{
    capture::{Located, PluginSpec},
    pem::Pem,
    units::TimeSpan,
    values::{EndpointAddress, HostRewrite, StatusRange},
};
use crate::forward::AdaptiveLimit;
use crate::upstream::SlowStart;

/// A named group of endpoints that serve the same thing.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Upstream")]
#[non_exhaustive]
pub struct RawUpstream {
    /// Name, unique among upstreams; backends, logs and metrics use it.
    pub name: Located<String>,
    /// Addresses that are known in advance: `ADDRESS:PORT`, `NAME:PORT` (every address of the name, resolved again every
    /// ten seconds), `unix:PATH`, or `{ address, weight, priority, zone }`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<Located<RawEndpoint>>,
    /// Where further endpoints come from, such as `{ type: dns, host: orders.svc, port: 80 }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-portcullis-plugins" = "discovery"))]
    pub discovery: Option<PluginSpec>,
    /// How an endpoint is chosen. Default: `{ type: p2c }`, the less loaded of two random ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-portcullis-plugins" = "balancer"))]
    pub balance: Option<PluginSpec>,
    /// What keeps a request on its endpoint with the balancers that hash (`ring-hash`, `maglev`, `rendezvous`):
    /// `client-ip`, `path`, `principal`, `{ header: NAME }`, `{ cookie: NAME }`, `{ query: NAME }` or
    /// `{ path_capture: REGEX }`; of a list the first that the request has. Requests that have none of it are spread.
    /// Default: `client-ip`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub hash: Located<HashKeys>,
    /// Keeps each client on the endpoint of its first request while that may be used, whatever the balancer. Left out:
    /// no client is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sticky: Option<Located<RawSticky>>,
    /// Gives endpoints that are new or came back their share little by little. For balancers that do not hash. Left out:
    /// their whole share at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow_start: Option<RawSlowStart>,
    /// Health is ignored while less than this part of the endpoints is usable, in percent: few endpoints would not stand
    /// what was meant for all. 0: never, not even when none is usable. Left out: only when none is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub panic_threshold: Option<Located<u8>>,
    /// Take endpoints of all zones alike, even if the gateway has a `zone`. Default: `false`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub ignore_zones: bool,
    /// Who makes the connections to the endpoints. Default: TCP and Unix sockets, with TLS as in `tls`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-portcullis-plugins" = "connector"))]
    pub connector: Option<PluginSpec>,
    /// Which HTTP version is spoken. Default: `auto`, by ALPN with TLS and HTTP/1.1 without.
    #[serde(default, skip_serializing_if = "is_default")]
    pub protocol: Protocol,
    /// TLS to the endpoints. Left out: plain text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<RawClientTls>,
    /// Tell the endpoints of a TCP route who the client is, by the PROXY protocol. Not for upstreams of HTTP routes, whose
    /// connections clients share. Left out: they are not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<Located<ProxyVersion>>,
    /// How the gateway finds out which endpoints work.
    #[serde(default, skip_serializing_if = "is_default")]
    pub health: RawHealth,
    /// What the gateway may ask of the upstream at a time.
    #[serde(default, skip_serializing_if = "is_default")]
    pub limits: RawUpstreamLimits,
    /// How long the gateway waits for a connection.
    #[serde(default, skip_serializing_if = "is_default")]
    pub timeouts: RawUpstreamTimeouts,
    /// The `Host` the endpoints see: `preserve` (what the client sent), `endpoint` (the name or address of the endpoint), or
    /// a name. Default: `preserve`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub host: HostRewrite,
    /// How endpoints that are gone without a word are found. The default connector's.
    #[serde(default, skip_serializing_if = "is_default")]
    pub tcp_keepalive: RawTcpKeepalive,
}

impl RawUpstream {
    /// A group without endpoints yet.
    #[must_use]
    pub fn new(name: impl Into<Located<String>>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }
}

/// One address of an upstream. A plain string is an address of weight 1.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RawEndpoint {
    /// Where it is.
    pub address: EndpointAddress,
    /// Its share, relative to the other endpoints. 0: no new requests.
    #[serde(skip_serializing_if = "is_one")]
    pub weight: u32,
    /// Its level: endpoints of higher numbers are used when too few of the lower ones are usable.
    #[serde(skip_serializing_if = "is_default")]
    pub priority: u32,
    /// Where it runs. Endpoints of the gateway's own zone are preferred.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
struct EndpointForm {
    /// `ADDRESS:PORT`, `NAME:PORT` or `unix:PATH`.
    address: EndpointAddress,
    /// Its share, relative to the other endpoints. 0: no new requests. Default: 1.
    #[serde(default = "one")]
    weight: u32,
    /// Its level: endpoints of higher numbers are used when too few of the lower ones are usable. Default: 0.
    #[serde(default)]
    priority: u32,
    /// Where it runs. Endpoints of the gateway's own zone are preferred.
    #[serde(default)]
    zone: Option<String>,
}

impl From<EndpointAddress> for RawEndpoint {
    fn from(address: EndpointAddress) -> Self {
        Self {
            address,
            weight: 1,
            priority: 0,
            zone: None,
        }
    }
}

impl<'de> Deserialize<'de> for RawEndpoint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text_or_map(
            deserializer,
            "an endpoint such as 10.0.0.1:8080, or a mapping with its address",
            |text| {
                let found = crate::config::fault::found_text(text);
                text.parse::<EndpointAddress>()
                    .map(Self::from)
                    .map_err(|error| error.found(&found))
            },
            |form: EndpointForm| {
                Ok(Self {
                    address: form.address,
                    weight: form.weight,
                    priority: form.priority,
                    zone: form.zone,
                })
            },
        )
    }
}

impl JsonSchema for RawEndpoint {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Endpoint".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let short = generator.subschema_for::<EndpointAddress>();
        let long = generator.subschema_for::<EndpointForm>();
        schemars::json_schema!({
            "description": "One address of an upstream. A plain string is an address of weight 1.",
            "anyOf": [short, long],
        })
    }
}

/// Gives endpoints that are new or came back their share little by little.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "SlowStart")]
#[non_exhaustive]
pub struct RawSlowStart {
    /// How long it takes. Default: `30s`.
    pub window: TimeSpan,
    /// How the share grows: after the part t of the window it is the part t^(1/aggression) of what it will be. 1: evenly;
    /// more: faster in the beginning. Default: 1.
    #[schemars(range(min = 0.1, max = 100.0))]
    pub aggression: f64,
    /// The share in the beginning, in percent of what it will be. Default: 10.
    #[schemars(range(min = 1, max = 100))]
    pub min_percent: u8,
}

impl Default for RawSlowStart {
    fn default() -> Self {
        let usual = SlowStart::default();
        Self {
            window: usual.window.into(),
            aggression: usual.aggression,
            min_percent: usual.min_percent,
        }
    }
}

/// TLS to the endpoints of an upstream.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "ClientTls")]
#[non_exhaustive]
pub struct RawClientTls {
    /// PEM file, or text, with the authorities that are trusted. Relative paths begin at the folder of the file they are
    /// written in. Default: those of the system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<Located<Pem>>,
    /// The name the endpoints must prove, also sent as SNI. Default: the name the endpoint was discovered by, else its
    /// address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_name: Option<Located<String>>,
    /// PEM file, or text, with the certificate shown to the endpoints. With `key`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert: Option<Located<Pem>>,
    /// PEM file, or text, with the key of `cert`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Located<Pem>>,
    /// Believe any certificate. Anyone on the way can then read and change everything: for tests. Default: `false`.
    #[serde(skip_serializing_if = "is_default")]
    pub insecure_skip_verify: bool,
}

/// How the gateway finds out which endpoints work.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Health")]
#[non_exhaustive]
pub struct RawHealth {
    /// Requests made only to see whether an endpoint answers. Left out: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active: Option<RawActiveHealth>,
    /// Watching the requests of clients. Left out: endpoints are never put aside for what they answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passive: Option<RawPassiveHealth>,
}

/// Requests made only to see whether an endpoint answers.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "ActiveHealth")]
#[non_exhaustive]
pub struct RawActiveHealth {
    /// Path and query of the request. Default: `/`.
    pub path: Located<String>,
    /// Time from one request to the next. Default: `10s`.
    pub interval: TimeSpan,
    /// Time for an answer. Default: `2s`.
    pub timeout: TimeSpan,
    /// Good answers in a row that bring an endpoint back. Default: 2.
    pub healthy: NonZeroU32,
    /// Bad answers in a row that take an endpoint out. Default: 3.
    pub unhealthy: NonZeroU32,
    /// Statuses that are good answers. Default: `[200-399]`.
    pub expect: Vec<StatusRange>,
}

impl Default for RawActiveHealth {
    fn default() -> Self {
        const TWO: NonZeroU32 = NonZeroU32::MIN.saturating_add(1);
        const THREE: NonZeroU32 = NonZeroU32::MIN.saturating_add(2);
        Self {
            path: Located::from("/".to_owned()),
            interval: Duration::from_secs(10).into(),
            timeout: Duration::from_secs(2).into(),
            healthy: TWO,
            unhealthy: THREE,
            expect: StatusRange::new(200, 399).into_iter().collect(),
        }
    }
}

/// Watching the requests of clients.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "PassiveHealth")]
#[non_exhaustive]
pub struct RawPassiveHealth {
    /// Failures in a row (no connection, no answer, status 500 and above) that take an endpoint out. Default: 5.
    pub consecutive_failures: NonZeroU32,
    /// For how long; each further time it is longer. Default: `30s`.
    pub eject_for: TimeSpan,
}

impl Default for RawPassiveHealth {
    fn default() -> Self {
        const FIVE: NonZeroU32 = NonZeroU32::MIN.saturating_add(4);
        Self {
            consecutive_failures: FIVE,
            eject_for: Duration::from_secs(30).into(),
        }
    }
}

/// A limit of requests in flight that follows the upstream's latency: it grows while latency is what it usually is, and
/// shrinks in proportion when requests take longer. Further requests are answered with 503.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "AdaptiveLimit")]
#[non_exhaustive]
pub struct RawAdaptiveLimit {
    /// The limit at the start. Default: 100.
    pub initial: NonZeroU32,
    /// The least it becomes. Default: 10.
    pub min: Located<NonZeroU32>,
    /// The most it becomes. Default: 1000.
    pub max: NonZeroU32,
    /// By which factor latency may be above what is usual before the limit shrinks, at least 1. Default: 1.5.
    pub tolerance: Located<f64>,
    /// How often the limit is worked out anew. Default: `100ms`.
    pub window: TimeSpan,
}

impl Default for RawAdaptiveLimit {
    fn default() -> Self {
        let usual = AdaptiveLimit::default();
        let count = |value| NonZeroU32::new(value).unwrap_or(NonZeroU32::MIN);
        Self {
            initial: count(usual.initial),
            min: count(usual.min).into(),
            max: count(usual.max),
            tolerance: usual.tolerance.into(),
            window: usual.window.into(),
        }
    }
}

/// What the gateway may ask of an upstream at a time.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "UpstreamLimits")]
#[non_exhaustive]
pub struct RawUpstreamLimits {
    /// Connections to each endpoint, unused ones included. Left out: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<NonZeroU64>,
    /// Requests being served; further ones are answered with 503. Left out: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_requests: Option<NonZeroU64>,
    /// Fewer requests when the upstream's latency says that they queue. Left out: no attention is paid to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adaptive: Option<RawAdaptiveLimit>,
    /// Requests that wait for a connection to an endpoint that has `max_connections`; further ones are answered with
    /// 503. Default: 1024.
    pub max_pending: u64,
    /// Unused connections kept for each endpoint by each worker. Default: 256.
    pub max_idle_connections: u32,
    /// How long an unused connection is kept. Default: `60s`.
    pub idle_timeout: TimeSpan,
}

impl Default for RawUpstreamLimits {
    fn default() -> Self {
        let pool = PoolLimits::default();
        Self {
            max_connections: None,
            max_requests: None,
            adaptive: None,
            max_pending: pool.max_pending as u64,
            max_idle_connections: u32::try_from(pool.max_idle).unwrap_or(u32::MAX),
            idle_timeout: pool.idle_timeout.into(),
        }
    }
}

/// How long the gateway waits for a connection to an endpoint.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "UpstreamTimeouts")]
#[non_exhaustive]
pub struct RawUpstreamTimeouts {
    /// Until it is established, TLS handshake included. Default: `5s`.
    pub connect: TimeSpan,
    /// The TLS handshake alone. Of the default connector. Default: what is left of `connect`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<TimeSpan>,
}

impl Default for RawUpstreamTimeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5).into(),
            tls: None,
        }
    }
}
