//! Which route a request would meet, and why the others lost, without sending anything.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use serde::{Serialize, Serializer};

use crate::config::values::BindAddress;
use crate::gateway::Controller;
use crate::hygiene::{PathPolicy, normalize};
use crate::principal::Principal;
use crate::route::{RequestView, Verdict};
use crate::select::bare_host;

/// How many routes that lost are told of.
const MAX_VERDICTS: usize = 50;

/// A request that is only thought of.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ExplainQuery {
    /// The method.
    pub method: Method,
    /// The URL; host, port and scheme choose the listener.
    pub uri: Uri,
    /// Headers.
    pub headers: HeaderMap,
    /// The client's address.
    pub peer: Option<SocketAddr>,
    /// Who the client proved to be.
    pub principal: Option<Principal>,
}

impl ExplainQuery {
    /// A request for `url`.
    ///
    /// # Errors
    /// What is wrong with method or URL, in words.
    pub fn new(method: &str, url: &str) -> Result<Self, String> {
        let method = method
            .parse()
            .map_err(|_| format!("`{method}` is not a method; write one such as GET"))?;
        let uri = url.parse().map_err(|error| {
            format!("`{url}` is not a URL ({error}); write one such as http://shop.example/orders")
        })?;
        Ok(Self {
            method,
            uri,
            headers: HeaderMap::new(),
            peer: None,
            principal: None,
        })
    }

    /// Adds a header written `name: value`.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn header(&mut self, line: &str) -> Result<(), String> {
        let wrong = || format!("`{line}` is not a header; write one such as `x-tenant: gold`");
        let (name, value) = line.split_once(':').ok_or_else(wrong)?;
        let name: HeaderName = name.trim().parse().map_err(|_| wrong())?;
        let value: HeaderValue = value.trim().parse().map_err(|_| wrong())?;
        self.headers.append(name, value);
        Ok(())
    }

    /// Sets the client's address, with or without a port.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn peer(&mut self, text: &str) -> Result<(), String> {
        let address = text
            .parse()
            .or_else(|_| text.parse().map(|ip| SocketAddr::new(ip, 0)))
            .map_err(|_| format!("`{text}` is not an address; write one such as 192.0.2.7"))?;
        self.peer = Some(address);
        Ok(())
    }

    /// Sets who the client proved to be: a SPIFFE id or any other id of a workload.
    pub fn principal(&mut self, id: &str) {
        self.principal = Some(Principal::workload(id, "explain").build());
    }

    /// Reads `method=GET&url=...&peer=...&header=name:value`, percent-encoded.
    pub(super) fn parse(query: &str) -> Result<Self, String> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            pairs.push((decode(key)?, decode(value)?));
        }
        let one = |key: &str| {
            pairs
                .iter()
                .find(|(name, _)| name == key)
                .map(|(_, value)| value.as_str())
        };
        let url = one("url").ok_or("give `url`, for example ?url=http%3A%2F%2Fshop.example%2F")?;
        let mut parsed = Self::new(one("method").unwrap_or("GET"), url)?;
        for (key, value) in &pairs {
            match key.as_str() {
                "url" | "method" => {}
                "header" => parsed.header(value)?,
                "peer" => parsed.peer(value)?,
                other => {
                    return Err(format!(
                        "`{other}` is not a parameter; known: method, url, header, peer"
                    ));
                }
            }
        }
        Ok(parsed)
    }
}

fn decode(text: &str) -> Result<String, String> {
    let wrong = || format!("`{text}` is not percent-encoded UTF-8");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16));
                let (high, low) = (digit().ok_or_else(wrong)?, digit().ok_or_else(wrong)?);
                u8::try_from(high << 4 | low).map_err(|_| wrong())?
            }
            _ => byte,
        });
    }
    String::from_utf8(bytes).map_err(|_| wrong())
}

/// What a request would meet.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Explanation {
    /// What was asked.
    pub request: String,
    /// The path as routes and upstreams see it, or why it is refused. Listeners that change it further say so.
    #[serde(serialize_with = "path_or_error")]
    pub path: Result<String, String>,
    /// What happens on each listener that could get it.
    pub listeners: Vec<ExplainedListener>,
}

fn path_or_error<S: Serializer>(
    path: &Result<String, String>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match path {
        Ok(path) => serializer.serialize_str(path),
        Err(error) => serializer.collect_map([("error", error)]),
    }
}

/// What a request would meet on one listener.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ExplainedListener {
    /// The listener's name.
    pub listener: String,
    /// The path as routes and upstreams see it where the listener's `merge_slashes` changes it further.
    pub path: Option<String>,
    /// The listener's filters.
    pub filters: FilterList,
    /// The route that gets it.
    pub route: Option<ExplainedRoute>,
    /// Why each route won or lost, best first.
    pub verdicts: Vec<Verdict>,
    /// Why no route could be chosen.
    pub error: Option<String>,
}

/// Names of filters, in their order.
pub type FilterList = Vec<String>;

/// What stands behind the chosen route.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ExplainedRoute {
    /// The route's name.
    pub name: String,
    /// Its filters.
    pub filters: FilterList,
    /// Its backends: upstream, weight, and the endpoints that are usable.
    pub backends: Vec<ExplainedBackend>,
}

/// One backend of the chosen route.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ExplainedBackend {
    /// The upstream's name.
    pub upstream: String,
    /// Its weight.
    pub weight: u32,
    /// Its endpoints.
    pub endpoints: Vec<String>,
}

