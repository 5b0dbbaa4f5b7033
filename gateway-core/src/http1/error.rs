//! Why a message is refused.

use http::StatusCode;

/// A head, or a trailer section, that is not forwarded.
///
/// After any of these the position in the byte stream is not to be trusted: the connection is closed
/// once the answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeadError {
    /// A carriage return that no line feed follows.
    #[error("carriage return without line feed")]
    BareCr,
    /// A line feed that no carriage return precedes.
    #[error("line feed without carriage return")]
    BareLf,
    /// NUL, DEL or another control byte (a tab inside a value is none).
    #[error("control byte in the head")]
    ControlByte,
    /// More empty lines before the request line than are skipped.
    #[error("too many empty lines before the request")]
    EmptyLines,
    /// The request line does not start with a method token and one space.
    #[error("invalid method")]
    InvalidMethod,
    /// A method longer than any that is known.
    #[error("method too long")]
    MethodTooLong,
    /// The target is empty or holds a byte that no URI may hold.
    #[error("invalid request target")]
    InvalidTarget,
    /// The form of the target does not fit the method (RFC 9112 section 3.2).
    #[error("form of the request target does not fit the method")]
    TargetForm,
    /// The target exceeds [`HeadLimits::max_uri_bytes`](super::HeadLimits::max_uri_bytes).
    #[error("request target too long")]
    UriTooLong,
    /// A request line without a version, as HTTP/0.9 had it.
    #[error("request line without a version")]
    MissingVersion,
    /// Something else than `HTTP/` digit `.` digit where the version belongs.
    #[error("invalid version")]
    InvalidVersion,
    /// A well-formed version other than 1.0 and 1.1.
    #[error("unsupported version")]
    UnsupportedVersion,
    /// The first line of a response is no status line.
    #[error("invalid status line")]
    InvalidStatusLine,
    /// A head beyond [`HeadLimits::max_head_bytes`](super::HeadLimits::max_head_bytes).
    #[error("head too large")]
    HeadTooLarge,
    /// More field lines than [`HeadLimits::max_headers`](super::HeadLimits::max_headers).
    #[error("too many header fields")]
    TooManyHeaders,
    /// A line that starts with white space: a folded value, or a line hidden from other parsers.
    #[error("folded or indented header line")]
    ObsFold,
    /// White space between a field name and its colon.
    #[error("white space before the colon of a header field")]
    SpaceBeforeColon,
    /// A field line without a colon.
    #[error("header line without a colon")]
    MissingColon,
    /// A field line that starts with its colon.
    #[error("empty header name")]
    EmptyName,
    /// A field name that is no token.
    #[error("invalid header name")]
    InvalidName,
    /// A field value that holds a forbidden byte.
    #[error("invalid header value")]
    InvalidValue,
    /// An HTTP/1.1 request without `Host`.
    #[error("missing host")]
    MissingHost,
    /// More than one `Host` line, alike or not.
    #[error("more than one host")]
    DuplicateHost,
    /// A `Host` or target authority that is no `host` or `host:port`.
    #[error("invalid host")]
    InvalidHost,
    /// `Host` names another authority than the target does.
    #[error("host differs from the request target")]
    HostMismatch,
    /// `Content-Length` is no plain decimal number that fits 64 bits.
    #[error("invalid content length")]
    InvalidContentLength,
    /// `Content-Length` more than once in a request, or with different values in a response.
    #[error("more than one content length")]
    DuplicateContentLength,
    /// `Content-Length` beside `Transfer-Encoding`.
    #[error("content length beside transfer encoding")]
    LengthWithTransferEncoding,
    /// `Transfer-Encoding` in an HTTP/1.0 message.
    #[error("transfer encoding in an HTTP/1.0 message")]
    TransferEncodingOnHttp10,
    /// `Transfer-Encoding` whose last coding is not `chunked`, or that is repeated or malformed.
    #[error("invalid transfer encoding")]
    InvalidTransferEncoding,
    /// Another transfer coding below a final `chunked`.
    #[error("unsupported transfer encoding")]
    UnsupportedTransferEncoding,
}

