//! TLS to clients and to upstreams, and sockets other than TCP over IPv4.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops where something unexpected happens"
)]

use std::path::Path;

use http::{HeaderValue, Request};
use portcullis::Principal;
use portcullis::filter::{Flow, HeadFilter, RequestHead};
use portcullis::registry::RegistryBuilder;
use portcullis::tls::testing::{CertificateSpec, TestCa, TestCertificate};
use portcullis_tests::{
    H2Client, Peer, TestGateway, Upstream, alpn, client_config, listener, route_to, server_config,
    tls_client, tls_upstream, within,
};

const GET: &str = "GET / HTTP/1.1\r\nhost: test\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// A listener with these entries in its `tls`.
fn secure(tls: &str) -> String {
    listener(&format!("tls: {{ {tls} }}"))
}

/// Certificate and key as files, in the form of a certificate's mapping.
fn files(folder: &Path, name: &str, certificate: &TestCertificate) -> String {
    let (cert, key) = certificate.write_to(folder, name).unwrap();
    format!("cert: \"{}\", key: \"{}\"", cert.display(), key.display())
}

/// Everything to one upstream, through a listener with these entries in its `tls`.
fn to(upstream: std::net::SocketAddr, tls: &str) -> String {
    route_to(upstream, "", "").replace(&listener(""), &secure(tls))
}

/// The subject names of the certificate a client is shown; `Err` when there is no session.
async fn shown(gateway: &TestGateway, ca: &TestCa, name: &str) -> std::io::Result<Vec<u8>> {
    let stream = tls_client(gateway.addr(), name, client_config(ca, None, &[])).await?;
    Ok(stream.get_ref().1.peer_certificates().unwrap()[0].to_vec())
}

#[tokio::test]
async fn certificates_are_chosen_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let ca = TestCa::new("ca");
    let exact = ca.issue(CertificateSpec::server(["a.shop.test"]));
    let wildcard = ca.issue(CertificateSpec::server(["*.shop.test"]));
    let fallback = ca.issue(CertificateSpec::server(["fallback.test"]));
    let certificates = |default: bool| {
        format!(
            "certificates: [{{ {} }}, {{ {} }}, {{ {}, default: {default} }}]",
            files(folder.path(), "exact", &exact),
            files(folder.path(), "wildcard", &wildcard),
            files(folder.path(), "fallback", &fallback)
        )
    };
    let upstream = Upstream::fixed(OK).await;
    let gateway = TestGateway::start(to(upstream, &certificates(true))).await;
    assert_eq!(
        shown(&gateway, &ca, "a.shop.test").await.unwrap(),
        exact.chain()[0].to_vec()
    );
    assert_eq!(
        shown(&gateway, &ca, "A.Shop.Test").await.unwrap(),
        exact.chain()[0].to_vec()
    );
    assert_eq!(
        shown(&gateway, &ca, "b.shop.test").await.unwrap(),
        wildcard.chain()[0].to_vec()
    );
    assert_eq!(
        shown(&gateway, &ca, "fallback.test").await.unwrap(),
        fallback.chain()[0].to_vec()
    );
    // A wildcard covers one label, and an unknown name is answered with the default, which is not its own.
    assert!(shown(&gateway, &ca, "c.b.shop.test").await.is_err());
    let strict = TestGateway::start(to(upstream, &certificates(false))).await;
    assert_eq!(
        shown(&strict, &ca, "a.shop.test").await.unwrap(),
        exact.chain()[0].to_vec()
    );
    assert!(shown(&strict, &ca, "other.test").await.is_err());
}

#[tokio::test]
async fn requests_pass_through_tls_and_are_marked_so() {
    let folder = tempfile::tempdir().unwrap();
    let ca = TestCa::new("ca");
    let certificate = ca.issue(CertificateSpec::server(["shop.test"]));
    let tls = format!(
        "certificates: [{{ {} }}]",
        files(folder.path(), "a", &certificate)
    );
    let gateway = TestGateway::start(to(Upstream::mirror().await, &tls)).await;
    let stream = tls_client(
        gateway.addr(),
        "shop.test",
        client_config(&ca, None, &["http/1.1"]),
    )
    .await
    .unwrap();
    assert_eq!(alpn(&stream).as_deref(), Some("http/1.1"));
    let mut client = Peer::new(stream);
    for _ in 0..2 {
        let text = client
            .ask("GET /a HTTP/1.1\r\nhost: shop.test\r\n\r\n")
            .await
            .text();
        assert!(text.contains("x-forwarded-proto: https\n"), "{text}");
    }
}

