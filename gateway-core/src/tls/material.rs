//! Certificates and keys from PEM files or inline text.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::sign::{CertifiedKey, SigningKey};
use rustls::{Error, InconsistentKeys, RootCertStore};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::facts::{CertificateFacts, CertificateFactsError};
use super::provider::provider;

/// The largest PEM document read, in bytes. The bundle of all public authorities is 30 times smaller.
pub const MAX_PEM_BYTES: u64 = 8 * 1024 * 1024;

/// Where a PEM document comes from.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PemSource(Origin);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Origin {
    File(PathBuf),
    Inline { label: Arc<str>, pem: Arc<[u8]> },
}

impl PemSource {
    /// A file, read when it is loaded.
    #[must_use]
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Origin::File(path.into()))
    }

    /// Text already in memory; `label` says in errors where it came from, for example
    /// `secret default/web-tls, key tls.crt`.
    #[must_use]
    pub fn inline(label: impl Into<Arc<str>>, pem: impl Into<Arc<[u8]>>) -> Self {
        Self(Origin::Inline {
            label: label.into(),
            pem: pem.into(),
        })
    }

    /// The path, when the document is a file: what a watcher has to watch.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match &self.0 {
            Origin::File(path) => Some(path),
            Origin::Inline { .. } => None,
        }
    }

    fn read(&self) -> Result<Cow<'_, [u8]>, MaterialError> {
        let path = match &self.0 {
            Origin::Inline { pem, .. } => return Ok(Cow::Borrowed(pem)),
            Origin::File(path) => path,
        };
        let unreadable = |error| MaterialError::Read {
            origin: self.to_string(),
            error,
        };
        let file = std::fs::File::open(path).map_err(unreadable)?;
        let mut bytes = Vec::new();
        // One byte more than allowed tells "exactly full" from "too large", also for devices and pipes.
        let mut limited = file.take(MAX_PEM_BYTES + 1);
        limited.read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() as u64 > MAX_PEM_BYTES {
            return Err(MaterialError::TooLarge {
                origin: self.to_string(),
            });
        }
        Ok(Cow::Owned(bytes))
    }
}

/// Names the origin, never the content.
impl fmt::Display for PemSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Origin::File(path) => path.display().fmt(f),
            Origin::Inline { label, .. } => f.write_str(label),
        }
    }
}

/// Names the origin, never the content.
impl fmt::Debug for PemSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Origin::File(path) => f.debug_tuple("File").field(path).finish(),
            Origin::Inline { label, .. } => {
                f.debug_tuple("Inline").field(label).finish_non_exhaustive()
            }
        }
    }
}

/// Why certificates or keys could not be loaded. Each message names the origin and, behind a semicolon, what to do.
#[derive(Debug)]
#[non_exhaustive]
pub enum MaterialError {
    /// The file could not be read.
    Read {
        /// The file.
        origin: String,
        /// What the system said.
        error: io::Error,
    },
    /// The document is longer than [`MAX_PEM_BYTES`].
    TooLarge {
        /// The document.
        origin: String,
    },
    /// The document is not well-formed PEM.
    Pem {
        /// The document.
        origin: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The document has no certificate in it.
    NoCertificate {
        /// The document.
        origin: String,
        /// A guess at the mistake, or empty.
        hint: &'static str,
    },
    /// The document has no usable private key in it.
    NoKey {
        /// The document.
        origin: String,
        /// A guess at the mistake, or empty.
        hint: &'static str,
    },
    /// A certificate in the document is not X.509.
    Certificate {
        /// The document.
        origin: String,
        /// Which certificate in it, counted from 1.
        position: usize,
        /// Why it cannot be read.
        error: CertificateFactsError,
    },
    /// The key is of a kind or in a form that is not supported.
    UnsupportedKey {
        /// The document.
        origin: String,
        /// What the cryptography library said.
        reason: String,
    },
    /// Certificate and key are not a pair.
    KeyMismatch {
        /// The certificate's document.
        certificate: String,
        /// The key's document.
        key: String,
        /// A guess at the mistake, or empty.
        hint: &'static str,
    },
}

impl MaterialError {
    /// What is wrong, without what to do about it.
    #[must_use]
    pub fn summary(&self) -> String {
        match self {
            Self::Read { origin, error } => format!("cannot read {origin}: {error}"),
            Self::TooLarge { origin } => {
                format!(
                    "{origin} is larger than {} MiB",
                    MAX_PEM_BYTES / (1024 * 1024)
                )
            }
            Self::Pem { origin, reason } => format!("{origin} is not valid PEM: {reason}"),
            Self::NoCertificate { origin, .. } => {
                format!("{origin} contains no certificate (`-----BEGIN CERTIFICATE-----`)")
            }
            Self::NoKey { origin, .. } => {
                format!("{origin} contains no private key (`-----BEGIN PRIVATE KEY-----`)")
            }
            Self::Certificate {
                origin,
                position,
                error,
            } => format!("certificate {position} in {origin}: {error}"),
            Self::UnsupportedKey { origin, reason } => {
                format!("the private key in {origin} cannot be used: {reason}")
            }
            Self::KeyMismatch {
                certificate, key, ..
            } => format!(
                "the private key in {key} does not belong to the first certificate in {certificate}"
            ),
        }
    }