impl HeadError {
    /// The status that answers a request with this fault. For a fault in an upstream's response the
    /// answer to the client is 502 whatever this returns.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::UriTooLong => StatusCode::URI_TOO_LONG,
            Self::HeadTooLarge | Self::TooManyHeaders => {
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
            }
            Self::UnsupportedVersion => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::MethodTooLong | Self::UnsupportedTransferEncoding => StatusCode::NOT_IMPLEMENTED,
            Self::InvalidStatusLine => StatusCode::BAD_GATEWAY,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// A stable code for logs and metrics.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::BareCr => "bare_cr",
            Self::BareLf => "bare_lf",
            Self::ControlByte => "control_byte",
            Self::EmptyLines => "empty_lines",
            Self::InvalidMethod => "invalid_method",
            Self::MethodTooLong => "method_too_long",
            Self::InvalidTarget => "invalid_target",
            Self::TargetForm => "target_form",
            Self::UriTooLong => "uri_too_long",
            Self::MissingVersion => "missing_version",
            Self::InvalidVersion => "invalid_version",
            Self::UnsupportedVersion => "unsupported_version",
            Self::InvalidStatusLine => "invalid_status_line",
            Self::HeadTooLarge => "head_too_large",
            Self::TooManyHeaders => "too_many_headers",
            Self::ObsFold => "obs_fold",
            Self::SpaceBeforeColon => "space_before_colon",
            Self::MissingColon => "missing_colon",
            Self::EmptyName => "empty_name",
            Self::InvalidName => "invalid_name",
            Self::InvalidValue => "invalid_value",
            Self::MissingHost => "missing_host",
            Self::DuplicateHost => "duplicate_host",
            Self::InvalidHost => "invalid_host",
            Self::HostMismatch => "host_mismatch",
            Self::InvalidContentLength => "invalid_content_length",
            Self::DuplicateContentLength => "duplicate_content_length",
            Self::LengthWithTransferEncoding => "length_with_transfer_encoding",
            Self::TransferEncodingOnHttp10 => "transfer_encoding_on_http10",
            Self::InvalidTransferEncoding => "invalid_transfer_encoding",
            Self::UnsupportedTransferEncoding => "unsupported_transfer_encoding",
        }
    }
}

/// A body that breaks its framing. As with [`HeadError`], the connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// A chunk size that is no hexadecimal number followed by an extension or CRLF.
    #[error("invalid chunk size")]
    InvalidChunkSize,
    /// A chunk size of more than 16 digits.
    #[error("chunk size too large")]
    ChunkSizeTooLarge,
    /// A chunk extension outside the grammar of RFC 9112 section 7.1.1.
    #[error("invalid chunk extension")]
    InvalidChunkExtension,
    /// Chunk extensions beyond the limit for one message.
    #[error("chunk extensions too large")]
    ChunkExtensionsTooLarge,
    /// The data of a chunk is not followed by CRLF.
    #[error("chunk data not followed by a line end")]
    InvalidChunkEnd,
    /// The trailer section exceeds its limit.
    #[error("trailers too large")]
    TrailersTooLarge,
    /// The trailer section is malformed.
    #[error("invalid trailers")]
    InvalidTrailers(#[source] HeadError),
    /// A trailer that frames or routes messages, such as `Content-Length` or `Host`.
    #[error("forbidden trailer field")]
    ForbiddenTrailer,
    /// The peer closed the connection inside the body.
    #[error("connection closed inside the body")]
    UnexpectedEof,
}

impl BodyError {
    /// The status that answers a request with this fault, if none has been sent yet.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::TrailersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::InvalidTrailers(cause) => cause.status(),
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// A stable code for logs and metrics.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::InvalidChunkSize => "invalid_chunk_size",
            Self::ChunkSizeTooLarge => "chunk_size_too_large",
            Self::InvalidChunkExtension => "invalid_chunk_extension",
            Self::ChunkExtensionsTooLarge => "chunk_extensions_too_large",
            Self::InvalidChunkEnd => "invalid_chunk_end",
            Self::TrailersTooLarge => "trailers_too_large",
            Self::InvalidTrailers(cause) => cause.reason(),
            Self::ForbiddenTrailer => "forbidden_trailer",
            Self::UnexpectedEof => "unexpected_eof",
        }
    }
}