#[tokio::test]
async fn http2_is_agreed_on_by_alpn() {
    let folder = tempfile::tempdir().unwrap();
    let ca = TestCa::new("ca");
    let certificate = ca.issue(CertificateSpec::server(["shop.test"]));
    let tls = format!(
        "certificates: [{{ {} }}]",
        files(folder.path(), "a", &certificate)
    );
    let gateway = TestGateway::start(to(Upstream::mirror().await, &tls)).await;
    let stream = tls_client(
        gateway.addr(),
        "shop.test",
        client_config(&ca, None, &["http/1.1", "h2"]),
    )
    .await
    .unwrap();
    assert_eq!(alpn(&stream).as_deref(), Some("h2"));
    let client = H2Client::on(stream).await;
    let reply = client
        .ask(Request::get("https://shop.test/a").body("").unwrap())
        .await;
    let text = String::from_utf8(reply.body).unwrap();
    assert!(
        text.starts_with("GET /a HTTP/1.1\n") && text.contains("x-forwarded-proto: https\n"),
        "{text}"
    );
}

#[tokio::test]
async fn plain_text_on_a_tls_port_is_not_served() {
    let folder = tempfile::tempdir().unwrap();
    let ca = TestCa::new("ca");
    let certificate = ca.issue(CertificateSpec::server(["shop.test"]));
    let tls = format!(
        "certificates: [{{ {} }}]",
        files(folder.path(), "a", &certificate)
    );
    let gateway = TestGateway::start(to(Upstream::fixed(OK).await, &tls)).await;
    let mut client = gateway.client().await;
    client.send(GET).await;
    // At most an alert comes back.
    assert!(!client.rest().await.starts_with(b"HTTP"));
}

#[tokio::test]
async fn a_new_certificate_is_used_after_a_reload_and_old_connections_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let ca = TestCa::new("ca");
    let first = ca.issue(CertificateSpec::server(["shop.test"]));
    let tls = format!(
        "certificates: [{{ {} }}]",
        files(folder.path(), "a", &first)
    );
    let file = folder.path().join("gateway.yaml");
    std::fs::write(&file, to(Upstream::fixed(OK).await, &tls)).unwrap();
    let gateway = TestGateway::files([file]).await;
    let stream = tls_client(gateway.addr(), "shop.test", client_config(&ca, None, &[]))
        .await
        .unwrap();
    let mut old = Peer::new(stream);
    assert_eq!(old.ask(GET).await.text(), "ok");
    let second = ca.issue(CertificateSpec::server(["shop.test"]));
    files(folder.path(), "a", &second);
    gateway.handle.reload().unwrap();
    assert_eq!(
        shown(&gateway, &ca, "shop.test").await.unwrap(),
        second.chain()[0].to_vec()
    );
    assert_eq!(old.ask(GET).await.text(), "ok");
    // A broken one changes nothing.
    std::fs::write(folder.path().join("a.pem"), "nonsense").unwrap();
    assert!(gateway.handle.reload().is_err());
    assert_eq!(
        shown(&gateway, &ca, "shop.test").await.unwrap(),
        second.chain()[0].to_vec()
    );
}

/// Tells the upstream who the client is.
struct Who;

impl HeadFilter for Who {
    fn on_request(&self, head: &mut RequestHead<'_>) -> Result<Flow, portcullis::GatewayError> {
        let who = head
            .extensions()
            .get::<Principal>()
            .map_or("nobody", Principal::id);
        let who = HeaderValue::from_str(who).unwrap();
        head.headers_mut().insert("x-who", who);
        Ok(Flow::Continue)
    }
}

/// Takes no settings.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Nothing {}

fn who(registry: RegistryBuilder) -> RegistryBuilder {
    registry.head_filter("who", |_: Nothing, _: &_| Ok(Who))
}

