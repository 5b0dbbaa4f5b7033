//! Who is asked for what, and how connections to it are made.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs::{self, cipher_suite, kx_group};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, InvalidDnsNameError, ServerName};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Why there was no good reply.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    #[error("reading the certificate")]
    Certificate(#[from] rustls_pki_types::pem::Error),
    #[error("{0:?} is no name for TLS")]
    Name(String, #[source] InvalidDnsNameError),
    #[error("setting up TLS")]
    Tls(#[from] rustls::Error),
    #[error("{0} needs --ca")]
    NoAuthority(&'static str),
    #[error("talking to the target")]
    Io(#[from] io::Error),
    #[error("speaking HTTP/2")]
    Http2(#[from] h2::Error),
    #[error("making a request")]
    Request(#[from] http::Error),
    #[error("the reply is not HTTP/1.1 with a content-length")]
    Framing,
    #[error("the server closed the connection")]
    Closed,
    #[error("status {0} instead of 200")]
    Status(u16),
    #[error("a body of {actual} bytes instead of {expected}")]
    Length { expected: usize, actual: usize },
    #[error("the handshake was not a full one over TLS 1.3")]
    NotFull,
}

/// What is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Protocol {
    /// HTTP/1.1
    H1,
    /// HTTP/1.1 over TLS
    Tls,
    /// HTTP/2 over TLS
    H2,
}

/// Who is asked for what.
#[derive(Debug, Clone, Args)]
pub(crate) struct Target {
    /// Address and port
    pub(crate) address: SocketAddr,
    /// What is spoken
    #[arg(long, value_enum, default_value_t = Protocol::H1)]
    pub(crate) protocol: Protocol,
    /// The host asked for, also the name that the certificate must have
    #[arg(long, default_value = "localhost")]
    pub(crate) host: String,
    /// The path asked for
    #[arg(long, default_value = "/")]
    pub(crate) path: String,
    /// Length in bytes of the body that every reply must have
    #[arg(long, default_value_t = 1024)]
    pub(crate) body: usize,
    /// PEM file with the certificate that is trusted
    #[arg(long)]
    pub(crate) ca: Option<PathBuf>,
}

/// A byte stream to a server.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

/// Makes connections to a target.
#[derive(Clone)]
pub(crate) struct Dialer {
    pub(crate) target: Arc<Target>,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Dialer {
    /// # Errors
    ///
    /// When the target speaks TLS and its certificate or name cannot be used.
    pub(crate) fn new(target: &Target) -> Result<Self, Failure> {
        let tls = match target.protocol {
            Protocol::H1 => None,
            Protocol::Tls | Protocol::H2 => {
                let name = ServerName::try_from(target.host.clone())
                    .map_err(|cause| Failure::Name(target.host.clone(), cause))?;
                Some((TlsConnector::from(Arc::new(client_config(target)?)), name))
            }
        };
        Ok(Self {
            target: Arc::new(target.clone()),
            tls,
        })
    }

    /// A connection without TLS.
    pub(crate) async fn tcp(&self) -> Result<TcpStream, Failure> {
        let stream = TcpStream::connect(self.target.address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// A connection with TLS.
    pub(crate) async fn tls(&self) -> Result<TlsStream<TcpStream>, Failure> {
        let (connector, name) = self.tls.as_ref().ok_or(Failure::NoAuthority("TLS"))?;
        let stream = self.tcp().await?;
        Ok(connector.connect(name.clone(), stream).await?)
    }

    /// A connection as the target's protocol has it.
    pub(crate) async fn stream(&self) -> Result<Box<dyn Stream>, Failure> {
        Ok(match self.tls {
            None => Box::new(self.tcp().await?),
            Some(_) => Box::new(self.tls().await?),
        })
    }
}

/// TLS 1.3 with one suite and one group, so that every server does the same work, and never resumed.
fn client_config(target: &Target) -> Result<ClientConfig, Failure> {
    let mut roots = RootCertStore::empty();
    let file = target
        .ca
        .as_ref()
        .ok_or(Failure::NoAuthority("a target with TLS"))?;
    for certificate in CertificateDer::pem_file_iter(file)? {
        roots.add(certificate?)?;
    }
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups = vec![kx_group::X25519];
    provider.cipher_suites = vec![cipher_suite::TLS13_AES_128_GCM_SHA256];
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    config.alpn_protocols = match target.protocol {
        Protocol::H2 => vec![b"h2".to_vec()],
        _ => vec![b"http/1.1".to_vec()],
    };
    Ok(config)
}
