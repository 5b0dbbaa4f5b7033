//! Real handshakes over in-memory streams.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::{HandshakeKind, ProtocolVersion};
use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_rustls::{client, server};

use super::testing::{CertificateSpec, TestCa, TestCertificate};
use super::*;
use crate::clock::Clock;
use HandshakeFailureKind as Kind;

type Protocol = &'static [u8];
type Accepted = server::TlsStream<DuplexStream>;
type Connected = client::TlsStream<DuplexStream>;

/// Both ends after a handshake and one byte each way, which shows what TLS 1.3 tells clients late and lets tickets
/// arrive.
async fn shake(
    server: &ServerTls,
    client: &UpstreamTls,
    host: &str,
) -> (io::Result<Accepted>, io::Result<Connected>) {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let accept = async {
        let mut stream = server.acceptor().accept(far).await?;
        stream.read_u8().await?;
        stream.write_u8(1).await?;
        stream.flush().await?;
        Ok(stream)
    };
    let connect = async {
        let name = client.server_name(host).unwrap();
        let mut stream = client.connector().connect(name, near).await?;
        stream.write_u8(1).await?;
        stream.flush().await?;
        stream.read_u8().await?;
        Ok(stream)
    };
    tokio::join!(accept, connect)
}

fn failure<T>(result: io::Result<T>) -> HandshakeFailure {
    match result {
        Ok(_) => panic!("the handshake succeeded"),
        Err(error) => HandshakeFailure::from_io(&error),
    }
}

fn set(certificates: &[&TestCertificate]) -> CertificateSet {
    let served = certificates
        .iter()
        .map(|one| ServedCertificate::new(one.pair()));
    CertificateSet::compile(served.collect(), false, Clock.wall())
}

fn store(certificates: &[&TestCertificate]) -> Arc<CertificateStore> {
    Arc::new(CertificateStore::new(set(certificates)))
}

fn server_tls(certificates: &[&TestCertificate], client_auth: ClientAuth) -> ServerTls {
    let mut options = ServerTlsOptions::new(store(certificates));
    options.client_auth = client_auth;
    ServerTls::new(options).unwrap()
}

fn trusting(ca: &TestCa) -> UpstreamTlsOptions {
    UpstreamTlsOptions {
        roots: UpstreamRoots::only(ca.source()),
        ..UpstreamTlsOptions::default()
    }
}

fn client_tls(ca: &TestCa) -> UpstreamTls {
    UpstreamTls::new(trusting(ca)).unwrap()
}

fn with_certificate(ca: &TestCa, certificate: &TestCertificate) -> UpstreamTls {
    UpstreamTls::new(UpstreamTlsOptions {
        client_certificate: Some(certificate.pair()),
        ..trusting(ca)
    })
    .unwrap()
}

fn shown(connected: &Connected) -> CertificateDer<'static> {
    connected.get_ref().1.peer_certificates().unwrap()[0].clone()
}

#[tokio::test]
async fn the_certificate_follows_the_server_name() {
    let ca = TestCa::new("CA");
    let fallback = ca.issue(CertificateSpec::server(["fallback.example", "10.0.0.9"]));
    let exact = ca.issue(CertificateSpec::server(["a.shop.example"]));
    let wildcard = ca.issue(CertificateSpec::server(["*.shop.example"]));
    let server = server_tls(&[&fallback, &exact, &wildcard], ClientAuth::Off);
    let client = client_tls(&ca);
    for (host, expected) in [
        ("a.shop.example", &exact),
        ("b.shop.example", &wildcard),
        ("fallback.example", &fallback),
        ("10.0.0.9", &fallback),
    ] {
        let (_, connected) = shake(&server, &client, host).await;
        assert_eq!(shown(&connected.unwrap()), expected.chain()[0], "{host}");
    }
    let (_, connected) = shake(&server, &client, "unknown.example").await;
    assert_eq!(failure(connected).kind(), Kind::WrongName);
}

#[tokio::test]
async fn strict_sni_refuses_the_handshake() {
    let ca = TestCa::new("CA");
    let served = ServedCertificate::new(ca.issue(CertificateSpec::server(["a.example"])).pair());
    let set = CertificateSet::compile(vec![served], true, Clock.wall());
    let store = Arc::new(CertificateStore::new(set));
    let server = ServerTls::new(ServerTlsOptions::new(store)).unwrap();
    let client = client_tls(&ca);
    assert!(shake(&server, &client, "a.example").await.1.is_ok());
    assert!(shake(&server, &client, "b.example").await.1.is_err());
}