#[tokio::test]
async fn client_certificates_are_asked_for_as_configured() {
    let folder = tempfile::tempdir().unwrap();
    let (ca, clients, strangers) = (
        TestCa::new("ca"),
        TestCa::new("clients"),
        TestCa::new("strangers"),
    );
    let server = files(
        folder.path(),
        "a",
        &ca.issue(CertificateSpec::server(["shop.test"])),
    );
    let authority = folder.path().join("clients.pem");
    std::fs::write(&authority, clients.pem()).unwrap();
    let upstream = Upstream::mirror().await;
    let known = clients.issue(CertificateSpec::client("alice"));
    let workload = clients.issue(CertificateSpec::spiffe("spiffe://cluster.local/ns/a/sa/b"));
    let stranger = strangers.issue(CertificateSpec::client("mallory"));
    for (mode, without, wrong) in [
        ("off", Some("nobody"), Some("nobody")),
        ("request", Some("nobody"), None),
        ("require", None, None),
    ] {
        let tls = format!(
            "certificates: [{{ {server} }}], client_auth: {{ mode: {mode}, ca: \"{}\" }}",
            authority.display()
        );
        let yaml = to(upstream, &tls).replace("name: all,", "name: all, filters: [{ type: who }],");
        let gateway = TestGateway::with(yaml, who).await;
        let alice = (mode != "off").then_some("cn:alice");
        let service = (mode != "off").then_some("spiffe://cluster.local/ns/a/sa/b");
        for (certificate, expected) in [
            (None, without),
            (Some(&stranger), wrong),
            (Some(&known), alice.or(Some("nobody"))),
            (Some(&workload), service.or(Some("nobody"))),
        ] {
            let config = client_config(&ca, certificate, &[]);
            let Ok(stream) = tls_client(gateway.addr(), "shop.test", config).await else {
                assert_eq!(expected, None, "{mode}");
                continue;
            };
            // With TLS 1.3 a client learns with its first read that it was not let in.
            let mut client = Peer::new(stream);
            // A forged identity is nothing but a header.
            let asked = client
                .try_send("GET / HTTP/1.1\r\nhost: shop.test\r\nx-who: root\r\n\r\n")
                .await;
            let Some(expected) = expected else {
                assert!(asked.is_err() || client.rest().await.is_empty(), "{mode}");
                continue;
            };
            let text = client.response().await.text();
            assert!(
                text.contains(&format!("x-who: {expected}")),
                "{mode}: {text}"
            );
            let ended = gateway.ended().await;
            let principal = ended.principal.as_deref().unwrap_or("nobody");
            assert!(principal.ends_with(expected), "{mode}: {ended:?}");
        }
    }
}

/// Everything to one upstream over TLS.
fn over_tls(upstream: &Upstream, tls: &str, more: &str) -> String {
    route_to(upstream.addr(), "", &format!("tls: {{ {tls} }}{more}"))
}

#[tokio::test]
async fn an_upstream_proves_who_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let (ca, other) = (TestCa::new("ca"), TestCa::new("other"));
    let (trusted, untrusted) = (
        folder.path().join("ca.pem"),
        folder.path().join("other.pem"),
    );
    std::fs::write(&trusted, ca.pem()).unwrap();
    std::fs::write(&untrusted, other.pem()).unwrap();
    let config = server_config(
        &ca.issue(CertificateSpec::server(["inner.test", "127.0.0.1"])),
        None,
        &[],
    );
    for (tls, name, works) in [
        (format!("ca: \"{}\"", trusted.display()), None, true),
        (
            format!("ca: \"{}\", server_name: inner.test", trusted.display()),
            Some("inner.test"),
            true,
        ),
        (
            format!("ca: \"{}\", server_name: wrong.test", trusted.display()),
            None,
            false,
        ),
        (format!("ca: \"{}\"", untrusted.display()), None, false),
        ("server_name: inner.test".to_owned(), None, false),
        (
            "insecure_skip_verify: true, server_name: any.test".to_owned(),
            Some("any.test"),
            true,
        ),
    ] {
        let upstream = Upstream::bind().await;
        let gateway = TestGateway::start(over_tls(&upstream, &tls, "")).await;
        let mut client = gateway.client().await;
        client.send(GET).await;
        let session = tls_upstream(&upstream, config.clone()).await;
        if works {
            let (mut peer, asked) = session.unwrap();
            assert_eq!(asked.as_deref(), name, "{tls}");
            peer.request().await;
            peer.send(OK).await;
            assert_eq!(client.response().await.text(), "ok", "{tls}");
        } else {
            assert_eq!(client.response().await.status(), 502, "{tls}");
            assert_eq!(gateway.ended().await.reason, "upstream_tls_failed", "{tls}");
            gateway.settles("up", 0, 0).await;
        }
    }
}

#[tokio::test]
async fn the_gateway_shows_its_own_certificate_to_an_upstream() {
    let folder = tempfile::tempdir().unwrap();
    let (ca, clients) = (TestCa::new("ca"), TestCa::new("clients"));
    let authority = folder.path().join("ca.pem");
    std::fs::write(&authority, ca.pem()).unwrap();
    let own = files(
        folder.path(),
        "own",
        &clients.issue(CertificateSpec::client("gateway")),
    );
    let config = server_config(
        &ca.issue(CertificateSpec::server(["inner.test"])),
        Some(&clients),
        &[],
    );
    let tls = format!(
        "ca: \"{}\", server_name: inner.test, {own}",
        authority.display()
    );
    let upstream = Upstream::bind().await;
    let gateway = TestGateway::start(over_tls(&upstream, &tls, "")).await;
    let mut client = gateway.client().await;
    for _ in 0..2 {
        client.send(GET).await;
        let (mut peer, _) = tls_upstream(&upstream, config.clone()).await.unwrap();
        peer.request().await;
        peer.send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok")
            .await;
        assert_eq!(client.response().await.text(), "ok");
    }
}

