//! TLS towards upstreams.

use std::sync::{Arc, OnceLock};

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::TlsConnector;

use super::error::{TlsConfigError, check_alpn};
use super::material::{CertificateAndKey, PemSource, add_roots};
use super::provider::{TlsVersion, provider};

/// Sessions remembered per upstream configuration, one group per server name.
const SESSIONS: usize = 256;

/// The authorities an upstream's certificate may be issued by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamRoots {
    /// Trust the system's authorities. They are read once per process.
    pub system: bool,
    /// Trust the certificates of these PEM documents, in addition.
    pub bundles: Vec<PemSource>,
}

/// The system's authorities and no others.
impl Default for UpstreamRoots {
    fn default() -> Self {
        Self {
            system: true,
            bundles: Vec::new(),
        }
    }
}

impl UpstreamRoots {
    /// Only the certificates of `bundle`: what an internal authority wants.
    #[must_use]
    pub fn only(bundle: PemSource) -> Self {
        Self {
            system: false,
            bundles: vec![bundle],
        }
    }

    fn load(&self) -> Result<Arc<RootCertStore>, TlsConfigError> {
        let (system, problems) = system_roots();
        if self.system && self.bundles.is_empty() && !system.is_empty() {
            return Ok(Arc::clone(system));
        }
        let mut roots = if self.system {
            RootCertStore::clone(system)
        } else {
            RootCertStore::empty()
        };
        for bundle in &self.bundles {
            add_roots(&mut roots, bundle)?;
        }
        if roots.is_empty() {
            let reason = match (self.system, problems.is_empty()) {
                (false, _) => "the system's are switched off and no bundle is named".to_owned(),
                (true, true) => "the system has none".to_owned(),
                (true, false) => format!("the system's cannot be read ({problems})"),
            };
            return Err(TlsConfigError::NoUpstreamRoots { reason });
        }
        Ok(Arc::new(roots))
    }
}

/// What TLS to an upstream is made of.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct UpstreamTlsOptions {
    /// Who may have issued the upstream's certificate. Default: the system's authorities.
    pub roots: UpstreamRoots,
    /// The certificate shown to an upstream that asks for one. Default: none.
    pub client_certificate: Option<CertificateAndKey>,
    /// The name sent as SNI and expected in the certificate, whatever host the request is for. Default: that host.
    pub server_name: Option<String>,
    /// The protocols offered by ALPN, best first. Default: none.
    pub alpn: Vec<Vec<u8>>,
    /// The oldest version accepted. Default: TLS 1.2.
    pub min_version: TlsVersion,
    /// **Dangerous**: accept every certificate, by whomever, for whatever name, expired or not.
    ///
    /// Anybody on the path can then read and change the traffic, credentials included: the connection is
    /// encrypted, but nobody knows to whom. For experiments; name the upstream's authority in
    /// [`roots`](Self::roots) instead.
    pub insecure_skip_verify: bool,
}

/// TLS towards one upstream, ready to connect. Cloning is cheap.
///
/// Sessions are remembered per value, so keep it as long as the upstream's settings stay the same.
#[derive(Clone, Debug)]
pub struct UpstreamTls {
    config: Arc<ClientConfig>,
    server_name: Option<ServerName<'static>>,
    skips_verification: bool,
}

impl UpstreamTls {
    /// Builds the configuration and reads the root bundles.
    ///
    /// # Errors
    /// When a bundle cannot be loaded, no authority is left to verify against, or a name is malformed.
    pub fn new(options: UpstreamTlsOptions) -> Result<Self, TlsConfigError> {
        check_alpn(&options.alpn)?;
        let server_name = options.server_name.as_deref().map(parse_server_name);
        let server_name = server_name.transpose()?;
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(options.min_version.and_newer())?;
        let builder = if options.insecure_skip_verify {
            let verifier = AcceptAny {
                provider: provider(),
            };
            let dangerous = builder.dangerous();
            dangerous.with_custom_certificate_verifier(Arc::new(verifier))
        } else {
            builder.with_root_certificates(options.roots.load()?)
        };
        let mut config = match &options.client_certificate {
            Some(pair) => {
                let resolver = SingleCertAndKey::from(Arc::clone(pair.certified_key()));
                builder.with_client_cert_resolver(Arc::new(resolver))
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = options.alpn;
        config.resumption = Resumption::in_memory_sessions(SESSIONS);
        config.enable_early_data = false;
        Ok(Self {
            config: Arc::new(config),
            server_name,
            skips_verification: options.insecure_skip_verify,
        })
    }

    /// Takes a configuration made elsewhere, for what the options cannot say: a verifier of one's own. Use
    /// [`provider`](super::provider()) in it.
    #[must_use]
    pub fn from_config(config: Arc<ClientConfig>) -> Self {
        Self {
            config,
            server_name: None,
            skips_verification: false,
        }
    }

    /// The configuration in rustls' form.
    #[must_use]
    pub fn config(&self) -> &Arc<ClientConfig> {
        &self.config
    }

    /// The same without protocols offered by ALPN, for connections that do not carry HTTP. Sessions are remembered
    /// together.
    #[must_use]
    pub fn without_alpn(&self) -> Self {
        let mut config = ClientConfig::clone(&self.config);
        config.alpn_protocols.clear();
        Self {
            config: Arc::new(config),
            server_name: self.server_name.clone(),
            skips_verification: self.skips_verification,
        }
    }

    /// A connector for sockets. It has no time limit of its own: bound the handshake at the pool.
    #[must_use]
    pub fn connector(&self) -> TlsConnector {
        TlsConnector::from(Arc::clone(&self.config))
    }

    /// Whether [`insecure_skip_verify`](UpstreamTlsOptions::insecure_skip_verify) is on, for a warning.
    #[must_use]
    pub fn skips_verification(&self) -> bool {
        self.skips_verification
    }

    /// The name to send and to verify for a connection to `host`: the configured one, else `host` (a host
    /// name, an IP address, or an IPv6 address in brackets). No SNI is sent for an address (RFC 6066).
    ///
    /// # Errors
    /// When no name is configured and `host` is none.
    pub fn server_name(&self, host: &str) -> Result<ServerName<'static>, TlsConfigError> {
        match &self.server_name {
            Some(configured) => Ok(configured.clone()),
            None => parse_server_name(host),
        }
    }
}

fn parse_server_name(name: &str) -> Result<ServerName<'static>, TlsConfigError> {
    let bare = name
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    ServerName::try_from(bare.unwrap_or(name))
        .map(|name| name.to_owned())
        .map_err(|_| TlsConfigError::InvalidServerName {
            name: name.to_owned(),
        })
}

/// The system's authorities and what went wrong reading them, from the first call on.
fn system_roots() -> &'static (Arc<RootCertStore>, String) {
    static SYSTEM: OnceLock<(Arc<RootCertStore>, String)> = OnceLock::new();
    SYSTEM.get_or_init(|| {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        // Bundles in the wild hold certificates no verifier can use; they are skipped, as everywhere.
        roots.add_parsable_certificates(found.certs);
        let problems: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
        (Arc::new(roots), problems.join("; "))
    })
}

/// Accepts every certificate; the peer must still hold the key of the one it shows.
#[derive(Debug)]
struct AcceptAny {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}