/// Says what `query` would meet.
pub(crate) fn explain(controller: &Controller, query: &ExplainQuery) -> Explanation {
    let state = controller.state();
    let request = format!("{} {}", query.method, query.uri);
    let path = match normalize(query.uri.path(), PathPolicy::default()) {
        Ok(path) => path.into_owned(),
        Err(error) => {
            return Explanation {
                request,
                path: Err(error.to_string()),
                listeners: Vec::new(),
            };
        }
    };
    let authority = match query.uri.authority() {
        Some(authority) => authority.as_str().to_owned(),
        None => query
            .headers
            .get(http::header::HOST)
            .and_then(|host| host.to_str().ok())
            .unwrap_or_default()
            .to_owned(),
    };
    let host = bare_host(&authority);
    let mut extensions = http::Extensions::new();
    if let Some(principal) = &query.principal {
        extensions.insert(principal.clone());
    }
    let mut listeners = Vec::new();
    let Some(config) = &state.config else {
        return Explanation {
            request,
            path: Ok(path),
            listeners,
        };
    };
    let wanted = wanted_port(&query.uri);
    let some_listener_has_it = config
        .listeners
        .iter()
        .any(|listener| port(listener) == wanted && wanted.is_some());
    for listener in &config.listeners {
        // A port that some listener has chooses it; any other port is somebody's port mapping.
        if some_listener_has_it && port(listener) != wanted {
            continue;
        }
        let Some(live) = state.listeners.get(&listener.name) else {
            continue;
        };
        let own = normalize(query.uri.path(), listener.hygiene.path)
            .ok()
            .filter(|own| **own != *path)
            .map(Cow::into_owned);
        let seen = own.as_deref().unwrap_or(&path);
        let view = RequestView::new(&query.method, &host, seen, &query.headers, &extensions)
            .with_query(query.uri.query())
            .with_client_ip(query.peer.map(|peer| peer.ip()))
            .with_local_port(port(listener));
        let (route, error) = match live.table.select(&view) {
            Ok(selected) => (selected.map(|selected| selected.name.clone()), None),
            Err(error) => (None, Some(crate::error::chain(&error))),
        };
        listeners.push(ExplainedListener {
            listener: listener.name.to_string(),
            path: own.clone(),
            filters: names(&listener.filters),
            verdicts: live.table.explain(&view, MAX_VERDICTS),
            error,
            route: route.and_then(|name| {
                let route = config.routes.iter().find(|route| route.name == name)?;
                Some(ExplainedRoute {
                    name: name.to_string(),
                    filters: names(&route.filters),
                    backends: route
                        .backends
                        .iter()
                        .filter_map(|backend| {
                            let upstream = config.upstreams.get(backend.upstream)?;
                            let live = state.upstreams.get(&upstream.name)?;
                            Some(ExplainedBackend {
                                upstream: upstream.name.to_string(),
                                weight: backend.weight,
                                endpoints: live
                                    .client
                                    .upstream()
                                    .snapshot()
                                    .endpoints()
                                    .iter()
                                    .map(|endpoint| endpoint.address().to_string())
                                    .collect(),
                            })
                        })
                        .collect(),
                })
            }),
        });
    }
    Explanation {
        request,
        path: Ok(path),
        listeners,
    }
}

fn names(filters: &[crate::config::PluginSpec]) -> FilterList {
    filters.iter().map(|filter| filter.kind.clone()).collect()
}

fn port(listener: &crate::config::ir::Listener) -> Option<u16> {
    match &*listener.bind {
        BindAddress::Tcp(address) => Some(address.port()),
        BindAddress::Unix(_) => None,
    }
}

fn wanted_port(uri: &Uri) -> Option<u16> {
    uri.port_u16().or(match uri.scheme_str() {
        Some("https") => Some(443),
        Some("http") => Some(80),
        _ => None,
    })
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.request)?;
        match &self.path {
            Ok(path) => writeln!(f, "  path as routes and upstreams see it: {path}")?,
            Err(error) => return writeln!(f, "  refused with 400: {error}"),
        }
        if self.listeners.is_empty() {
            return writeln!(f, "  no listener");
        }
        for listener in &self.listeners {
            writeln!(f, "listener {}", listener.listener)?;
            if let Some(path) = &listener.path {
                writeln!(f, "  path as routes and upstreams see it here: {path}")?;
            }
            if !listener.filters.is_empty() {
                writeln!(f, "  filters: {}", listener.filters.join(", "))?;
            }
            match (&listener.route, &listener.error) {
                (Some(route), _) => {
                    writeln!(f, "  route {}", route.name)?;
                    if !route.filters.is_empty() {
                        writeln!(f, "    filters: {}", route.filters.join(", "))?;
                    }
                    for backend in &route.backends {
                        writeln!(
                            f,
                            "    upstream {} (weight {}): {}",
                            backend.upstream,
                            backend.weight,
                            if backend.endpoints.is_empty() {
                                "no endpoint known yet".to_owned()
                            } else {
                                backend.endpoints.join(", ")
                            }
                        )?;
                    }
                }
                (None, Some(error)) => writeln!(f, "  answered 500: {error}")?,
                (None, None) => writeln!(f, "  no route: answered 404")?,
            }
            for verdict in &listener.verdicts {
                writeln!(f, "  - {verdict}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_queries() {
        let query = ExplainQuery::parse(
            "method=POST&url=http%3A%2F%2Fa%2Fb%3Fc%3D1&header=x-a%3A+1&header=x-a%3A2&peer=192.0.2.1",
        )
        .unwrap();
        assert_eq!(query.method, "POST");
        assert_eq!(query.uri, "http://a/b?c=1");
        assert_eq!(query.headers.get_all("x-a").iter().count(), 2);
        assert!(query.peer.is_some());
        for wrong in [
            "",
            "url=%zz",
            "url=/&peer=x",
            "url=/&other=1",
            "url=/&header=x",
        ] {
            assert!(ExplainQuery::parse(wrong).is_err(), "{wrong}");
        }
    }
}
