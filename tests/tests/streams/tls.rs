//! TLS below HTTP: passed through by name, ended here, begun here, and beside HTTP on one port.

use std::path::Path;

use portcullis::tls::testing::{CertificateSpec, TestCa, TestCertificate};
use portcullis_tests::{
    Peer, TestGateway, Upstream, alpn, client_config, server_config, tls_client, tls_upstream,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::to;

/// The `tls` of a listener with this certificate.
fn tls(folder: &Path, certificate: &TestCertificate) -> String {
    let (cert, key) = certificate.write_to(folder, "server").unwrap();
    format!(
        "tls: {{ certificates: [{{ cert: '{}', key: '{}' }}] }}",
        cert.display(),
        key.display()
    )
}

#[tokio::test]
async fn tls_is_passed_through_unopened_by_the_name_the_client_asks_for() {
    let ca = TestCa::new("ca");
    let (one, two) = (Upstream::bind().await, Upstream::bind().await);
    let gateway = TestGateway::start(format!(
        "listeners: [{{ name: db, bind: '127.0.0.1:0', protocol: tcp }}]\n\
         tcp_routes:\n\
         - {{ name: one, match: {{ sni: [one.test] }}, tls: passthrough, backends: [{{ upstream: one }}] }}\n\
         - {{ name: two, match: {{ sni: ['*.two.test'] }}, tls: passthrough, backends: [{{ upstream: two }}] }}\n\
         upstreams: [{{ name: one, endpoints: ['{}'] }}, {{ name: two, endpoints: ['{}'] }}]",
        one.addr(),
        two.addr()
    ))
    .await;
    for (name, upstream) in [("one.test", &one), ("a.two.test", &two)] {
        let own = server_config(&ca.issue(CertificateSpec::server([name])), None, &["own"]);
        let client = tls_client(
            gateway.listener("db"),
            name,
            client_config(&ca, None, &["own"]),
        );
        let (client, served) = tokio::join!(client, tls_upstream(upstream, own));
        let (mut client, (mut server, asked)) = (client.unwrap(), served.unwrap());
        assert_eq!(
            (alpn(&client).as_deref(), asked.as_deref()),
            (Some("own"), Some(name))
        );
        client.write_all(b"hidden").await.unwrap();
        assert_eq!(server.exactly(6).await, b"hidden");
        server.send("reply").await;
        let mut reply = [0; 5];
        client.read_exact(&mut reply).await.unwrap();
        assert_eq!(&reply, b"reply");
    }
    let unknown = tls_client(
        gateway.listener("db"),
        "three.test",
        client_config(&ca, None, &[]),
    );
    assert!(unknown.await.is_err());
    assert_eq!(gateway.refused().await, "no_route");
}

#[tokio::test]
async fn a_hello_that_comes_byte_by_byte_in_many_records_is_put_together() {
    let ca = TestCa::new("ca");
    let upstream = Upstream::bind().await;
    let more = ", match: { sni: [db.test] }, tls: passthrough";
    let gateway = TestGateway::start(to(upstream.addr(), more)).await;
    let hello = portcullis_hello("db.test", &ca).await;
    let mut client = Peer::connect(gateway.listener("db")).await;
    let records: Vec<u8> = hello[5..]
        .chunks(50)
        .flat_map(|part| [&[22, 3, 1, 0, part.len() as u8], part].concat())
        .collect();
    for piece in records.chunks(7) {
        client.send(piece).await;
    }
    assert_eq!(
        upstream.accept().await.exactly(records.len()).await,
        records
    );
}

/// The first bytes of a real client.
async fn portcullis_hello(name: &str, ca: &TestCa) -> Vec<u8> {
    let server = Upstream::bind().await;
    let address = server.addr();
    let config = client_config(ca, None, &[]);
    let name = name.to_owned();
    let client = tokio::spawn(async move { tls_client(address, &name, config).await });
    let mut peer = server.accept().await;
    let head = peer.exactly(5).await;
    let length = usize::from(u16::from_be_bytes([head[3], head[4]]));
    let body = peer.exactly(length).await;
    client.abort();
    [head, body].concat()
}

#[tokio::test]
async fn a_malformed_hello_is_closed_counted_and_told() {
    let upstream = Upstream::bind().await;
    let gateway = TestGateway::start(to(upstream.addr(), ", tls: passthrough")).await;
    for bytes in [
        &b"\x16\x03\x01\x00\x00"[..],
        b"\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00",
        b"\x16\x03\x01\x00\x06\x01\xff\xff\xff\x00\x00",
    ] {
        let mut client = Peer::connect(gateway.listener("db")).await;
        client.send(bytes).await;
        client.closed().await;
        assert_eq!(gateway.refused().await, "client_hello_malformed");
    }
    let mut half = Peer::connect(gateway.listener("db")).await;
    half.send(b"\x16\x03\x01\x00\x90\x01\x00").await;
    half.finish().await;
    half.closed().await;
    let series =
        "portcullis_connections_dropped_total{listener=\"db\",reason=\"client_hello_malformed\"}";
    assert_eq!(gateway.metric(series).await, 4);
    // A client without TLS has no route.
    let mut plain = Peer::connect(gateway.listener("db")).await;
    plain.send("HELO\r\n").await;
    plain.closed().await;
    assert_eq!(
        gateway
            .metric(&series.replace("client_hello_malformed", "no_route"))
            .await,
        1
    );
}

#[tokio::test]
async fn a_hello_that_does_not_end_is_waited_for_only_so_long() {
    let upstream = Upstream::bind().await;
    let yaml = to(upstream.addr(), ", tls: passthrough")
        .replace("protocol: tcp", "protocol: tcp, timeouts: { detect: 50ms }");
    let gateway = TestGateway::start(yaml).await;
    for bytes in ["", "\x16\x03"] {
        let mut client = Peer::connect(gateway.listener("db")).await;
        client.send(bytes).await;
        client.closed().await;
        assert_eq!(gateway.refused().await, "detect_timeout");
    }
}

#[tokio::test]
async fn tls_ends_here_and_begins_anew_towards_the_endpoint() {
    let folder = tempfile::tempdir().unwrap();
    let ca = TestCa::new("ca");
    let listener_tls = tls(
        folder.path(),
        &ca.issue(CertificateSpec::server(["db.test"])),
    );
    let upstream = Upstream::bind().await;
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, ca.pem()).unwrap();
    let yaml = to(
        upstream.addr(),
        ", tls: terminate, match: { sni: [db.test], alpn: [own] }",
    )
    .replace("protocol: tcp", &format!("protocol: tcp, {listener_tls}"))
    .replace(
        "upstreams: [{ name: db,",
        &format!(
            "upstreams: [{{ name: db, tls: {{ ca: '{}', server_name: inner.test }},",
            ca_file.display()
        ),
    );
    let gateway = TestGateway::start(yaml).await;
    let inner = server_config(
        &ca.issue(CertificateSpec::server(["inner.test"])),
        None,
        &[],
    );
    let client = tls_client(
        gateway.listener("db"),
        "db.test",
        client_config(&ca, None, &["own"]),
    );
    let (client, served) = tokio::join!(client, tls_upstream(&upstream, inner));
    let (mut client, (mut server, asked)) = (client.unwrap(), served.unwrap());
    assert_eq!(alpn(&client).as_deref(), Some("own"));
    assert_eq!(asked.as_deref(), Some("inner.test"));
    client.write_all(b"question").await.unwrap();
    assert_eq!(server.exactly(8).await, b"question");
    client.shutdown().await.unwrap();
    assert_eq!(server.rest().await, b"");
    server.send("answer").await;
    server.finish().await;
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, b"answer");
    let ended = gateway.stream_ended().await;
    assert_eq!(
        (ended.bytes_in, ended.bytes_out, ended.aborted),
        (8, 6, false)
    );
}

