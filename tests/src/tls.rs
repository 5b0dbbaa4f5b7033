//! TLS on both ends of the gateway.

use std::net::SocketAddr;
use std::sync::Arc;

use portcullis::tls::testing::{TestCa, TestCertificate};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::{Peer, Upstream, within};

fn chain(certificate: &TestCertificate) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let key = PrivateKeyDer::from_pem_slice(certificate.key_pem().as_bytes()).unwrap();
    (certificate.chain().to_vec(), key)
}

fn roots(ca: &TestCa) -> Arc<RootCertStore> {
    ca.roots()
}

/// A client that trusts `ca` and shows `certificate`, if any.
#[must_use]
pub fn client_config(
    ca: &TestCa,
    certificate: Option<&TestCertificate>,
    alpn: &[&str],
) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots(ca));
    let mut config = match certificate {
        Some(certificate) => {
            let (chain, key) = chain(certificate);
            builder.with_client_auth_cert(chain, key).unwrap()
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// A server with `certificate` that asks clients for one of `clients`, if given.
#[must_use]
pub fn server_config(
    certificate: &TestCertificate,
    clients: Option<&TestCa>,
    alpn: &[&str],
) -> Arc<ServerConfig> {
    let provider = Arc::new(default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        Some(ca) => {
            let verifier =
                rustls::server::WebPkiClientVerifier::builder_with_provider(roots(ca), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
        None => builder.with_no_client_auth(),
    };
    let (chain, key) = chain(certificate);
    let mut config = builder.with_single_cert(chain, key).unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// Connects with TLS and asks for `name`.
///
/// # Errors
/// Why there is no session.
pub async fn tls_client(
    address: SocketAddr,
    name: &str,
    config: Arc<ClientConfig>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = within("connecting", TcpStream::connect(address)).await?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    within(
        "the handshake",
        TlsConnector::from(config).connect(name, stream),
    )
    .await
}

/// The protocol two sides agreed on.
#[must_use]
pub fn alpn(stream: &TlsStream<TcpStream>) -> Option<String> {
    let name = stream.get_ref().1.alpn_protocol()?;
    Some(String::from_utf8_lossy(name).into_owned())
}

/// Takes the next connection of an upstream and agrees on TLS. Gives the server name the gateway asked for.
///
/// # Errors
/// Why there is no session.
pub async fn tls_upstream(
    upstream: &Upstream,
    config: Arc<ServerConfig>,
) -> std::io::Result<(Peer, Option<String>)> {
    let stream = upstream.accept().await.into_io();
    let stream = within("the handshake", TlsAcceptor::from(config).accept(stream)).await?;
    let name = stream.get_ref().1.server_name().map(ToOwned::to_owned);
    Ok((Peer::new(stream), name))
}
