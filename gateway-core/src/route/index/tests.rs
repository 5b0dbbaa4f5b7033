use std::sync::Arc;

use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method};
use proptest::{prelude::*, sample::select};

use super::{RouteIndex, build::RouteProblemKind, select::Tally};
use crate::route::{
    HeaderMatch, HostPattern, MatchError, MatchedPath, Matcher, Outcome, PathPattern, Pattern,
    QueryMatch, RequestView, RouteMatch, RouteSpec, naive_select,
};

#[derive(Clone, Debug)]
struct Request {
    method: Method,
    host: String,
    path: String,
    query: Option<String>,
    headers: HeaderMap,
}

impl Request {
    fn get(host: &str, path: &str) -> Self {
        Self {
            method: Method::GET,
            host: host.to_owned(),
            path: path.to_owned(),
            query: None,
            headers: HeaderMap::new(),
        }
    }

    fn view<R>(&self, look: impl FnOnce(&RequestView<'_>) -> R) -> R {
        let extensions = Extensions::new();
        let view = RequestView::new(
            &self.method,
            &self.host,
            &self.path,
            &self.headers,
            &extensions,
        );
        look(&view.with_query(self.query.as_deref()))
    }
}

fn on(host: &str, path: PathPattern) -> RouteMatch {
    RouteMatch {
        hosts: vec![host.parse().unwrap()],
        paths: vec![path],
        ..RouteMatch::default()
    }
}

fn prefix(path: &str) -> PathPattern {
    PathPattern::prefix(path).unwrap()
}

fn chosen<T>(index: &RouteIndex<T>, host: &str, path: &str) -> Option<String> {
    Request::get(host, path).view(|view| {
        let selected = index.select(view).unwrap();
        selected.map(|selected| selected.name.as_ref().to_owned())
    })
}

#[derive(Debug)]
struct Says(Option<bool>, u16);

impl Matcher for Says {
    fn matches(&self, _: &RequestView<'_>) -> Result<bool, MatchError> {
        self.0.ok_or_else(|| MatchError::new("asking in vain"))
    }

