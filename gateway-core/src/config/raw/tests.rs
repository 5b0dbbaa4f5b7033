use std::fmt::Write as _;

use serde_json::json;

use super::*;
use crate::config::{Diagnostics, Document, EndpointAddress, Format, PluginSpec, decode};

const GOOD: &str = r#"
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
"#;

fn read(text: &str, format: Format) -> Result<RawConfig, Diagnostics> {
    let name = match format {
        Format::Yaml => "g.yaml",
        Format::Toml => "g.toml",
        Format::Json => "g.json",
    };
    let documents = Document::parse(name, text, format)?;
    let mut diagnostics = Diagnostics::new();
    let config = decode::<RawConfig>(documents[0].root(), &mut diagnostics);
    assert_eq!(config.is_none(), diagnostics.has_errors());
    config.ok_or(diagnostics)
}

fn refused(text: &str, format: Format) -> String {
    let mut out = read(text, format).expect_err("mistakes").to_string();
    writeln!(out).unwrap();
    out
}

#[test]
fn the_example_of_the_manual_reads() {
    let config = read(GOOD, Format::Yaml).unwrap();
    let listener = &config.listeners[0];
    assert_eq!(listener.name.value, "web");
    assert_eq!(listener.name.at.to_string(), "g.yaml:2:21");
    assert_eq!(listener.name.path(), "listeners[0].name");
    assert!(listener.reuse_port && listener.timeouts == RawListenerTimeouts::default());
    assert_eq!(listener.tls.as_ref().unwrap().min_version, TlsVersion::V1_2);
    assert_eq!(listener.filters[0].kind, "request-id");

    let route = &config.routes[0];
    let matches = route.matches.as_ref().unwrap();
    assert_eq!(
        matches.path.as_ref().unwrap().value,
        PathMatch::Prefix("/orders".to_owned())
    );
    assert_eq!(
        matches.headers["x-tenant"].value,
        ValueMatch::Exact("gold".to_owned())
    );
    assert_eq!(route.timeouts.per_try.unwrap().to_string(), "2s");
    let retry = route.retry.as_ref().unwrap();
    assert_eq!((retry.attempts, retry.on[1].as_str()), (2, "503"));
    assert!(route.upgrade);
    assert_eq!(route.backends[1].weight, 5);
    assert_eq!(route.backends[1].filters[0].at.to_string(), "g.yaml:9:97");

    let upstream = &config.upstreams[0];
    assert_eq!(
        upstream.endpoints[0].value,
        "10.0.0.1:8080".parse::<EndpointAddress>().unwrap().into()
    );
    let active = upstream.health.active.as_ref().unwrap();
    assert_eq!(
        (active.path.as_str(), active.interval.to_string().as_str()),
        ("/healthz", "5s")
    );
    assert_eq!(config.upstreams[1].discovery.as_ref().unwrap().kind, "dns");
    assert_eq!(config.admin.bind.value.to_string(), "127.0.0.1:9900");
}

#[test]
fn what_is_written_reads_back_the_same() {
    let config = read(GOOD, Format::Yaml).unwrap();
    let json = serde_json::to_string(&config).unwrap();
    assert_eq!(read(&json, Format::Json).unwrap(), config);
    assert!(
        !json.contains("reuse_port") && !json.contains("null"),
        "{json}"
    );
    assert_eq!(serde_json::from_str::<RawConfig>(&json).unwrap(), config);
}

