use std::time::Duration;

use super::super::route::{Shares, StreamMetrics};
use super::*;
use crate::observe::Metrics;

const PEER: &str = "192.0.2.1:1000";
const LOCAL: &str = "198.51.100.1:443";

fn route(name: &str) -> Arc<TcpRoute> {
    Arc::new(TcpRoute {
        name: name.into(),
        idle: Some(Duration::from_secs(1)),
        connect_attempts: 1,
        backends: Shares::new(Vec::new()),
        room: Arc::default(),
        metrics: StreamMetrics::new(&Metrics::new(1, 100), "tcp", name),
    })
}

fn plain(name: &str) -> Entry {
    Entry {
        route: route(name),
        matches: TcpMatch::default(),
        priority: 0,
        tls: Tls::None,
        starttls: false,
    }
}

fn tls(name: &str, sni: &[&str]) -> Entry {
    let mut entry = plain(name);
    entry.tls = Tls::Passthrough;
    entry.matches.sni = sni.iter().map(|name| name.parse().unwrap()).collect();
    entry
}

fn https(hosts: &[&str], any: bool) -> Option<Https> {
    let hosts = hosts.iter().map(|host| host.parse().unwrap()).collect();
    Some(Https { hosts, any })
}

fn hello(sni: Option<&str>, alpn: &[&str]) -> ClientHello {
    ClientHello {
        sni: sni.map(Into::into),
        alpn: alpn.iter().map(|name| name.as_bytes().into()).collect(),
    }
}

fn said(choice: Choice<'_>) -> String {
    match choice {
        Choice::Tcp(entry) => entry.route.name.to_string(),
        Choice::Http => "http".to_owned(),
        Choice::Nothing => "nothing".to_owned(),
    }
}

fn peer() -> Option<SocketAddr> {
    Some(PEER.parse().unwrap())
}

fn local() -> Option<SocketAddr> {
    Some(LOCAL.parse().unwrap())
}

fn for_name(table: &TcpTable, sni: Option<&str>) -> String {
    said(table.tls(&hello(sni, &[]), peer(), local(), false))
}

#[test]
fn on_one_port_the_order_is_https_by_name_tcp_by_name_https_and_tcp() {
    let entries = || vec![tls("named", &["db.test", "*.db.test"]), tls("rest", &["*"])];
    let table = TcpTable::new(entries(), https(&["shop.test", "*.db.test"], false), false);
    assert_eq!(for_name(&table, Some("shop.test")), "http");
    assert_eq!(for_name(&table, Some("a.db.test")), "http");
    assert_eq!(for_name(&table, Some("db.test")), "named");
    assert_eq!(for_name(&table, Some("other.test")), "rest");
    assert_eq!(for_name(&table, None), "rest");
    let table = TcpTable::new(entries(), https(&["shop.test"], true), false);
    assert_eq!(for_name(&table, Some("a.db.test")), "named");
    assert_eq!(for_name(&table, Some("other.test")), "http");
    let table = TcpTable::new(vec![tls("named", &["db.test"])], https(&[], false), false);
    assert_eq!(for_name(&table, Some("other.test")), "http");
}

#[test]
fn the_better_name_wins_then_the_priority_decides() {
    let mut entries = vec![
        tls("any", &[]),
        tls("short", &["*.test"]),
        tls("long", &["*.b.test"]),
        tls("exact", &["a.b.test"]),
    ];
    let table = TcpTable::new(entries.clone(), None, false);
    for (name, expected) in [
        ("a.b.test", "exact"),
        ("c.b.test", "long"),
        ("c.test", "short"),
        ("c.example", "any"),
    ] {
        assert_eq!(for_name(&table, Some(name)), expected);
    }
    entries[1].priority = 1;
    let table = TcpTable::new(entries, None, false);
    assert_eq!(for_name(&table, Some("a.b.test")), "short");
}

#[test]
fn protocols_networks_and_ports_have_to_fit() {
    let mut h2 = tls("h2", &["a.test"]);
    h2.matches.alpn = vec![b"h2".as_slice().into()];
    let mut far = tls("far", &["a.test"]);
    far.matches.client_ip = vec!["10.0.0.0/8".parse().unwrap()];
    let mut port = tls("port", &["a.test"]);
    port.matches.ports = vec![443];
    let table = TcpTable::new(vec![far, tls("a", &["a.test"]), h2, port], None, false);
    let offered = |alpn| said(table.tls(&hello(Some("a.test"), alpn), peer(), local(), false));
    assert_eq!(offered(&["h2", "http/1.1"]), "h2");
    assert_eq!(offered(&["http/1.1"]), "port");
    let elsewhere = Some("198.51.100.1:444".parse().unwrap());
    let hello = hello(Some("a.test"), &[]);
    assert_eq!(said(table.tls(&hello, peer(), elsewhere, false)), "a");
    let near = Some("[::ffff:10.0.0.1]:1".parse().unwrap());
    assert_eq!(said(table.tls(&hello, near, elsewhere, false)), "far");
}

#[test]
fn plain_text_goes_to_plain_routes_before_http() {
    let mut near = plain("near");
    near.matches.client_ip = vec!["192.0.2.0/24".parse().unwrap()];
    let table = TcpTable::new(vec![near.clone()], None, true);
    assert!(!table.waits());
    assert_eq!(said(table.plain(peer(), local())), "near");
    assert_eq!(said(table.plain(None, local())), "http");
    let table = TcpTable::new(vec![plain("first"), plain("second"), near], None, false);
    assert_eq!(said(table.plain(peer(), local())), "near");
    assert_eq!(said(table.plain(None, None)), "first");
    assert_eq!(for_name(&table, Some("a.test")), "nothing");
}

#[test]
fn only_what_depends_on_the_first_bytes_waits_for_them() {
    assert!(!TcpTable::new(vec![plain("a")], None, true).waits());
    assert!(TcpTable::new(vec![plain("a"), tls("b", &[])], None, false).waits());
    assert!(TcpTable::new(vec![plain("a")], https(&[], true), false).waits());
}

#[test]
fn those_who_ask_within_a_protocol_meet_only_routes_that_know_it() {
    let mut postgres = tls("postgres", &[]);
    postgres.starttls = true;
    let table = TcpTable::new(
        vec![tls("named", &["a.test"]), postgres],
        https(&[], true),
        false,
    );
    let hello = hello(Some("a.test"), &[]);
    assert_eq!(said(table.tls(&hello, peer(), local(), true)), "postgres");
    assert_eq!(said(table.tls(&hello, peer(), local(), false)), "named");
}
