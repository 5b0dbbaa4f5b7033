//! When a failed attempt is made again.

use std::time::Duration;

use http::{Method, StatusCode};

use crate::error::{ErrorClass, RetrySafety};
use crate::grpc;
use crate::handler::Response;

/// Which failures are tried again, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// Further attempts after the first.
    pub attempts: u32,
    /// What is tried again.
    pub on: Vec<RetryOn>,
    /// Also try requests again that are not idempotent and may have reached the upstream.
    pub non_idempotent: bool,
    /// The pause before the first retry: between half of it and all of it. Doubled each time.
    pub backoff: Duration,
    /// The longest pause.
    pub max_backoff: Duration,
    /// The longest `Retry-After` that is waited for instead of the pause; `None` pays no attention to it.
    pub retry_after: Option<Duration>,
    /// Request bodies are kept for another attempt up to this many bytes.
    pub buffer: usize,
    /// How many retries there may be compared to requests.
    pub budget: RetryBudgetLimits,
}

/// How many retries a route may make compared to its requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct RetryBudgetLimits {
    /// Retries per hundred requests; what is not used is saved, up to a hundred retries.
    pub percent: u32,
    /// Retries in each second that are always allowed.
    pub min_per_second: u32,
}

impl Default for RetryBudgetLimits {
    fn default() -> Self {
        Self {
            percent: 20,
            min_per_second: 3,
        }
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 1,
            on: vec![RetryOn::ConnectFailure, RetryOn::RefusedStream],
            non_idempotent: false,
            backoff: Duration::from_millis(25),
            max_backoff: Duration::from_millis(250),
            retry_after: None,
            buffer: 64 * 1024,
            budget: RetryBudgetLimits::default(),
        }
    }
}

/// One kind of failure that is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RetryOn {
    /// No connection could be made: nothing was sent.
    ConnectFailure,
    /// The upstream refused the request before it did anything with it (RFC 9113, section 8.7).
    RefusedStream,
    /// The upstream cut the connection before a response.
    Reset,
    /// An attempt took longer than `per_try`.
    Timeout,
    /// The upstream answered with this status.
    Status(StatusCode),
    /// The upstream answered 500 to 599.
    ServerError,
    /// The upstream answered 502, 503 or 504.
    GatewayError,
    /// The upstream ended a gRPC call with this code before it said anything else.
    Grpc(u8),
}

impl RetryOn {
    /// Reads `connect-failure`, `refused-stream`, `reset`, `timeout`, `5xx`, `gateway-error`, `grpc-` and the name of
    /// a gRPC code such as `unavailable`, or a status from 100 to 599.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "connect-failure" => Self::ConnectFailure,
            "refused-stream" => Self::RefusedStream,
            "reset" => Self::Reset,
            "timeout" => Self::Timeout,
            "5xx" => Self::ServerError,
            "gateway-error" => Self::GatewayError,
            grpc if grpc.starts_with("grpc-") => {
                let code = grpc.strip_prefix("grpc-").and_then(grpc::code_of_name)?;
                (code != 0).then_some(Self::Grpc(code))?
            }
            status => {
                let status: StatusCode = status.parse().ok()?;
                (status.as_u16() < 600).then_some(Self::Status(status))?
            }
        })
    }

    /// The spellings that [`parse`](Self::parse) knows, beside statuses and rarer gRPC codes.
    pub const NAMES: [&'static str; 11] = [
        "connect-failure",
        "refused-stream",
        "reset",
        "timeout",
        "5xx",
        "gateway-error",
        "grpc-cancelled",
        "grpc-deadline-exceeded",
        "grpc-internal",
        "grpc-resource-exhausted",
        "grpc-unavailable",
    ];
}

impl RetryPolicy {
    pub(crate) fn wants_error(
        &self,
        class: ErrorClass,
        safety: RetrySafety,
        method: &Method,
    ) -> bool {
        let untouched = safety == RetrySafety::NotSent;
        let listed = match class {
            ErrorClass::Connect | ErrorClass::ConnectTimeout => {
                self.on.contains(&RetryOn::ConnectFailure)
            }
            ErrorClass::UpstreamReset => {
                self.on.contains(&RetryOn::Reset)
                    || (untouched && self.on.contains(&RetryOn::RefusedStream))
            }
            ErrorClass::UpstreamTimeout => self.on.contains(&RetryOn::Timeout),
            _ => false,
        };
        listed && (untouched || self.may_repeat(method))
    }

