//! Tables of routes, written as text:
//!
//! ```text
//! route 5                   a route, with a priority or without
//! or                        another alternative of it
//! host *.shop.example       also host1 (a star is one label), hostre
//! path /orders              also exact, text (a prefix of text), pathre
//! method GET
//! header x-a=1              also headerre; without value it has to be there
//! query q=1                 also queryre
//! net 10.0.0.0/8
//! port 443
//! not path /internal        anything of the above, excluded
//! rule Host(`a`) || Path(`/b`)
//! > GET shop.example /orders/1?q=1    a request
//! + x-a: 1                            a field of it
//! @ 10.0.0.1 443                      where it came from, and to
//! ```

use std::net::IpAddr;

use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method};
use portcullis_core::route::{
    HeaderMatch, HostPattern, MatchedPath, Outcome, PathPattern, Pattern, QueryMatch, RequestView,
    RouteIndex, RouteMatch, RouteSpec, Selected, ValueTest, naive_select, rule,
};
use portcullis_core::testing::fuzz::bare_host;

use super::paths;

/// Bounds what one input may take.
const MAX_LINES: usize = 200;

/// Compiles the routes and sends the requests.
pub(super) fn check(text: &str) {
    let (routes, requests) = read(text);
    let index = match RouteIndex::compile(routes.clone()) {
        Ok(index) => index,
        Err(error) => {
            assert!(!error.problems().is_empty());
            return;
        }
    };
    for request in &requests {
        ask(&index, &routes, request);
    }
}

fn ask(index: &RouteIndex<usize>, routes: &[RouteSpec<usize>], request: &Request) {
    let host = bare_host(&request.host);
    let extensions = Extensions::new();
    let view = RequestView::new(
        &request.method,
        &host,
        &request.path,
        &request.headers,
        &extensions,
    )
    .with_query(request.query.as_deref())
    .with_client_ip(request.client)
    .with_local_port(request.port);

    let answer = index.select(&view);
    let searched = naive_select(routes, &view);
    match (&answer, &searched) {
        (Ok(found), Ok(searched)) => {
            assert_eq!(found.map(facts), searched.map(facts), "{request:?}");
            // The route itself says so too, without index or order.
            match found {
                Some(found) => assert!(holds(&routes[*found.value], &view) == Ok(true)),
                None => assert!(routes.iter().all(|route| holds(route, &view) == Ok(false))),
            }
            if let Some(found) = found {
                assert_matched(found.matched, &request.path);
            }
        }
        (Err(found), Err(searched)) => assert_eq!(found.to_string(), searched.to_string()),
        _ => panic!("{answer:?}, by searching {searched:?}: {request:?}"),
    }

    let explained = index.explain(&view, 1 + routes.len());
    assert_eq!(explained.len(), routes.len());
    let first = explained.first();
    match (answer, first.map(|verdict| &verdict.outcome)) {
        (Ok(Some(found)), Some(Outcome::Won { .. })) => {
            assert_eq!(first.map(|verdict| verdict.position), Some(*found.value));
        }
        (Err(_), Some(Outcome::Failed { .. })) => {}
        (Ok(None), None | Some(Outcome::NotMatched { .. })) => {}
        (answer, first) => panic!("{answer:?} is explained by {first:?}"),
    }
}

fn facts<'t>(found: Selected<'t, usize>) -> (usize, &'t str, MatchedPath<'t>) {
    (*found.value, found.name, found.matched)
}

/// Whether any alternative of a route holds; an error when one cannot tell.
fn holds(route: &RouteSpec<usize>, view: &RequestView<'_>) -> Result<bool, ()> {
    let mut known = true;
    for alternative in &route.matches {
        match alternative.matches(view) {
            Ok(true) => return Ok(true),
            Ok(false) => {}
            Err(_) => known = false,
        }
    }
    if known {
        Ok(route.matches.is_empty())
    } else {
        Err(())
    }
}

fn assert_matched(matched: MatchedPath<'_>, path: &str) {
    match matched {
        MatchedPath::Exact(text) => assert_eq!(**text, *path),
        MatchedPath::Prefix(text) => assert!(path.starts_with(&**text), "{text} of {path}"),
        _ => {}
    }
}

#[derive(Debug)]
struct Request {
    method: Method,
    host: String,
    /// In its one spelling.
    path: String,
    query: Option<String>,
    headers: HeaderMap,
    client: Option<IpAddr>,
    port: Option<u16>,
}

