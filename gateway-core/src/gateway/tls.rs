//! A listener's TLS across reloads: certificates are swapped, the rest is rebuilt only when it changed.

use std::sync::Arc;

use rustls::RootCertStore;

use crate::clock::Clock;
use crate::config::{Diagnostic, Diagnostics, Located, ir};
use crate::error::chain;
use crate::tls::{
    CertificateAndKey, CertificateSet, CertificateStore, ClientAuth, MaterialError, PemSource,
    ServedCertificate, ServerTls, ServerTlsOptions, TlsVersion, load_chain, load_roots,
    load_signer,
};

/// The TLS of a live listener.
pub(crate) struct LiveTls {
    key: TlsKey,
    store: Arc<CertificateStore>,
    server: Arc<ServerTls>,
}

/// What decides whether sessions established before may be resumed.
#[derive(Clone)]
struct TlsKey {
    mode: ir::ClientAuthPlan,
    roots: Option<Arc<RootCertStore>>,
    min_version: TlsVersion,
    alpn: Vec<Vec<u8>>,
}

impl TlsKey {
    fn same(&self, other: &Self) -> bool {
        let roots = match (&self.roots, &other.roots) {
            (None, None) => true,
            (Some(ours), Some(theirs)) => ours.roots == theirs.roots,
            _ => false,
        };
        roots
            && self.mode == other.mode
            && self.min_version == other.min_version
            && self.alpn == other.alpn
    }

    fn client_auth(&self) -> ClientAuth {
        match (&self.mode, &self.roots) {
            (ir::ClientAuthPlan::Request(_), Some(roots)) => ClientAuth::Request(roots.clone()),
            (ir::ClientAuthPlan::Require(_), Some(roots)) => ClientAuth::Require(roots.clone()),
            _ => ClientAuth::Off,
        }
    }
}

/// TLS that is ready to go live.
pub(crate) struct TlsCommit {
    live: LiveTls,
    certificates: Option<CertificateSet>,
}

impl LiveTls {
    /// Reads certificates, keys and authorities, always, because files change without the configuration;
    /// builds the rest unless it is the same as before.
    pub(crate) fn prepare(
        plan: &ir::ServerTlsPlan,
        before: Option<&Self>,
        listener: &ir::Listener,
        problems: &mut Diagnostics,
    ) -> Option<TlsCommit> {
        let certificates: Vec<Option<ServedCertificate>> = plan
            .certificates
            .iter()
            .map(|pair| load(pair, problems))
            .collect();
        for half in &plan.unpaired {
            match half {
                ir::Unpaired::Certificate(source) => drop(read(source, load_chain, problems)),
                ir::Unpaired::Key(source) => drop(read(source, load_signer, problems)),
            }
        }
        let key = key(plan, problems);
        let (certificates, key) = (certificates.into_iter().collect::<Option<Vec<_>>>()?, key?);
        if certificates.is_empty() || !plan.unpaired.is_empty() {
            // Reported already.
            return None;
        }
        let set = CertificateSet::compile(certificates, false, Clock.wall());
        for warning in set.warnings() {
            problems.push(listener.place.warning(format!("tls: {warning}")));
        }
        if let Some(same) = before.filter(|before| before.key.same(&key)) {
            return Some(TlsCommit {
                live: Self {
                    key,
                    store: same.store.clone(),
                    server: same.server.clone(),
                },
                certificates: Some(set),
            });
        }
        let store = Arc::new(CertificateStore::new(set));
        let mut options = ServerTlsOptions::new(store.clone());
        options.client_auth = key.client_auth();
        options.min_version = plan.min_version;
        options.alpn = plan.alpn.clone();
        match ServerTls::new(options) {
            Ok(server) => Some(TlsCommit {
                live: Self {
                    key,
                    store,
                    server: Arc::new(server),
                },
                certificates: None,
            }),
            Err(error) => {
                let problem = format!("tls of listener {}: {}", listener.name, chain(&error));
                problems.push(listener.place.error(problem));
                None
            }
        }
    }
}

fn load(plan: &ir::CertificatePlan, problems: &mut Diagnostics) -> Option<ServedCertificate> {
    let pair = load_pair(&plan.certificate, &plan.key, problems)?;
    if plan.hosts.is_empty() {
        return Some(ServedCertificate::new(pair).default(plan.default));
    }
    match ServedCertificate::for_names(pair, &plan.hosts) {
        Ok(served) => Some(served.default(plan.default)),
        Err(error) => {
            problems.push(plan.certificate.error(chain(&error)));
            None
        }
    }
}

/// Reads a certificate and its key; what is wrong with either is reported where it is named.
pub(super) fn load_pair(
    certificate: &Located<PemSource>,
    key: &Located<PemSource>,
    problems: &mut Diagnostics,
) -> Option<CertificateAndKey> {
    let chain = read(certificate, load_chain, problems);
    let signer = read(key, load_signer, problems);
    let pair = CertificateAndKey::pair(chain?, certificate, signer?, key);
    pair.map_err(|error| problems.push(unusable(certificate, &error)))
        .ok()
}

/// Reads a PEM document; what is wrong with it is reported where it is named.
pub(super) fn read<T>(
    source: &Located<PemSource>,
    load: impl FnOnce(&PemSource) -> Result<T, MaterialError>,
    problems: &mut Diagnostics,
) -> Option<T> {
    load(source)
        .map_err(|error| problems.push(unusable(source, &error)))
        .ok()
}

fn unusable(source: &Located<PemSource>, error: &MaterialError) -> Diagnostic {
    let problem = source.error(error.summary());
    match error.hint() {
        Some(hint) => problem.hint(hint),
        None => problem,
    }
}

fn key(plan: &ir::ServerTlsPlan, problems: &mut Diagnostics) -> Option<TlsKey> {
    let roots = match &plan.client_auth {
        ir::ClientAuthPlan::Off => None,
        ir::ClientAuthPlan::Request(source) | ir::ClientAuthPlan::Require(source) => {
            Some(Arc::new(read(source, load_roots, problems)?))
        }
    };
    Some(TlsKey {
        mode: plan.client_auth.clone(),
        roots,
        min_version: plan.min_version,
        alpn: plan.alpn.clone(),
    })
}

impl TlsCommit {
    /// The configuration connections will use.
    pub(crate) fn server(&self) -> &Arc<ServerTls> {
        &self.live.server
    }

    /// Makes it live.
    pub(crate) fn commit(self) -> LiveTls {
        if let Some(set) = self.certificates {
            self.live.store.replace(set);
        }
        self.live
    }
}
