//! Routes as they are written.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{RawMatch, RawSticky, is_default, is_yes, yes};
use crate::config::{
    capture::{Located, PluginSpec},
    units::{ByteSize, TimeSpan},
    values::RetryCondition,
};

/// What happens to requests that match.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Route")]
#[non_exhaustive]
pub struct RawRoute {
    /// Name, unique among routes; logs, metrics and `explain` use it.
    pub name: Located<String>,
    /// Names of the listeners it belongs to. Default: all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub listeners: Vec<Located<String>>,
    /// What a request must have. Left out, and without `rule`: nothing, so every request matches.
    #[serde(default, rename = "match", skip_serializing_if = "Option::is_none")]
    pub matches: Option<RawMatch>,
    /// The same in Traefik's rule language, such as ``Host(`shop.example`) && PathPrefix(`/orders`)``. Instead of
    /// `match`, not beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<Located<String>>,
    /// Larger numbers win. Default: the more specific match wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i64>,
    /// Filters for requests of this route, in this order; replies pass them in the opposite order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-portcullis-plugins" = "filter"))]
    pub filters: Vec<PluginSpec>,
    /// How long a request may take. What is left out comes from `defaults`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub timeouts: RawRouteTimeouts,
    /// When a failed request is tried again. Left out: as in `defaults`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RawRetry>,
    /// A second attempt beside one that is slow. Left out: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hedge: Option<RawHedge>,
    /// Where requests go, by weight. May be empty when a filter always answers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backends: Vec<RawBackend>,
    /// Keeps each client on the backend of its first request while that has healthy endpoints. Left out: every request
    /// is split anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sticky: Option<Located<RawSticky>>,
    /// Further upstreams that get copies of requests, as the filters of the route leave them. Their answers are thrown
    /// away, and the request waits for none of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mirror: Vec<RawMirror>,
    /// Whether connections may change protocol (websocket and other upgrades, RFC 9110, section 7.8). Default: `true`.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub upgrade: bool,
}

impl RawRoute {
    /// A route for every request, without backends yet.
    #[must_use]
    pub fn new(name: impl Into<Located<String>>) -> Self {
        Self {
            name: name.into(),
            listeners: Vec::new(),
            matches: None,
            rule: None,
            priority: None,
            filters: Vec::new(),
            timeouts: RawRouteTimeouts::default(),
            retry: None,
            hedge: None,
            backends: Vec::new(),
            sticky: None,
            mirror: Vec::new(),
            upgrade: true,
        }
    }
}

/// How long a request may take. `0s` switches a timeout off.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "RouteTimeouts")]
#[non_exhaustive]
pub struct RawRouteTimeouts {
    /// From the end of the request's headers to the end of the response, all attempts together. Default: off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<TimeSpan>,
    /// One attempt, from choosing an endpoint to the headers of its response. Default: off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_try: Option<TimeSpan>,
    /// The longest silence of the upstream, before and within a response, and of an upgraded connection. Default: `60s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle: Option<TimeSpan>,
    /// The longest silence of the upstream between a request and the headers of its response. Default: as `idle`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head: Option<TimeSpan>,
    /// How long an upgraded connection may last, however much it is used; `total` does not count for those. Default:
    /// off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<TimeSpan>,
    /// Fields that tell the upstream how much time `total`, `per_try` and the deadline of a gRPC call leave it:
    /// `grpc-timeout` (for gRPC calls) and `x-envoy-expected-rq-timeout-ms`. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub announce: Option<Vec<DeadlineField>>,
}

/// A field that tells how much time is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[non_exhaustive]
pub enum DeadlineField {
    /// `grpc-timeout`, for gRPC calls.
    #[serde(rename = "grpc-timeout")]
    Grpc,
    /// What Envoy sends: milliseconds.
    #[serde(rename = "x-envoy-expected-rq-timeout-ms")]
    Envoy,
}

/// When a failed request is tried again.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Retry")]
#[non_exhaustive]
pub struct RawRetry {
    /// How often a request is tried again after the first time. 0: never. Default: 1.
    pub attempts: u32,
    /// What counts as failed: `connect-failure` (nothing was sent), `refused-stream` (the upstream says that it did
    /// nothing), `reset` (no answer), `timeout` (of one attempt), a status such as `503`, `gateway-error` (502, 503 and
    /// 504), `5xx`, or the code of a gRPC call that ended without a message: `grpc-unavailable`,
    /// `grpc-resource-exhausted` and so on. Default: `[connect-failure, refused-stream]`, which are safe for any method;
    /// the others but those of gRPC are tried again for idempotent methods only (RFC 9110, section 9.2.2).
    pub on: Vec<Located<RetryCondition>>,
    /// Also try requests again that are not idempotent, such as POST, and may have reached the upstream. Default:
    /// `false`.
    #[serde(skip_serializing_if = "is_default")]
    pub non_idempotent: bool,
    /// Bodies of requests are kept up to this size to be sent again; requests with larger ones are not tried again.
    /// Default: `64KiB`.
    pub buffer: ByteSize,
    /// How many retries there may be compared to requests. Left out: 20 % and at least 3 a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<RawRetryBudget>,
    /// The pause before trying again. Left out: from `25ms` to `250ms`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff: Option<RawBackoff>,
}

