//! Certificates made for a test.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tempfile::TempDir;

/// An authority of its own, with files on disk.
pub struct Certificates {
    folder: TempDir,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Certificates {
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "an authority for tests");
        let key = KeyPair::generate().expect("a key");
        let authority = CertifiedIssuer::self_signed(params, key).expect("an authority");
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("ca.pem"), authority.pem()).expect("its file");
        Self { folder, authority }
    }

    pub fn authority(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A certificate for `names`; the paths of chain and key.
    pub fn issue(&self, names: &[&str]) -> (PathBuf, PathBuf) {
        let mut params = CertificateParams::new(
            names
                .iter()
                .map(|&name| name.to_owned())
                .collect::<Vec<_>>(),
        )
        .expect("names");
        params.distinguished_name.push(DnType::CommonName, names[0]);
        let key = KeyPair::generate().expect("a key");
        let certificate = params
            .signed_by(&key, &self.authority)
            .expect("a certificate");
        let file = |kind: &str| {
            self.folder
                .path()
                .join(format!("{}.{kind}.pem", names[0].replace('*', "any")))
        };
        let (chain, private) = (file("chain"), file("key"));
        std::fs::write(&chain, certificate.pem()).expect("its file");
        std::fs::write(&private, key.serialize_pem()).expect("its file");
        (chain, private)
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}
