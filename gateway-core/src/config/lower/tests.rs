use std::{path::Path, time::Duration};

use super::lower;
use crate::{
    config::{Config, Diagnostics, Format, ir::ClientAuthPlan, parse_native},
    forward::{HashKey, HostPolicy, RetryOn},
    settings::Protocol,
    tls::alpn,
    upstream::EndpointAddress,
};

/// What a configuration has to have beside the part under test.
const REST: &str = "\
listeners: [{ name: web, bind: ':80' }]
routes: [{ name: r, backends: [{ upstream: u }] }]
upstreams: [{ name: u, endpoints: ['10.0.0.1:80'] }]
";

fn lowered(text: &str) -> (Option<Config>, Diagnostics) {
    let raw = parse_native("conf/g.yaml", text, Format::Yaml).expect("a configuration that reads");
    let mut problems = Diagnostics::new();
    (lower(&raw, &mut problems), problems)
}

fn good(text: &str) -> Config {
    let (config, problems) = lowered(text);
    assert!(problems.is_empty(), "{problems}");
    config.expect("a configuration that lowers")
}

/// `REST` with one of its three lines replaced by `line`, which begins with the same key.
fn with(line: &str) -> String {
    let key = line.split(':').next().unwrap_or_default();
    let same = |other: &&str| !other.starts_with(key);
    let rest: String = REST
        .lines()
        .filter(same)
        .map(|other| format!("{other}\n"))
        .collect();
    format!("{line}\n{rest}")
}

/// Every line with what is wrong with it, place and all.
fn check(cases: &[(&str, &str)]) {
    for (line, expected) in cases {
        let (config, problems) = lowered(&with(line));
        assert_eq!(problems.to_string(), *expected, "{line}");
        assert_eq!(config.is_none(), problems.has_errors(), "{line}");
    }
}

#[test]
fn the_example_of_the_manual_lowers() {
    let config = good(
        r#"
listeners: [{ name: web, bind: "0.0.0.0:8443", tls: { certificates: [{ cert: a.pem, key: a.key }] }, filters: [{ type: request-id }] }]
routes:
  - name: orders
    match: { hosts: [shop.example], path: { prefix: /orders }, methods: [GET], headers: { x-tenant: gold } }
    filters: [{ type: cors }, { type: rate-limit, limit: 100, per: 1m, by: principal }]
    timeouts: { total: 5s, per_try: 2s }
    retry: { attempts: 2, on: [connect-failure, "503"] }
    backends: [{ upstream: orders-v1, weight: 95 }, { upstream: orders-v2, weight: 5, filters: [{ type: headers, request: { set: { x-canary: "1" } } }] }]
upstreams:
  - { name: orders-v1, endpoints: ["10.0.0.1:8080"], balance: { type: p2c }, health: { active: { path: /healthz, interval: 5s } } }
  - { name: orders-v2, discovery: { type: dns, host: orders.svc, port: 80 } }
"#,
    );
    let listener = &config.listeners[0];
    assert_eq!(
        (&*listener.name, listener.bind.to_string().as_str()),
        ("web", "0.0.0.0:8443")
    );
    assert_eq!(listener.place.at.to_string(), "conf/g.yaml:2:21");
    let tls = listener.tls.as_ref().unwrap();
    assert_eq!(
        tls.certificates[0].certificate.value.path(),
        Some(Path::new("conf/a.pem"))
    );
    assert_eq!(tls.alpn, [alpn::H2, alpn::HTTP_1_1]);
    assert_eq!(tls.client_auth, ClientAuthPlan::Off);

    let route = &config.routes[0];
    assert!(route.listeners.is_empty() && route.is_on(0));
    assert_eq!(route.matches.len(), 1);
    assert_eq!(route.matches[0].headers.len(), 1);
    assert_eq!(route.filters.len(), 2);
    assert_eq!(route.timeouts.total, Some(Duration::from_secs(5)));
    assert_eq!(route.timeouts.idle, Some(Duration::from_secs(60)));
    let retry = route.retry.as_ref().unwrap();
    assert_eq!(
        retry.on,
        [
            RetryOn::ConnectFailure,
            RetryOn::Status(http::StatusCode::SERVICE_UNAVAILABLE)
        ]
    );
    let shares: Vec<_> = route
        .backends
        .iter()
        .map(|b| (b.upstream, b.weight, b.filters.len()))
        .collect();
    assert_eq!(shares, [(0, 95, 0), (1, 5, 1)]);

    let upstream = &config.upstreams[0];
    assert_eq!(
        upstream.endpoints[0].address,
        EndpointAddress::from(([10, 0, 0, 1], 8080))
    );
    assert_eq!(
        upstream.active.as_ref().unwrap().interval,
        Duration::from_secs(5)
    );
    assert!(upstream.outlier.is_none() && upstream.tls.is_none());
    assert_eq!(config.upstreams[1].discovery.as_ref().unwrap().kind, "dns");
    assert_eq!(
        config.admin.as_ref().unwrap().bind.to_string(),
        "127.0.0.1:9900"
    );
    let files: Vec<_> = config.pem_files().collect();
    assert_eq!(files, [Path::new("conf/a.pem"), Path::new("conf/a.key")]);
}

