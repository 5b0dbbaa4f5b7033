//! The vocabulary of failures.

use http::StatusCode;

/// What kind of failure it was. Decides the usual status and reason code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorClass {
    /// The request is not valid HTTP, or not acceptable as a request: 400.
    BadRequest,
    /// No route matched: 404.
    NoRoute,
    /// A policy said no: 403, or 401/429 by override.
    Rejected,
    /// A body exceeded a limit: 413.
    BodyTooLarge,
    /// The client was too slow: 408.
    RequestTimeout,
    /// A limit of the gateway or of an upstream was reached: 503.
    Overloaded,
    /// The upstream has no endpoint to send to: 503.
    NoEndpoint,
    /// The connection to the endpoint could not be made: 502.
    Connect,
    /// The connection to the endpoint took too long: 504.
    ConnectTimeout,
    /// The upstream took too long to answer: 504.
    UpstreamTimeout,
    /// The upstream cut the connection or the stream: 502.
    UpstreamReset,
    /// The upstream's answer is not valid HTTP: 502.
    UpstreamProtocol,
    /// The client went away before its reply was complete. The log shows the status that was sent, or 0 when there was
    /// none, with reason `client_gone`.
    ClientGone,
    /// A method or protocol the gateway does not serve: 501.
    NotImplemented,
    /// A fault of the gateway or a filter: 500.
    Internal,
}

impl ErrorClass {
    /// The status a reply of this class has.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::Rejected => StatusCode::FORBIDDEN,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::RequestTimeout | Self::ClientGone => StatusCode::REQUEST_TIMEOUT,
            Self::Overloaded | Self::NoEndpoint => StatusCode::SERVICE_UNAVAILABLE,
            Self::Connect | Self::UpstreamReset | Self::UpstreamProtocol => StatusCode::BAD_GATEWAY,
            Self::ConnectTimeout | Self::UpstreamTimeout => StatusCode::GATEWAY_TIMEOUT,
            Self::NotImplemented => StatusCode::NOT_IMPLEMENTED,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The stable reason code of this class.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::NoRoute => "no_route",
            Self::Rejected => "rejected",
            Self::BodyTooLarge => "body_too_large",
            Self::RequestTimeout => "request_timeout",
            Self::Overloaded => "overloaded",
            Self::NoEndpoint => "no_healthy_endpoint",
            Self::Connect => "upstream_connect_failed",
            Self::ConnectTimeout => "upstream_connect_timeout",
            Self::UpstreamTimeout => "upstream_timeout",
            Self::UpstreamReset => "upstream_reset",
            Self::UpstreamProtocol => "upstream_protocol_error",
            Self::ClientGone => "client_gone",
            Self::NotImplemented => "not_implemented",
            Self::Internal => "internal",
        }
    }

    /// Who usually causes a failure of this class.
    #[must_use]
    pub fn usual_origin(self) -> Origin {
        match self {
            Self::BadRequest | Self::BodyTooLarge | Self::RequestTimeout | Self::ClientGone => {
                Origin::Client
            }
            Self::Connect
            | Self::ConnectTimeout
            | Self::UpstreamTimeout
            | Self::UpstreamReset
            | Self::UpstreamProtocol => Origin::Upstream,
            _ => Origin::Gateway,
        }
    }
}

/// Who caused a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Origin {
    /// The client: its request, its pace or its leaving.
    Client,
    /// The gateway: a policy, a limit or a fault.
    Gateway,
    /// The upstream: unreachable, slow or nonsensical.
    Upstream,
}

/// Whether a request that failed may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RetrySafety {
    /// Nothing of it reached the upstream: any request may be sent again.
    NotSent,
    /// Something may have reached it: only an idempotent request may be sent again (RFC 9110 9.2.2).
    Idempotent,
    /// Sending it again is not safe or would not help.
    Never,
}