#[tokio::test]
async fn http_and_tcp_share_a_port_in_traefiks_order() {
    let folder = tempfile::tempdir().unwrap();
    let ca = TestCa::new("ca");
    let names = ["shop.test", "db.test", "other.test"];
    let listener_tls = tls(folder.path(), &ca.issue(CertificateSpec::server(names)));
    let http = Upstream::fixed("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nshop").await;
    let (named, rest, plain) = (
        Upstream::bind().await,
        Upstream::bind().await,
        Upstream::bind().await,
    );
    let gateway = TestGateway::start(format!(
        "listeners: [{{ name: all, bind: '127.0.0.1:0', {listener_tls} }}]\n\
         routes: [{{ name: shop, match: {{ hosts: [shop.test] }}, backends: [{{ upstream: http }}] }}]\n\
         tcp_routes:\n\
         - {{ name: rest, listeners: [all], tls: terminate, backends: [{{ upstream: rest }}] }}\n\
         - {{ name: named, listeners: [all], tls: terminate, match: {{ sni: [db.test] }}, backends: [{{ upstream: named }}] }}\n\
         - {{ name: plain, listeners: [all], backends: [{{ upstream: plain }}] }}\n\
         upstreams:\n\
         - {{ name: http, endpoints: ['{http}'] }}\n\
         - {{ name: named, endpoints: ['{}'] }}\n\
         - {{ name: rest, endpoints: ['{}'] }}\n\
         - {{ name: plain, endpoints: ['{}'] }}",
        named.addr(),
        rest.addr(),
        plain.addr()
    ))
    .await;
    let connect = |name| tls_client(gateway.listener("all"), name, client_config(&ca, None, &[]));
    let mut web = Peer::new(connect("shop.test").await.unwrap());
    let answer = web.ask("GET / HTTP/1.1\r\nhost: shop.test\r\n\r\n").await;
    assert_eq!(answer.body, b"shop");
    for (name, upstream) in [("db.test", &named), ("other.test", &rest)] {
        let mut client = connect(name).await.unwrap();
        client.write_all(name.as_bytes()).await.unwrap();
        let mut server = upstream.accept().await;
        assert_eq!(server.exactly(name.len()).await, name.as_bytes());
    }
    let mut client = Peer::connect(gateway.listener("all")).await;
    client.send("plain").await;
    assert_eq!(plain.accept().await.exactly(5).await, b"plain");
}
