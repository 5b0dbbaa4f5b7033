//! What can go wrong with a request, and how it is answered.
//!
//! [`GatewayError`] is one word wide. It says *what kind* of failure happened ([`ErrorClass`]), *who*
//! caused it ([`Origin`]) and whether sending the request again is safe ([`RetrySafety`]): the facts a
//! retry loop, an access log and an operator need. [`render`] turns it into the reply a client sees.

mod class;
mod render;

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;

use http::StatusCode;

pub use class::{ErrorClass, Origin, RetrySafety};
pub use render::{ErrorForm, ReasonCode, render};

/// An error of unknown type, as tower and http-body use it.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// A failure of one request, with the facts needed to answer, log and retry it.
pub struct GatewayError(Box<Parts>);

struct Parts {
    class: ErrorClass,
    origin: Origin,
    retry: RetrySafety,
    status: Option<StatusCode>,
    reason: Option<Cow<'static, str>>,
    message: Cow<'static, str>,
    retry_after: Option<u32>,
    source: Option<BoxError>,
}

impl GatewayError {
    /// An error of `class`; `message` says what was attempted on what, in lower case, without the cause.
    ///
    /// The message is for logs. Clients see the status text of the class only.
    pub fn new(class: ErrorClass, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Parts {
            class,
            origin: class.usual_origin(),
            retry: RetrySafety::Never,
            status: None,
            reason: None,
            message: message.into(),
            retry_after: None,
            source: None,
        }))
    }

    /// A gateway fault that is nobody's input: answered 500.
    pub fn internal(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorClass::Internal, message)
    }

    /// The client is not allowed to do this: answered 403 unless [`with_status`](Self::with_status) says otherwise.
    pub fn rejected(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorClass::Rejected, message)
    }

    /// Attaches the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Says whether the request may be sent again.
    #[must_use]
    pub fn with_retry(mut self, retry: RetrySafety) -> Self {
        self.0.retry = retry;
        self
    }

    /// Replaces the status the class stands for.
    #[must_use]
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.0.status = Some(status);
        self
    }

    /// Replaces the reason code the class stands for; `snake_case`, stable, for logs and metrics.
    #[must_use]
    pub fn with_reason(mut self, reason: impl Into<Cow<'static, str>>) -> Self {
        self.0.reason = Some(reason.into());
        self
    }

    /// Who caused it, when that differs from the usual origin of the class.
    #[must_use]
    pub fn with_origin(mut self, origin: Origin) -> Self {
        self.0.origin = origin;
        self
    }

    /// Adds `Retry-After: <seconds>` to the reply.
    #[must_use]
    pub fn with_retry_after(mut self, seconds: u32) -> Self {
        self.0.retry_after = Some(seconds);
        self
    }

    /// The kind of failure.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        self.0.class
    }

    /// Who caused it.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.0.origin
    }

    /// Whether the request may be sent again.
    #[must_use]
    pub fn retry_safety(&self) -> RetrySafety {
        self.0.retry
    }

    /// The status the reply will have.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.0.status.unwrap_or_else(|| self.0.class.status())
    }

    /// The stable reason code for logs and metrics.
    #[must_use]
    pub fn reason(&self) -> Cow<'static, str> {
        self.0
            .reason
            .clone()
            .unwrap_or(Cow::Borrowed(self.0.class.reason()))
    }

    /// Seconds of a `Retry-After` header, if one is to be sent.
    #[must_use]
    pub fn retry_after(&self) -> Option<u32> {
        self.0.retry_after
    }

    /// Finds the gateway error inside an error that passed through foreign tower layers.
    ///
    /// Errors of tower's own time-out and load-shed layers get the class they mean; anything else is
    /// [`ErrorClass::Internal`].
    #[must_use]
    pub fn from_boxed(error: BoxError) -> Self {
        let error = match error.downcast::<Self>() {
            Ok(own) => return *own,
            Err(other) => other,
        };
        let mut cause: Option<&(dyn StdError + 'static)> = Some(&*error);
        while let Some(current) = cause {
            if current.is::<tower::timeout::error::Elapsed>() {
                return Self::new(ErrorClass::UpstreamTimeout, "waiting inside a tower layer")
                    .with_source(error);
            }
            if current.is::<tower::load_shed::error::Overloaded>() {
                return Self::new(ErrorClass::Overloaded, "a tower layer shed the request")
                    .with_source(error);
            }
            cause = current.source();
        }
        Self::internal("a tower layer failed").with_source(error)
    }
}

impl fmt::Display for GatewayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for GatewayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatewayError")
            .field("class", &self.0.class)
            .field("origin", &self.0.origin)
            .field("retry", &self.0.retry)
            .field("message", &self.0.message)
            .field("source", &self.0.source)
            .finish_non_exhaustive()
    }
}

impl StdError for GatewayError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

/// Writes an error and all its causes on one line: `a: b: c`.
#[must_use]
pub fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(current) = cause {
        text.push_str(": ");
        text.push_str(&current.to_string());
        cause = current.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_one_word_wide() {
        assert_eq!(size_of::<GatewayError>(), size_of::<usize>());
    }

    #[test]
    fn survives_a_trip_through_a_boxed_error() {
        let boxed: BoxError = Box::new(GatewayError::rejected("reading the secret page"));
        let back = GatewayError::from_boxed(boxed);
        assert_eq!(back.class(), ErrorClass::Rejected);
        assert_eq!(back.status(), StatusCode::FORBIDDEN);
    }

    #[test]
    fn classifies_known_tower_errors() {
        let elapsed: BoxError = Box::new(tower::timeout::error::Elapsed::new());
        assert_eq!(
            GatewayError::from_boxed(elapsed).status(),
            StatusCode::GATEWAY_TIMEOUT
        );
        let shed: BoxError = Box::new(tower::load_shed::error::Overloaded::new());
        assert_eq!(
            GatewayError::from_boxed(shed).status(),
            StatusCode::SERVICE_UNAVAILABLE
        );
    }
}
