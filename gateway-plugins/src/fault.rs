//! `fault`: delays and refuses a share of the requests, to see how clients and other services take it.
//!
//! ```yaml
//! - { type: fault, delay: { fixed: 2s, percent: 10 }, abort: { status: 503, percent: 1 } }
//! - { type: fault, abort: { grpc: unavailable }, headers: { x-user: tester } }
//! - { type: fault, by_header: { max_delay: 5s } }
//! ```
//!
//! The fields of Istio's `HTTPFaultInjection` and of Envoy's fault filter. A request may meet both: it waits first. The
//! wait counts towards the total time-out of the route, and ends with the client's connection.

mod wish;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};
use portcullis_core::config::TimeSpan;
use portcullis_core::config::raw::ValueMatch;
use portcullis_core::exchange::Exchange;
use portcullis_core::filter::{
    BuildCx, BuildError, Filter, FilterCx, FilterFactory, Flow, HeadFilter, Phase, RequestHead,
    Stage,
};
use portcullis_core::route::{HeaderMatch, Pattern, ValueTest};
use portcullis_core::{Body, GatewayError, Response, async_trait, grpc};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::random;
use crate::values::FieldName;
use wish::Wish;

/// What the reply of an abort says; what clients of other proxies see there.
const ABORTED: &str = "fault filter abort";
/// Parts of a whole in which shares are counted.
const WHOLE: u32 = 1_000_000;

/// Settings of [`Fault`]. At least one of `delay`, `abort` and `by_header`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct FaultConfig {
    /// Makes requests wait.
    pub delay: Option<DelayConfig>,
    /// Answers requests instead of passing them on.
    pub abort: Option<AbortConfig>,
    /// Only requests with these header fields, written as in `match.headers` of routes. Default: all requests.
    pub headers: BTreeMap<FieldName, ValueMatch>,
    /// Lets clients ask for faults. Left out: their fields mean nothing.
    pub by_header: Option<ByHeaderConfig>,
    /// Delays at a time; further requests pass without one. Default: no limit.
    pub max_active: Option<usize>,
}

/// Requests that wait.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct DelayConfig {
    /// For how long.
    pub fixed: TimeSpan,
    /// The share of requests, 0 to 100; fractions count. Default: 100.
    #[serde(default)]
    pub percent: Percent,
}

/// Requests that are answered here. Either `status` or `grpc`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct AbortConfig {
    /// The status of the reply, 200 to 599; gRPC calls get the code that stands for it.
    pub status: Option<u16>,
    /// The code that ends a gRPC call, such as `unavailable`; other requests get it too.
    pub grpc: Option<String>,
    /// The share of requests, 0 to 100; fractions count. Default: 100.
    #[serde(default)]
    pub percent: Percent,
}

/// What clients may ask for, with Envoy's fields: `x-envoy-fault-delay-request` (milliseconds),
/// `x-envoy-fault-abort-request` (a status) and `x-envoy-fault-abort-grpc-request` (a code), each with a `-percentage`
/// that makes the share smaller.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ByHeaderConfig {
    /// The longest delay.
    pub max_delay: TimeSpan,
    /// The largest share of requests, 0 to 100. Default: 100.
    #[serde(default)]
    pub percent: Percent,
}

/// A share, from 0 to 100.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Percent(f64);

impl Default for Percent {
    fn default() -> Self {
        Self(100.0)
    }
}

impl Percent {
    fn share(self, key: &str) -> Result<Share, BuildError> {
        if (0.0..=100.0).contains(&self.0) {
            return Ok(Share((self.0 * f64::from(WHOLE) / 100.0).round() as u32));
        }
        Err(BuildError::new(format!("`percent` must be from 0 to 100, found {}", self.0)).at(key))
    }
}

/// A share of the requests, in millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Share(u32);

impl Share {
    fn percent(percent: u32) -> Self {
        Self(percent.min(100) * (WHOLE / 100))
    }

    /// Whether this request is among them.
    fn hits(self) -> bool {
        let drawn = (u128::from(random::next()) * u128::from(WHOLE)) >> 64;
        drawn < u128::from(self.0)
    }
}

/// How a request is answered instead of being passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Abort {
    Status(StatusCode),
    Grpc(u8),
}

/// The filter. See the [module](self).
#[derive(Debug)]
pub struct Fault {
    delay: Option<(Duration, Share)>,
    abort: Option<(Abort, Share)>,
    headers: Vec<HeaderMatch>,
    by_header: Option<(Duration, Share)>,
    max_active: usize,
    active: Arc<AtomicUsize>,
}

impl FilterFactory for Fault {
    const NAME: &'static str = "fault";
    type Config = FaultConfig;