    /// What to do about it, where something can be said.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        let hint = match self {
            Self::Read { .. } => "check that it exists and that the gateway's user may read it",
            Self::TooLarge { .. } => "is it a PEM file?",
            Self::Pem { .. } => {
                "every section needs its BEGIN and END line and base64 between them"
            }
            Self::UnsupportedKey { .. } => {
                "RSA (2048 bits and more), ECDSA P-256, P-384, P-521 and Ed25519 keys are supported"
            }
            Self::NoCertificate { hint, .. }
            | Self::NoKey { hint, .. }
            | Self::KeyMismatch { hint, .. } => hint,
            Self::Certificate { .. } => "",
        };
        Some(hint).filter(|hint| !hint.is_empty())
    }
}

impl fmt::Display for MaterialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.summary())?;
        match self.hint() {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for MaterialError {}

/// Reads every certificate of a PEM document, in order. Other sections are skipped.
///
/// # Errors
/// When the document cannot be read, is not PEM, or holds no certificate.
pub fn load_certificates(
    source: &PemSource,
) -> Result<Vec<CertificateDer<'static>>, MaterialError> {
    let bytes = source.read()?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<_, _>>()
        .map_err(|error| malformed(source, &error))?;
    if certificates.is_empty() {
        let hint = if contains(&bytes, b"PRIVATE KEY-----") {
            "it holds a private key: are certificate and key swapped?"
        } else if contains(&bytes, b"CERTIFICATE REQUEST-----") {
            "it holds a signing request, which an authority still has to sign"
        } else if bytes.first() == Some(&0x30) {
            "it looks like DER: convert it with `openssl x509 -inform der`"
        } else {
            ""
        };
        return Err(MaterialError::NoCertificate {
            origin: source.to_string(),
            hint,
        });
    }
    Ok(certificates)
}

/// Reads the first private key (PKCS#8, PKCS#1 or SEC1) of a PEM document.
///
/// # Errors
/// When the document cannot be read, is not PEM, or holds no unencrypted key.
pub fn load_private_key(source: &PemSource) -> Result<PrivateKeyDer<'static>, MaterialError> {
    let bytes = source.read()?;
    match PrivateKeyDer::from_pem_slice(&bytes) {
        Ok(_) if contains(&bytes, b"Proc-Type: 4,ENCRYPTED") => Err(no_key(source, ENCRYPTED_HINT)),
        Ok(key) => Ok(key),
        Err(_) if contains(&bytes, b"Proc-Type: 4,ENCRYPTED") => {
            Err(no_key(source, ENCRYPTED_HINT))
        }
        Err(pem::Error::NoItemsFound) => {
            let hint = if contains(&bytes, b"BEGIN ENCRYPTED PRIVATE KEY-----") {
                ENCRYPTED_HINT
            } else if contains(&bytes, b"BEGIN CERTIFICATE-----") {
                "it holds a certificate: are certificate and key swapped?"
            } else if contains(&bytes, b"BEGIN OPENSSH PRIVATE KEY-----") {
                "it holds an SSH key, which is not for TLS"
            } else {
                ""
            };
            Err(no_key(source, hint))
        }
        Err(error) => Err(malformed(source, &error)),
    }
}

/// Reads the certificates of a PEM document as trust anchors.
///
/// # Errors
/// When the document cannot be read, is not PEM, holds no certificate, or one of them is unusable.
pub fn load_roots(source: &PemSource) -> Result<RootCertStore, MaterialError> {
    let mut roots = RootCertStore::empty();
    add_roots(&mut roots, source)?;
    Ok(roots)
}

/// As [`load_roots`], into an existing set.
pub(super) fn add_roots(
    roots: &mut RootCertStore,
    source: &PemSource,
) -> Result<(), MaterialError> {
    for (index, certificate) in load_certificates(source)?.into_iter().enumerate() {
        roots
            .add(certificate)
            .map_err(|error| MaterialError::Certificate {
                origin: source.to_string(),
                position: index + 1,
                error: CertificateFactsError::new(error.to_string()),
            })?;
    }
    Ok(())
}

/// Certificates that can be read, the one that is presented first.
pub(crate) struct CertificateChain {
    certificates: Vec<CertificateDer<'static>>,
    leaf: CertificateFacts,
}

/// Reads a certificate and its intermediates.
pub(crate) fn load_chain(source: &PemSource) -> Result<CertificateChain, MaterialError> {
    let certificates = load_certificates(source)?;
    let facts = certificates.iter().enumerate().map(|(index, der)| {
        CertificateFacts::from_der(der).map_err(|error| MaterialError::Certificate {
            origin: source.to_string(),
            position: index + 1,
            error,
        })
    });
    let leaf = facts.collect::<Result<Vec<_>, _>>()?.into_iter().next();
    let leaf = leaf.ok_or_else(|| MaterialError::NoCertificate {
        origin: source.to_string(),
        hint: "",
    })?;
    Ok(CertificateChain { certificates, leaf })
}