#[test]
fn every_setting_arrives() {
    let (config, problems) = lowered(
        r"
listeners:
  - name: web
    bind: unix:/run/g.sock
    protocol: http2
    tls:
      certificates: [{ cert: /a, key: b, hosts: ['*.example'], default: true }]
      client_auth: { mode: request, ca: ../ca.pem }
      alpn: [h2]
    trusted_proxies: [10.0.0.0/8]
    forwarded: off
    merge_slashes: true
    limits: { max_connections: 1, max_requests_in_flight: 2, max_head_bytes: 16KiB, max_headers: 50, max_streams: 10 }
    timeouts: { detect: 1s, head: 2s, idle: 0s, body_idle: 4s, write_idle: 5s }
routes:
  - name: a
    listeners: [web, web]
    rule: Host(`a.example`) || Method(`GET`) && PathPrefix(`/x`)
    priority: -3
    timeouts: { idle: 0s }
    backends: [{ upstream: u }]
  - name: b
    match: { custom: [{ type: tenant }], query: { q: v }, client_ip: [192.0.2.1], ports: [80] }
    retry: { attempts: 4, on: [5xx, 5xx], non_idempotent: true, buffer: 1KiB, budget: { percent: 10, min_per_second: 1 }, backoff: { base: 1ms, max: 2ms } }
    filters: [{ type: answer }]
    upgrade: false
upstreams:
  - name: u
    endpoints: [{ address: '10.0.0.1:80', weight: 2, zone: a }, unix:/run/a.sock, { address: 'orders:80', zone: b }]
    protocol: http1
    tls: { ca: ca, server_name: b.example, cert: c, key: d }
    balance: { type: maglev }
    hash: { cookie: session }
    connector: { type: tunnel }
    health: { passive: { consecutive_failures: 3, eject_for: 10m } }
    limits: { max_connections: 1, max_requests: 2, max_pending: 3, max_idle_connections: 4, idle_timeout: 5s }
    timeouts: { connect: 1s }
    host: a.example
admin: { enabled: false }
access_log: {}
tracing: {}
metrics: { max_series: 7 }
defaults: { timeouts: { total: 1m, idle: 5s }, retry: { on: [refused-stream, timeout] } }
limits: { max_connections: 5, max_requests_in_flight: 6, drain: 1m30s }
",
    );
    assert!(problems.is_empty(), "{problems}");
    let config = config.unwrap();
    let listener = &config.listeners[0];
    assert!(!listener.reuse_port && listener.hygiene.path.merge_slashes);
    assert_eq!(listener.http.protocol, Protocol::Http2);
    assert_eq!(listener.http.limits.max_head_bytes, 16 * 1024);
    assert!(listener.http.timeouts.idle > Duration::from_secs(100_000_000));
    assert_eq!(listener.limits.max_requests_in_flight, Some(2));
    let tls = listener.tls.as_ref().unwrap();
    assert_eq!(
        tls.certificates[0].certificate.value.path(),
        Some(Path::new("/a"))
    );
    assert!(
        matches!(&tls.client_auth, ClientAuthPlan::Request(ca) if ca.value.path() == Some(Path::new("conf/../ca.pem")))
    );

    let [a, b] = &*config.routes else {
        panic!("two routes")
    };
    assert_eq!(
        (&*a.listeners, a.matches.len(), a.priority),
        (&[0][..], 2, Some(-3))
    );
    assert_eq!(
        (a.timeouts.total, a.timeouts.idle),
        (Some(Duration::from_secs(60)), None)
    );
    assert_eq!(
        a.retry.as_ref().unwrap().on,
        [RetryOn::RefusedStream, RetryOn::Timeout]
    );
    assert_eq!(
        (
            b.matchers.len(),
            b.matches[0].custom.len(),
            b.matches[0].query.len()
        ),
        (1, 0, 1)
    );
    let retry = b.retry.as_ref().unwrap();
    assert_eq!(
        (retry.attempts, &*retry.on, retry.buffer),
        (4, &[RetryOn::ServerError][..], 1024)
    );
    assert_eq!((retry.budget.percent, retry.budget.min_per_second), (10, 1));
    assert!(retry.non_idempotent && b.backends.is_empty() && !b.upgrade);

    let upstream = &config.upstreams[0];
    assert_eq!(upstream.endpoints[0].zone.as_deref(), Some("a"));
    assert_eq!(
        upstream.endpoints[1].address,
        EndpointAddress::Unix("/run/a.sock".into())
    );
    let name = &upstream.names[0];
    assert_eq!(
        (&*name.host, name.port, name.zone.as_deref()),
        ("orders", 80, Some("b"))
    );
    let settings = &upstream.settings;
    assert_eq!(settings.hash, [HashKey::Cookie("session".to_owned())]);
    assert_eq!(
        settings.host,
        HostPolicy::Fixed(http::HeaderValue::from_static("a.example"))
    );
    assert_eq!(
        (
            settings.pool.max_connections,
            settings.pool.max_idle,
            settings.max_requests
        ),
        (Some(1), 4, Some(2))
    );
    assert_eq!(
        upstream.outlier.as_ref().unwrap().max_ejection,
        Duration::from_secs(600)
    );
    assert!(upstream.tls.as_ref().unwrap().certificate.is_some());
    assert_eq!(upstream.tls.as_ref().unwrap().alpn, [alpn::HTTP_1_1]);
    assert!(config.admin.is_none() && config.access_log.is_some() && config.tracing.is_some());
    assert_eq!(
        (config.metrics.max_series.get(), config.drain),
        (7, Duration::from_secs(90))
    );
}