    fn build(config: FaultConfig, _: &BuildCx<'_>) -> Result<Stage, BuildError> {
        if config.delay.is_none() && config.abort.is_none() && config.by_header.is_none() {
            return Err(
                BuildError::new("a fault has a `delay`, an `abort` or `by_header`")
                    .hint("write delay: { fixed: 2s, percent: 10 }"),
            );
        }
        let mut headers = Vec::with_capacity(config.headers.len());
        for (name, value) in &config.headers {
            let test = value_test(value).map_err(|error| error.at("headers"))?;
            headers.push(HeaderMatch::new(name.get().clone(), test));
        }
        let delay = config.delay.map(|delay| {
            let share = delay.percent.share("delay.percent")?;
            Ok((delay.fixed.get(), share))
        });
        let abort = config.abort.map(|abort| {
            let share = abort.percent.share("abort.percent")?;
            Ok((Abort::new(&abort)?, share))
        });
        let by_header = config.by_header.map(|allowed| {
            let share = allowed.percent.share("by_header.percent")?;
            Ok((allowed.max_delay.get(), share))
        });
        let filter = Self {
            delay: delay.transpose()?,
            abort: abort.transpose()?,
            headers,
            by_header: by_header.transpose()?,
            max_active: config.max_active.unwrap_or(usize::MAX),
            active: Arc::default(),
        };
        let stage = if filter.delay.is_none() && filter.by_header.is_none() {
            Stage::head(Self::NAME, filter)
        } else {
            Stage::filter(Self::NAME, filter)
        };
        Ok(stage.with_phase(Phase::Transform))
    }
}

fn value_test(value: &ValueMatch) -> Result<ValueTest, BuildError> {
    Ok(match value {
        ValueMatch::Exact(text) => ValueTest::Exact(text.as_str().into()),
        ValueMatch::Present => ValueTest::Present,
        ValueMatch::Absent => ValueTest::Absent,
        ValueMatch::Regex(source) => ValueTest::Regex(
            Pattern::whole(source).map_err(|error| BuildError::new(error.to_string()))?,
        ),
        _ => {
            return Err(BuildError::new(
                "this way to compare a value is not known here",
            ));
        }
    })
}

impl Abort {
    fn new(config: &AbortConfig) -> Result<Self, BuildError> {
        match (config.status, &config.grpc) {
            (Some(status), None) => status_of(status).map(Self::Status).ok_or_else(|| {
                BuildError::new("`status` must be from 200 to 599").at("abort.status")
            }),
            (None, Some(name)) => {
                let code = grpc::code_of_name(name).filter(|code| *code > 0);
                code.map(Self::Grpc).ok_or_else(|| {
                    BuildError::new(format!("no gRPC failure is called `{name}`"))
                        .at("abort.grpc")
                        .hint("write a code such as unavailable or deadline-exceeded")
                })
            }
            _ => {
                Err(BuildError::new("an abort has either a `status` or a `grpc` code").at("abort"))
            }
        }
    }

    fn reply(self, request: &HeaderMap, exchange: &Exchange) -> Response {
        exchange.state().reason = Some("fault_abort".into());
        match self {
            Self::Grpc(code) => grpc::trailers_only(code, ABORTED),
            Self::Status(status) if grpc::is_grpc(request) && status != StatusCode::OK => {
                grpc::trailers_only(grpc::code_of_status(status), ABORTED)
            }
            Self::Status(status) => {
                let bodiless = matches!(status.as_u16(), 204 | 205 | 304);
                let body = if bodiless {
                    Body::empty()
                } else {
                    Body::from(ABORTED)
                };
                let mut response = Response::new(body);
                *response.status_mut() = status;
                if !bodiless {
                    let plain = HeaderValue::from_static("text/plain");
                    response.headers_mut().insert(CONTENT_TYPE, plain);
                }
                response
            }
        }
    }
}

fn status_of(status: u16) -> Option<StatusCode> {
    let status = StatusCode::from_u16(status).ok()?;
    (200..600).contains(&status.as_u16()).then_some(status)
}

impl Fault {
    fn concerns(&self, headers: &HeaderMap) -> bool {
        self.headers.iter().all(|wanted| wanted.matches(headers))
    }

    /// How long this request waits, and how it is answered.
    fn draw(&self, headers: &HeaderMap) -> (Option<Duration>, Option<Abort>) {
        if !self.concerns(headers) {
            return (None, None);
        }
        let wish = match self.by_header {
            Some((longest, most)) => Wish::of(headers, longest, most),
            None => Wish::default(),
        };
        let delay = wish.delay.or(self.delay);
        let abort = wish.abort.or(self.abort);
        let drawn = |share: Share| share.hits();
        (
            delay
                .filter(|(_, share)| drawn(*share))
                .map(|(delay, _)| delay),
            abort
                .filter(|(_, share)| drawn(*share))
                .map(|(abort, _)| abort),
        )
    }
}

impl HeadFilter for Fault {
    fn on_request(&self, head: &mut RequestHead<'_>) -> Result<Flow, GatewayError> {
        match self.draw(head.headers()) {
            (_, Some(abort)) => Ok(Flow::Reply(abort.reply(head.headers(), head.exchange()))),
            _ => Ok(Flow::Continue),
        }
    }
}

#[async_trait]
impl Filter for Fault {
    async fn on_request(&self, cx: &mut FilterCx<'_>) -> Result<Flow, GatewayError> {
        let (delay, abort) = self.draw(cx.request().headers());
        if let Some(delay) = delay
            && let Some(_active) = Active::enter(&self.active, self.max_active)
        {
            tokio::time::sleep(delay).await;
        }
        match abort {
            Some(abort) => Ok(Flow::Reply(
                abort.reply(cx.request().headers(), cx.exchange()),
            )),
            None => Ok(Flow::Continue),
        }
    }
}

/// One of the delays under way; also ends when its request is given up.
struct Active<'a>(&'a AtomicUsize);

impl<'a> Active<'a> {
    fn enter(active: &'a AtomicUsize, most: usize) -> Option<Self> {
        let entered = Self(active);
        (active.fetch_add(1, Ordering::Relaxed) < most).then_some(entered)
    }
}

impl Drop for Active<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