impl Default for RawRetry {
    fn default() -> Self {
        let safe = ["connect-failure", "refused-stream"];
        let on = safe
            .iter()
            .filter_map(|name| name.parse::<RetryCondition>().ok());
        Self {
            attempts: 1,
            on: on.map(Located::from).collect(),
            non_idempotent: false,
            buffer: ByteSize::new(64 * 1024),
            budget: None,
            backoff: None,
        }
    }
}

/// A second attempt, to another endpoint, beside one that is slow; the first good reply counts and the other attempt is
/// given up. For idempotent requests without a body. Either `delay` or `percentile`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Hedge")]
#[non_exhaustive]
pub struct RawHedge {
    /// How long the first attempt has for the headers of its response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay: Option<TimeSpan>,
    /// It has as long as this percentage of the route's last few thousand requests took, such as 95.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percentile: Option<Located<f64>>,
    /// With `percentile`: the shortest delay. Default: `5ms`.
    pub min_delay: TimeSpan,
    /// How many second attempts there may be compared to requests. Left out: 20 % and at least 3 a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<RawRetryBudget>,
}

impl Default for RawHedge {
    fn default() -> Self {
        Self {
            delay: None,
            percentile: None,
            min_delay: Duration::from_millis(5).into(),
            budget: None,
        }
    }
}

/// How many retries there may be, so that they do not finish off an upstream that is already failing.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "RetryBudget")]
#[non_exhaustive]
pub struct RawRetryBudget {
    /// Retries per hundred requests, at most 1000. What is not used is saved, up to a hundred retries. Default: 20.
    pub percent: Located<u32>,
    /// Retries a second that are always allowed, for each route. Default: 3.
    pub min_per_second: u32,
}

impl Default for RawRetryBudget {
    fn default() -> Self {
        Self {
            percent: 20.into(),
            min_per_second: 3,
        }
    }
}

/// The pause before a request is tried again: random, between half of a bound and all of it; the bound doubles each
/// time.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Backoff")]
#[non_exhaustive]
pub struct RawBackoff {
    /// The first bound. Default: `25ms`.
    pub base: TimeSpan,
    /// The largest bound. Default: `250ms`.
    pub max: TimeSpan,
    /// The longest `Retry-After`, in seconds (RFC 9110, section 10.2.3), that is waited for instead of the pause; a
    /// request whose reply asks for more is not tried again. Left out: no attention is paid to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<TimeSpan>,
}

impl Default for RawBackoff {
    fn default() -> Self {
        Self {
            base: Duration::from_millis(25).into(),
            max: Duration::from_millis(250).into(),
            retry_after: None,
        }
    }
}

/// A share of a route's requests.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Backend")]
#[non_exhaustive]
pub struct RawBackend {
    /// Name of the upstream.
    pub upstream: Located<String>,
    /// Its share, relative to the weights of the other backends. 0: no requests. Default: 1.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub weight: u32,
    /// Backends of a higher number are used only while those of lower ones have no healthy endpoint: `1` makes a backend
    /// the failover of the others. Default: 0.
    #[serde(default, skip_serializing_if = "is_default")]
    pub priority: u32,
    /// Filters for the requests that go to this backend, after those of the route.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-portcullis-plugins" = "filter"))]
    pub filters: Vec<PluginSpec>,
}

impl RawBackend {
    /// All requests to one upstream.
    #[must_use]
    pub fn new(upstream: impl Into<Located<String>>) -> Self {
        Self {
            upstream: upstream.into(),
            weight: 1,
            priority: 0,
            filters: Vec::new(),
        }
    }
}

/// An upstream that gets copies of requests.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Mirror")]
#[non_exhaustive]
pub struct RawMirror {
    /// Name of the upstream.
    pub upstream: Located<String>,
    /// How many of a hundred requests are copied, fractions included. Default: 100.
    #[serde(default = "hundred")]
    pub percent: Located<f64>,
    /// Requests with larger bodies are not copied: bodies are kept until they are complete. Default: `64KiB`.
    #[serde(default = "most_body")]
    pub max_body: ByteSize,
    /// Copies under way at a time; further ones are dropped. Default: 100.
    #[serde(default = "most_in_flight")]
    pub max_in_flight: u32,
}

impl RawMirror {
    /// Copies of all requests.
    #[must_use]
    pub fn new(upstream: impl Into<Located<String>>) -> Self {
        Self {
            upstream: upstream.into(),
            percent: hundred(),
            max_body: most_body(),
            max_in_flight: most_in_flight(),
        }
    }
}

fn hundred() -> Located<f64> {
    100.0.into()
}

fn most_body() -> ByteSize {
    ByteSize::new(64 * 1024)
}

const fn most_in_flight() -> u32 {
    100
}

pub(super) const fn one() -> u32 {
    1
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature serde asks for"
)]
pub(super) const fn is_one(weight: &u32) -> bool {
    *weight == 1
}
