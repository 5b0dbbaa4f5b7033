//! What a certificate says, read once and kept in plain types.

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest;
use rustls_pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::dn;

/// Why a certificate could not be read. Certificates that took part in a handshake were already parsed by
/// the verifier, so this is met with files and with certificates no verifier looked at.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a readable X.509 certificate: {reason}")]
pub struct CertificateFactsError {
    reason: String,
}

impl CertificateFactsError {
    pub(super) fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
        }
    }
}

/// The readable content of one certificate: what logs, `x-forwarded-client-cert` and expiry metrics need.
///
/// Reading says nothing about trust: these are claims until a verifier accepted the chain.
#[derive(Clone)]
pub struct CertificateFacts {
    der: CertificateDer<'static>,
    fingerprint: [u8; 32],
    subject: Box<str>,
    issuer: Box<str>,
    common_name: Option<Box<str>>,
    serial: Box<str>,
    dns_sans: Vec<Box<str>>,
    uri_sans: Vec<Box<str>>,
    ip_sans: Vec<IpAddr>,
    email_sans: Vec<Box<str>>,
    not_before: SystemTime,
    not_after: SystemTime,
    signs_certificates: bool,
}

impl CertificateFacts {
    /// Reads a DER certificate.
    ///
    /// # Errors
    /// When it is not X.509, carries bytes after its end, or a subject alternative name is malformed
    /// (a name that cannot be read must not be skipped: it could be the one an identity depends on).
    pub fn from_der(der: &CertificateDer<'_>) -> Result<Self, CertificateFactsError> {
        let (rest, parsed) = X509Certificate::from_der(der)
            .map_err(|error| CertificateFactsError::new(error.to_string()))?;
        if !rest.is_empty() {
            return Err(CertificateFactsError::new("bytes follow the certificate"));
        }
        let mut facts = Self {
            fingerprint: sha256(der),
            subject: dn::rfc4514(parsed.subject()).into(),
            issuer: dn::rfc4514(parsed.issuer()).into(),
            common_name: dn::common_name(parsed.subject()).map(Into::into),
            serial: hex(parsed.raw_serial()).into(),
            dns_sans: Vec::new(),
            uri_sans: Vec::new(),
            ip_sans: Vec::new(),
            email_sans: Vec::new(),
            not_before: system_time(parsed.validity().not_before.timestamp()),
            not_after: system_time(parsed.validity().not_after.timestamp()),
            signs_certificates: signs_certificates(&parsed)?,
            der: der.clone().into_owned(),
        };
        facts.read_subject_alternative_names(&parsed)?;
        Ok(facts)
    }

