//! What matching sees of a request.

use std::net::IpAddr;

use http::{Extensions, HeaderMap, Method, request::Parts};

/// The facts of one request that routes are matched on, built once per request by the listener.
///
/// Everything is borrowed: building a view allocates nothing. The caller has already normalised the
/// request, and forwards what was matched, so that a route and an upstream never read it differently:
///
/// - `host` is lower case, without port and without trailing dot; empty when the request has none.
/// - `path` is what is forwarded, without the query: dot segments removed, percent-encoded unreserved
///   characters decoded, other escapes in upper case (RFC 3986, section 6.2.2). `%2F` stays as it is.
/// - `query` is the raw text after `?`; matchers decode the parts they look at.
///
/// ```
/// use http::{Extensions, HeaderMap, Method};
/// use portcullis_core::route::RequestView;
///
/// let (headers, extensions) = (HeaderMap::new(), Extensions::new());
/// let view = RequestView::new(&Method::GET, "shop.example", "/orders", &headers, &extensions)
///     .with_query(Some("page=2"))
///     .with_client_ip(Some([192, 0, 2, 7].into()))
///     .with_local_port(Some(443));
/// assert_eq!(view.path, "/orders");
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct RequestView<'a> {
    /// The request method.
    pub method: &'a Method,
    /// Lower-cased host without port, trailing dot or IPv6 brackets; empty if the request names none.
    pub host: &'a str,
    /// The normalised path, without the query.
    pub path: &'a str,
    /// The raw query, without the question mark.
    pub query: Option<&'a str>,
    /// The request headers.
    pub headers: &'a HeaderMap,
    /// The address of the client; an IPv4 address in its IPv6-mapped form is held as IPv4.
    pub client_ip: Option<IpAddr>,
    /// The local port the request came in on.
    pub local_port: Option<u16>,
    /// Whatever earlier stages attached to the request.
    pub extensions: &'a Extensions,
}

impl<'a> RequestView<'a> {
    /// A view with no query, client address or local port. IPv6 brackets around the host are dropped.
    #[must_use]
    pub fn new(
        method: &'a Method,
        host: &'a str,
        path: &'a str,
        headers: &'a HeaderMap,
        extensions: &'a Extensions,
    ) -> Self {
        let bare = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        Self {
            method,
            host: bare.unwrap_or(host),
            path,
            query: None,
            headers,
            client_ip: None,
            local_port: None,
            extensions,
        }
    }

    /// A view of a request head whose target was normalised already; path and query are the URI's.
    #[must_use]
    pub fn of_parts(parts: &'a Parts, host: &'a str) -> Self {
        let uri = &parts.uri;
        Self::new(
            &parts.method,
            host,
            uri.path(),
            &parts.headers,
            &parts.extensions,
        )
        .with_query(uri.query())
    }

    /// Sets the raw query.
    #[must_use]
    pub fn with_query(mut self, query: Option<&'a str>) -> Self {
        self.query = query;
        self
    }

    /// Sets the client's address.
    #[must_use]
    pub fn with_client_ip(mut self, address: Option<IpAddr>) -> Self {
        self.client_ip = address.map(|ip| ip.to_canonical());
        self
    }

    /// Sets the local port.
    #[must_use]
    pub fn with_local_port(mut self, port: Option<u16>) -> Self {
        self.local_port = port;
        self
    }
}
