//! Finding the routes of requests: 32 of them, for different hosts with different endings, because hashes are others in
//! each process, and some collide.

use std::hint::black_box;

use gungraun::prelude::*;
use http::{Extensions, HeaderMap, Method};
use portcullis::route::{HostPattern, PathPattern, RequestView, RouteIndex, RouteMatch, RouteSpec};

/// A table, and requests to look up.
struct Case {
    table: RouteIndex<usize>,
    hosts: Vec<String>,
    path: &'static str,
    headers: HeaderMap,
    extensions: Extensions,
}

/// `count` routes, ten on each host; of those ten, paths are exact, prefixes, patterns and, on a wildcard host, any.
fn table(count: usize) -> RouteIndex<usize> {
    let route = |number: usize| {
        let (host, place) = (number / 10, number % 10);
        let (host, path) = match place {
            0..3 => (
                format!("www.h{host}"),
                Some(PathPattern::exact(&format!("/exact/{place}")).unwrap()),
            ),
            3..7 => (
                format!("www.h{host}"),
                Some(PathPattern::prefix(&format!("/prefix/{place}")).unwrap()),
            ),
            7..9 => (
                format!("www.h{host}"),
                Some(PathPattern::regex(&format!("^/regex/{place}/[0-9]+$")).unwrap()),
            ),
            _ => (format!("*.www.h{host}"), None),
        };
        let host: HostPattern = host.parse().unwrap();
        let wanted = RouteMatch {
            hosts: vec![host],
            paths: path.into_iter().collect(),
            ..RouteMatch::default()
        };
        RouteSpec::new(format!("r{number}"), number).or_match(wanted)
    };
    RouteIndex::compile((0..count).map(route).collect()).unwrap()
}

/// Requests for `path` on hosts `host`, in which `{}` is a host that there is and `#` another number each time.
fn case(count: usize, host: &str, path: &'static str) -> Case {
    let host_at = |number: usize| {
        let known = number * 7 % (count / 10);
        host.replace("{}", &known.to_string())
            .replace('#', &number.to_string())
    };
    let case = Case {
        table: table(count),
        hosts: (0..32).map(host_at).collect(),
        path,
        headers: HeaderMap::new(),
        extensions: Extensions::new(),
    };
    // A regular expression makes its memory when it is first used.
    for _ in 0..3 {
        case.look_up();
    }
    case
}

impl Case {
    /// How many routes were found.
    fn look_up(&self) -> usize {
        let found = self.hosts.iter().filter(|host| {
            let view = RequestView::new(
                &Method::GET,
                host,
                self.path,
                &self.headers,
                &self.extensions,
            );
            self.table.select(black_box(&view)).unwrap().is_some()
        });
        found.count()
    }
}

#[library_benchmark]
#[bench::exact_of_10(case(10, "www.h{}", "/exact/2"))]
#[bench::exact_of_10_000(case(10_000, "www.h{}", "/exact/2"))]
#[bench::prefix_of_10(case(10, "www.h{}", "/prefix/5/orders/7"))]
#[bench::prefix_of_10_000(case(10_000, "www.h{}", "/prefix/5/orders/7"))]
#[bench::regex_of_10(case(10, "www.h{}", "/regex/8/4711"))]
#[bench::regex_of_10_000(case(10_000, "www.h{}", "/regex/8/4711"))]
#[bench::wildcard_of_10(case(10, "shop#.www.h{}", "/orders/7"))]
#[bench::wildcard_of_10_000(case(10_000, "shop#.www.h{}", "/orders/7"))]
fn lookups_32(case: Case) -> Case {
    assert_eq!(case.look_up(), 32);
    case
}

#[library_benchmark]
#[bench::path_of_10(case(10, "www.h{}", "/orders/7"))]
#[bench::path_of_10_000(case(10_000, "www.h{}", "/orders/7"))]
#[bench::host_of_10(case(10, "www.nobody#", "/orders/7"))]
#[bench::host_of_10_000(case(10_000, "www.nobody#", "/orders/7"))]
fn misses_32(case: Case) -> Case {
    assert_eq!(case.look_up(), 0);
    case
}

library_benchmark_group!(name = routes, benchmarks = [lookups_32, misses_32]);