#[tokio::test]
async fn a_tls_connection_to_an_upstream_is_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let ca = TestCa::new("ca");
    let authority = folder.path().join("ca.pem");
    std::fs::write(&authority, ca.pem()).unwrap();
    let config = server_config(
        &ca.issue(CertificateSpec::server(["127.0.0.1"])),
        None,
        &["http/1.1"],
    );
    let upstream = Upstream::bind().await;
    let tls = format!("ca: \"{}\"", authority.display());
    let gateway = TestGateway::start(over_tls(&upstream, &tls, "")).await;
    let mut client = gateway.client().await;
    client.send(GET).await;
    let (mut peer, _) = tls_upstream(&upstream, config).await.unwrap();
    for _ in 0..3 {
        peer.request().await;
        peer.send(OK).await;
        assert_eq!(client.response().await.text(), "ok");
        client.send(GET).await;
    }
    gateway.settles("up", 1, 0).await;
}

#[tokio::test]
async fn http2_is_spoken_to_an_upstream_that_offers_it() {
    let folder = tempfile::tempdir().unwrap();
    let ca = TestCa::new("ca");
    let authority = folder.path().join("ca.pem");
    std::fs::write(&authority, ca.pem()).unwrap();
    let config = server_config(
        &ca.issue(CertificateSpec::server(["127.0.0.1"])),
        None,
        &["h2", "http/1.1"],
    );
    let upstream = Upstream::bind().await;
    let tls = format!("ca: \"{}\"", authority.display());
    let gateway = TestGateway::start(over_tls(&upstream, &tls, "")).await;
    let mut client = gateway.client().await;
    client
        .send("GET /a HTTP/1.1\r\nhost: shop.test\r\n\r\n")
        .await;
    let (peer, _) = tls_upstream(&upstream, config).await.unwrap();
    let mut connection = within("the handshake", h2::server::handshake(peer.into_io()))
        .await
        .unwrap();
    let (request, mut respond) = within("a stream", connection.accept())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(request.uri(), "https://shop.test/a");
    let driving = tokio::spawn(async move { while connection.accept().await.is_some() {} });
    respond
        .send_response(
            http::Response::builder().status(204).body(()).unwrap(),
            true,
        )
        .unwrap();
    assert_eq!(client.response().await.status(), 204);
    driving.abort();
}

#[tokio::test]
async fn unix_sockets_on_both_sides() {
    let folder = tempfile::tempdir().unwrap();
    let (front, back) = (
        folder.path().join("front.sock"),
        folder.path().join("back.sock"),
    );
    let server = tokio::net::UnixListener::bind(&back).unwrap();
    let yaml = route_to(format!("unix:{}", back.display()), "", "")
        .replace("127.0.0.1:0", &format!("unix:{}", front.display()));
    let gateway = TestGateway::start(yaml).await;
    let mut client = Peer::unix(&front).await;
    client
        .send("GET / HTTP/1.1\r\nhost: test\r\nx-forwarded-for: 1.2.3.4\r\n\r\n")
        .await;
    let (stream, _) = within("a connection", server.accept()).await.unwrap();
    let mut peer = Peer::new(stream);
    let request = peer.request().await;
    // A peer without an address is nobody to believe.
    assert_eq!(request.header("x-forwarded-for"), None);
    peer.send(OK).await;
    assert_eq!(client.response().await.text(), "ok");
    within("the shutdown", gateway.handle.shutdown()).await;
    assert!(!front.exists(), "the socket file is gone");
}

#[tokio::test]
async fn ipv6_on_both_sides() {
    let Ok(server) = tokio::net::TcpListener::bind("[::1]:0").await else {
        return; // The machine has no IPv6.
    };
    let yaml = route_to(server.local_addr().unwrap(), "", "").replace("127.0.0.1:0", "[::1]:0");
    let gateway = TestGateway::start(yaml).await;
    let mut client = gateway.client().await;
    client
        .send("GET / HTTP/1.1\r\nhost: [::1]:80\r\n\r\n")
        .await;
    let (stream, _) = within("a connection", server.accept()).await.unwrap();
    let mut peer = Peer::tcp(stream);
    let request = peer.request().await;
    assert_eq!(
        (request.header("host"), request.header("x-forwarded-for")),
        (Some("[::1]:80"), Some("::1"))
    );
    peer.send(OK).await;
    assert_eq!(client.response().await.text(), "ok");
}