    pub(crate) fn wants_reply(&self, reply: &Response, method: &Method) -> bool {
        let status = reply.status();
        let repeatable = self.may_repeat(method);
        self.on.iter().any(|on| match on {
            RetryOn::Status(listed) => repeatable && *listed == status,
            RetryOn::ServerError => repeatable && status.is_server_error(),
            RetryOn::GatewayError => repeatable && matches!(status.as_u16(), 502..=504),
            // All calls are POST, so whoever lists a code says that they may be repeated.
            RetryOn::Grpc(code) => grpc::status(reply.headers()) == Some(*code),
            _ => false,
        })
    }

    /// The pause before retry number `retry`, which starts at 0; `None` if the upstream asks for more patience than
    /// there is.
    pub(crate) fn pause(
        &self,
        retry: u32,
        random: u64,
        asked: Option<Duration>,
    ) -> Option<Duration> {
        match (asked, self.retry_after) {
            (Some(asked), Some(most)) => (asked <= most).then_some(asked),
            _ => Some(self.backoff_of(retry, random)),
        }
    }

    pub(super) fn may_repeat(&self, method: &Method) -> bool {
        self.non_idempotent || is_idempotent(method)
    }

    fn backoff_of(&self, retry: u32, random: u64) -> Duration {
        let full = self
            .backoff
            .saturating_mul(1 << retry.min(16))
            .min(self.max_backoff);
        // Between half and all of it, so that clients of a struggling upstream do not march in step.
        full / 2 + (full / 2).mul_f64((random % 1024) as f64 / 1024.0)
    }
}

/// RFC 9110 9.2.2.
pub(crate) fn is_idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(on: &[RetryOn]) -> RetryPolicy {
        RetryPolicy {
            on: on.to_vec(),
            ..RetryPolicy::default()
        }
    }

    #[test]
    fn a_post_that_may_have_arrived_is_not_sent_twice() {
        let policy = policy(&[
            RetryOn::ConnectFailure,
            RetryOn::Reset,
            RetryOn::ServerError,
        ]);
        let (refused, reset) = (ErrorClass::Connect, ErrorClass::UpstreamReset);
        assert!(policy.wants_error(refused, RetrySafety::NotSent, &Method::POST));
        assert!(!policy.wants_error(reset, RetrySafety::Idempotent, &Method::POST));
        assert!(policy.wants_error(reset, RetrySafety::Idempotent, &Method::GET));
        let mut reply = Response::new(crate::body::Body::empty());
        *reply.status_mut() = StatusCode::BAD_GATEWAY;
        assert!(policy.wants_reply(&reply, &Method::PUT));
        assert!(!policy.wants_reply(&reply, &Method::POST));
        let default = RetryPolicy::default();
        assert!(default.wants_error(reset, RetrySafety::NotSent, &Method::POST));
        assert!(!default.wants_error(reset, RetrySafety::Idempotent, &Method::GET));
    }

    #[test]
    fn pauses_grow_and_stay_below_the_cap() {
        let policy = RetryPolicy::default();
        for random in [0, 511, 1023] {
            let first = policy.pause(0, random, None).unwrap();
            assert!(first >= policy.backoff / 2 && first <= policy.backoff);
            assert!(policy.pause(20, random, None).unwrap() <= policy.max_backoff);
        }
    }

    #[test]
    fn what_the_upstream_asks_for_takes_the_place_of_the_pause_as_far_as_it_may() {
        let second = Duration::from_secs(1);
        let mut policy = RetryPolicy::default();
        assert!(policy.pause(0, 0, Some(second)).unwrap() < second);
        policy.retry_after = Some(second);
        assert_eq!(policy.pause(0, 0, Some(second)), Some(second));
        assert_eq!(policy.pause(0, 0, Some(second * 2)), None);
        assert!(policy.pause(0, 0, None).unwrap() < second);
    }

    #[test]
    fn a_call_is_tried_again_for_the_codes_that_are_listed() {
        let policy = policy(&[RetryOn::Grpc(14)]);
        assert!(policy.wants_reply(&grpc::trailers_only(14, ""), &Method::POST));
        assert!(!policy.wants_reply(&grpc::trailers_only(5, ""), &Method::POST));
        assert_eq!(RetryOn::parse("grpc-ok"), None);
        assert_eq!(RetryOn::parse("grpc-aborted"), Some(RetryOn::Grpc(10)));
    }

    #[test]
    fn reads_names() {
        for name in RetryOn::NAMES {
            assert!(RetryOn::parse(name).is_some(), "{name}");
        }
        assert_eq!(
            RetryOn::parse("503"),
            Some(RetryOn::Status(StatusCode::SERVICE_UNAVAILABLE))
        );
        assert_eq!(RetryOn::parse("never"), None);
        assert_eq!(RetryOn::parse("600"), None);
    }
}
