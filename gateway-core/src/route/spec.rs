//! What a route asks of requests, before and after it is compiled.

use std::{net::IpAddr, slice, sync::Arc};

use http::Method;
use ipnet::IpNet;

use crate::route::{
    HeaderMatch, HostPattern, MatchError, Matcher, PathPattern, QueryMatch, RequestView,
};

/// One alternative of a route: all its conditions have to hold. An empty list asks for nothing.
///
/// ```
/// use portcullis_core::route::{PathPattern, RouteMatch};
///
/// let orders = RouteMatch {
///     hosts: vec!["shop.example".parse()?],
///     paths: vec![PathPattern::prefix("/orders")?],
///     ..RouteMatch::default()
/// };
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct RouteMatch {
    /// One of these hosts.
    pub hosts: Vec<HostPattern>,
    /// One of these paths.
    pub paths: Vec<PathPattern>,
    /// One of these methods, compared case-sensitively (RFC 9110, section 9.1).
    pub methods: Vec<Method>,
    /// All of these.
    pub headers: Vec<HeaderMatch>,
    /// All of these.
    pub query: Vec<QueryMatch>,
    /// The client's address lies in one of these networks. An unknown address is an error.
    pub client_ip: Vec<IpNet>,
    /// The request came in on one of these local ports. An unknown port is an error.
    pub ports: Vec<u16>,
    /// All of these.
    pub custom: Vec<Arc<dyn Matcher>>,
    /// None of these. An empty alternative matches everything, and so rules everything out here.
    pub not: Vec<Self>,
}

impl RouteMatch {
    /// Whether it may ask for header fields besides `Host`.
    pub(super) fn looks_at_headers(&self) -> bool {
        !self.headers.is_empty()
            || !self.custom.is_empty()
            || self.not.iter().any(Self::looks_at_headers)
    }
}

/// A named route with the value that selection hands back.
///
/// The position of a route in the list given to [`RouteIndex::compile`](crate::route::RouteIndex::compile)
/// is its age: between equals, the earlier wins.
#[derive(Clone, Debug)]
pub struct RouteSpec<T> {
    /// The name in errors and explanations. Nothing depends on its being unique.
    pub name: Arc<str>,
    /// Alternatives, one of which has to hold; none at all means everything.
    pub matches: Vec<RouteMatch>,
    /// Comes before every other consideration; higher wins, absent counts as 0.
    pub priority: Option<i64>,
    /// What the route leads to.
    pub value: T,
}

impl<T> RouteSpec<T> {
    /// A route that takes every request.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>, value: T) -> Self {
        Self {
            name: name.into(),
            matches: Vec::new(),
            priority: None,
            value,
        }
    }

    /// Adds an alternative.
    #[must_use]
    pub fn or_match(mut self, alternative: RouteMatch) -> Self {
        self.matches.push(alternative);
        self
    }

    /// Sets the explicit priority.
    #[must_use]
    pub fn with_priority(mut self, priority: i64) -> Self {
        self.priority = Some(priority);
        self
    }

    /// The alternatives, never none: one that asks for nothing if none is written.
    pub(crate) fn alternatives(&self) -> &[RouteMatch] {
        static EVERYTHING: RouteMatch = RouteMatch {
            hosts: Vec::new(),
            paths: Vec::new(),
            methods: Vec::new(),
            headers: Vec::new(),
            query: Vec::new(),
            client_ip: Vec::new(),
            ports: Vec::new(),
            custom: Vec::new(),
            not: Vec::new(),
        };
        if self.matches.is_empty() {
            slice::from_ref(&EVERYTHING)
        } else {
            &self.matches
        }
    }
}

/// Each pattern, or once nothing when there is none: what an empty list means.
pub(crate) fn or_any<P>(patterns: &[P]) -> impl Iterator<Item = Option<&P>> {
    let none = patterns.is_empty().then_some(None);
    patterns.iter().map(Some).chain(none)
}

