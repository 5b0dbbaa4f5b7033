//! Why TLS cannot be set up.

use super::material::MaterialError;

/// Why a TLS configuration cannot be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsConfigError {
    /// Client certificates are asked for, but there is no authority to check them against.
    #[error(
        "client certificates are requested, but no trusted authority is configured; name a CA bundle"
    )]
    NoClientRoots,
    /// Upstream certificates are verified, but there is no authority to check them against.
    #[error(
        "upstream certificates are verified, but there is no trusted authority: {reason}; install the system's CA bundle or name one"
    )]
    NoUpstreamRoots {
        /// What was found instead.
        reason: String,
    },
    /// A certificate or key could not be loaded.
    #[error(transparent)]
    Material(#[from] MaterialError),
    /// A server name is neither a host name nor an IP address.
    #[error("`{name}` is not a server name; write a host name or an IP address, without port")]
    InvalidServerName {
        /// The name as configured.
        name: String,
    },
    /// An ALPN protocol name is empty or longer than 255 bytes (RFC 7301, section 3.1).
    #[error("an ALPN protocol name has {length} bytes; 1 to 255 are possible")]
    InvalidAlpn {
        /// Its length.
        length: usize,
    },
    /// The TLS library refused the configuration.
    #[error("TLS cannot be set up: {0}")]
    Library(#[from] rustls::Error),
}

/// Checks protocol names before rustls would put impossible ones on the wire.
pub(super) fn check_alpn(protocols: &[Vec<u8>]) -> Result<(), TlsConfigError> {
    let is_impossible = |protocol: &&Vec<u8>| !(1..=255).contains(&protocol.len());
    match protocols.iter().find(is_impossible) {
        Some(bad) => Err(TlsConfigError::InvalidAlpn { length: bad.len() }),
        None => Ok(()),
    }
}
