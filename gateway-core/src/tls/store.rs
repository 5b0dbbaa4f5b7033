//! Certificates chosen by server name, replaceable while the listener runs.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls::SignatureScheme;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::material::CertificateAndKey;
use super::names::{NamePattern, dns_name};

/// One certificate of a listener and the names it is served for.
#[derive(Clone, Debug)]
pub struct ServedCertificate {
    pair: CertificateAndKey,
    names: Vec<NamePattern>,
    unusable: Vec<String>,
    default: bool,
}

/// A configured name is not a host name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{name}` is not a name a certificate can be served for; write a host (`shop.example`) or one wildcard label (`*.shop.example`), international names in their xn-- form"
)]
pub struct InvalidName {
    /// The name as configured.
    pub name: String,
}

impl ServedCertificate {
    /// Serves the certificate for its own names: its DNS subject alternative names, or the common name when
    /// it has none and that is a host name.
    #[must_use]
    pub fn new(pair: CertificateAndKey) -> Self {
        let facts = Arc::clone(pair.facts());
        let mut names = Vec::new();
        let mut unusable = Vec::new();
        for name in facts.dns_sans() {
            match NamePattern::parse(name) {
                Some(pattern) => names.push(pattern),
                None => unusable.push(name.to_owned()),
            }
        }
        if facts.dns_sans().len() == 0 {
            names.extend(facts.common_name().and_then(NamePattern::parse));
        }
        Self {
            pair,
            names,
            unusable,
            default: false,
        }
    }

    /// Serves the certificate for the given names instead of its own. An empty list leaves it as default only.
    ///
    /// # Errors
    /// When a name is neither a host nor `*.` and a host.
    pub fn for_names<N: AsRef<str>>(
        pair: CertificateAndKey,
        names: impl IntoIterator<Item = N>,
    ) -> Result<Self, InvalidName> {
        let parse = |name: N| {
            NamePattern::parse(name.as_ref()).ok_or_else(|| InvalidName {
                name: name.as_ref().to_owned(),
            })
        };
        Ok(Self {
            pair,
            names: names.into_iter().map(parse).collect::<Result<_, _>>()?,
            unusable: Vec::new(),
            default: false,
        })
    }

    /// Marks this certificate as the one for clients that name no host, or an unknown one.
    #[must_use]
    pub fn default(mut self, default: bool) -> Self {
        self.default = default;
        self
    }

    /// The certificate and its key.
    #[must_use]
    pub fn pair(&self) -> &CertificateAndKey {
        &self.pair
    }

    /// The names it is served for, lower case.
    pub fn names(&self) -> impl ExactSizeIterator<Item = String> {
        self.names.iter().map(ToString::to_string)
    }
}

/// Something in a certificate set that works but is probably not what was meant.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CertificateWarning {
    /// The set is empty: every handshake will be refused.
    Empty,
    /// The certificate's validity is over; clients will refuse it.
    Expired {
        /// Where the certificate came from.
        origin: String,
        /// How long ago it ended.
        ago: Duration,
    },
    /// The certificate's validity has not begun; clients will refuse it.
    NotYetValid {
        /// Where the certificate came from.
        origin: String,
        /// When it begins, from now.
        starts_in: Duration,
    },
    /// Two certificates with the same kind of key claim one name; the second is never served for it.
    DuplicateName {
        /// The name.
        name: String,
        /// The certificate that is served.
        served: String,
        /// The certificate that is not.
        ignored: String,
    },
    /// More than one certificate is marked as default; the first one is.
    DuplicateDefault {
        /// The certificate whose mark is ignored.
        ignored: String,
    },
    /// A DNS name in the certificate is no host name and is skipped.
    UnusableName {
        /// Where the certificate came from.
        origin: String,
        /// The name as spelled there.
        name: String,
    },
    /// The certificate has no name and is not the default: it is never served.
    NeverServed {
        /// Where the certificate came from.
        origin: String,
    },
}