#[test]
fn names_and_references_are_checked() {
    check(&[
        (
            "listeners: [{ name: web, bind: ':80' }, { name: web, bind: ':81' }, { name: '', bind: ':82' }]",
            "conf/g.yaml:1:49: error: another listener is called `web` (at listeners[1].name)\n  hint: the other one is at conf/g.yaml:1:21\n\
             conf/g.yaml:1:77: error: the name of a listener must not be empty (at listeners[2].name)",
        ),
        (
            "upstreams: [{ name: u, endpoints: ['10.0.0.1:80'] }, { name: u, endpoints: ['10.0.0.2:80'] }]",
            "conf/g.yaml:1:62: error: another upstream is called `u` (at upstreams[1].name)\n  hint: the other one is at conf/g.yaml:1:21",
        ),
        (
            "routes: [{ name: r, backends: [{ upstream: u }] }, { name: r, backends: [{ upstream: u }] }]",
            "conf/g.yaml:1:60: error: another route is called `r` (at routes[1].name)\n  hint: the other one is at conf/g.yaml:1:18",
        ),
        (
            "routes: [{ name: r, listeners: [wep], backends: [{ upstream: missing }] }]",
            "conf/g.yaml:1:33: error: no listener is called `wep` (at routes[0].listeners[0])\n  hint: did you mean `web`?\n\
             conf/g.yaml:1:62: error: no upstream is called `missing` (at routes[0].backends[0].upstream)\n  hint: upstreams: u",
        ),
    ]);
    let two = "listeners: [{ name: a, bind: ':80' }, { name: b, bind: ':81' }]\n\
               routes: [{ name: s, listeners: [b], backends: [{ upstream: u }] }]\n\
               upstreams: [{ name: u, endpoints: ['10.0.0.1:80'] }]\n";
    assert_eq!(
        lowered(two).1.to_string(),
        "conf/g.yaml:1:21: warning: no route belongs to the listener `a` (at listeners[0].name)\n  hint: every request to it is answered with 404"
    );
}

