//! The stock connector: TCP or a Unix socket, with TLS if the upstream says so.

use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::ServerName;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UnixStream};

use super::{ConnectCx, ConnectError, Connected, Connector};
use crate::handler::BoxFuture;
use crate::settings::TcpKeepalive;
use crate::tls::UpstreamTls;
use crate::transport::Transport;
use crate::upstream::{Endpoint, EndpointAddress};

/// Dials the endpoint's address and, with TLS settings, verifies it.
#[derive(Debug, Default)]
pub struct DirectConnector {
    tls: Option<Arc<UpstreamTls>>,
    http1_tls: Option<Arc<UpstreamTls>>,
    other_tls: Option<Arc<UpstreamTls>>,
    keepalive: TcpKeepalive,
    tls_timeout: Option<Duration>,
}

impl DirectConnector {
    /// Connections without TLS.
    #[must_use]
    pub fn plaintext() -> Self {
        Self::default()
    }

    /// Connections with TLS.
    #[must_use]
    pub fn tls(tls: Arc<UpstreamTls>) -> Self {
        Self {
            other_tls: Some(Arc::new(tls.without_alpn())),
            tls: Some(tls),
            ..Self::default()
        }
    }

    /// The settings for connections that must speak HTTP/1.1: the same, without `h2` among the protocols.
    #[must_use]
    pub fn with_http1(mut self, tls: Arc<UpstreamTls>) -> Self {
        self.http1_tls = Some(tls);
        self
    }

    /// How endpoints that are gone without a word are found.
    #[must_use]
    pub fn with_keepalive(mut self, keepalive: TcpKeepalive) -> Self {
        self.keepalive = keepalive;
        self
    }
}

impl DirectConnector {
    /// How long the TLS handshake may take; `None`: as long as the whole connection may.
    #[must_use]
    pub fn with_tls_timeout(mut self, limit: Option<Duration>) -> Self {
        self.tls_timeout = limit;
        self
    }
}

impl Connector for DirectConnector {
    fn connect<'a>(
        &'a self,
        endpoint: &'a Endpoint,
        cx: ConnectCx<'a>,
    ) -> BoxFuture<'a, Result<Connected, ConnectError>> {
        Box::pin(async move {
            let mut transport = dial(endpoint, &self.keepalive).await?;
            if !cx.first.is_empty() {
                let sent = transport.write_all(cx.first).await;
                sent.map_err(|source| ConnectError::Dial {
                    address: endpoint.address().to_string(),
                    source,
                })?;
            }
            let special = match cx {
                ConnectCx { http: false, .. } => self.other_tls.as_ref(),
                ConnectCx {
                    http1_only: true, ..
                } => self.http1_tls.as_ref(),
                _ => None,
            };
            let Some(tls) = special.or(self.tls.as_ref()) else {
                return Ok(Connected::new(transport));
            };
            let failed = |source| ConnectError::Tls {
                address: endpoint.address().to_string(),
                source,
            };
            let name =
                server_name(tls, endpoint).map_err(|error| failed(std::io::Error::other(error)))?;
            let handshake = tls.connector().connect(name, transport);
            let stream = match self.tls_timeout {
                None => handshake.await,
                Some(limit) => tokio::time::timeout(limit, handshake)
                    .await
                    .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())),
            };
            let stream = stream.map_err(failed)?;
            let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            let transport = Transport::tls_client(stream);
            Ok(if http2 {
                Connected::http2(transport)
            } else {
                Connected::new(transport)
            })
        })
    }
}

async fn dial(endpoint: &Endpoint, keepalive: &TcpKeepalive) -> Result<Transport, ConnectError> {
    let dialled = match endpoint.address() {
        EndpointAddress::Socket(address) => TcpStream::connect(address).await.and_then(|stream| {
            stream.set_nodelay(true)?;
            keepalive.apply(&stream)?;
            Ok(Transport::from(stream))
        }),
        EndpointAddress::Unix(path) => UnixStream::connect(path).await.map(Transport::from),
    };
    dialled.map_err(|source| ConnectError::Dial {
        address: endpoint.address().to_string(),
        source,
    })
}

/// The name the endpoint must prove: configured, else the endpoint's host name, else its address.
fn server_name(
    tls: &UpstreamTls,
    endpoint: &Endpoint,
) -> Result<ServerName<'static>, crate::tls::TlsConfigError> {
    match (endpoint.spec().hostname.as_deref(), endpoint.address()) {
        (Some(host), _) => tls.server_name(host),
        (None, EndpointAddress::Socket(address)) => tls.server_name(&address.ip().to_string()),
        (None, EndpointAddress::Unix(_)) => tls.server_name(""),
    }
}
