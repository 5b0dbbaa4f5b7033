use std::sync::Arc;

use portcullis_core::exchange::Exchange;
use portcullis_core::select::MatchedPrefix;
use portcullis_core::{Body, Request};
use serde_json::{Value, json};

use crate::harness::{Rig, get, problem, values};

/// Where a request for `target` at `host` over `scheme` is sent.
async fn location(
    settings: Value,
    scheme: &'static str,
    host: &str,
    target: &str,
) -> Option<String> {
    let mut request = get(target);
    let headers = request.headers_mut();
    headers.remove("host");
    if !host.is_empty() {
        headers.insert("host", host.parse().unwrap());
    }
    request
        .extensions_mut()
        .insert(MatchedPrefix(Arc::from("/old")));
    Exchange::of(&mut request).state().scheme = scheme;
    let response = Rig::new("redirect", settings).send(request).await;
    values(response.headers(), "location").pop()
}

#[tokio::test]
async fn changes_what_it_is_told_and_keeps_the_rest() {
    for (settings, host, target, expected) in [
        (
            json!({ "scheme": "https" }),
            "shop.example",
            "/a?b=c",
            Some("https://shop.example/a?b=c"),
        ),
        (
            json!({ "scheme": "https" }),
            "shop.example:8080",
            "/",
            Some("https://shop.example/"),
        ),
        (
            json!({ "scheme": "https", "port": 8443 }),
            "shop.example:8080",
            "/",
            Some("https://shop.example:8443/"),
        ),
        (
            json!({ "scheme": "https", "port": 443 }),
            "shop.example",
            "/",
            Some("https://shop.example/"),
        ),
        (
            json!({ "host": "www.shop.example" }),
            "shop.example:8080",
            "/a",
            Some("http://www.shop.example:8080/a"),
        ),
        (
            json!({ "port": 80 }),
            "shop.example:8080",
            "/a",
            Some("http://shop.example/a"),
        ),
        (
            json!({ "path": { "prefix": "/new" } }),
            "shop.example",
            "/old/x?y",
            Some("http://shop.example/new/x?y"),
        ),
        (
            json!({ "path": { "full": "/new" }, "query": "drop" }),
            "shop.example",
            "/old?y",
            Some("http://shop.example/new"),
        ),
        (
            json!({ "path": { "prefix": "/new" } }),
            "[::1]:8080",
            "/old",
            Some("http://[::1]:8080/new"),
        ),
        (
            json!({ "host": "new.example", "path": { "regex": { "pattern": "^/p/(.*)", "replacement": "/$1" } } }),
            "shop.example",
            "/p/x",
            Some("http://new.example/x"),
        ),
    ] {
        let got = location(settings.clone(), "http", host, target).await;
        assert_eq!(got.as_deref(), expected, "{settings} {host} {target}");
    }
}

#[tokio::test]
async fn a_request_that_is_there_already_passes() {
    for (settings, host, target) in [
        (json!({ "scheme": "https" }), "shop.example", "/a"),
        (json!({ "scheme": "https" }), "shop.example:443", "/a"),
        (json!({ "host": "shop.example" }), "Shop.Example", "/a"),
        (json!({ "path": { "full": "/a" } }), "shop.example", "/a?b"),
        (
            json!({ "path": { "regex": { "pattern": "^/p", "replacement": "/" } }, "port": 1 }),
            "shop.example",
            "/a",
        ),
    ] {
        assert_eq!(
            location(settings.clone(), "https", host, target).await,
            None,
            "{settings}"
        );
    }
}

#[tokio::test]
async fn the_client_cannot_choose_where_it_leads() {
    let strip = json!({ "path": { "strip": ["/old"] } });
    let prefix = json!({ "path": { "prefix": "/" } });
    let regex = json!({ "path": { "regex": { "pattern": "^/old/?", "replacement": "" } } });
    for settings in [strip, prefix, regex] {
        for (host, begins) in [
            ("shop.example", "http://shop.example/"),
            ("", "/"),
            ("a@evil.example", "/"),
            ("evil.example/x", "/"),
        ] {
            for target in [
                "/old//evil.example/x",
                "/old///evil.example",
                "/old/%2F/evil.example",
                "/old//evil.example?//evil.example",
            ] {
                let Some(location) = location(settings.clone(), "http", host, target).await else {
                    panic!("{settings} {host} {target}");
                };
                let rest = location
                    .strip_prefix(begins)
                    .unwrap_or_else(|| panic!("{location}"));
                assert!(
                    !begins.ends_with("://") && (begins != "/" || !rest.starts_with('/')),
                    "{location}"
                );
            }
        }
    }
}

#[tokio::test]
async fn odd_bytes_of_the_request_are_escaped() {
    let got = location(
        json!({ "scheme": "https" }),
        "http",
        "shop.example",
        "/%0d%0aset-cookie:x?a={b}|c",
    )
    .await;
    assert_eq!(
        got.as_deref(),
        Some("https://shop.example/%0d%0aset-cookie:x?a=%7Bb%7D%7Cc")
    );
    let mut out = String::new();
    super::push_encoded(&mut out, "a\r\nb\u{e4}<");
    assert_eq!(out, "a%0D%0Ab%C3%A4%3C");
}

#[tokio::test]
async fn the_status_is_as_configured_and_nothing_arrives() {
    for status in [301, 302, 303, 307, 308] {
        let rig = Rig::new("redirect", json!({ "scheme": "https", "status": status }));
        let request: Request = http::Request::head("/")
            .header("host", "a")
            .body(Body::empty())
            .unwrap();
        let mut request = request;
        let exchange = Exchange::of(&mut request);
        let response = rig.send(request).await;
        assert_eq!((response.status().as_u16(), rig.arrived()), (status, 0));
        assert_eq!(exchange.state().reason.as_deref(), Some("redirect"));
    }
}

#[test]
fn explains_bad_settings() {
    for (settings, expected) in [
        (
            json!({}),
            "redirect: nowhere to redirect to\n  hint: give `scheme`, `host`, `port` or `path`",
        ),
        (
            json!({ "scheme": "https", "status": 200 }),
            "redirect: `status` must be 301, 302, 303, 307 or 308 (at status)",
        ),
        (
            json!({ "host": "a:80" }),
            "redirect: `host` is a name without port (at host)\n  hint: write the port as `port`",
        ),
        (
            json!({ "port": 0 }),
            "redirect: `port` must not be 0 (at port)",
        ),
        (
            json!({ "path": { "full": "/a?b" } }),
            "expected an absolute path such as /orders, found `/a?b` (at path.full)\n  hint: write %3F and %23 for a question mark and a hash in a path",
        ),
    ] {
        let got = problem("redirect", settings);
        assert!(got.ends_with(expected), "{got}\n{expected}");
    }
    assert!(problem("redirect", json!({ "scheme": "ftp" })).contains("(at scheme)"));
    assert!(
        problem(
            "redirect",
            json!({ "path": { "prefix": "/a", "full": "/b" } })
        )
        .contains("(at path)")
    );
}