#[tokio::test]
async fn a_replaced_certificate_is_shown_at_the_next_handshake() {
    let ca = TestCa::new("CA");
    let old = ca.issue(CertificateSpec::server(["a.example"]));
    let new = ca.issue(CertificateSpec::server(["a.example"]));
    let store = store(&[&old]);
    let server = ServerTls::new(ServerTlsOptions::new(Arc::clone(&store))).unwrap();
    let (accepted, connected) = shake(&server, &client_tls(&ca), "a.example").await;
    let (mut accepted, mut connected) = (accepted.unwrap(), connected.unwrap());
    assert_eq!(shown(&connected), old.chain()[0]);

    store.replace(set(&[&new]));
    let (_, after) = shake(&server, &client_tls(&ca), "a.example").await;
    assert_eq!(shown(&after.unwrap()), new.chain()[0]);

    accepted.write_u8(7).await.unwrap();
    accepted.flush().await.unwrap();
    assert_eq!(
        connected.read_u8().await.unwrap(),
        7,
        "open connections go on"
    );
}

#[tokio::test]
async fn versions_meet_at_the_newest_in_common() {
    let ca = TestCa::new("CA");
    let certificate = ca.issue(CertificateSpec::server(["a.example"]));
    let any = server_tls(&[&certificate], ClientAuth::Off);
    let (_, connected) = shake(&any, &client_tls(&ca), "a.example").await;
    let version = connected.unwrap().get_ref().1.protocol_version();
    assert_eq!(version, Some(ProtocolVersion::TLSv1_3));

    let old_client = old_client(&ca);
    let (_, connected) = shake(&any, &old_client, "a.example").await;
    let version = connected.unwrap().get_ref().1.protocol_version();
    assert_eq!(version, Some(ProtocolVersion::TLSv1_2));

    let mut options = ServerTlsOptions::new(store(&[&certificate]));
    options.min_version = TlsVersion::V1_3;
    let new_only = ServerTls::new(options).unwrap();
    let (accepted, connected) = shake(&new_only, &old_client, "a.example").await;
    assert_eq!(failure(accepted).kind(), Kind::Incompatible);
    assert_eq!(failure(connected).kind(), Kind::Incompatible);
}

/// A client that speaks TLS 1.2 only, which the gateway itself has no option for.
fn old_client(ca: &TestCa) -> UpstreamTls {
    let config = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(ca.roots())
        .with_no_client_auth();
    UpstreamTls::from_config(Arc::new(config))
}

#[tokio::test]
async fn client_certificates_are_ignored_requested_or_required() {
    let ca = TestCa::new("CA");
    let other_ca = TestCa::new("Other CA");
    let certificate = ca.issue(CertificateSpec::server(["a.example"]));
    let good = ca.issue(CertificateSpec::spiffe("spiffe://d/ns/a/sa/b"));
    let expired = ca.issue(CertificateSpec::client("late").expired());
    let foreign = other_ca.issue(CertificateSpec::client("foreign"));
    let clients = [
        ("none", client_tls(&ca)),
        ("good", with_certificate(&ca, &good)),
        ("foreign", with_certificate(&ca, &foreign)),
        ("expired", with_certificate(&ca, &expired)),
    ];
    let id = || Ok(Some("spiffe://d/ns/a/sa/b".to_owned()));
    let modes = [
        (ClientAuth::Off, [Ok(None), Ok(None), Ok(None), Ok(None)]),
        (
            ClientAuth::Request(ca.roots()),
            [
                Ok(None),
                id(),
                Err(Kind::UnknownAuthority),
                Err(Kind::Expired),
            ],
        ),
        (
            ClientAuth::Require(ca.roots()),
            [
                Err(Kind::NoCertificate),
                id(),
                Err(Kind::UnknownAuthority),
                Err(Kind::Expired),
            ],
        ),
    ];
    for (mode, expected) in modes {
        let server = server_tls(&[&certificate], mode.clone());
        for ((name, client), expected) in clients.iter().zip(expected) {
            let (accepted, connected) = shake(&server, client, "a.example").await;
            let found = match accepted {
                Ok(stream) => {
                    let identity = peer_identity(stream.get_ref().1, Clock.wall()).unwrap();
                    Ok(identity.map(|found| found.principal.id().to_owned()))
                }
                Err(error) => {
                    assert_eq!(
                        failure(connected).kind(),
                        Kind::CertificateRefused,
                        "{name}"
                    );
                    Err(HandshakeFailure::from_io(&error).kind())
                }
            };
            assert_eq!(found, expected, "{name} at {mode:?}");
        }
    }
}