fn read(text: &str) -> (Vec<RouteSpec<usize>>, Vec<Request>) {
    let mut routes: Vec<RouteSpec<usize>> = Vec::new();
    let mut requests: Vec<Request> = Vec::new();
    for line in text.lines().take(MAX_LINES) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "route" => {
                let number = routes.len();
                let mut route = RouteSpec::new(format!("r{number}"), number);
                route.priority = rest.parse().ok();
                routes.push(route);
            }
            ">" => requests.extend(request(rest)),
            "+" => {
                if let (Some(request), Some((name, value))) =
                    (requests.last_mut(), rest.split_once(": "))
                    && let (Ok(name), Ok(value)) = (
                        HeaderName::from_bytes(name.as_bytes()),
                        HeaderValue::from_str(value),
                    )
                {
                    request.headers.append(name, value);
                }
            }
            "@" => {
                if let Some(request) = requests.last_mut() {
                    let (address, port) = rest.split_once(' ').unwrap_or((rest, ""));
                    request.client = address.parse().ok();
                    request.port = port.parse().ok();
                }
            }
            _ => {
                if let Some(route) = routes.last_mut() {
                    condition(route, word, rest);
                }
            }
        }
    }
    (routes, requests)
}

fn request(text: &str) -> Option<Request> {
    let mut parts = text.splitn(3, ' ');
    let method = Method::from_bytes(parts.next()?.as_bytes()).ok()?;
    let host = parts.next()?.to_owned();
    let target = parts.next()?;
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query.to_owned())),
        None => (target, None),
    };
    // Nothing else gets as far as a table.
    if !path.starts_with('/') && path != "*" {
        return None;
    }
    let normal = paths::spelling(path);
    paths::patterns(path, normal.as_deref());
    Some(Request {
        method,
        host,
        path: normal?,
        query,
        headers: HeaderMap::new(),
        client: None,
        port: None,
    })
}

fn condition(route: &mut RouteSpec<usize>, word: &str, rest: &str) {
    if word == "rule" {
        match rule::parse(rest) {
            Ok(parsed) => {
                assert!(!parsed.is_empty() && parsed.len() <= rule::MAX_ALTERNATIVES);
                route.matches.extend(parsed);
            }
            Err(error) => {
                assert!(error.offset() <= rest.len() && rest.is_char_boundary(error.offset()));
                assert!(!error.kind().to_string().is_empty());
            }
        }
        return;
    }
    if word == "or" || route.matches.is_empty() {
        route.matches.push(RouteMatch::default());
    }
    let Some(alternative) = route.matches.last_mut() else {
        return;
    };
    if word == "not" {
        let (word, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let mut excluded = RouteMatch::default();
        add(&mut excluded, word, rest);
        alternative.not.push(excluded);
    } else {
        add(alternative, word, rest);
    }
}

fn add(alternative: &mut RouteMatch, word: &str, rest: &str) {
    let (name, value) = match rest.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (rest, None),
    };
    let test = |regex: bool| match value {
        None => Some(ValueTest::Present),
        Some(value) if regex => Pattern::whole(value).ok().map(ValueTest::Regex),
        Some("") => Some(ValueTest::Absent),
        Some(value) => Some(ValueTest::Exact(value.into())),
    };
    match word {
        "host" => alternative.hosts.extend(rest.parse::<HostPattern>()),
        "host1" => alternative.hosts.extend(HostPattern::one_label(rest)),
        "hostre" => {
            let pattern = Pattern::search(rest).map(HostPattern::regex);
            alternative.hosts.extend(pattern);
        }
        "path" => alternative.paths.extend(PathPattern::prefix(rest)),
        "exact" => alternative.paths.extend(PathPattern::exact(rest)),
        "text" => alternative.paths.extend(PathPattern::string_prefix(rest)),
        "pathre" => alternative.paths.extend(PathPattern::regex(rest)),
        "findre" => {
            let pattern = Pattern::search(rest).map(PathPattern::from);
            alternative.paths.extend(pattern);
        }
        "method" => alternative.methods.extend(rest.parse::<Method>()),
        "header" | "headerre" => {
            let name = HeaderName::from_bytes(name.as_bytes()).ok();
            let wanted = name.zip(test(word == "headerre"));
            let wanted = wanted.map(|(name, test)| HeaderMatch::new(name, test));
            alternative.headers.extend(wanted);
        }
        "query" | "queryre" => {
            let wanted = test(word == "queryre").map(|test| QueryMatch::new(name, test));
            alternative.query.extend(wanted);
        }
        "net" => alternative.client_ip.extend(rest.parse::<ipnet::IpNet>()),
        "port" => alternative.ports.extend(rest.parse::<u16>()),
        _ => {}
    }
}
