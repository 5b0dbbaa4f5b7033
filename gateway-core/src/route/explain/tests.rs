use http::{Extensions, HeaderMap, HeaderName, Method};

use super::*;
use crate::route::{HeaderMatch, Matcher};

#[derive(Debug)]
struct Fails;

impl Matcher for Fails {
    fn matches(&self, _: &RequestView<'_>) -> Result<bool, MatchError> {
        Err(MatchError::new("asking the oracle").with_source("it is closed"))
    }
}

fn on(path: &str) -> RouteMatch {
    RouteMatch {
        hosts: vec!["a.x".parse().unwrap()],
        paths: vec![PathPattern::prefix(path).unwrap()],
        ..RouteMatch::default()
    }
}

fn routes() -> Vec<RouteSpec<()>> {
    vec![
        RouteSpec::new("other-host", ()).or_match(RouteMatch {
            hosts: vec!["b.x".parse().unwrap()],
            ..RouteMatch::default()
        }),
        RouteSpec::new("header", ()).or_match(RouteMatch {
            headers: vec![HeaderMatch::exact(
                HeaderName::from_static("x-tenant"),
                "secret",
            )],
            ..on("/a")
        }),
        RouteSpec::new("other-path", ()).or_match(on("/b")),
        RouteSpec::new("short", ()).or_match(on("/a")),
        RouteSpec::new("long", ()).or_match(on("/a/b")),
        RouteSpec::new("method", ()).or_match(RouteMatch {
            methods: vec![Method::PUT, Method::POST],
            ..on("/a")
        }),
        RouteSpec::new("late", ()).or_match(on("/a/b")),
    ]
}

fn explained(routes: Vec<RouteSpec<()>>, limit: usize) -> Vec<String> {
    let index = RouteIndex::compile(routes).unwrap();
    let (headers, extensions) = (HeaderMap::new(), Extensions::new());
    let view = RequestView::new(&Method::GET, "a.x", "/a/b/c", &headers, &extensions);
    let verdicts = index.explain(&view, limit);
    verdicts.iter().map(Verdict::to_string).collect()
}

#[test]
fn says_why_each_route_won_or_lost() {
    assert_eq!(
        explained(routes(), usize::MAX),
        [
            "long: won by prefix /a/b",
            "late: lost to long, which comes earlier in the configuration",
            "short: lost to long, whose path is more specific",
            "header: did not match: header is not x-tenant (exact)",
            "method: did not match: method is not PUT or POST",
            "other-path: did not match: path is not prefix /b",
            "other-host: did not match: host is not b.x",
        ]
    );
    assert_eq!(explained(routes(), 2).len(), 2);
    assert!(explained(Vec::new(), 9).is_empty());
}

#[test]
fn an_error_takes_the_place_of_the_winner() {
    let mut routes = routes();
    routes.push(
        RouteSpec::new("failing", ())
            .or_match(RouteMatch {
                custom: vec![Arc::new(Fails)],
                ..RouteMatch::default()
            })
            .with_priority(1),
    );
    assert_eq!(
        explained(routes, 2),
        [
            "failing: failed: matching route `failing`: asking the oracle: it is closed",
            "long: lost to failing, whose priority is higher",
        ]
    );
}

#[test]
fn verdicts_serialise_flat() {
    let index = RouteIndex::compile(routes()).unwrap();
    let (headers, extensions) = (HeaderMap::new(), Extensions::new());
    let view = RequestView::new(&Method::GET, "a.x", "/b", &headers, &extensions);
    let json = serde_json::to_value(index.explain(&view, 2)).unwrap();
    assert_eq!(
        json,
        serde_json::json!([
            { "route": "other-path", "position": 2, "outcome": "won", "matched": "prefix /b" },
            { "route": "header", "position": 1, "outcome": "not-matched",
              "because": { "stage": "path", "wanted": "prefix /a" } },
        ])
    );
}