/// The condition that a request did not meet.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Unmet<'m> {
    Method,
    Port,
    ClientIp,
    Header(&'m HeaderMatch),
    Query(&'m QueryMatch),
    Custom(&'m dyn Matcher),
    Not,
}

impl RouteMatch {
    /// Whether all conditions hold.
    ///
    /// # Errors
    /// When a matcher fails, or a condition asks for the client's address or local port and the view does
    /// not know it. Conditions are asked in the order host, path, method, port, client address, headers,
    /// query, custom, not; what comes after a failed one is not asked.
    pub fn matches(&self, view: &RequestView<'_>) -> Result<bool, MatchError> {
        if !self.allows_host(view.host) || !self.allows_path(view.path) {
            return Ok(false);
        }
        self.first_unmet(view).map(|unmet| unmet.is_none())
    }

    pub(crate) fn allows_host(&self, host: &str) -> bool {
        self.hosts.is_empty() || self.hosts.iter().any(|pattern| pattern.matches(host))
    }

    pub(crate) fn allows_path(&self, path: &str) -> bool {
        self.paths.is_empty() || self.paths.iter().any(|pattern| pattern.matches(path))
    }

    pub(crate) fn allows_method(&self, method: &Method) -> bool {
        self.methods.is_empty() || self.methods.contains(method)
    }

    /// Whether there is nothing to ask beyond host and path.
    pub(crate) fn is_plain(&self) -> bool {
        self.methods.is_empty()
            && self.headers.is_empty()
            && self.query.is_empty()
            && self.client_ip.is_empty()
            && self.ports.is_empty()
            && self.custom.is_empty()
            && self.not.is_empty()
    }

    /// The first condition beyond host and path that does not hold.
    pub(crate) fn first_unmet(
        &self,
        view: &RequestView<'_>,
    ) -> Result<Option<Unmet<'_>>, MatchError> {
        if !self.allows_method(view.method) {
            return Ok(Some(Unmet::Method));
        }
        if !self.ports.is_empty() && !self.ports.contains(&local_port(view)?) {
            return Ok(Some(Unmet::Port));
        }
        if !self.client_ip.is_empty() {
            let address = client_ip(view)?;
            if !self.client_ip.iter().any(|net| net.contains(&address)) {
                return Ok(Some(Unmet::ClientIp));
            }
        }
        if let Some(failed) = self.headers.iter().find(|h| !h.matches(view.headers)) {
            return Ok(Some(Unmet::Header(failed)));
        }
        if let Some(failed) = self.query.iter().find(|q| !q.matches(view.query)) {
            return Ok(Some(Unmet::Query(failed)));
        }
        for matcher in &self.custom {
            if !matcher.matches(view)? {
                return Ok(Some(Unmet::Custom(&**matcher)));
            }
        }
        for excluded in &self.not {
            if excluded.matches(view)? {
                return Ok(Some(Unmet::Not));
            }
        }
        Ok(None)
    }
}

// An unknown fact is an error rather than a mismatch: a mismatch would open routes that exclude it, and
// let the request fall through a route that was to stop it.

fn client_ip(view: &RequestView<'_>) -> Result<IpAddr, MatchError> {
    view.client_ip
        .ok_or_else(|| MatchError::new("the client address is unknown"))
}

fn local_port(view: &RequestView<'_>) -> Result<u16, MatchError> {
    view.local_port
        .ok_or_else(|| MatchError::new("the local port is unknown"))
}

#[cfg(test)]
mod tests {
    use http::{Extensions, HeaderMap};

    use super::*;

    #[derive(Debug)]
    struct Fails;

    impl Matcher for Fails {
        fn matches(&self, _: &RequestView<'_>) -> Result<bool, MatchError> {
            Err(MatchError::new("asking nobody"))
        }
    }

    fn ask(rule: &RouteMatch, adapt: impl Fn(RequestView<'_>) -> RequestView<'_>) -> Option<bool> {
        let (headers, extensions) = (HeaderMap::new(), Extensions::new());
        let view = RequestView::new(&Method::GET, "a.example", "/x", &headers, &extensions);
        rule.matches(&adapt(view)).ok()
    }

    #[test]
    fn networks_and_ports_are_alternatives_and_must_be_known() {
        let rule = RouteMatch {
            client_ip: vec!["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()],
            ports: vec![80, 443],
            ..RouteMatch::default()
        };
        let at = |ip: &str, port| {
            ask(&rule, |v| {
                v.with_client_ip(ip.parse().ok()).with_local_port(port)
            })
        };
        assert_eq!(at("10.1.2.3", Some(443)), Some(true));
        assert_eq!(at("::ffff:10.1.2.3", Some(80)), Some(true));
        assert_eq!(at("::1", Some(80)), Some(true));
        assert_eq!(at("11.0.0.1", Some(80)), Some(false));
        assert_eq!(at("10.1.2.3", Some(8080)), Some(false));
        assert_eq!(at("10.1.2.3", None), None);
        assert_eq!(at("unknown", Some(80)), None);
    }

    #[test]
    fn exclusions_hold_together_and_pass_errors_on() {
        let with_not = |not| RouteMatch {
            not,
            ..RouteMatch::default()
        };
        let on_path = |path: &str| RouteMatch {
            paths: vec![PathPattern::exact(path).unwrap()],
            ..RouteMatch::default()
        };
        assert_eq!(
            ask(&with_not(vec![on_path("/y"), on_path("/z")]), |v| v),
            Some(true)
        );
        assert_eq!(
            ask(&with_not(vec![on_path("/y"), on_path("/x")]), |v| v),
            Some(false)
        );
        assert_eq!(
            ask(&with_not(vec![with_not(vec![on_path("/x")])]), |v| v),
            Some(true)
        );
        let failing = RouteMatch {
            custom: vec![Arc::new(Fails)],
            ..RouteMatch::default()
        };
        assert_eq!(ask(&with_not(vec![failing.clone()]), |v| v), None);
        let elsewhere = RouteMatch {
            hosts: vec!["b.example".parse().unwrap()],
            ..failing
        };
        assert_eq!(ask(&elsewhere, |v| v), Some(false));
    }
}