    fn weight(&self) -> u16 {
        self.1
    }
}

#[test]
fn host_comes_before_path_and_priority_before_both() {
    let routes = |priority| {
        vec![
            RouteSpec::new("any", ()).or_match(RouteMatch {
                paths: vec![PathPattern::exact("/a/b").unwrap()],
                ..RouteMatch::default()
            }),
            RouteSpec::new("wild", ())
                .or_match(on("*.x", prefix("/a/b")))
                .with_priority(priority),
            RouteSpec::new("longer", ()).or_match(on("*.b.x", prefix("/"))),
            RouteSpec::new("exact", ()).or_match(on("a.b.x", prefix("/a"))),
        ]
    };
    let index = RouteIndex::compile(routes(0)).unwrap();
    assert_eq!(chosen(&index, "a.b.x", "/a/b").as_deref(), Some("exact"));
    assert_eq!(chosen(&index, "a.b.x", "/c").as_deref(), Some("longer"));
    assert_eq!(chosen(&index, "c.x", "/a/b").as_deref(), Some("wild"));
    assert_eq!(chosen(&index, "c.y", "/a/b").as_deref(), Some("any"));
    assert_eq!(chosen(&index, "c.y", "/a"), None);
    let index = RouteIndex::compile(routes(1)).unwrap();
    assert_eq!(chosen(&index, "a.b.x", "/a/b").as_deref(), Some("wild"));
    let index = RouteIndex::compile(routes(-1)).unwrap();
    assert_eq!(chosen(&index, "c.x", "/a/b").as_deref(), Some("any"));
}

#[test]
fn selection_says_what_the_path_was_matched_by() {
    let pattern = |path: PathPattern| RouteMatch {
        paths: vec![path],
        ..RouteMatch::default()
    };
    let index = RouteIndex::compile(vec![
        RouteSpec::new("exact", 1).or_match(pattern(PathPattern::exact("/e").unwrap())),
        RouteSpec::new("segments", 2).or_match(pattern(prefix("/s/"))),
        RouteSpec::new("text", 3).or_match(pattern(PathPattern::string_prefix("/t").unwrap())),
        RouteSpec::new("regex", 4).or_match(pattern(PathPattern::regex("/r[0-9]+").unwrap())),
        RouteSpec::new("root", 5).or_match(pattern(prefix("/"))),
        RouteSpec::new("rest", 6),
    ])
    .unwrap();
    let [e, s, t, root]: [Arc<str>; 4] = ["/e", "/s", "/t", "/"].map(Into::into);
    for (path, value, matched) in [
        ("/e", 1, MatchedPath::Exact(&e)),
        ("/s", 2, MatchedPath::Prefix(&s)),
        ("/s/x", 2, MatchedPath::Prefix(&s)),
        ("/tx", 3, MatchedPath::Prefix(&t)),
        ("/r12", 4, MatchedPath::Regex),
        ("/sx", 5, MatchedPath::Prefix(&root)),
        ("*", 6, MatchedPath::Any),
    ] {
        Request::get("", path).view(|view| {
            let selected = index.select(view).unwrap().unwrap();
            assert_eq!(
                (*selected.value, selected.matched),
                (value, matched),
                "{path}"
            );
        });
    }
}

#[test]
fn an_error_counts_only_before_the_first_match() {
    let asking = |answer| RouteMatch {
        custom: vec![Arc::new(Says(answer, 1))],
        ..on("a.x", prefix("/a"))
    };
    let specific = RouteSpec::new("specific", ()).or_match(on("a.x", prefix("/a/b")));
    let index = RouteIndex::compile(vec![
        RouteSpec::new("failing", ()).or_match(asking(None)),
        RouteSpec::new("plain", ()).or_match(on("a.x", prefix("/a"))),
        specific,
    ])
    .unwrap();
    assert_eq!(chosen(&index, "a.x", "/a/b").as_deref(), Some("specific"));
    Request::get("a.x", "/a/c").view(|view| {
        let error = index.select(view).unwrap_err();
        assert_eq!(error.route(), Some("failing"));
        assert_eq!(
            error.to_string(),
            "matching route `failing`: asking in vain"
        );
    });
    assert_eq!(chosen(&index, "a.x", "/b"), None);
}

#[test]
fn order_decides_between_equals() {
    let index = RouteIndex::compile(vec![
        RouteSpec::new("first", ()).or_match(on("a.x", prefix("/a/"))),
        RouteSpec::new("second", ()).or_match(on("A.x.", prefix("/a"))),
    ])
    .unwrap();
    assert_eq!(chosen(&index, "a.x", "/a").as_deref(), Some("first"));
}

#[test]
fn routes_too_large_are_all_listed() {
    let hosts: Vec<HostPattern> = (0..1025)
        .map(|n| format!("h{n}").parse().unwrap())
        .collect();
    let paths: Vec<_> = (0..1024).map(|n| prefix(&format!("/{n}"))).collect();
    let wide = RouteMatch {
        hosts,
        paths,
        ..RouteMatch::default()
    };
    let mut deep = RouteMatch::default();
    for _ in 0..200 {
        deep = RouteMatch {
            not: vec![deep],
            ..RouteMatch::default()
        };
    }
    let error = RouteIndex::compile(vec![
        RouteSpec::new("wide", ()).or_match(wide),
        RouteSpec::new("fine", ()),
        RouteSpec::new("deep", ()).or_match(deep),
    ])
    .unwrap_err();
    let found: Vec<_> = error
        .problems()
        .iter()
        .map(|problem| (&*problem.route, problem.position, problem.kind))
        .collect();
    assert_eq!(
        found,
        [
            ("wide", 0, RouteProblemKind::TooManyCombinations),
            ("deep", 2, RouteProblemKind::ExclusionsTooDeep)
        ]
    );
}

#[test]
fn trees_as_deep_as_paths_need_no_stack() {
    let routes = (1..8000).map(|length| {
        let path = format!("/{}", "a".repeat(length));
        let rule = RouteMatch {
            paths: vec![PathPattern::string_prefix(&path).unwrap()],
            ..RouteMatch::default()
        };
        RouteSpec::new("deep", length).or_match(rule)
    });
    let index = RouteIndex::compile(routes.collect()).unwrap();
    let path = format!("/{}b", "a".repeat(5000));
    Request::get("", &path).view(|view| {
        assert_eq!(
            index.select(view).unwrap().map(|found| *found.value),
            Some(5000)
        );
    });
}

#[derive(Default)]
struct Count {
    trees: usize,
    candidates: usize,
}

impl Tally for Count {
    fn tree(&mut self) {
        self.trees += 1;
    }

