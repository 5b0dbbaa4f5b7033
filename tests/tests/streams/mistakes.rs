//! Configurations that cannot be meant.

use portcullis::Gateway;

/// What is said about a configuration; it has to be refused.
fn told(yaml: &str) -> String {
    let registry = portcullis::registry().build().unwrap();
    let refused = Gateway::builder(registry).yaml(yaml).workers(1).build();
    refused
        .err()
        .map(|error| error.to_string())
        .unwrap_or_default()
}

const UPSTREAM: &str = "upstreams: [{ name: u, endpoints: ['127.0.0.1:1'] }]";

#[test]
fn routes_and_listeners_have_to_fit() {
    let web = "{ name: web, bind: '127.0.0.1:0', protocol: http1 }";
    let raw = "{ name: raw, bind: '127.0.0.1:0', protocol: tcp }";
    let dns = "{ name: dns, bind: '127.0.0.1:0', protocol: udp }";
    let to = "backends: [{ upstream: u }]";
    for (listeners, routes, expected) in [
        (
            web,
            format!("tcp_routes: [{{ name: r, listeners: [web], {to} }}]"),
            "the listener `web` cannot have a TCP route",
        ),
        (
            raw,
            format!("udp_routes: [{{ name: r, listeners: [raw], {to} }}]"),
            "the listener `raw` cannot have a UDP route",
        ),
        (
            raw,
            format!("routes: [{{ name: r, listeners: [raw], {to} }}]"),
            "the listener `raw` serves TCP, not HTTP",
        ),
        (
            raw,
            format!("tcp_routes: [{{ name: r, tls: terminate, {to} }}]"),
            "the TCP route `r` ends TLS, but the listener `raw` has no certificates",
        ),
        (
            raw,
            format!("tcp_routes: [{{ name: r, match: {{ sni: [a.test] }}, {to} }}]"),
            "looks at `sni`, which only TLS has",
        ),
        (
            raw,
            format!("tcp_routes: [{{ name: r, starttls: postgres, {to} }}]"),
            "the TCP route `r` has `starttls` without `tls`",
        ),
        (
            raw,
            format!(
                "tcp_routes: [{{ name: r, match: {{ sni: ['a.*'] }}, tls: passthrough, {to} }}]"
            ),
            "may have `*` only as its whole first label",
        ),
        (
            raw,
            "tcp_routes: [{ name: r, backends: [{ upstream: v }] }]".to_owned(),
            "no upstream is called `v`",
        ),
        (
            raw,
            "tcp_routes: [{ name: r }]".to_owned(),
            "the TCP route `r` has no backend",
        ),
        (
            dns,
            format!("udp_routes: [{{ name: r, {to} }}, {{ name: s, {to} }}]"),
            "the listener `dns` has the UDP route `r` already",
        ),
        (
            dns,
            format!("udp_routes: [{{ name: r, max_datagram_bytes: 1MiB, {to} }}]"),
            "expected 1 to 65507 bytes, found 1MiB",
        ),
    ] {
        let told = told(&format!("listeners: [{listeners}]\n{routes}\n{UPSTREAM}"));
        assert!(told.contains(expected), "{told}");
    }
}

#[test]
fn listeners_without_http_have_no_use_for_what_is_http() {
    for (more, expected) in [
        (
            "protocol: tcp, filters: [{ type: request-id }]",
            "serves TCP and has no use for `filters`",
        ),
        (
            "protocol: udp, proxy_protocol: { trusted: [10.0.0.1] }",
            "serves UDP and has no use for `proxy_protocol`",
        ),
        (
            "proxy_protocol: { trusted: [] }",
            "nobody's header would be believed",
        ),
    ] {
        let told = told(&format!(
            "listeners: [{{ name: l, bind: '127.0.0.1:0', {more} }}]"
        ));
        assert!(told.contains(expected), "{told}");
    }
}

#[test]
fn http_routes_cannot_tell_of_clients_by_connection() {
    let upstream = UPSTREAM.replace("name: u,", "name: u, proxy_protocol: v2,");
    let told = told(&format!(
        "listeners: [{{ name: l, bind: '127.0.0.1:0' }}]\n\
         routes: [{{ name: r, backends: [{{ upstream: u }}] }}]\n{upstream}"
    ));
    assert!(
        told.contains("the upstream `u` has `proxy_protocol`"),
        "{told}"
    );
}

#[test]
fn one_port_may_be_used_for_tcp_and_for_udp() {
    let free = portcullis_tests::free_port();
    let registry = portcullis::registry().build().unwrap();
    let gateway = Gateway::builder(registry)
        .yaml(format!(
            "listeners: [{{ name: a, bind: '{free}', protocol: tcp }}, {{ name: b, bind: '{free}', protocol: udp }}]"
        ))
        .workers(1)
        .build();
    assert!(gateway.is_ok(), "{gateway:?}");
}
