//! The top of the native configuration, and what concerns the whole process.

use std::num::NonZeroU64;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    RawListener, RawRetry, RawRoute, RawRouteTimeouts, RawUpstream, is_default, is_yes, yes,
};
use crate::config::{capture::Located, units::TimeSpan, values::BindAddress};

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
    /// The groups of endpoints that routes send requests to. Names are unique.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub upstreams: Vec<RawUpstream>,
    /// The listener for operators: health, metrics, configuration and the dashboard.
    #[serde(skip_serializing_if = "is_default")]
    pub admin: RawAdmin,
    /// One line for every request. Left out: no access log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_log: Option<RawAccessLog>,
    /// Spans sent to a collector, and trace headers passed on. Left out: headers pass untouched, no spans.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tracing: Option<RawTracing>,
    /// What routes use where they say nothing themselves.
    #[serde(skip_serializing_if = "is_default")]
    pub defaults: RawDefaults,
    /// Limits of the whole process.
    #[serde(skip_serializing_if = "is_default")]
    pub limits: RawLimits,
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

/// One line for every request.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "AccessLog")]
#[non_exhaustive]
pub struct RawAccessLog {
    /// `stdout`, `stderr`, or the path of a file that lines are appended to. Default: `stdout`.
    pub output: Located<String>,
    /// How a line is written. Default: `json`.
    pub format: LogFormat,
    /// The share of requests that is logged, from 0 to 1. Failed requests (status 500 and above, or no answer)
    /// are always logged. Default: 1.
    pub sample: Located<f64>,
}

impl Default for RawAccessLog {
    fn default() -> Self {
        Self {
            output: Located::from("stdout".to_owned()),
            format: LogFormat::Json,
            sample: 1.0.into(),
        }
    }
}

/// How a line of the access log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum LogFormat {
    /// One JSON object a line.
    #[default]
    Json,
    /// `key=value` pairs.
    Text,
    /// The combined format of Apache's httpd.
    Combined,
}

/// Distributed tracing.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Tracing")]
#[non_exhaustive]
pub struct RawTracing {
    /// The collector, an `http:` or `https:` URL that speaks OTLP. Left out: headers are passed on and created,
    /// but no span is sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<Located<String>>,
    /// The name of this gateway in the spans. Default: `portcullis`.
    pub service_name: String,
    /// The share of traces that is recorded when the request does not say, from 0 to 1. Default: 0.01.
    pub sample: Located<f64>,
    /// Which trace headers are understood and written, the preferred one first. Default: `[w3c]`.
    pub propagate: Vec<Propagation>,
}

impl Default for RawTracing {
    fn default() -> Self {
        Self {
            endpoint: None,
            service_name: "portcullis".to_owned(),
            sample: 0.01.into(),
            propagate: vec![Propagation::W3c],
        }
    }
}

/// A family of trace headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Propagation {
    /// `traceparent` and `tracestate` (W3C Trace Context).
    W3c,
    /// `x-b3-traceid` and its companions (Zipkin B3, multiple headers).
    B3,
    /// `b3` (Zipkin B3, single header).
    B3Single,
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
    /// Connections open at a time; further ones wait to be accepted. Left out: no limit but the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<NonZeroU64>,
    /// Requests being served at a time; further ones are answered with 503. Left out: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_requests_in_flight: Option<NonZeroU64>,
    /// How long requests may go on after the process was told to stop, or their listener was removed, before
    /// they are cut off. Default: `30s`.
    pub drain: TimeSpan,
}

impl Default for RawLimits {
    fn default() -> Self {
        let drain = std::time::Duration::from_secs(30).into();
        Self {
            max_connections: None,
            max_requests_in_flight: None,
            drain,
        }
    }
}

/// The JSON Schema (draft 2020-12) of [`RawConfig`].
///
/// A place that takes plugins refers to `PluginSpec` and carries `x-portcullis-plugins` with the kind of plugin
/// it takes (`filter`, `matcher`, `balancer` or `discovery`), for a caller that knows which are registered.
#[must_use]
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(RawConfig).to_value()
}
