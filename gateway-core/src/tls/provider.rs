//! The cryptography every TLS configuration of the gateway uses.

use std::sync::{Arc, OnceLock};

use rustls::SupportedProtocolVersion;
use rustls::crypto::CryptoProvider;
use rustls::version::{TLS12, TLS13};

static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();

/// The provider (aws-lc-rs, with the post-quantum hybrid X25519MLKEM768 preferred).
///
/// One shared instance that is passed to every builder explicitly. A process-wide default is neither
/// installed nor read, so embedding the gateway in a program that chose another provider is safe.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    let provider = PROVIDER.get_or_init(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    Arc::clone(provider)
}

/// A TLS protocol version the gateway speaks. Older ones are forbidden by RFC 8996.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246), with forward-secret AEAD cipher suites only.
    #[default]
    V1_2,
    /// TLS 1.3 (RFC 8446).
    V1_3,
}

impl TlsVersion {
    /// This version and every newer one.
    pub(super) fn and_newer(self) -> &'static [&'static SupportedProtocolVersion] {
        static FROM_1_2: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];
        static FROM_1_3: &[&SupportedProtocolVersion] = &[&TLS13];
        match self {
            Self::V1_2 => FROM_1_2,
            Self::V1_3 => FROM_1_3,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_provider_is_shared_and_no_process_default_is_installed() {
        assert!(Arc::ptr_eq(&provider(), &provider()));
        assert!(CryptoProvider::get_default().is_none());
    }
}