#[test]
fn every_key_reads() {
    let text = r"
listeners:
  - name: web
    bind: unix:/run/g.sock
    protocol: http2
    tls:
      certificates: [{ cert: a, key: b, hosts: ['*.example'], default: true }]
      client_auth: { mode: request, ca: ca.pem }
      min_version: '1.3'
      alpn: [h2]
    filters: []
    trusted_proxies: [10.0.0.0/8, '::1']
    forwarded: rfc7239
    merge_slashes: true
    limits: { max_connections: 1, max_requests_in_flight: 2, max_head_bytes: 16KiB, max_headers: 50, max_streams: 10 }
    timeouts: { detect: 1s, head: 2s, idle: 3s, body_idle: 4s, write_idle: 5s }
    reuse_port: false
routes:
  - name: a
    listeners: [web]
    match:
      hosts: [a.example]
      path: /a
      methods: [GET]
      headers: { a: { exact: b }, c: { regex: d }, e: { present: true }, f: { absent: true }, g: { present: false } }
      query: { q: v }
      client_ip: [192.0.2.1]
      ports: [80]
      custom: [{ type: tenant, tier: gold }]
    priority: -3
    timeouts: { total: 1s, per_try: 500ms, idle: 0s }
    retry: { attempts: 0, on: [503, reset], non_idempotent: true, buffer: 1MiB, budget: { percent: 10, min_per_second: 1 }, backoff: { base: 1ms, max: 2ms, retry_after: 3s } }
    hedge: { percentile: 99.5, min_delay: 2ms, budget: { percent: 1 } }
    upgrade: false
  - { name: b, rule: 'Host(`a`)', match: { path: { regex: '/x.*' } } }
upstreams:
  - name: u
    endpoints: [{ address: '10.0.0.1:80', weight: 2, zone: a }, unix:/run/a.sock, 'orders.svc:80']
    hash: { header: x-user }
    connector: { type: tunnel, via: a }
    protocol: http1
    tls: { ca: a, server_name: b, cert: c, key: d, insecure_skip_verify: true }
    health:
      active: { healthy: 1, unhealthy: 2, timeout: 1s, expect: [200, 2xx, 301-302] }
      passive: { consecutive_failures: 3, eject_for: 10s }
    limits: { max_connections: 1, max_requests: 2, adaptive: { initial: 5, min: 2, max: 9, tolerance: 2, window: 1s }, max_pending: 3, max_idle_connections: 4, idle_timeout: 5s }
    timeouts: { connect: 1s }
    host: endpoint
admin: { enabled: false, bind: '127.0.0.1:1' }
access_log: { path: stderr, format: text, query: true }
tracing: { propagation: both, sample_ratio: 0.5, otlp: { endpoint: 'http://a:4318', service_name: x } }
metrics: { max_series: 7 }
defaults: { timeouts: { total: 1m }, retry: {} }
limits: { max_connections: 5, max_requests_in_flight: 6, drain: 1m30s }
";
    let config = read(text, Format::Yaml).unwrap();
    let headers = &config.routes[0].matches.as_ref().unwrap().headers;
    assert_eq!(
        (&headers["g"].value, &headers["e"].value),
        (&ValueMatch::Absent, &ValueMatch::Present)
    );
    let json = serde_json::to_string(&config).unwrap();
    assert_eq!(read(&json, Format::Json).unwrap(), config);
}

