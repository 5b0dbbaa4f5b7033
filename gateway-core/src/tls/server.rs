//! TLS for listeners.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ServerSessionMemoryCache, VerifierBuilderError, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use super::error::{TlsConfigError, check_alpn};
use super::provider::{TlsVersion, provider};
use super::store::CertificateStore;

/// Sessions kept for TLS 1.2 clients that resume by session ID, because they know no tickets.
const SESSION_IDS: usize = 1024;

/// Whether clients are asked for a certificate.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum ClientAuth {
    /// Clients are not asked.
    #[default]
    Off,
    /// Clients may present a certificate. One that is presented must be issued by these roots, else the
    /// handshake fails: an invalid identity is never treated as none.
    Request(Arc<RootCertStore>),
    /// Clients must present a certificate issued by these roots.
    Require(Arc<RootCertStore>),
}

/// What a listener's TLS is made of.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerTlsOptions {
    /// The certificates to serve.
    pub store: Arc<CertificateStore>,
    /// Whether clients are asked for a certificate. Default: off.
    pub client_auth: ClientAuth,
    /// The oldest version accepted. Default: TLS 1.2.
    pub min_version: TlsVersion,
    /// The protocols offered by ALPN (RFC 7301), best first. Default: none, and the client's offer is
    /// ignored. With a list, a client that offers only others is refused.
    pub alpn: Vec<Vec<u8>>,
}

impl ServerTlsOptions {
    /// Options that serve `store` with the defaults above.
    #[must_use]
    pub fn new(store: Arc<CertificateStore>) -> Self {
        Self {
            store,
            client_auth: ClientAuth::default(),
            min_version: TlsVersion::default(),
            alpn: Vec::new(),
        }
    }
}

/// A listener's TLS, ready to accept connections. Cloning costs one reference count.
///
/// Tickets and remembered sessions belong to one value: a session established here is never resumed at a
/// listener (or after a reload) with other client-certificate rules. Keep the value across reloads that change
/// nothing but certificates, so that clients can go on resuming.
#[derive(Clone, Debug)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
}

impl ServerTls {
    /// Builds the configuration: tickets with rotating keys and session resumption on, early data (RFC 8446,
    /// section 8: it can be replayed) off.
    ///
    /// # Errors
    /// When client certificates are asked for without any root, an ALPN name is impossible, or the
    /// system has no randomness for ticket keys.
    pub fn new(options: ServerTlsOptions) -> Result<Self, TlsConfigError> {
        check_alpn(&options.alpn)?;
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(options.min_version.and_newer())?;
        let builder = match client_verifier(&options.client_auth)? {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(options.store);
        config.alpn_protocols = options.alpn;
        config.ticketer = Ticketer::new()?;
        config.session_storage = ServerSessionMemoryCache::new(SESSION_IDS);
        config.max_early_data_size = 0;
        Ok(Self {
            config: Arc::new(config),
        })
    }

    /// Takes a configuration made elsewhere, for what the options cannot say. Use
    /// [`provider`](super::provider()) in it.
    #[must_use]
    pub fn from_config(config: Arc<ServerConfig>) -> Self {
        Self { config }
    }

    /// The configuration in rustls' form.
    #[must_use]
    pub fn config(&self) -> &Arc<ServerConfig> {
        &self.config
    }

    /// The same with other protocols offered by ALPN, best first; none means that what clients offer is ignored.
    /// Sessions are remembered together.
    ///
    /// # Errors
    /// A name is impossible.
    pub fn with_alpn(&self, alpn: Vec<Vec<u8>>) -> Result<Self, TlsConfigError> {
        check_alpn(&alpn)?;
        let mut config = ServerConfig::clone(&self.config);
        config.alpn_protocols = alpn;
        Ok(Self {
            config: Arc::new(config),
        })
    }

    /// An acceptor for sockets. It has no time limit of its own: bound the handshake at the listener.
    #[must_use]
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.config))
    }
}

fn client_verifier(
    client_auth: &ClientAuth,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsConfigError> {
    let (roots, optional) = match client_auth {
        ClientAuth::Off => return Ok(None),
        ClientAuth::Request(roots) => (roots, true),
        ClientAuth::Require(roots) => (roots, false),
    };
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), provider());
    let builder = if optional {
        builder.allow_unauthenticated()
    } else {
        builder
    };
    match builder.build() {
        Ok(verifier) => Ok(Some(verifier)),
        Err(VerifierBuilderError::NoRootAnchors) => Err(TlsConfigError::NoClientRoots),
        Err(error) => Err(rustls::Error::General(error.to_string()).into()),
    }
}
