//! A throw-away certificate authority for tests.
//!
//! ```
//! use portcullis_core::tls::testing::{CertificateSpec, TestCa};
//!
//! let ca = TestCa::new("Test CA");
//! let server = ca.issue(CertificateSpec::server(["localhost", "127.0.0.1"]));
//! let client = ca.issue(CertificateSpec::spiffe("spiffe://cluster.local/ns/a/sa/b"));
//! # let _ = (server.pair(), client.pair(), ca.roots());
//! ```
//!
//! Everything here panics on misuse: it is for tests only, and keys are never protected.
#![allow(
    clippy::expect_used,
    reason = "a test cannot go on without its certificates"
)]

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;

use super::material::{CertificateAndKey, PemSource};
use crate::clock::Clock;

const DAY: Duration = Duration::from_secs(86_400);

/// An authority with a fresh key, valid for a year around now.
pub struct TestCa {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl TestCa {
    /// A self-signed authority.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let key = KeyPair::generate().expect("generating a key");
        let issuer = CertifiedIssuer::self_signed(Self::params(name), key);
        Self {
            issuer: issuer.expect("signing a test authority"),
        }
    }

    /// An authority signed by this one.
    #[must_use]
    pub fn intermediate(&self, name: &str) -> Self {
        let key = KeyPair::generate().expect("generating a key");
        let issuer = CertifiedIssuer::signed_by(Self::params(name), key, &self.issuer);
        Self {
            issuer: issuer.expect("signing a test authority"),
        }
    }

    fn params(name: &str) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = (Clock.wall() - DAY).into();
        params.not_after = (Clock.wall() + 365 * DAY).into();
        params
    }

    /// Issues a certificate with a fresh ECDSA P-256 key.
    #[must_use]
    pub fn issue(&self, spec: CertificateSpec) -> TestCertificate {
        self.issue_with(spec, &rcgen::PKCS_ECDSA_P256_SHA256)
    }

    /// Issues a certificate with a fresh Ed25519 key: a second kind of key for the same names.
    #[must_use]
    pub fn issue_ed25519(&self, spec: CertificateSpec) -> TestCertificate {
        self.issue_with(spec, &rcgen::PKCS_ED25519)
    }

    fn issue_with(
        &self,
        spec: CertificateSpec,
        algorithm: &'static rcgen::SignatureAlgorithm,
    ) -> TestCertificate {
        let key = KeyPair::generate_for(algorithm).expect("generating a key");
        let certificate = spec.params().signed_by(&key, &self.issuer);
        let certificate = certificate.expect("signing a test certificate");
        TestCertificate {
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            chain: vec![certificate.der().clone()],
        }
    }

    /// The authority's own certificate.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        self.issuer.der()
    }

    /// The authority's own certificate as PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// The authority as a source of roots.
    #[must_use]
    pub fn source(&self) -> PemSource {
        PemSource::inline("test authority", self.pem().into_bytes())
    }

    /// Trust in this authority and no other.
    #[must_use]
    pub fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots
            .add(self.certificate().clone())
            .expect("adding a test authority");
        Arc::new(roots)
    }
}

impl fmt::Debug for TestCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestCa").finish_non_exhaustive()
    }
}

/// What a test certificate says. Valid from yesterday for thirty days unless told otherwise.
#[derive(Clone, Debug)]
pub struct CertificateSpec {
    params: CertificateParams,
}

impl CertificateSpec {
    /// A server certificate for host names and IP addresses.
    #[must_use]
    pub fn server<N: AsRef<str>>(names: impl IntoIterator<Item = N>) -> Self {
        let mut spec = Self::new(
            DistinguishedName::new(),
            ExtendedKeyUsagePurpose::ServerAuth,
        );
        for name in names {
            spec = match name.as_ref().parse::<IpAddr>() {
                Ok(address) => spec.alternative_name(SanType::IpAddress(address)),
                Err(_) => spec.dns(name.as_ref()),
            };
        }
        spec
    }

    /// A client certificate with a common name and no other.
    #[must_use]
    pub fn client(name: &str) -> Self {
        Self::new(common_name(name), ExtendedKeyUsagePurpose::ClientAuth)
    }