#[test]
fn reports_every_mistake_of_a_yaml_file() {
    let text = r#"listeners:
  - name: web
    bind: 0.0.0.0
    tls: { certificates: [{}], min_version: 1.3 }
    filtrs: []
    timeouts: { head: 5, idle: 5 parsecs }
    limits: { max_header: 3, max_headers: 0, max_head_bytes: 64 kilo }
  - bind: localhost:80
    protocol: htp2
    filters: [cors, { typ: x }, { type: 5 }, 7]
routes:
  - name: a
    match: { path: { exact: /a, prefix: /b }, hosts: shop.example, headers: { x: { present: maybe } }, ports: [70000, "80"] }
    backends: [{ upstream: a, weight: -1 }, { upstrem: b }, { weight: x }]
    upgrade: yes
  - nam: b
    filters:
  - 17
upstreams:
  - { name: u, endpoints: [10.0.0.1:80, orders, { adress: 1.2.3.4:5 }], balance: p2c }
upstream: []
"#;
    let expected = r#"g.yaml:3:11: error: expected an address to listen on such as 0.0.0.0:8443, [::]:80, :8080 or unix:/run/gateway.sock, found the string "0.0.0.0" (at listeners[0].bind)
  hint: write the port too
g.yaml:4:27: error: missing key `cert` (at listeners[0].tls.certificates[0])
g.yaml:4:27: error: missing key `key` (at listeners[0].tls.certificates[0])
g.yaml:4:45: error: expected one of 1.2, 1.3, found the number 1.3 (at listeners[0].tls.min_version)
  hint: put the value in quotes
g.yaml:5:5: error: unknown key `filtrs` (at listeners[0].filtrs)
  hint: did you mean `filters`?
g.yaml:6:23: error: expected a duration such as 5s, found the number 5 (at listeners[0].timeouts.head)
  hint: write the unit: 5s
g.yaml:6:32: error: expected a duration such as 5s, found the string "5 parsecs" (at listeners[0].timeouts.idle)
  hint: `parsecs` is no unit; there are ns, us, ms, s, m, h and d
g.yaml:7:15: error: unknown key `max_header` (at listeners[0].limits.max_header)
  hint: did you mean `max_headers`?
g.yaml:7:43: error: expected a whole number from 1 to 4294967295, found the number 0 (at listeners[0].limits.max_headers)
g.yaml:7:62: error: expected a size such as 64KiB, found the string "64 kilo" (at listeners[0].limits.max_head_bytes)
  hint: `kilo` is no unit; there are B, KB, MB, GB, TB, KiB, MiB, GiB and TiB
g.yaml:8:5: error: missing key `name` (at listeners[1])
g.yaml:8:11: error: expected an address to listen on such as 0.0.0.0:8443, [::]:80, :8080 or unix:/run/gateway.sock, found the string "localhost:80" (at listeners[1].bind)
  hint: a listener needs an address, not a name
g.yaml:9:15: error: expected one of auto, http1, http2, tcp, udp, found the string "htp2" (at listeners[1].protocol)
  hint: did you mean `http2`?
g.yaml:10:15: error: expected a plugin such as { type: NAME, ... }, found the string "cors" (at listeners[1].filters[0])
  hint: write { type: cors }
g.yaml:10:21: error: missing key `type` (at listeners[1].filters[1])
g.yaml:10:33: error: the key `type` must name a plugin (at listeners[1].filters[2])
g.yaml:10:46: error: expected a plugin such as { type: NAME, ... }, found a number (at listeners[1].filters[3])
g.yaml:13:20: error: expected one of the keys exact, prefix, string_prefix, regex, found several (at routes[0].match.path)
g.yaml:13:54: error: expected a list, found the string "shop.example" (at routes[0].match.hosts)
  hint: put the value in brackets: [...]
g.yaml:13:93: error: expected true or false, found the string "maybe" (at routes[0].match.headers.x.present)
g.yaml:13:112: error: expected a whole number from 0 to 65535, found the number 70000 (at routes[0].match.ports[0])
g.yaml:13:119: error: expected a whole number from 0 to 65535, found the string "80" (at routes[0].match.ports[1])
  hint: remove the quotes
g.yaml:14:39: error: expected a whole number from 0 to 4294967295, found the number -1 (at routes[0].backends[0].weight)
g.yaml:14:47: error: unknown key `upstrem` (at routes[0].backends[1].upstrem)
  hint: did you mean `upstream`?
g.yaml:14:61: error: missing key `upstream` (at routes[0].backends[2])
g.yaml:14:71: error: expected a whole number from 0 to 4294967295, found the string "x" (at routes[0].backends[2].weight)
g.yaml:15:14: error: expected true or false, found the string "yes" (at routes[0].upgrade)
  hint: write `true`
g.yaml:16:5: error: unknown key `nam` (at routes[1].nam)
  hint: did you mean `name`?
g.yaml:17:12: error: expected a list, found nothing (at routes[1].filters)
  hint: write [] for an empty list, or remove the key
g.yaml:18:5: error: expected a mapping, found the number 17 (at routes[2])
g.yaml:20:41: error: expected an endpoint such as 10.0.0.1:8080, [::1]:8080, orders:8080 or unix:/run/app.sock, found the string "orders" (at upstreams[0].endpoints[1])
  hint: write an address, `:` and a port
g.yaml:20:51: error: unknown key `adress` (at upstreams[0].endpoints[2].adress)
  hint: did you mean `address`?
g.yaml:20:82: error: expected a plugin such as { type: NAME, ... }, found the string "p2c" (at upstreams[0].balance)
  hint: write { type: p2c }
g.yaml:21:1: error: unknown key `upstream` (at upstream)
  hint: did you mean `upstreams`?
"#;
    assert_eq!(refused(text, Format::Yaml), expected);
}

#[test]
fn reports_every_mistake_of_a_json_file() {
    let text = "{\n\t\"listeners\": [\n\t\t{\"name\": \"a\", \"bind\": 5, \"u\\ud83d\\ude00\": \"\\/\"},\n\t\t{\"name\": \"b\"}\n\t]\n}";
    let expected = r#"g.json:3:25: error: expected an address to listen on such as 0.0.0.0:8443, [::]:80, :8080 or unix:/run/gateway.sock, found the number 5 (at listeners[0].bind)
g.json:3:28: error: unknown key `u😀` (at listeners[0]["u😀"])
  hint: known keys: name, bind, protocol, proxy_protocol, tls, filters, handler, trusted_proxies, forwarded, merge_slashes, limits, timeouts, reuse_port, http2, tcp_keepalive
g.json:4:3: error: missing key `bind` (at listeners[1])
"#;
    assert_eq!(refused(text, Format::Json), expected);
}

