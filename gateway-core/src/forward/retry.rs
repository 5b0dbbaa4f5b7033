//! When a failed attempt is made again.

use std::time::Duration;

use http::{Method, StatusCode};

use crate::error::{ErrorClass, RetrySafety};

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
}

impl RetryOn {
    /// Reads `connect-failure`, `refused-stream`, `reset`, `timeout`, `5xx`, `gateway-error` or a status from 100 to 599.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "connect-failure" => Self::ConnectFailure,
            "refused-stream" => Self::RefusedStream,
            "reset" => Self::Reset,
            "timeout" => Self::Timeout,
            "5xx" => Self::ServerError,
            "gateway-error" => Self::GatewayError,
            status => {
                let status: StatusCode = status.parse().ok()?;
                (status.as_u16() < 600).then_some(Self::Status(status))?
            }
        })
    }

    /// All spellings that [`parse`](Self::parse) knows, beside statuses.
    pub const NAMES: [&'static str; 6] = [
        "connect-failure",
        "refused-stream",
        "reset",
        "timeout",
        "5xx",
        "gateway-error",
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

    pub(crate) fn wants_status(&self, status: StatusCode, method: &Method) -> bool {
        self.may_repeat(method)
            && self.on.iter().any(|on| match on {
                RetryOn::Status(listed) => *listed == status,
                RetryOn::ServerError => status.is_server_error(),
                RetryOn::GatewayError => matches!(status.as_u16(), 502..=504),
                _ => false,
            })
    }

    fn may_repeat(&self, method: &Method) -> bool {
        self.non_idempotent || is_idempotent(method)
    }

    pub(crate) fn pause(&self, retry: u32, random: u64) -> Duration {
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
        assert!(policy.wants_status(StatusCode::BAD_GATEWAY, &Method::PUT));
        assert!(!policy.wants_status(StatusCode::BAD_GATEWAY, &Method::POST));
        let default = RetryPolicy::default();
        assert!(default.wants_error(reset, RetrySafety::NotSent, &Method::POST));
        assert!(!default.wants_error(reset, RetrySafety::Idempotent, &Method::GET));
    }

    #[test]
    fn pauses_grow_and_stay_below_the_cap() {
        let policy = RetryPolicy::default();
        for random in [0, 511, 1023] {
            let first = policy.pause(0, random);
            assert!(first >= policy.backoff / 2 && first <= policy.backoff);
            assert!(policy.pause(20, random) <= policy.max_backoff);
        }
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
