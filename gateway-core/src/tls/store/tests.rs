use rustls::SignatureScheme::{ECDSA_NISTP256_SHA256, ED25519, RSA_PSS_SHA256};

use super::*;
use crate::clock::Clock;
use crate::tls::testing::{CertificateSpec, TestCa};

const ANY: &[SignatureScheme] = &[ECDSA_NISTP256_SHA256, ED25519];

fn served(spec: CertificateSpec) -> ServedCertificate {
    ServedCertificate::new(TestCa::new("Store CA").issue(spec).pair())
}

fn server(names: &[&str]) -> ServedCertificate {
    served(CertificateSpec::server(names))
}

fn compile(certificates: &[&ServedCertificate], strict: bool) -> CertificateSet {
    let certificates = certificates.iter().copied().cloned().collect();
    CertificateSet::compile(certificates, strict, Clock.wall())
}

/// Which of the certificates (by position) is selected.
fn position(
    set: &CertificateSet,
    name: Option<&str>,
    schemes: &[SignatureScheme],
) -> Option<usize> {
    let selected = set.select(name, schemes)?;
    let mut all = set.certificates().iter();
    all.position(|one| Arc::ptr_eq(one.pair().certified_key(), selected))
}

#[test]
fn exact_goes_before_wildcard_goes_before_default() {
    let fallback = server(&["fallback.example"]);
    let wildcard = server(&["*.shop.example"]);
    let exact = server(&["a.shop.example", "shop.example"]);
    let set = compile(&[&fallback, &wildcard, &exact], false);
    assert_eq!(set.warnings(), []);
    let table = [
        (Some("a.shop.example"), 2),
        (Some("A.Shop.Example."), 2),
        (Some("shop.example"), 2),
        (Some("b.shop.example"), 1),
        (Some("b.a.shop.example"), 0),
        (Some("other.example"), 0),
        (Some("*.shop.example"), 0),
        (Some(""), 0),
        (None, 0),
    ];
    for (name, expected) in table {
        assert_eq!(position(&set, name, ANY), Some(expected), "{name:?}");
    }
}

#[test]
fn a_marked_default_goes_before_the_first() {
    let (first, marked) = (server(&["a.example"]), server(&["b.example"]).default(true));
    let set = compile(&[&first, &marked], false);
    assert_eq!(position(&set, None, ANY), Some(1));
    assert_eq!(position(&set, Some("a.example"), ANY), Some(0));
    let second = server(&["c.example"]).default(true);
    let set = compile(&[&first, &marked, &second], false);
    assert_eq!(position(&set, None, ANY), Some(1));
    assert!(matches!(
        set.warnings(),
        [CertificateWarning::DuplicateDefault { .. }]
    ));
}

#[test]
fn strict_sni_refuses_what_nobody_serves() {
    let one = server(&["a.example"]).default(true);
    let set = compile(&[&one], true);
    assert_eq!(position(&set, Some("a.example"), ANY), Some(0));
    assert_eq!(position(&set, Some("b.example"), ANY), None);
    assert_eq!(position(&set, None, ANY), None);
}

#[test]
fn names_may_be_given_instead() {
    let pair = server(&["a.example"]).pair().clone();
    let given = ServedCertificate::for_names(pair.clone(), ["B.example", "*.c.example"]).unwrap();
    assert_eq!(
        given.names().collect::<Vec<_>>(),
        ["b.example", "*.c.example"]
    );
    let set = compile(&[&given], true);
    assert_eq!(position(&set, Some("b.example"), ANY), Some(0));
    assert_eq!(position(&set, Some("a.example"), ANY), None);
    for bad in ["*", "a b", "ü.example", "10.0.0.1/8", "a.*.example"] {
        assert!(
            ServedCertificate::for_names(pair.clone(), [bad]).is_err(),
            "{bad}"
        );
    }
}

#[test]
fn the_common_name_counts_only_without_alternative_names() {
    let names = |spec| served(spec).names().collect::<Vec<_>>();
    assert_eq!(
        names(CertificateSpec::client("old.example")),
        ["old.example"]
    );
    assert_eq!(
        names(CertificateSpec::client("Not A Host")),
        Vec::<String>::new()
    );
    assert_eq!(
        names(CertificateSpec::server(["new.example"]).common_name("old.example")),
        ["new.example"]
    );
}

#[test]
fn two_kinds_of_key_may_share_a_name() {
    let ca = TestCa::new("Store CA");
    let spec = || CertificateSpec::server(["a.example"]);
    let ecdsa = ServedCertificate::new(ca.issue(spec()).pair());
    let ed25519 = ServedCertificate::new(ca.issue_ed25519(spec()).pair());
    let set = compile(&[&ed25519, &ecdsa], false);
    assert_eq!(set.warnings(), []);
    assert_eq!(position(&set, Some("a.example"), ANY), Some(0));
    assert_eq!(
        position(&set, Some("a.example"), &[ECDSA_NISTP256_SHA256]),
        Some(1)
    );
    assert_eq!(
        position(&set, Some("a.example"), &[RSA_PSS_SHA256]),
        Some(0)
    );
}

#[test]
fn what_is_probably_not_meant_is_told() {
    let empty = compile(&[], false);
    assert_eq!(empty.warnings(), [CertificateWarning::Empty]);
    assert!(empty.select(None, ANY).is_none());

    let (first, second) = (server(&["a.example", "b.example"]), server(&["b.example"]));
    let set = compile(&[&first, &second], false);
    assert!(
        matches!(set.warnings(), [CertificateWarning::DuplicateName { name, .. }] if name == "b.example"),
        "{set:?}"
    );
    assert_eq!(position(&set, Some("b.example"), ANY), Some(0));

    let twice = server(&["a.example", "a.example"]);
    assert_eq!(compile(&[&twice], false).warnings(), []);

    let expired = served(CertificateSpec::server(["a.example"]).expired());
    let early = served(CertificateSpec::server(["b.example"]).not_yet_valid());
    let odd = served(CertificateSpec::server(["c.example"]).dns("not a host"));
    let nameless = served(CertificateSpec::client("Not A Host"));
    let set = compile(&[&expired, &early, &odd, &nameless], false);
    let text: Vec<String> = set.warnings().iter().map(ToString::to_string).collect();
    assert_eq!(text.len(), 4, "{text:?}");
    assert!(text[0].contains("expired 24 hours ago"), "{text:?}");
    assert!(text[1].contains("becomes valid in"), "{text:?}");
    assert!(text[2].contains("not a host"), "{text:?}");
    assert!(text[3].contains("never served"), "{text:?}");
}

#[test]
fn replacing_gives_back_what_was_served() {
    let (old, new) = (server(&["a.example"]), server(&["a.example"]));
    let store = CertificateStore::new(compile(&[&old], false));
    let before = store.current();
    let replaced = store.replace(compile(&[&new], false));
    assert!(Arc::ptr_eq(&before, &replaced));
    assert!(!Arc::ptr_eq(&before, &store.current()));
}