    fn candidate(&mut self) {
        self.candidates += 1;
    }
}

fn work<T>(index: &RouteIndex<T>, request: &Request) -> (usize, usize) {
    request.view(|view| {
        let mut count = Count::default();
        assert!(
            super::select::select(index, view, &mut count)
                .unwrap()
                .is_some()
        );
        (count.trees, count.candidates)
    })
}

#[test]
fn a_hundred_thousand_routes_are_no_more_work_than_ten() {
    type Shape = fn(usize) -> (String, String);
    let by_host: Shape = |n| (format!("h{n}.example"), "/api".to_owned());
    let by_path: Shape = |n| ("one.example".to_owned(), format!("/api/service-{n}"));
    let by_wildcard: Shape = |n| (format!("*.h{n}.example"), format!("/api/{n}"));
    for shape in [by_host, by_path, by_wildcard] {
        let worst = |routes: usize| {
            let specs = (0..routes).map(|n| {
                let (host, path) = shape(n);
                RouteSpec::new("one", n).or_match(on(&host, prefix(&path)))
            });
            let everything = RouteSpec::new("all", routes);
            let index = RouteIndex::compile(specs.chain([everything]).collect()).unwrap();
            let step = (routes / 10).max(1);
            (0..routes)
                .step_by(step)
                .map(|n| {
                    let (host, path) = shape(n);
                    let request = Request::get(&host.replace('*', "sub"), &format!("{path}/x"));
                    let work = work(&index, &request);
                    let miss = Request::get(&host.replace('*', "sub"), "/none");
                    (work, self::work(&index, &miss))
                })
                .max()
                .unwrap()
        };
        let few = worst(10);
        assert_eq!(few, worst(100_000));
        assert!(
            few.0.1 <= 1,
            "the best route is the first candidate: {few:?}"
        );
    }
}

#[test]
fn regular_expressions_are_tried_below_their_literal_text_only() {
    let routes = (0..300).map(|n| {
        let path = PathPattern::regex(&format!("/service-{n}/v[0-9]+")).unwrap();
        RouteSpec::new("one", n).or_match(on("a.x", path))
    });
    let index = RouteIndex::compile(routes.collect()).unwrap();
    let (_, candidates) = work(&index, &Request::get("a.x", "/service-217/v3"));
    assert_eq!(candidates, 1);
}

fn host() -> impl Strategy<Value = HostPattern> {
    let regex = |source: &str| HostPattern::regex(Pattern::search(source).unwrap());
    select(vec![
        "a.x".parse().unwrap(),
        "b.x".parse().unwrap(),
        "a.a.x".parse().unwrap(),
        "*.x".parse().unwrap(),
        "*.a.x".parse().unwrap(),
        "*.longer.a.x".parse().unwrap(),
        HostPattern::one_label("*.x").unwrap(),
        HostPattern::one_label("*.a.x").unwrap(),
        regex("^a"),
        regex("x$"),
        HostPattern::any(),
    ])
}

fn path_text() -> impl Strategy<Value = String> {
    prop::collection::vec(select(vec!["a", "b", "ab", "abc", ""]), 0..5)
        .prop_map(|segments| format!("/{}", segments.join("/")))
}

fn path() -> impl Strategy<Value = PathPattern> {
    let regexes = ["/a.*", "/a/b?", ".*b", "/(a|ab)/.*", "/ab", "/a/b/[abc]*"];
    let regexes: Vec<_> = regexes
        .iter()
        .map(|source| PathPattern::regex(source).unwrap())
        .chain(["^/a", "b$", "c"].map(|source| Pattern::search(source).unwrap().into()))
        .collect();
    prop_oneof![
        2 => path_text().prop_map(|text| PathPattern::exact(&text).unwrap()),
        4 => path_text().prop_map(|text| prefix(&text)),
        3 => path_text().prop_map(|text| PathPattern::string_prefix(&text).unwrap()),
        2 => select(regexes),
    ]
}

fn rule() -> impl Strategy<Value = RouteMatch> {
    let header = select(vec![
        HeaderMatch::exact(HeaderName::from_static("h"), "1"),
        HeaderMatch::present(HeaderName::from_static("h")),
        HeaderMatch::absent(HeaderName::from_static("g")),
    ]);
    let query = select(vec![QueryMatch::exact("q", "1"), QueryMatch::present("q")]);
    let custom = (
        select(vec![Some(true), Some(true), Some(false), None]),
        0..3_u16,
    )
        .prop_map(|(answer, weight)| Arc::new(Says(answer, weight)) as Arc<dyn Matcher>);
    let some = |chance: f64| prop::bool::weighted(chance);
    let plain = (
        prop::collection::vec(host(), 0..3),
        prop::collection::vec(path(), 0..3),
        (some(0.3), select(vec![Method::GET, Method::POST])),
        (some(0.3), prop::collection::vec(header, 0..3)),
        (some(0.2), prop::collection::vec(query, 0..2)),
        (some(0.2), prop::collection::vec(custom, 0..3)),
    )
        .prop_map(
            |(hosts, paths, methods, headers, query, custom)| RouteMatch {
                hosts,
                paths,
                methods: methods.0.then_some(methods.1).into_iter().collect(),
                headers: if headers.0 { headers.1 } else { Vec::new() },
                query: if query.0 { query.1 } else { Vec::new() },
                custom: if custom.0 { custom.1 } else { Vec::new() },
                ..RouteMatch::default()
            },
        );
    plain.prop_recursive(2, 4, 2, |inner| {
        (inner.clone(), prop::collection::vec(inner, 0..2))
            .prop_map(|(rule, not)| RouteMatch { not, ..rule })
    })
}

fn routes() -> impl Strategy<Value = Vec<RouteSpec<usize>>> {
    let priority = prop_oneof![4 => Just(None), 1 => (-1..3_i64).prop_map(Some)];
    let route = (prop::collection::vec(rule(), 0..3), priority);
    prop::collection::vec(route, 0..20).prop_map(|routes| {
        let named = routes.into_iter().enumerate();
        named
            .map(|(number, (matches, priority))| RouteSpec {
                name: format!("r{number}").into(),
                matches,
                priority,
                value: number,
            })
            .collect()
    })
}

fn request() -> impl Strategy<Value = Request> {
    let hosts = [
        "a.x",
        "b.x",
        "a.a.x",
        "b.a.x",
        "c.longer.a.x",
        "b.b.a.x",
        "x",
        "",
        ".x",
        "a..x",
        "y",
    ];
    let path = prop_oneof![9 => path_text(), 1 => select(vec!["*".to_owned(), String::new()])];
    (
        select(hosts.to_vec()),
        path,
        select(vec![Method::GET, Method::POST]),
        prop::collection::vec(select(vec![("h", "1"), ("h", "2"), ("g", "1")]), 0..3),
        select(vec![None, Some("q=1"), Some("q=2&q=1"), Some("p")]),
    )
        .prop_map(|(host, path, method, headers, query)| Request {
            method,
            host: host.to_owned(),
            path,
            query: query.map(str::to_owned),
            headers: headers
                .into_iter()
                .map(|(name, value)| {
                    (
                        HeaderName::from_static(name),
                        HeaderValue::from_static(value),
                    )
                })
                .collect(),
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_index_answers_as_the_linear_model(
        routes in routes(),
        requests in prop::collection::vec(request(), 1..12),
    ) {
        let index = RouteIndex::compile(routes.clone()).unwrap();
        for request in &requests {
            request.view(|view| {
                let expected = naive_select(&routes, view);
                let found = index.select(view);
                let first = index.explain(view, 1).into_iter().next();
                match (&expected, &found) {
                    (Ok(Some(expected)), Ok(Some(found))) => {
                        prop_assert_eq!(expected.value, found.value);
                        prop_assert_eq!(expected.matched, found.matched);
                        let first = first.unwrap();
                        prop_assert_eq!(first.position, *found.value);
                        let won = matches!(first.outcome, Outcome::Won { .. });
                        prop_assert!(won, "{:?}", first);
                    }
                    (Err(expected), Err(found)) => {
                        prop_assert_eq!(expected.route(), found.route());
                        let first = first.unwrap();
                        prop_assert_eq!(Some(&*first.route), found.route());
                        let failed = matches!(first.outcome, Outcome::Failed { .. });
                        prop_assert!(failed, "{:?}", first);
                    }
                    (Ok(None), Ok(None)) => {
                        let missed = first
                            .is_none_or(|first| matches!(first.outcome, Outcome::NotMatched { .. }));
                        prop_assert!(missed);
                    }
                    other => prop_assert!(false, "{other:?}"),
                }
                Ok(())
            })?;
        }
    }
}