#[test]
fn listeners_are_checked() {
    check(&[
        (
            "listeners: [{ name: a, bind: ':80' }, { name: b, bind: '[::]:80' }, { name: c, bind: '[::1]:80' }, { name: d, bind: '0.0.0.0:80' }]",
            "conf/g.yaml:1:56: error: the listener `a` listens on [::]:80 too (at listeners[1].bind)\n  hint: the other one is at conf/g.yaml:1:30\n\
             conf/g.yaml:1:86: warning: the listener `a` listens on [::]:80, which overlaps with [::1]:80 (at listeners[2].bind)\n  hint: use another port, or addresses of which none is a wildcard",
        ),
        (
            "listeners: [{ name: a, bind: '127.0.0.1:9900' }]",
            "conf/g.yaml:1:30: error: the admin listener listens on 127.0.0.1:9900 too (at listeners[0].bind)",
        ),
        (
            "listeners: [{ name: a, bind: '127.0.0.1:0' }, { name: b, bind: '127.0.0.1:0' }]",
            "",
        ),
        (
            "listeners: [{ name: a, bind: ':80', limits: { max_head_bytes: 12 } }]",
            "conf/g.yaml:1:63: error: expected at least 1KiB, found 12 (at listeners[0].limits.max_head_bytes)",
        ),
        (
            "listeners: [{ name: a, bind: ':80', tls: { certificates: [] } }]",
            "conf/g.yaml:1:58: error: TLS needs at least one certificate (at listeners[0].tls.certificates)\n  hint: write `certificates: [{ cert: tls.crt, key: tls.key }]`",
        ),
        (
            "listeners: [{ name: a, bind: ':80', tls: { client_auth: {}, certificates: [{ cert: a, key: '', default: true }, { cert: c, key: d, default: true, hosts: ['a.*'] }] } }]",
            "conf/g.yaml:1:57: error: certificates of clients cannot be checked without `ca` (at listeners[0].tls.client_auth)\n  hint: name a PEM file with the authorities that issue them\n\
             conf/g.yaml:1:92: error: expected the path of a PEM file, or PEM text, found nothing (at listeners[0].tls.certificates[0].key)\n\
             conf/g.yaml:1:141: error: a listener has at most one default certificate (at listeners[0].tls.certificates[1].default)\n  hint: leave `default` out of all but one\n\
             conf/g.yaml:1:155: error: `a.*` is not a name that a certificate can be served for (at listeners[0].tls.certificates[1].hosts[0])\n  hint: write a host, or `*.` and a host; international names in their xn-- form",
        ),
        (
            "listeners: [{ name: a, bind: ':80', tls: { certificates: [{ cert: a, key: b }], client_auth: { mode: 'off', ca: c }, alpn: [h2] } }]",
            "conf/g.yaml:1:113: warning: `ca` has no effect while clients are not asked for a certificate (at listeners[0].tls.client_auth.ca)\n\
             conf/g.yaml:1:125: warning: clients that speak only HTTP/1.1 are turned away (at listeners[0].tls.alpn[0])\n  hint: add http/1.1, or say so with `protocol: http2`",
        ),
        (
            "listeners: [{ name: a, bind: ':80', protocol: http1, tls: { certificates: [{ cert: a, key: b }], alpn: [h2, http/1.1, http/2, spdy] } }]",
            "conf/g.yaml:1:105: error: `h2` is offered, but the listener speaks only HTTP/1.1 (at listeners[0].tls.alpn[0])\n  hint: change `protocol`, or leave `alpn` out\n\
             conf/g.yaml:1:119: error: no listener speaks the protocol `http/2` (at listeners[0].tls.alpn[2])\n  hint: protocols: h2, http/1.1\n\
             conf/g.yaml:1:127: error: no listener speaks the protocol `spdy` (at listeners[0].tls.alpn[3])\n  hint: protocols: h2, http/1.1",
        ),
    ]);
}