#[tokio::test]
async fn the_first_common_protocol_of_the_server_is_chosen() {
    let ca = TestCa::new("CA");
    let certificate = ca.issue(CertificateSpec::server(["a.example"]));
    let mut options = ServerTlsOptions::new(store(&[&certificate]));
    options.alpn = vec![alpn::H2.to_vec(), alpn::HTTP_1_1.to_vec()];
    let server = ServerTls::new(options).unwrap();
    let offering = |protocols: &[&[u8]]| {
        let alpn = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        UpstreamTls::new(UpstreamTlsOptions {
            alpn,
            ..trusting(&ca)
        })
        .unwrap()
    };
    let cases: [(&[Protocol], Option<Protocol>); 3] = [
        (&[alpn::HTTP_1_1, alpn::H2], Some(alpn::H2)),
        (&[alpn::HTTP_1_1], Some(alpn::HTTP_1_1)),
        (&[], None),
    ];
    for (offered, expected) in cases {
        let (accepted, connected) = shake(&server, &offering(offered), "a.example").await;
        assert_eq!(accepted.unwrap().get_ref().1.alpn_protocol(), expected);
        assert_eq!(connected.unwrap().get_ref().1.alpn_protocol(), expected);
    }
    let (accepted, connected) = shake(&server, &offering(&[b"other"]), "a.example").await;
    assert_eq!(failure(accepted).kind(), Kind::NoCommonProtocol);
    assert_eq!(failure(connected).kind(), Kind::NoCommonProtocol);
}

#[tokio::test]
async fn upstream_failures_can_be_told_apart() {
    let ca = TestCa::new("CA");
    let spec = || CertificateSpec::server(["a.example"]);
    let not_a_server = CertificateSpec::client("a.example").dns("a.example");
    let cases = [
        (
            TestCa::new("Other").issue(spec()),
            Kind::UnknownAuthority,
            "not issued by a trusted authority",
        ),
        (
            ca.issue(CertificateSpec::server(["b.example"])),
            Kind::WrongName,
            "only valid for DnsName(\"b.example\")",
        ),
        (ca.issue(spec().expired()), Kind::Expired, "has expired"),
        (
            ca.issue(spec().not_yet_valid()),
            Kind::NotYetValid,
            "not valid yet",
        ),
        (
            ca.issue(not_a_server),
            Kind::BadCertificate,
            "extended key usage",
        ),
    ];
    let mut codes = std::collections::HashSet::new();
    for (certificate, kind, text) in cases {
        let server = server_tls(&[&certificate], ClientAuth::Off);
        let found = failure(shake(&server, &client_tls(&ca), "a.example").await.1);
        assert_eq!(found.kind(), kind);
        assert!(found.to_string().contains(text), "{found}");
        assert!(codes.insert(found.kind().code()));

        let careless = UpstreamTls::new(UpstreamTlsOptions {
            insecure_skip_verify: true,
            ..UpstreamTlsOptions::default()
        });
        let careless = careless.unwrap();
        assert!(careless.skips_verification());
        assert!(
            shake(&server, &careless, "a.example").await.1.is_ok(),
            "{kind:?}"
        );
    }
}

#[tokio::test]
async fn what_is_not_tls_is_told_apart() {
    let ca = TestCa::new("CA");
    let client = client_tls(&ca);
    for (answer, kind) in [
        (
            b"HTTP/1.1 400 Bad Request\r\n\r\n".as_slice(),
            Kind::ProtocolError,
        ),
        (b"", Kind::Closed),
    ] {
        let (near, mut far) = tokio::io::duplex(4096);
        far.write_all(answer).await.unwrap();
        let name = client.server_name("a.example").unwrap();
        let (connected, ()) = tokio::join!(client.connector().connect(name, near), async {
            let _ = far.read(&mut [0; 4096]).await;
            drop(far);
        });
        assert_eq!(failure(connected).kind(), kind);
    }
}

#[tokio::test]
async fn an_intermediate_completes_the_chain() {
    let ca = TestCa::new("CA");
    let middle = ca.intermediate("Middle");
    let bare = middle.issue(CertificateSpec::server(["a.example"]));
    let full = bare.clone().with_intermediate(&middle);
    let client = client_tls(&ca);
    let (_, connected) = shake(&server_tls(&[&bare], ClientAuth::Off), &client, "a.example").await;
    assert_eq!(failure(connected).kind(), Kind::UnknownAuthority);
    let (_, connected) = shake(&server_tls(&[&full], ClientAuth::Off), &client, "a.example").await;
    assert!(connected.is_ok());
}

