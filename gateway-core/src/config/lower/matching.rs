//! What a route asks of requests.

use http::{HeaderName, Method};

use super::{findings::Findings, place::explain};
use crate::{
    config::{
        capture::Located,
        raw::{PathMatch, RawMatch, RawRoute, ValueMatch},
    },
    route::{
        HeaderMatch, HostPattern, PathPattern, Pattern, QueryMatch, RouteMatch, ValueTest, rule,
    },
};

/// What to do about a pattern that is refused.
const REGEX: &str = "the syntax is that of the Rust crate `regex`: put `\\` before characters that are meant literally";
const HOST: &str = "write a host such as shop.example or *.shop.example";
const PATH: &str = "write a path such as /orders";
const RULE: &str = "write a rule such as Host(`shop.example`) && PathPrefix(`/orders`)";
const NAME: &str = "names are made of letters, digits and `-`";

/// The alternatives of a route, without its custom matchers.
pub(super) fn lower(route: &RawRoute, problems: &mut Findings<'_>) -> Vec<RouteMatch> {
    let alternatives = match &route.rule {
        Some(rule) => lower_rule(rule, route.matches.is_some(), problems),
        None => Vec::new(),
    };
    match &route.matches {
        Some(matches) => vec![lower_match(matches, problems)],
        None => alternatives,
    }
}

fn lower_rule(
    rule: &Located<String>,
    beside_match: bool,
    problems: &mut Findings<'_>,
) -> Vec<RouteMatch> {
    if beside_match {
        let problem = rule.error("a route has either `match` or `rule`, not both");
        problems.push(problem.hint("keep one of them, or make two routes"));
    }
    rule::parse(rule).unwrap_or_else(|error| {
        problems.push(rule.error(explain(&error)).hint(RULE));
        Vec::new()
    })
}

fn lower_match(raw: &RawMatch, problems: &mut Findings<'_>) -> RouteMatch {
    RouteMatch {
        hosts: raw
            .hosts
            .iter()
            .filter_map(|host| lower_host(host, problems))
            .collect(),
        paths: raw
            .path
            .iter()
            .filter_map(|path| lower_path(path, problems))
            .collect(),
        methods: raw
            .methods
            .iter()
            .filter_map(|method| lower_method(method, problems))
            .collect(),
        headers: raw
            .headers
            .iter()
            .filter_map(|(name, value)| lower_header(name, value, problems))
            .collect(),
        query: raw
            .query
            .iter()
            .filter_map(|(name, value)| Some(QueryMatch::new(name, lower_value(value, problems)?)))
            .collect(),
        client_ip: raw.client_ip.iter().map(|range| range.get()).collect(),
        ports: raw.ports.clone(),
        custom: Vec::new(),
        not: Vec::new(),
    }
}

fn lower_host(host: &Located<String>, problems: &mut Findings<'_>) -> Option<HostPattern> {
    host.parse()
        .map_err(|error| problems.push(host.error(format!("{error}")).hint(HOST)))
        .ok()
}

fn lower_path(path: &Located<PathMatch>, problems: &mut Findings<'_>) -> Option<PathPattern> {
    let lowered = match &path.value {
        PathMatch::Exact(text) => PathPattern::exact(text),
        PathMatch::Prefix(text) => PathPattern::prefix(text),
        PathMatch::StringPrefix(text) => PathPattern::string_prefix(text),
        PathMatch::Regex(source) => {
            return PathPattern::regex(source)
                .map_err(|error| problems.push(path.error(explain(&error)).hint(REGEX)))
                .ok();
        }
    };
    lowered
        .map_err(|error| problems.push(path.error(error.to_string()).hint(PATH)))
        .ok()
}

fn lower_method(method: &Located<String>, problems: &mut Findings<'_>) -> Option<Method> {
    /// Beyond these, a method in lower case may be meant.
    const STANDARD: [&str; 9] = [
        "CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE",
    ];
    let capitals = method.to_ascii_uppercase();
    if method.value != capitals && STANDARD.contains(&&*capitals) {
        let problem = method.error(format!(
            "methods are case-sensitive, and none is called `{}`",
            method.value
        ));
        problems.push(problem.hint(format!("write {capitals}")));
        return None;
    }
    Method::from_bytes(method.as_bytes())
        .map_err(|_| {
            let problem = method.error(format!("`{}` is not a method", method.value));
            problems.push(problem.hint("write a method such as GET"));
        })
        .ok()
}

fn lower_header(
    name: &str,
    value: &Located<ValueMatch>,
    problems: &mut Findings<'_>,
) -> Option<HeaderMatch> {
    let header = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| {
            let problem = value.error(format!("`{name}` is not a header name"));
            problems.push(problem.hint(NAME));
        })
        .ok();
    let test = lower_value(value, problems);
    Some(HeaderMatch::new(header?, test?))
}

fn lower_value(value: &Located<ValueMatch>, problems: &mut Findings<'_>) -> Option<ValueTest> {
    Some(match &value.value {
        ValueMatch::Exact(text) => ValueTest::Exact(text.as_str().into()),
        ValueMatch::Present => ValueTest::Present,
        ValueMatch::Absent => ValueTest::Absent,
        ValueMatch::Regex(source) => match Pattern::whole(source) {
            Ok(pattern) => ValueTest::Regex(pattern),
            Err(error) => {
                problems.push(value.error(explain(&error)).hint(REGEX));
                return None;
            }
        },
    })
}
