//! What is known about a request when it ends.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use http::Version;

/// One finished request, borrowed from whoever saw it end. Empty text and `None` mean not known.
///
/// Built with [`AccessRecord::new`] and then filled in field by field, so that fields can be added:
///
/// ```
/// use portcullis_core::observe::AccessRecord;
/// use std::time::{Duration, SystemTime};
///
/// let mut record = AccessRecord::new(SystemTime::UNIX_EPOCH);
/// record.method = "GET";
/// record.path = "/orders";
/// record.status = 200;
/// record.duration = Duration::from_millis(12);
/// assert!(!record.aborted);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AccessRecord<'a> {
    /// When the first byte of the request was seen.
    pub time: SystemTime,
    /// Name of the listener.
    pub listener: &'a str,
    /// Who asked, as trusted forwarding headers tell it.
    pub client: Option<IpAddr>,
    /// The other end of the connection; `None` on a Unix socket.
    pub peer: Option<SocketAddr>,
    /// The authenticated identity.
    pub principal: Option<&'a str>,
    /// Request method; empty when the head could not be parsed.
    pub method: &'a str,
    /// `http` or `https`.
    pub scheme: &'a str,
    /// The authority the client asked for.
    pub host: &'a str,
    /// The path as the client sent it, before it was normalised, without the query; empty when the head could not be
    /// parsed.
    pub path: &'a str,
    /// The query without `?`; written only when the log is configured to.
    pub query: Option<&'a str>,
    /// What was served if it was no request: `TCP` for a connection, `UDP` for a session. Fields that only requests have
    /// are empty then.
    pub transport: Option<&'static str>,
    /// Protocol version the client spoke.
    pub version: Version,
    /// Status of the reply, 0 when the request ended before one.
    pub status: u16,
    /// Reason code: one word that says why the request ended as it did.
    pub reason: &'a str,
    /// Name of the route.
    pub route: Option<&'a str>,
    /// Name of the upstream of the last attempt.
    pub upstream: Option<&'a str>,
    /// Address of the endpoint of the last attempt.
    pub endpoint: Option<&'a str>,
    /// Attempts made, 0 when the gateway answered by itself.
    pub attempts: u32,
    /// Body bytes read from the client.
    pub bytes_in: u64,
    /// Body bytes written to the client.
    pub bytes_out: u64,
    /// From the first byte of the request to the last of the reply.
    pub duration: Duration,
    /// From sending the last attempt to the head of its reply.
    pub upstream_first_byte: Option<Duration>,
    /// From sending the last attempt to the last byte of its reply.
    pub upstream_duration: Option<Duration>,
    /// The request id.
    pub request_id: Option<&'a str>,
    /// The trace the request belongs to.
    pub trace_id: Option<[u8; 16]>,
    /// The `User-Agent` header as it came.
    pub user_agent: Option<&'a [u8]>,
    /// The server name the client asked for in the TLS handshake.
    pub sni: Option<&'a str>,
    /// `TLSv1.2` or `TLSv1.3`.
    pub tls_version: Option<&'a str>,
    /// The request was tried again.
    pub retried: bool,
    /// The exchange was cut off before the reply was complete.
    pub aborted: bool,
}

impl AccessRecord<'_> {
    /// A record of a request that began at `time`, with everything else not known.
    #[must_use]
    pub fn new(time: SystemTime) -> Self {
        Self {
            time,
            listener: "",
            client: None,
            peer: None,
            principal: None,
            method: "",
            scheme: "",
            host: "",
            path: "",
            query: None,
            transport: None,
            version: Version::HTTP_11,
            status: 0,
            reason: "",
            route: None,
            upstream: None,
            endpoint: None,
            attempts: 0,
            bytes_in: 0,
            bytes_out: 0,
            duration: Duration::ZERO,
            upstream_first_byte: None,
            upstream_duration: None,
            request_id: None,
            trace_id: None,
            user_agent: None,
            sni: None,
            tls_version: None,
            retried: false,
            aborted: false,
        }
    }

    /// The protocol as a request line spells it.
    pub(super) fn protocol(&self) -> &'static str {
        if let Some(transport) = self.transport {
            return transport;
        }
        match self.version {
            Version::HTTP_09 => "HTTP/0.9",
            Version::HTTP_10 => "HTTP/1.0",
            Version::HTTP_2 => "HTTP/2.0",
            Version::HTTP_3 => "HTTP/3.0",
            _ => "HTTP/1.1",
        }
    }
}