    fn read_subject_alternative_names(
        &mut self,
        parsed: &X509Certificate<'_>,
    ) -> Result<(), CertificateFactsError> {
        let extension = parsed
            .subject_alternative_name()
            .map_err(|error| CertificateFactsError::new(format!("subjectAltName: {error}")))?;
        let Some(extension) = extension else {
            return Ok(());
        };
        for name in &extension.value.general_names {
            match name {
                GeneralName::DNSName(name) => self.dns_sans.push((*name).into()),
                GeneralName::URI(uri) => self.uri_sans.push((*uri).into()),
                GeneralName::RFC822Name(email) => self.email_sans.push((*email).into()),
                GeneralName::IPAddress(octets) => self.ip_sans.push(ip_address(octets)?),
                GeneralName::Invalid(tag, _) => {
                    let reason = format!("subjectAltName: malformed name with tag {}", tag.0);
                    return Err(CertificateFactsError::new(reason));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The certificate itself.
    #[must_use]
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// SHA-256 over the DER form, the fingerprint browsers and `openssl x509 -fingerprint -sha256` show.
    #[must_use]
    pub fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }

    /// [`fingerprint`](Self::fingerprint) as 64 lower-case hex digits, the `Hash` of `x-forwarded-client-cert`.
    #[must_use]
    pub fn fingerprint_hex(&self) -> String {
        hex(&self.fingerprint)
    }

    /// The subject's distinguished name in the string form of RFC 4514: most specific part first, special
    /// and control characters escaped. May be empty.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The issuer's distinguished name, as [`subject`](Self::subject).
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The subject's most specific common name, when it has one of printable text.
    #[must_use]
    pub fn common_name(&self) -> Option<&str> {
        self.common_name.as_deref()
    }

    /// The serial number as lower-case hex, without separators.
    #[must_use]
    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// The DNS names, as spelled in the certificate and in its order.
    pub fn dns_sans(&self) -> impl ExactSizeIterator<Item = &str> {
        self.dns_sans.iter().map(|name| &**name)
    }

    /// The URIs, as spelled in the certificate and in its order.
    pub fn uri_sans(&self) -> impl ExactSizeIterator<Item = &str> {
        self.uri_sans.iter().map(|uri| &**uri)
    }

    /// The IP addresses in the certificate's order.
    #[must_use]
    pub fn ip_sans(&self) -> &[IpAddr] {
        &self.ip_sans
    }

    /// The e-mail addresses, as spelled in the certificate and in its order.
    pub fn email_sans(&self) -> impl ExactSizeIterator<Item = &str> {
        self.email_sans.iter().map(|email| &**email)
    }

    /// The first moment of validity.
    #[must_use]
    pub fn not_before(&self) -> SystemTime {
        self.not_before
    }

    /// The last moment of validity.
    #[must_use]
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// Whether `now` lies in the validity period (both ends included, RFC 5280, section 4.1.2.5).
    #[must_use]
    pub fn is_valid_at(&self, now: SystemTime) -> bool {
        let within_last_second = match now.duration_since(self.not_after) {
            Ok(past) => past < Duration::from_secs(1),
            Err(_) => true,
        };
        self.not_before <= now && within_last_second
    }

    /// Whether the certificate may sign others: CA set, or one of the usages keyCertSign and cRLSign.
    #[must_use]
    pub fn signs_certificates(&self) -> bool {
        self.signs_certificates
    }
}

/// Leaves out the encoded certificate, which says the same in a longer way.
impl fmt::Debug for CertificateFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateFacts")
            .field("subject", &self.subject)
            .field("issuer", &self.issuer)
            .field("serial", &self.serial)
            .field("dns_sans", &self.dns_sans)
            .field("uri_sans", &self.uri_sans)
            .field("ip_sans", &self.ip_sans)
            .field("not_before", &self.not_before)
            .field("not_after", &self.not_after)
            .field("fingerprint", &self.fingerprint_hex())
            .finish_non_exhaustive()
    }
}

fn signs_certificates(parsed: &X509Certificate<'_>) -> Result<bool, CertificateFactsError> {
    let constraints = parsed
        .basic_constraints()
        .map_err(|error| CertificateFactsError::new(format!("basicConstraints: {error}")))?;
    let usage = parsed
        .key_usage()
        .map_err(|error| CertificateFactsError::new(format!("keyUsage: {error}")))?;
    Ok(constraints.is_some_and(|found| found.value.ca)
        || usage.is_some_and(|found| found.value.key_cert_sign() || found.value.crl_sign()))
}

fn ip_address(octets: &[u8]) -> Result<IpAddr, CertificateFactsError> {
    if let Ok(v4) = <[u8; 4]>::try_from(octets) {
        Ok(IpAddr::from(v4))
    } else if let Ok(v6) = <[u8; 16]>::try_from(octets) {
        Ok(IpAddr::from(v6))
    } else {
        let reason = format!("subjectAltName: an IP address of {} bytes", octets.len());
        Err(CertificateFactsError::new(reason))
    }
}

fn system_time(timestamp: i64) -> SystemTime {
    let distance = Duration::from_secs(timestamp.unsigned_abs());
    let moment = if timestamp < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(distance)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(distance)
    };
    moment.unwrap_or(SystemTime::UNIX_EPOCH)
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        out.push(char::from(DIGITS[usize::from(byte >> 4)]));
        out.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::tls::testing::{CertificateSpec, TestCa};

    #[test]
    fn every_fact_is_read() {
        let ca = TestCa::new("Facts CA");
        let issued = ca.issue(
            CertificateSpec::server(["a.example", "10.0.0.7"])
                .common_name("The, \"Name\"")
                .uri("https://a.example/x"),
        );
        let facts = CertificateFacts::from_der(&issued.chain()[0]).unwrap();
        assert_eq!(facts.subject(), r#"CN=The\, \"Name\""#);
        assert_eq!(facts.issuer(), "CN=Facts CA");
        assert_eq!(facts.common_name(), Some("The, \"Name\""));
        assert_eq!(facts.dns_sans().collect::<Vec<_>>(), ["a.example"]);
        assert_eq!(
            facts.uri_sans().collect::<Vec<_>>(),
            ["https://a.example/x"]
        );
        assert_eq!(facts.ip_sans(), [IpAddr::from([10, 0, 0, 7])]);
        assert!(!facts.signs_certificates());
        assert!(facts.is_valid_at(Clock.wall()));
        assert!(!facts.is_valid_at(facts.not_after() + Duration::from_secs(1)));
        assert!(!facts.is_valid_at(facts.not_before() - Duration::from_secs(1)));
        assert_eq!(facts.fingerprint_hex().len(), 64);
        assert!(!facts.serial().is_empty());
        assert!(
            CertificateFacts::from_der(ca.certificate())
                .unwrap()
                .signs_certificates()
        );
    }

    #[test]
    fn the_fingerprint_is_sha256() {
        assert!(hex(&sha256(b"abc")).starts_with("ba7816bf8f01cfea"));
    }

    #[test]
    fn nonsense_is_refused() {
        let ca = TestCa::new("Facts CA");
        let mut trailing = ca.certificate().to_vec();
        trailing.push(0);
        assert!(CertificateFacts::from_der(&CertificateDer::from(trailing)).is_err());
        assert!(CertificateFacts::from_der(&CertificateDer::from(vec![0x30, 0x03])).is_err());
    }
}