#[test]
fn matches_are_checked() {
    check(&[
        (
            "routes: [{ name: r, match: { hosts: [a..b], path: orders, methods: [get, 'a b'], headers: { 'a b': x, c: { regex: '(' } }, query: { q: { regex: '' } } }, backends: [{ upstream: u }] }]",
            "conf/g.yaml:1:38: error: the host `a..b` has an empty label (at routes[0].match.hosts[0])\n  hint: write a host such as shop.example or *.shop.example\n\
             conf/g.yaml:1:51: error: the path `orders` does not begin with `/` (at routes[0].match.path)\n  hint: write a path such as /orders\n\
             conf/g.yaml:1:69: error: methods are case-sensitive, and none is called `get` (at routes[0].match.methods[0])\n  hint: write GET\n\
             conf/g.yaml:1:74: error: `a b` is not a method (at routes[0].match.methods[1])\n  hint: write a method such as GET\n\
             conf/g.yaml:1:100: error: `a b` is not a header name (at routes[0].match.headers[\"a b\"])\n  hint: names are made of letters, digits and `-`\n\
             conf/g.yaml:1:106: error: parsing the regular expression `(`: unclosed group (at routes[0].match.headers.c)\n  hint: the syntax is that of the Rust crate `regex`: put `\\` before characters that are meant literally\n\
             conf/g.yaml:1:136: error: the regular expression is empty (at routes[0].match.query.q)\n  hint: the syntax is that of the Rust crate `regex`: put `\\` before characters that are meant literally",
        ),
        (
            "routes: [{ name: r, rule: 'Host(`a`', match: {}, backends: [{ upstream: u }] }]",
            "conf/g.yaml:1:27: error: a route has either `match` or `rule`, not both (at routes[0].rule)\n  hint: keep one of them, or make two routes\n\
             conf/g.yaml:1:27: error: expected `,` or `)`, found the end of the rule (at byte 8 of the rule) (at routes[0].rule)\n  hint: write a rule such as Host(`shop.example`) && PathPrefix(`/orders`)",
        ),
        (
            "routes: [{ name: r, rule: 'HostRegexp(`(`)', backends: [{ upstream: u }] }]",
            "conf/g.yaml:1:27: error: parsing the regular expression `(` (at byte 11 of the rule): unclosed group (at routes[0].rule)\n  hint: write a rule such as Host(`shop.example`) && PathPrefix(`/orders`)",
        ),
    ]);
}

