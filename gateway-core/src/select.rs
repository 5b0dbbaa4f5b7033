//! Choosing the route.

use std::borrow::Cow;
use std::sync::Arc;

use http::header::HOST;

use crate::error::{ErrorClass, GatewayError};
use crate::exchange::Exchange;
use crate::handler::{Handler, Request, Response};
use crate::hygiene::settle_for;
use crate::route::{MatchedPath, RequestView, RouteTable};
use crate::route_entry::RouteEntry;

/// A request extension: the prefix of the path that the selected route matched; for a route that asks for exactly
/// one path it is that path. It is there when the route, or one of its backends, has filters.
///
/// Rewrites and redirects that replace a prefix read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatchedPrefix(pub Arc<str>);

/// The handler at the end of a listener's chain: selects a route and runs its chain.
#[derive(Clone, Debug)]
pub struct SelectRoute {
    table: Arc<dyn RouteTable<Arc<RouteEntry>>>,
    looks_at_headers: bool,
}

impl SelectRoute {
    /// Selects from `table`.
    #[must_use]
    pub fn new(table: Arc<dyn RouteTable<Arc<RouteEntry>>>) -> Self {
        Self {
            looks_at_headers: table.looks_at_headers(),
            table,
        }
    }

    fn select(
        &self,
        request: &mut Request,
        exchange: &Exchange,
    ) -> Result<Arc<RouteEntry>, GatewayError> {
        let host = host_of(request);
        let state = exchange.state();
        let client_ip = state.client_ip;
        drop(state);
        let view = RequestView::new(
            request.method(),
            &host,
            request.uri().path(),
            request.headers(),
            request.extensions(),
        )
        .with_query(request.uri().query())
        .with_client_ip(client_ip)
        .with_local_port(exchange.conn().local.map(|local| local.port()));
        let selected = self.table.select(&view).map_err(|error| {
            GatewayError::internal("matching a route")
                .with_reason("match_failed")
                .with_source(error)
        })?;
        let Some(selected) = selected else {
            return Err(GatewayError::new(
                ErrorClass::NoRoute,
                format!(
                    "matching {} {}{}",
                    request.method(),
                    host,
                    request.uri().path()
                ),
            ));
        };
        let entry = selected.value.clone();
        let prefix = match selected.matched {
            // Nobody but a filter reads it.
            _ if !entry.filtered => None,
            MatchedPath::Prefix(text) | MatchedPath::Exact(text) => Some(text.clone()),
            _ => None,
        };
        exchange.state().route = Some(entry.clone());
        if let Some(prefix) = prefix {
            request.extensions_mut().insert(MatchedPrefix(prefix));
        }
        Ok(entry)
    }
}

impl Handler for SelectRoute {
    fn handle(
        &self,
        mut request: Request,
    ) -> impl Future<Output = Result<Response, GatewayError>> + Send {
        let exchange = Exchange::of(&mut request);
        if self.looks_at_headers {
            settle_for(request.headers_mut(), &exchange);
        }
        let entry = self.select(&mut request, &exchange);
        drop(exchange);
        async move { entry?.call(request).await }
    }
}

/// The host as routes match it: lower case, without port and trailing dot.
pub(crate) fn host_of<B>(request: &http::Request<B>) -> Cow<'_, str> {
    let text = request
        .headers()
        .get(HOST)
        .and_then(|host| std::str::from_utf8(host.as_bytes()).ok())
        .unwrap_or_default();
    bare_host(text)
}

/// `Shop.Example.:8080` to `shop.example`.
pub(crate) fn bare_host(authority: &str) -> Cow<'_, str> {
    let mut end = authority.len();
    let mut upper = false;
    let mut bracket = false;
    for (at, byte) in authority.bytes().enumerate() {
        match byte {
            b'[' => bracket = true,
            b']' => bracket = false,
            b':' if !bracket => {
                end = at;
                break;
            }
            _ => upper |= byte.is_ascii_uppercase(),
        }
    }
    let host = authority.get(..end).unwrap_or_default();
    let host = host.strip_suffix('.').unwrap_or(host);
    if upper {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bares_hosts() {
        for (authority, host) in [
            ("shop.example", "shop.example"),
            ("Shop.Example:8080", "shop.example"),
            ("shop.example.:80", "shop.example"),
            ("[2001:DB8::1]:80", "[2001:db8::1]"),
            ("[::1]", "[::1]"),
            ("", ""),
            (":80", ""),
        ] {
            assert_eq!(bare_host(authority), host, "{authority}");
        }
    }
}