/// Reads a private key in a form that signs.
pub(crate) fn load_signer(source: &PemSource) -> Result<Arc<dyn SigningKey>, MaterialError> {
    let key = load_private_key(source)?;
    let signer = provider().key_provider.load_private_key(key);
    signer.map_err(|error| MaterialError::UnsupportedKey {
        origin: source.to_string(),
        reason: error.to_string(),
    })
}

/// A certificate chain with its private key, checked to belong together. Cloning is cheap.
#[derive(Clone)]
pub struct CertificateAndKey {
    certified: Arc<CertifiedKey>,
    facts: Arc<CertificateFacts>,
    origin: Arc<str>,
}

impl CertificateAndKey {
    /// Loads both documents. The chain starts with the certificate that is presented, followed by
    /// the intermediates in any number.
    ///
    /// # Errors
    /// Whatever is wrong with either document, or that they are not a pair.
    pub fn load(certificate: &PemSource, key: &PemSource) -> Result<Self, MaterialError> {
        Self::pair(
            load_chain(certificate)?,
            certificate,
            load_signer(key)?,
            key,
        )
    }

    /// As [`load`](Self::load), of documents that were read already.
    pub(crate) fn pair(
        chain: CertificateChain,
        certificate: &PemSource,
        signer: Arc<dyn SigningKey>,
        key: &PemSource,
    ) -> Result<Self, MaterialError> {
        let certified = CertifiedKey::new(chain.certificates, signer);
        match certified.keys_match() {
            // A signer that cannot tell its public key is taken at its word.
            Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(Error::InconsistentKeys(_)) => {
                let fits_later = certified.cert.iter().skip(1).any(|candidate| {
                    let signer = Arc::clone(&certified.key);
                    let pair = CertifiedKey::new(vec![candidate.clone()], signer);
                    pair.keys_match().is_ok()
                });
                return Err(MaterialError::KeyMismatch {
                    certificate: certificate.to_string(),
                    key: key.to_string(),
                    hint: if fits_later { WRONG_ORDER_HINT } else { "" },
                });
            }
            Err(error) => {
                return Err(MaterialError::Certificate {
                    origin: certificate.to_string(),
                    position: 1,
                    error: CertificateFactsError::new(error.to_string()),
                });
            }
        }
        Ok(Self {
            certified: Arc::new(certified),
            facts: Arc::new(chain.leaf),
            origin: certificate.to_string().into(),
        })
    }

    /// Takes a chain and a signer that are already in rustls' form, for example a key in a hardware
    /// module. Whether they are a pair is not checked.
    ///
    /// # Errors
    /// When the chain is empty or its first certificate is unreadable.
    pub fn from_certified_key(
        origin: impl Into<Arc<str>>,
        certified: Arc<CertifiedKey>,
    ) -> Result<Self, MaterialError> {
        let origin = origin.into();
        let Some(leaf) = certified.cert.first() else {
            return Err(MaterialError::NoCertificate {
                origin: origin.to_string(),
                hint: "",
            });
        };
        let facts =
            CertificateFacts::from_der(leaf).map_err(|error| MaterialError::Certificate {
                origin: origin.to_string(),
                position: 1,
                error,
            })?;
        Ok(Self {
            certified,
            facts: Arc::new(facts),
            origin,
        })
    }

    /// What the first certificate of the chain says.
    #[must_use]
    pub fn facts(&self) -> &Arc<CertificateFacts> {
        &self.facts
    }

    /// Where the certificate came from, for messages.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The pair in rustls' form.
    #[must_use]
    pub fn certified_key(&self) -> &Arc<CertifiedKey> {
        &self.certified
    }
}

/// Never shows the key.
impl fmt::Debug for CertificateAndKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateAndKey")
            .field("origin", &self.origin)
            .field("chain_length", &self.certified.cert.len())
            .field("certificate", &self.facts)
            .finish_non_exhaustive()
    }
}

const ENCRYPTED_HINT: &str = "it holds an encrypted one: decrypt it with `openssl pkey -in KEY -out PLAIN` and protect the file instead";

const WRONG_ORDER_HINT: &str =
    "it belongs to a later one: put the server's own certificate first, the intermediates after it";

fn no_key(source: &PemSource, hint: &'static str) -> MaterialError {
    MaterialError::NoKey {
        origin: source.to_string(),
        hint,
    }
}

fn malformed(source: &PemSource, error: &pem::Error) -> MaterialError {
    // The library's text may quote the offending line, which may be a line of a key.
    let reason = match error {
        pem::Error::MissingSectionEnd { .. } => "a section has no END line",
        pem::Error::IllegalSectionStart { .. } => "a BEGIN line is malformed",
        pem::Error::Base64Decode(_) => "a section is not base64",
        pem::Error::SectionTooLarge => "a section is too large",
        _ => "it cannot be parsed",
    };
    MaterialError::Pem {
        origin: source.to_string(),
        reason: reason.to_owned(),
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window == needle)
}

#[cfg(test)]
mod tests;