#[test]
fn reports_every_mistake_of_a_toml_file() {
    let text = r"[[listeners]]
name = 'a'
bind = ':80'
[listeners.timeouts]
head = '5'
x = 1
[[routes]]
name = 5
[[routes]]
match.path = { exakt = '/a' }
";
    let expected = r#"g.toml:5:8: error: expected a duration such as 5s, found the string "5" (at listeners[0].timeouts.head)
  hint: write the unit: 5s
g.toml:6:1: error: unknown key `x` (at listeners[0].timeouts.x)
  hint: known keys: detect, head, idle, body_idle, body, write_idle
g.toml:8:8: error: expected a string, found the number 5 (at routes[0].name)
  hint: put the value in quotes
g.toml:9:1: error: missing key `name` (at routes[1])
g.toml:10:16: error: unknown key `exakt` (at routes[1].match.path.exakt)
  hint: did you mean `exact`?
"#;
    assert_eq!(refused(text, Format::Toml), expected);
}

#[test]
fn the_wrong_kind_of_document_is_one_mistake() {
    assert_eq!(
        refused("- a\n", Format::Yaml),
        "g.yaml:1:1: error: expected a mapping, found a list\n"
    );
    assert_eq!(
        refused("just text\n", Format::Yaml),
        "g.yaml:1:1: error: expected a mapping, found the string \"just text\"\n"
    );
}

#[test]
fn mistakes_are_counted_up_to_a_bound() {
    let mut text = "routes:\n".to_owned();
    for _ in 0..1000 {
        text.push_str("  - { name: 1, nam: 2 }\n");
    }
    let diagnostics = read(&text, Format::Yaml).unwrap_err();
    assert_eq!(diagnostics.len(), crate::config::MAX_MISTAKES + 1);
    assert!(
        diagnostics
            .to_string()
            .contains("stopped looking after 200 mistakes")
    );
}

#[test]
fn constructors_mean_what_an_empty_entry_means() {
    let text = "listeners: [{ name: a, bind: ':80' }]\nroutes: [{ name: a, backends: [{ upstream: u }] }]\nupstreams: [{ name: u }]\n";
    let read = read(text, Format::Yaml).unwrap();
    let name = |name: &str| name.to_owned();
    let bind: crate::config::BindAddress = ":80".parse().unwrap();
    assert_eq!(read.listeners[0], RawListener::new(name("a"), bind));
    let mut route = RawRoute::new(name("a"));
    route.backends.push(RawBackend::new(name("u")));
    assert_eq!(read.routes[0], route);
    assert_eq!(read.upstreams[0], RawUpstream::new(name("u")));
}

#[test]
fn plugins_made_by_a_program_equal_those_of_a_file() {
    let config = read(GOOD, Format::Yaml).unwrap();
    let made = PluginSpec::new(
        "rate-limit",
        json!({ "per": "1m", "by": "principal", "limit": 100 }),
    )
    .unwrap();
    assert_eq!(config.routes[0].filters[1], made);
    assert_ne!(config.routes[0].filters[0], made);
    assert!(PluginSpec::new("x", json!([])).is_err());
}

#[test]
fn the_schema_describes_every_key() {
    let schema = schema();
    assert_eq!(schema["title"], "Config");
    assert_eq!(schema["additionalProperties"], false);
    let definitions = schema["$defs"].as_object().unwrap();
    assert_eq!(definitions["Listener"]["required"], json!(["name", "bind"]));
    assert_eq!(definitions["PluginSpec"]["required"], json!(["type"]));
    assert_eq!(
        definitions["Match"]["properties"]["custom"]["x-portcullis-plugins"],
        "matcher"
    );
    assert_eq!(
        definitions["Upstream"]["properties"]["balance"]["x-portcullis-plugins"],
        "balancer"
    );
    assert_eq!(
        definitions["Listener"]["properties"]["filters"]["x-portcullis-plugins"],
        "filter"
    );
    let mut objects = vec![&schema];
    objects.extend(definitions.values());
    for object in objects {
        let Some(properties) = object["properties"].as_object() else {
            continue;
        };
        for (key, property) in properties {
            let described = property["description"].is_string() || property["$ref"].is_string();
            assert!(
                described || object["title"] == "PluginSpec" || key == "type",
                "{key}: {property}"
            );
        }
    }
    let text = schema.to_string();
    assert!(!text.contains("Raw"), "internal names leak");
}
