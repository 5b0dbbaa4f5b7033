//! PostgreSQL's way into TLS.

use portcullis::tls::testing::{CertificateSpec, TestCa};
use portcullis_tests::{Peer, TestGateway, Upstream, client_config, server_config, within};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::to;

const SSL_REQUEST: &[u8] = &[0, 0, 0, 8, 4, 210, 22, 47];
const GSS_REQUEST: &[u8] = &[0, 0, 0, 8, 4, 210, 22, 48];

/// Asks as libpq does: for GSSAPI, then for TLS.
async fn connect(gateway: &TestGateway, name: &str, ca: &TestCa) -> TlsStream<TcpStream> {
    let mut stream = TcpStream::connect(gateway.listener("db")).await.unwrap();
    for (request, expected) in [(GSS_REQUEST, b"N"), (SSL_REQUEST, b"S")] {
        stream.write_all(request).await.unwrap();
        let mut answer = [0];
        within("an answer", stream.read_exact(&mut answer))
            .await
            .unwrap();
        assert_eq!(&answer, expected);
    }
    let connector = TlsConnector::from(client_config(ca, None, &[]));
    let name = ServerName::try_from(name.to_owned()).unwrap();
    within("the handshake", connector.connect(name, stream))
        .await
        .unwrap()
}

#[tokio::test]
async fn tls_that_was_asked_for_ends_here() {
    let folder = tempfile::tempdir().unwrap();
    let ca = TestCa::new("ca");
    let certificate = ca.issue(CertificateSpec::server(["db.test"]));
    let (cert, key) = certificate.write_to(folder.path(), "db").unwrap();
    let upstream = Upstream::bind().await;
    let yaml = to(upstream.addr(), ", starttls: postgres, tls: terminate").replace(
        "protocol: tcp",
        &format!(
            "protocol: tcp, tls: {{ certificates: [{{ cert: '{}', key: '{}' }}] }}",
            cert.display(),
            key.display()
        ),
    );
    let gateway = TestGateway::start(yaml).await;
    let mut client = connect(&gateway, "db.test", &ca).await;
    client.write_all(b"startup").await.unwrap();
    assert_eq!(upstream.accept().await.exactly(7).await, b"startup");
}

#[tokio::test]
async fn tls_that_was_asked_for_is_asked_for_in_turn_and_passed_through() {
    let ca = TestCa::new("ca");
    let upstream = Upstream::bind().await;
    let yaml = to(
        upstream.addr(),
        ", starttls: postgres, tls: passthrough, match: { sni: [db.test] }",
    );
    let gateway = TestGateway::start(yaml).await;
    let config = server_config(&ca.issue(CertificateSpec::server(["db.test"])), None, &[]);
    let serving = async {
        let mut peer = upstream.accept().await;
        assert_eq!(peer.exactly(8).await, SSL_REQUEST);
        peer.send("S").await;
        TlsAcceptor::from(config)
            .accept(peer.into_io())
            .await
            .unwrap()
    };
    let (mut client, mut server) = tokio::join!(connect(&gateway, "db.test", &ca), serving);
    client.write_all(b"startup").await.unwrap();
    let mut seen = [0; 7];
    within("the bytes", server.read_exact(&mut seen))
        .await
        .unwrap();
    assert_eq!(&seen, b"startup");
}

#[tokio::test]
async fn an_endpoint_that_declines_is_a_reason() {
    let ca = TestCa::new("ca");
    let upstream = Upstream::bind().await;
    let more = ", starttls: postgres, tls: passthrough, connect_attempts: 1";
    let gateway = TestGateway::start(to(upstream.addr(), more)).await;
    let mut stream = Peer::connect(gateway.listener("db")).await;
    stream.send(SSL_REQUEST).await;
    assert_eq!(stream.exactly(1).await, b"S");
    let hello = TlsConnector::from(client_config(&ca, None, &[]));
    let name = ServerName::try_from("db.test").unwrap();
    let shaking = tokio::spawn(hello.connect(name, stream.into_io()));
    let mut peer = upstream.accept().await;
    assert_eq!(peer.exactly(8).await, SSL_REQUEST);
    peer.send("N").await;
    assert_eq!(gateway.stream_ended().await.reason, "upstream_no_tls");
    assert!(within("the handshake", shaking).await.unwrap().is_err());
}

#[tokio::test]
async fn data_before_the_answer_is_closed() {
    let upstream = Upstream::bind().await;
    let more = ", starttls: postgres, tls: passthrough";
    let gateway = TestGateway::start(to(upstream.addr(), more)).await;
    let mut client = Peer::connect(gateway.listener("db")).await;
    client.send([SSL_REQUEST, b"injected"].concat()).await;
    client.closed().await;
    assert_eq!(gateway.refused().await, "starttls_early_data");
}

#[tokio::test]
async fn clients_without_tls_meet_routes_without_it() {
    let (secure, plain) = (Upstream::bind().await, Upstream::bind().await);
    let yaml = to(secure.addr(), ", starttls: postgres, tls: passthrough")
        .replace(
            "tcp_routes: [",
            "tcp_routes: [{ name: plain, backends: [{ upstream: plain }] }, ",
        )
        .replace(
            "upstreams: [",
            &format!(
                "upstreams: [{{ name: plain, endpoints: ['{}'] }}, ",
                plain.addr()
            ),
        );
    let gateway = TestGateway::start(yaml).await;
    let mut client = Peer::connect(gateway.listener("db")).await;
    let startup = [0, 0, 0, 9, 0, 3, 0, 0, 0];
    client.send(startup).await;
    assert_eq!(plain.accept().await.exactly(9).await, startup);
}