impl fmt::Display for CertificateWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => {
                f.write_str("no certificate is configured: every TLS handshake will be refused")
            }
            Self::Expired { origin, ago } => {
                write!(
                    f,
                    "the certificate in {origin} expired {} ago; renew it",
                    span(*ago)
                )
            }
            Self::NotYetValid { origin, starts_in } => write!(
                f,
                "the certificate in {origin} becomes valid in {}; check the clock",
                span(*starts_in)
            ),
            Self::DuplicateName {
                name,
                served,
                ignored,
            } => write!(
                f,
                "both {served} and {ignored} claim the name {name}; {served} comes first and is served"
            ),
            Self::DuplicateDefault { ignored } => {
                write!(
                    f,
                    "{ignored} is marked as default, but an earlier certificate is too; the earlier one is used"
                )
            }
            Self::UnusableName { origin, name } => {
                write!(
                    f,
                    "the certificate in {origin} names {name:?}, which is not a host name; it is skipped"
                )
            }
            Self::NeverServed { origin } => write!(
                f,
                "the certificate in {origin} is never served: it has no DNS name and is not the default"
            ),
        }
    }
}

/// A time span in the unit people would choose.
fn span(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..7_200 => format!("{} minutes", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} hours", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

/// An immutable, indexed set of certificates: what a [`CertificateStore`] holds at one time.
///
/// Compiling happens aside, so that [`CertificateStore::replace`] cannot fail.
pub struct CertificateSet {
    certificates: Vec<ServedCertificate>,
    exact: NameIndex,
    wildcard: NameIndex,
    default: Option<Arc<CertifiedKey>>,
    strict: bool,
    warnings: Vec<CertificateWarning>,
}

/// Candidates of a name, in the order of the configuration; more than one only when their key kinds differ.
type NameIndex = HashMap<Box<str>, Vec<Arc<CertifiedKey>>, foldhash::fast::RandomState>;

impl CertificateSet {
    /// Indexes `certificates`; `now` is the wall clock for validity warnings.
    ///
    /// A name is looked up exactly first, then as a wildcard of one label. A client that names no host, or
    /// one nobody serves, gets the certificate marked as default, else the first. With `strict_sni` it is
    /// refused instead. Several certificates may serve one name when their keys are of different
    /// kinds (ECDSA and RSA): the first that the client can verify is used.
    #[must_use]
    pub fn compile(
        certificates: Vec<ServedCertificate>,
        strict_sni: bool,
        now: SystemTime,
    ) -> Self {
        let mut set = Self {
            certificates: Vec::new(),
            exact: NameIndex::default(),
            wildcard: NameIndex::default(),
            default: None,
            strict: strict_sni,
            warnings: Vec::new(),
        };
        if certificates.is_empty() {
            set.warnings.push(CertificateWarning::Empty);
        }
        let mut origins: HashMap<*const CertifiedKey, &str> = HashMap::new();
        for certificate in &certificates {
            let key = Arc::as_ptr(certificate.pair.certified_key());
            origins.insert(key, certificate.pair.origin());
        }
        for certificate in &certificates {
            set.warn_about_validity(certificate, now);
            for name in &certificate.names {
                set.index(name, certificate, &origins);
            }
            set.consider_as_default(certificate);
        }
        set.default = set.default.or_else(|| {
            let first = certificates.first()?;
            Some(Arc::clone(first.pair.certified_key()))
        });
        set.warn_about_unreachable(&certificates);
        set.certificates = certificates;
        set
    }

    fn index(
        &mut self,
        name: &NamePattern,
        certificate: &ServedCertificate,
        origins: &HashMap<*const CertifiedKey, &str>,
    ) {
        let candidates = match name {
            NamePattern::Exact(host) => self.exact.entry(host.clone()),
            NamePattern::Wildcard(rest) => self.wildcard.entry(rest.clone()),
        }
        .or_default();
        let new = certificate.pair.certified_key();
        let same_kind = |known: &&Arc<CertifiedKey>| known.key.algorithm() == new.key.algorithm();
        match candidates.iter().find(same_kind) {
            Some(known) if Arc::ptr_eq(known, new) => {}
            Some(known) => self.warnings.push(CertificateWarning::DuplicateName {
                name: name.to_string(),
                served: origins
                    .get(&Arc::as_ptr(known))
                    .copied()
                    .unwrap_or_default()
                    .to_owned(),
                ignored: certificate.pair.origin().to_owned(),
            }),
            None => candidates.push(Arc::clone(new)),
        }
    }

    fn consider_as_default(&mut self, certificate: &ServedCertificate) {
        if !certificate.default {
            return;
        }
        if self.default.is_some() {
            self.warnings.push(CertificateWarning::DuplicateDefault {
                ignored: certificate.pair.origin().to_owned(),
            });
        } else {
            self.default = Some(Arc::clone(certificate.pair.certified_key()));
        }
    }

    fn warn_about_validity(&mut self, certificate: &ServedCertificate, now: SystemTime) {
        let facts = certificate.pair.facts();
        let origin = certificate.pair.origin().to_owned();
        for name in &certificate.unusable {
            self.warnings.push(CertificateWarning::UnusableName {
                origin: origin.clone(),
                name: name.clone(),
            });
        }
        if facts.is_valid_at(now) {
            return;
        }
        self.warnings
            .push(match facts.not_before().duration_since(now) {
                Ok(starts_in) if !starts_in.is_zero() => {
                    CertificateWarning::NotYetValid { origin, starts_in }
                }
                _ => CertificateWarning::Expired {
                    origin,
                    ago: now.duration_since(facts.not_after()).unwrap_or_default(),
                },
            });
    }

    fn warn_about_unreachable(&mut self, certificates: &[ServedCertificate]) {
        for certificate in certificates
            .iter()
            .filter(|candidate| candidate.names.is_empty())
        {
            let is_default = self
                .default
                .as_ref()
                .is_some_and(|default| Arc::ptr_eq(default, certificate.pair.certified_key()));
            if self.strict || !is_default {
                self.warnings.push(CertificateWarning::NeverServed {
                    origin: certificate.pair.origin().to_owned(),
                });
            }
        }
    }

    /// What is probably not meant, in the order of the configuration.
    #[must_use]
    pub fn warnings(&self) -> &[CertificateWarning] {
        &self.warnings
    }

    /// The certificates in the order they were given, for status pages and expiry metrics.
    #[must_use]
    pub fn certificates(&self) -> &[ServedCertificate] {
        &self.certificates
    }

    /// The certificate for a client that asks for `server_name` and can verify `schemes`.
    #[must_use]
    pub fn select(
        &self,
        server_name: Option<&str>,
        schemes: &[SignatureScheme],
    ) -> Option<&Arc<CertifiedKey>> {
        let name = server_name.and_then(dns_name);
        let candidates = name.as_deref().and_then(|name| {
            self.exact.get(name).or_else(|| {
                let (_, rest) = name.split_once('.')?;
                self.wildcard.get(rest)
            })
        });
        match candidates.map(Vec::as_slice) {
            // Without a verifiable one the handshake fails anyway, with a better error from its last step.
            Some(found) => found
                .iter()
                .find(|candidate| candidate.key.choose_scheme(schemes).is_some())
                .or(found.first()),
            None if self.strict => None,
            None => self.default.as_ref(),
        }
    }
}

impl fmt::Debug for CertificateSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateSet")
            .field("certificates", &self.certificates)
            .field("strict_sni", &self.strict)
            .field("warnings", &self.warnings)
            .finish_non_exhaustive()
    }
}

/// The certificates of a listener, read at every handshake and replaceable at any time.
///
/// A replacement takes effect at the next full handshake; connections that are open and sessions that
/// clients resume keep the certificate they were established with.
#[derive(Debug)]
pub struct CertificateStore {
    current: RwLock<Arc<CertificateSet>>,
}

impl CertificateStore {
    /// A store that serves `set`.
    #[must_use]
    pub fn new(set: CertificateSet) -> Self {
        Self {
            current: RwLock::new(Arc::new(set)),
        }
    }

    /// Serves `set` from the next handshake on and gives back what was served before.
    pub fn replace(&self, set: CertificateSet) -> Arc<CertificateSet> {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut current, Arc::new(set))
    }

    /// What is served now.
    #[must_use]
    pub fn current(&self) -> Arc<CertificateSet> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&current)
    }
}

impl ResolvesServerCert for CertificateStore {
    fn resolve(&self, client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.current()
            .select(client_hello.server_name(), client_hello.signature_schemes())
            .cloned()
    }
}

#[cfg(test)]
mod tests;