#[tokio::test]
async fn a_configured_name_replaces_the_host() {
    let ca = TestCa::new("CA");
    let certificate = ca.issue(CertificateSpec::server(["inner.example"]));
    let server = server_tls(&[&certificate], ClientAuth::Off);
    let client = UpstreamTls::new(UpstreamTlsOptions {
        server_name: Some("inner.example".to_owned()),
        ..trusting(&ca)
    });
    let (accepted, connected) = shake(&server, &client.unwrap(), "10.0.0.1").await;
    assert_eq!(
        accepted.unwrap().get_ref().1.server_name(),
        Some("inner.example")
    );
    assert!(connected.is_ok());
}

#[tokio::test]
async fn sessions_are_resumed_with_their_identity_but_never_elsewhere() {
    let ca = TestCa::new("CA");
    let certificate = ca.issue(CertificateSpec::server(["a.example"]));
    let workload = ca.issue(CertificateSpec::spiffe("spiffe://d/w"));
    let server = server_tls(&[&certificate], ClientAuth::Require(ca.roots()));
    let client = with_certificate(&ca, &workload);
    for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
        let (accepted, connected) = shake(&server, &client, "a.example").await;
        let accepted = accepted.unwrap();
        let connection = accepted.get_ref().1;
        assert_eq!(connection.handshake_kind(), Some(expected));
        assert_eq!(
            connected.unwrap().get_ref().1.handshake_kind(),
            Some(expected)
        );
        let identity = peer_identity(connection, Clock.wall()).unwrap().unwrap();
        assert_eq!(identity.principal.id(), "spiffe://d/w");
        let later = Clock.wall() + Duration::from_secs(60 * 86_400);
        assert_eq!(
            peer_identity(connection, later).unwrap_err(),
            IdentityError::NotValidNow
        );
    }
    let elsewhere = server_tls(
        &[&certificate],
        ClientAuth::Require(TestCa::new("Other").roots()),
    );
    let (accepted, _) = shake(&elsewhere, &client, "a.example").await;
    assert_eq!(failure(accepted).kind(), Kind::UnknownAuthority);
}

#[tokio::test]
async fn tls_1_2_sessions_are_resumed_too() {
    let ca = TestCa::new("CA");
    let certificate = ca.issue(CertificateSpec::server(["a.example"]));
    let server = server_tls(&[&certificate], ClientAuth::Off);
    let client = old_client(&ca);
    for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
        let (_, connected) = shake(&server, &client, "a.example").await;
        assert_eq!(
            connected.unwrap().get_ref().1.handshake_kind(),
            Some(expected)
        );
    }
}

#[test]
fn impossible_configurations_are_refused_with_advice() {
    let ca = TestCa::new("CA");
    let certificate = ca.issue(CertificateSpec::server(["a.example"]));
    let mut options = ServerTlsOptions::new(store(&[&certificate]));
    options.client_auth = ClientAuth::Require(Arc::new(rustls::RootCertStore::empty()));
    assert!(matches!(
        ServerTls::new(options),
        Err(TlsConfigError::NoClientRoots)
    ));

    let mut options = ServerTlsOptions::new(store(&[&certificate]));
    options.alpn = vec![Vec::new()];
    assert!(matches!(
        ServerTls::new(options),
        Err(TlsConfigError::InvalidAlpn { length: 0 })
    ));

    let nobody = UpstreamRoots {
        system: false,
        bundles: Vec::new(),
    };
    let result = UpstreamTls::new(UpstreamTlsOptions {
        roots: nobody,
        ..UpstreamTlsOptions::default()
    });
    assert!(matches!(
        result,
        Err(TlsConfigError::NoUpstreamRoots { .. })
    ));

    for bad in ["", "a b", "host:443", "a..b"] {
        let result = UpstreamTls::new(UpstreamTlsOptions {
            server_name: Some(bad.to_owned()),
            ..trusting(&ca)
        });
        assert!(
            matches!(result, Err(TlsConfigError::InvalidServerName { .. })),
            "{bad}"
        );
    }
    let client = client_tls(&ca);
    assert_eq!(
        client.server_name("[::1]").unwrap(),
        client.server_name("::1").unwrap()
    );
}

#[test]
fn the_systems_authorities_are_loaded_or_their_absence_is_explained() {
    match UpstreamTls::new(UpstreamTlsOptions::default()) {
        Ok(client) => assert!(!client.skips_verification()),
        Err(error) => assert!(error.to_string().contains("CA bundle"), "{error}"),
    }
    let ca = TestCa::new("CA");
    let both = UpstreamRoots {
        system: true,
        bundles: vec![ca.source()],
    };
    let client = UpstreamTls::new(UpstreamTlsOptions {
        roots: both,
        ..UpstreamTlsOptions::default()
    });
    assert!(client.is_ok(), "an own authority is enough");
}
