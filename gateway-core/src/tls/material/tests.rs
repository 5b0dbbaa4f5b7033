use super::*;
use crate::tls::testing::{CertificateSpec, TestCa, TestCertificate};

fn issued() -> TestCertificate {
    TestCa::new("Material CA").issue(CertificateSpec::server(["a.example"]))
}

fn inline(text: &str) -> PemSource {
    PemSource::inline("test document", text.as_bytes())
}

fn load(certificate: &str, key: &str) -> Result<CertificateAndKey, MaterialError> {
    let certificate = PemSource::inline("tls.crt", certificate.as_bytes());
    let key = PemSource::inline("tls.key", key.as_bytes());
    CertificateAndKey::load(&certificate, &key)
}

fn message(result: Result<CertificateAndKey, MaterialError>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn files_and_inline_text_load_alike() {
    let folder = tempfile::tempdir().unwrap();
    let issued = issued();
    let (certificate, key) = issued.write_to(folder.path(), "web").unwrap();
    let loaded =
        CertificateAndKey::load(&PemSource::file(&certificate), &PemSource::file(key)).unwrap();
    assert_eq!(loaded.origin(), certificate.display().to_string());
    assert_eq!(
        loaded.facts().fingerprint(),
        issued.pair().facts().fingerprint()
    );
    assert_eq!(PemSource::file("/a").path(), Some(Path::new("/a")));
    assert_eq!(inline("").path(), None);
}

#[test]
fn a_missing_file_is_named() {
    let text = message(CertificateAndKey::load(
        &PemSource::file("/nowhere/a.pem"),
        &PemSource::file("/nowhere/a.key"),
    ));
    assert!(text.starts_with("cannot read /nowhere/a.pem: "), "{text}");
}

#[test]
fn a_huge_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("huge");
    std::fs::File::create(&path)
        .unwrap()
        .set_len(MAX_PEM_BYTES + 1)
        .unwrap();
    let error = load_certificates(&PemSource::file(&path)).unwrap_err();
    assert!(matches!(error, MaterialError::TooLarge { .. }), "{error}");
}

#[test]
fn usual_mistakes_are_named() {
    let issued = issued();
    let (certificate, key) = (issued.certificate_pem(), issued.key_pem());
    let ca = TestCa::new("Other CA");
    let chained = issued.clone().with_intermediate(&ca);
    let reversed = format!("{}{certificate}", ca.pem());
    let truncated = &certificate[..certificate.len() - 30];
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let legacy = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let bad_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let other_key = TestCa::new("Other CA").issue(CertificateSpec::client("c"));
    let cases: &[(&str, &str, &[&str])] = &[
        (
            key,
            certificate,
            &["tls.crt contains no certificate", "swapped"],
        ),
        (
            certificate,
            certificate,
            &["tls.key contains no private key", "swapped"],
        ),
        ("", key, &["tls.crt contains no certificate"]),
        (certificate, "", &["tls.key contains no private key"]),
        (
            certificate,
            encrypted,
            &["tls.key", "encrypted", "openssl pkey"],
        ),
        (certificate, legacy, &["tls.key", "encrypted"]),
        (
            certificate,
            bad_key,
            &["tls.key cannot be used", "are supported"],
        ),
        (truncated, key, &["tls.crt is not valid PEM", "no END line"]),
        (garbage, key, &["certificate 1 in tls.crt"]),
        (
            certificate,
            other_key.key_pem(),
            &["tls.key does not belong to the first certificate in tls.crt"],
        ),
        (
            &reversed,
            key,
            &["tls.crt", "put the server's own certificate first"],
        ),
    ];
    for (certificate, key, expected) in cases {
        let text = message(load(certificate, key));
        for part in *expected {
            assert!(text.contains(part), "{part:?} not in {text:?}");
        }
    }
    assert_eq!(
        load(chained.certificate_pem(), key)
            .unwrap()
            .certified_key()
            .cert
            .len(),
        2
    );
}

#[test]
fn key_and_certificate_may_share_a_document() {
    let issued = issued();
    let both = format!("{}{}", issued.key_pem(), issued.certificate_pem());
    assert!(load(&both, &both).is_ok());
}

#[test]
fn secrets_are_never_shown() {
    let issued = issued();
    let secret: String = issued.key_pem().lines().nth(1).unwrap().to_owned();
    let source = inline(issued.key_pem());
    let pair = issued.pair();
    let damaged = issued.key_pem().replace("-----END", "----END");
    let error = load(issued.certificate_pem(), &damaged).unwrap_err();
    let shown = format!("{source:?} {source} {pair:?} {issued:?} {error} {error:?}");
    assert!(
        !shown.contains(&secret) && !shown.contains("BEGIN PRIVATE"),
        "{shown}"
    );
}

#[test]
fn roots_are_read_or_refused() {
    let ca = TestCa::new("A");
    let two = format!("{}{}", ca.pem(), TestCa::new("B").pem());
    assert_eq!(load_roots(&inline(&two)).unwrap().len(), 2);
    let garbage = format!(
        "{}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ca.pem()
    );
    let error = load_roots(&inline(&garbage)).unwrap_err().to_string();
    assert!(
        error.starts_with("certificate 2 in test document"),
        "{error}"
    );
}

#[test]
fn a_ready_made_key_is_taken() {
    let certified = Arc::clone(issued().pair().certified_key());
    assert_eq!(
        CertificateAndKey::from_certified_key("module", certified)
            .unwrap()
            .origin(),
        "module"
    );
    let signer = Arc::clone(&issued().pair().certified_key().key);
    let empty = Arc::new(CertifiedKey::new(Vec::new(), signer));
    assert!(CertificateAndKey::from_certified_key("module", empty).is_err());
}