    /// A workload certificate (X.509-SVID) for both sides of a connection. The text is not checked.
    #[must_use]
    pub fn spiffe(id: &str) -> Self {
        let mut spec = Self::new(
            DistinguishedName::new(),
            ExtendedKeyUsagePurpose::ServerAuth,
        );
        spec.params
            .extended_key_usages
            .push(ExtendedKeyUsagePurpose::ClientAuth);
        spec.uri(id)
    }

    fn new(subject: DistinguishedName, purpose: ExtendedKeyUsagePurpose) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = subject;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![purpose];
        Self { params }.valid(Clock.wall() - DAY, Clock.wall() + 30 * DAY)
    }

    /// Adds a DNS name, unchecked.
    #[must_use]
    pub fn dns(self, name: &str) -> Self {
        let name = name.try_into().expect("an ASCII name");
        self.alternative_name(SanType::DnsName(name))
    }

    /// Adds a URI, unchecked.
    #[must_use]
    pub fn uri(self, uri: &str) -> Self {
        let uri = uri.try_into().expect("an ASCII URI");
        self.alternative_name(SanType::URI(uri))
    }

    fn alternative_name(mut self, name: SanType) -> Self {
        self.params.subject_alt_names.push(name);
        self
    }

    /// Sets the common name.
    #[must_use]
    pub fn common_name(mut self, name: &str) -> Self {
        self.params.distinguished_name = common_name(name);
        self
    }

    /// Removes the common name.
    #[must_use]
    pub fn no_common_name(mut self) -> Self {
        self.params.distinguished_name = DistinguishedName::new();
        self
    }

    /// Sets the validity period.
    #[must_use]
    pub fn valid(mut self, from: SystemTime, until: SystemTime) -> Self {
        self.params.not_before = from.into();
        self.params.not_after = until.into();
        self
    }

    /// Valid until yesterday.
    #[must_use]
    pub fn expired(self) -> Self {
        self.valid(Clock.wall() - 10 * DAY, Clock.wall() - DAY)
    }

    /// Valid from tomorrow on.
    #[must_use]
    pub fn not_yet_valid(self) -> Self {
        self.valid(Clock.wall() + DAY, Clock.wall() + 10 * DAY)
    }

    /// Sets the serial number.
    #[must_use]
    pub fn serial(mut self, serial: &[u8]) -> Self {
        self.params.serial_number = Some(SerialNumber::from_slice(serial));
        self
    }

    /// Lets the certificate sign others, which a leaf must not.
    #[must_use]
    pub fn authority(mut self) -> Self {
        self.params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        self
    }

    fn params(self) -> CertificateParams {
        self.params
    }
}

/// An issued certificate with its key.
#[derive(Clone)]
pub struct TestCertificate {
    certificate_pem: String,
    key_pem: String,
    chain: Vec<CertificateDer<'static>>,
}

impl TestCertificate {
    /// The certificate, followed by what [`with_intermediate`](Self::with_intermediate) added, as PEM.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The unprotected private key as PEM (PKCS#8).
    #[must_use]
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// The chain, leaf first.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// Appends the certificate of the authority that issued it.
    #[must_use]
    pub fn with_intermediate(mut self, authority: &TestCa) -> Self {
        self.certificate_pem.push_str(&authority.pem());
        self.chain.push(authority.certificate().clone());
        self
    }

    /// Certificate and key in the form the gateway uses.
    #[must_use]
    pub fn pair(&self) -> CertificateAndKey {
        let certificate = PemSource::inline("test certificate", self.certificate_pem.as_bytes());
        let key = PemSource::inline("test key", self.key_pem.as_bytes());
        CertificateAndKey::load(&certificate, &key).expect("loading a test certificate")
    }

    /// Writes `NAME.pem` and `NAME.key` into a folder and returns both paths.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write_to(&self, folder: &Path, name: &str) -> io::Result<(PathBuf, PathBuf)> {
        let certificate = folder.join(format!("{name}.pem"));
        let key = folder.join(format!("{name}.key"));
        std::fs::write(&certificate, &self.certificate_pem)?;
        std::fs::write(&key, &self.key_pem)?;
        Ok((certificate, key))
    }
}

/// Never shows the key.
impl fmt::Debug for TestCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestCertificate").finish_non_exhaustive()
    }
}

fn common_name(name: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    subject
}
