//! The top of the native configuration, and what concerns the whole process.

use std::num::NonZeroU64;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    RawListener, RawRetry, RawRoute, RawRouteTimeouts, RawTcpRoute, RawUdpRoute, RawUpstream,
    is_default, is_yes, yes,
};
use crate::{
    config::{
        capture::Located,
        units::{ByteSize, TimeSpan},
        values::BindAddress,
    },
    observe::config::{AccessLogConfig, MetricsConfig, TracingConfig},
};

/// The native configuration of a gateway.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Config")]
#[non_exhaustive]
pub struct RawConfig {
    /// Where connections come in. Names are unique.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub listeners: Vec<RawListener>,
    /// What happens to a request. Names are unique; the order only matters between routes that match equally
    /// well and have the same `priority`: the earlier one wins.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<RawRoute>,
    /// What happens to TCP connections that are not HTTP. Names are unique.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tcp_routes: Vec<RawTcpRoute>,
    /// What happens to datagrams. Names are unique.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub udp_routes: Vec<RawUdpRoute>,
    /// The groups of endpoints that routes send requests to. Names are unique.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub upstreams: Vec<RawUpstream>,
    /// The listener for operators: health, metrics, configuration and the dashboard.
    #[serde(skip_serializing_if = "is_default")]
    pub admin: RawAdmin,
    /// One line for every request. Left out: no access log; `{}`: one with the defaults.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_log: Option<AccessLogConfig>,
    /// Trace headers passed on, and spans sent to a collector. Left out: headers pass untouched, no spans.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tracing: Option<TracingConfig>,
    /// What is counted.
    #[serde(skip_serializing_if = "is_default")]
    pub metrics: MetricsConfig,
    /// What routes use where they say nothing themselves.
    #[serde(skip_serializing_if = "is_default")]
    pub defaults: RawDefaults,
    /// Limits of the whole process.
    #[serde(skip_serializing_if = "is_default")]
    pub limits: RawLimits,
    /// Where the gateway runs: endpoints of this zone are preferred. Left out: zones do not matter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
}

/// The listener for operators.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Admin")]
#[non_exhaustive]
pub struct RawAdmin {
    /// Whether there is one. Default: `true`.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub enabled: bool,
    /// Where it listens. It has no authentication of its own: keep it on an address only operators reach.
    /// Default: `127.0.0.1:9900`.
    pub bind: Located<BindAddress>,
}

impl Default for RawAdmin {
    fn default() -> Self {
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], 9900));
        Self {
            enabled: true,
            bind: BindAddress::Tcp(address).into(),
        }
    }
}

/// What routes use where they say nothing themselves.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Defaults")]
#[non_exhaustive]
pub struct RawDefaults {
    /// Timeouts of requests; a route overrides them one by one.
    #[serde(skip_serializing_if = "is_default")]
    pub timeouts: RawRouteTimeouts,
    /// Retries; a route with `retry` replaces them as a whole. Left out: no retries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<RawRetry>,
}

/// Limits of the whole process, over all listeners.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Limits")]
#[non_exhaustive]
pub struct RawLimits {
    /// Connections open at a time. What becomes of further ones says `limits.when_full` of their listener. Left out: no
    /// limit but the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<NonZeroU64>,
    /// Requests being served at a time; further ones are answered with 503. Left out: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_requests_in_flight: Option<NonZeroU64>,
    /// Resident memory of the process. From 85 % of it on no new connections are taken and idle ones are closed, from 95 %
    /// on requests are answered with 503. `0`: no limit. Default: that of the cgroup, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<ByteSize>,
    /// How long requests may go on after the process was told to stop, before they are cut off. Those of a listener
    /// that a reload removed or moved end in their own time. Default: `30s`.
    pub drain: TimeSpan,
}

impl Default for RawLimits {
    fn default() -> Self {
        let drain = std::time::Duration::from_secs(30).into();
        Self {
            max_connections: None,
            max_requests_in_flight: None,
            memory: None,
            drain,
        }
    }
}

/// The JSON Schema (draft 2020-12) of [`RawConfig`].
///
/// A place that takes plugins refers to `PluginSpec` and carries `x-portcullis-plugins` with the kind of plugin
/// it takes (`filter`, `matcher`, `balancer`, `discovery` or `connector`), for a caller that knows which are registered.
#[must_use]
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(RawConfig).to_value()
}
