//! TLS on both sides of the gateway, on rustls and aws-lc-rs.
//!
//! - [`provider`]: the one cryptography provider, passed explicitly everywhere.
//! - [`PemSource`], [`CertificateAndKey`]: certificates and keys from files or inline text.
//! - [`CertificateStore`]: a listener's certificates, chosen by SNI and replaceable while it runs.
//! - [`ServerTls`]: a listener's TLS, with client certificates off, requested or required.
//! - [`UpstreamTls`]: TLS towards upstreams.
//! - [`peer_identity`]: the verified client certificate as a [`Principal`](crate::principal::Principal).
//! - [`HandshakeFailure`]: why a handshake failed, by class.
//! - [`client_hello`]: name and protocols of a ClientHello that is only peeked at.
//!
//! Every configuration of rustls is built in this module and nowhere else.

pub mod client_hello;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

mod client;
mod dn;
mod error;
mod facts;
mod failure;
mod identity;
mod material;
mod names;
mod provider;
mod server;
mod spiffe;
mod store;

pub use client::{UpstreamRoots, UpstreamTls, UpstreamTlsOptions};
pub use error::TlsConfigError;
pub use facts::{CertificateFacts, CertificateFactsError};
pub use failure::{HandshakeFailure, HandshakeFailureKind};
pub use identity::{IdentityError, MTLS, PeerIdentity, from_verified, peer_identity};
pub use material::{
    CertificateAndKey, MAX_PEM_BYTES, MaterialError, PemSource, load_certificates,
    load_private_key, load_roots,
};
pub(crate) use material::{load_chain, load_signer};
pub(crate) use names::is_served_name;
pub use provider::{TlsVersion, provider};
pub use server::{ClientAuth, ServerTls, ServerTlsOptions};
pub use spiffe::{InvalidSpiffeId, SpiffeId};
pub use store::{
    CertificateSet, CertificateStore, CertificateWarning, InvalidName, ServedCertificate,
};

/// ALPN names (RFC 7301) of the protocols the gateway speaks.
pub mod alpn {
    /// HTTP/2 over TLS (RFC 9113, section 3.1).
    pub const H2: &[u8] = b"h2";
    /// HTTP/1.1.
    pub const HTTP_1_1: &[u8] = b"http/1.1";
}

#[cfg(test)]
mod tests;