#[test]
fn routes_are_checked() {
    check(&[
        (
            "routes: [{ name: r }, { name: s, filters: [{ type: answer }] }]",
            "conf/g.yaml:1:10: error: the route `r` has no backend, and no filter that could answer (at routes[0])\n  hint: write `backends: [{ upstream: NAME }]`",
        ),
        (
            "routes: [{ name: r, hedge: {}, backends: [{ upstream: u }] }, { name: s, hedge: { percentile: 100 }, backends: [{ upstream: u }] }]",
            "conf/g.yaml:1:28: error: a hedge has either a `delay` or a `percentile` (at routes[0].hedge)\n  hint: write hedge: { percentile: 95 }\n\
             conf/g.yaml:1:95: error: expected a percentage between 0 and 100, found 100 (at routes[1].hedge.percentile)",
        ),
        (
            "routes: [{ name: r, hedge: { delay: 1s }, sticky: { header: x-pin }, backends: [{ upstream: u }] }]",
            "conf/g.yaml:1:28: error: `sticky` keeps clients on their backends, so there is no second attempt elsewhere (at routes[0].hedge)\n  hint: leave out `hedge`, or what keeps clients",
        ),
        (
            "routes: [{ name: r, backends: [{ upstream: u, weight: 0 }] }]",
            "conf/g.yaml:1:31: warning: every backend of the route `r` has the weight 0 (at routes[0].backends)\n  hint: requests that no filter answers are answered with 503",
        ),
        (
            "routes: [{ name: r, timeouts: { total: 1s, per_try: 2s }, backends: [{ upstream: u }] }]",
            "conf/g.yaml:1:53: warning: `per_try` (2s) never ends an attempt, `total` (1s) does (at routes[0].timeouts.per_try)",
        ),
        (
            "routes: [{ name: r, retry: { on: [refused_stream, 700, sometimes], budget: { percent: 2000 } }, backends: [{ upstream: u }] }]",
            "conf/g.yaml:1:35: error: no retry condition is called `refused_stream` (at routes[0].retry.on[0])\n  hint: did you mean `refused-stream`?\n\
             conf/g.yaml:1:51: error: no retry condition is called `700` (at routes[0].retry.on[1])\n  hint: conditions: connect-failure, refused-stream, reset, timeout, 5xx, gateway-error, grpc-cancelled, \
             grpc-deadline-exceeded, grpc-internal, grpc-resource-exhausted, grpc-unavailable, or a status such as 503\n\
             conf/g.yaml:1:56: error: no retry condition is called `sometimes` (at routes[0].retry.on[2])\n  hint: conditions: connect-failure, refused-stream, reset, timeout, 5xx, gateway-error, grpc-cancelled, \
             grpc-deadline-exceeded, grpc-internal, grpc-resource-exhausted, grpc-unavailable, or a status such as 503\n\
             conf/g.yaml:1:87: error: expected at most 1000 percent, found 2000 (at routes[0].retry.budget.percent)",
        ),
    ]);
    let twice = format!("{REST}defaults: {{ retry: {{ on: [never] }} }}\n");
    assert_eq!(
        lowered(&twice).1.len(),
        1,
        "a mistake of the defaults is told once"
    );
}

#[test]
fn upstreams_are_checked() {
    check(&[
        (
            "upstreams: [{ name: u }]",
            "conf/g.yaml:1:13: error: the upstream `u` has neither endpoints nor a discovery (at upstreams[0])\n  hint: write `endpoints: [\"10.0.0.1:8080\"]`",
        ),
        (
            "upstreams: [{ name: u, endpoints: [{ address: '10.0.0.1:80', weight: 0 }, { address: '10.0.0.1:80', weight: 0 }] }]",
            "conf/g.yaml:1:35: warning: every endpoint of the upstream `u` has the weight 0 (at upstreams[0].endpoints)\n\
             conf/g.yaml:1:75: warning: 10.0.0.1:80 is listed twice, which counts once (at upstreams[0].endpoints[1])",
        ),
        (
            "upstreams: [{ name: u, endpoints: ['a:80'], hash: { header: 'a b' }, tls: { cert: c, server_name: 'a b', insecure_skip_verify: true } }]",
            "conf/g.yaml:1:51: warning: `hash` has no effect, because the balancer `p2c` does not hash (at upstreams[0].hash)\n  hint: write `balance: { type: maglev }` or `{ type: ring-hash }`\n\
             conf/g.yaml:1:51: error: `a b` is not a header name (at upstreams[0].hash)\n\
             conf/g.yaml:1:83: error: `cert` needs `key` (at upstreams[0].tls.cert)\n  hint: name the PEM file with its private key\n\
             conf/g.yaml:1:99: error: `a b` is neither a host name nor an IP address (at upstreams[0].tls.server_name)\n\
             conf/g.yaml:1:128: warning: anyone on the way to `u` can read and change the traffic (at upstreams[0].tls.insecure_skip_verify)\n  hint: name the authority that issues its certificates with `ca`",
        ),
        (
            "upstreams: [{ name: u, endpoints: ['a:80'], balance: { type: maglev }, hash: [{ cookie: '' }, { cookie: '' }] }]",
            "conf/g.yaml:1:79: error: `` is not a cookie name (at upstreams[0].hash[0])\n\
             conf/g.yaml:1:95: error: `` is not a cookie name (at upstreams[0].hash[1])",
        ),
        (
            "upstreams: [{ name: u, endpoints: ['a:80'], timeouts: { connect: 0s }, health: { active: { path: healthz, interval: 0s, expect: [] }, passive: { eject_for: 0s } } }]",
            "conf/g.yaml:1:66: error: expected more than 0s (at upstreams[0].timeouts.connect)\n\
             conf/g.yaml:1:98: error: expected a path such as /healthz, found \"healthz\" (at upstreams[0].health.active.path)\n\
             conf/g.yaml:1:117: error: expected more than 0s (at upstreams[0].health.active.interval)\n\
             conf/g.yaml:1:129: error: no answer would be a good one (at upstreams[0].health.active.expect)\n\
             conf/g.yaml:1:157: error: expected more than 0s (at upstreams[0].health.passive.eject_for)",
        ),
    ]);
}

#[test]
fn the_collector_has_to_be_an_address() {
    let text = format!("tracing: {{ otlp: {{ endpoint: 'collector:4318' }} }}\n{REST}");
    let told = lowered(&text).1.to_string();
    let expected = "conf/g.yaml:1:30: error: expected an address such as http://127.0.0.1:4318, found \"collector:4318\" (at tracing.otlp.endpoint)";
    assert!(told.starts_with(expected), "{told}");
    assert_eq!(
        told.contains("cannot send spans"),
        cfg!(not(feature = "otlp"))
    );
}

#[test]
fn what_a_program_made_is_checked_without_places() {
    let mut raw = parse_native("", REST, Format::Yaml).unwrap();
    raw.routes
        .push(crate::config::raw::RawRoute::new("made".to_owned()));
    let mut problems = Diagnostics::new();
    assert!(lower(&raw, &mut problems).is_none());
    assert!(
        problems
            .to_string()
            .starts_with("error: the route `made` has no backend"),
        "{problems}"
    );
}

#[test]
fn fingerprints_change_with_what_matters() {
    const TEXT: &str = "\
listeners: [{ name: web, bind: ':80', tls: { certificates: [{ cert: a, key: b }] } }]
routes: [{ name: r, backends: [{ upstream: u }] }, { name: s, filters: [{ type: x, y: 1, z: 2 }] }]
upstreams: [{ name: u, endpoints: ['10.0.0.1:80'] }, { name: v, endpoints: ['10.0.0.1:80'] }]
";
    let prints = |file: &str, text: &str| {
        let raw = parse_native(file, text, Format::Yaml).unwrap();
        let config = lower(&raw, &mut Diagnostics::new()).unwrap();
        let listeners = config.listeners.iter().map(|l| l.fingerprint);
        let routes = config.routes.iter().map(|r| r.fingerprint);
        let upstreams = config.upstreams.iter().map(|u| u.fingerprint);
        listeners
            .chain(routes)
            .chain(upstreams)
            .collect::<Vec<u64>>()
    };
    let changed = |file: &str, from: &str, to: &str| {
        let (before, after) = (
            prints("a/g.yaml", TEXT),
            prints(file, &TEXT.replace(from, to)),
        );
        before
            .iter()
            .zip(&after)
            .map(|(a, b)| a != b)
            .collect::<Vec<bool>>()
    };
    let file = "a/g.yaml";
    assert_eq!(changed(file, "", ""), [false; 5]);
    assert_eq!(
        changed(file, "{ type: x, y: 1, z: 2 }", "{  type: x, y: 1, z: 2 } "),
        [false; 5]
    );
    assert_eq!(
        changed(file, "z: 2", "z: 3"),
        [false, false, true, false, false]
    );
    assert_eq!(
        changed(
            file,
            "u, endpoints: ['10.0.0.1:80",
            "u, endpoints: ['10.0.0.2:80"
        ),
        [false, true, false, true, false]
    );
    assert_eq!(
        changed("b/g.yaml", "", ""),
        [true, false, false, false, false]
    );
    assert_eq!(
        changed(
            file,
            "listeners",
            "defaults: { timeouts: { total: 1s } }\nlisteners"
        ),
        [false, true, true, false, false]
    );
}
