//! From a verified client certificate to a [`Principal`].

use std::sync::Arc;
use std::time::SystemTime;

use rustls::CommonState;
use rustls_pki_types::CertificateDer;

use super::facts::{CertificateFacts, CertificateFactsError};
use super::names::dns_name;
use super::spiffe::{InvalidSpiffeId, SpiffeId};
use crate::principal::Principal;

/// The `source` of principals that come from a client certificate.
pub const MTLS: &str = "mtls";

/// Who is at the other end of a mutually authenticated connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PeerIdentity {
    /// The identity, for the extensions of every request on the connection.
    pub principal: Principal,
    /// The certificate that proved it, for logs and `x-forwarded-client-cert`.
    pub certificate: Arc<CertificateFacts>,
}

/// Why a verified certificate gives no identity. The connection has to be refused: treating it as anonymous
/// would let a malformed identity do what an unknown one may.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The certificate cannot be read.
    #[error("the client certificate gives no identity: {0}")]
    Unreadable(#[from] CertificateFactsError),
    /// The certificate's validity is over (or has not begun). Verifiers refuse this in full handshakes;
    /// it is met when a session outlives the certificate it was established with.
    #[error("the client certificate is not valid any more, and a resumed session relies on it")]
    NotValidNow,
    /// The certificate has a SPIFFE ID and a second URI.
    #[error(
        "the client certificate has a SPIFFE ID and {count} URI names; an X.509-SVID has exactly one"
    )]
    SeveralUris {
        /// The number of URI names.
        count: usize,
    },
    /// The SPIFFE ID is malformed.
    #[error("the client certificate's SPIFFE ID is malformed: {0}")]
    Spiffe(#[from] InvalidSpiffeId),
    /// The SPIFFE ID has no path: it names a trust domain, and no workload.
    #[error(
        "the client certificate's SPIFFE ID names a trust domain, not a workload (it has no path)"
    )]
    NoWorkloadPath,
    /// The certificate is an X.509-SVID that may sign others, which leaves must not.
    #[error("the client certificate has a SPIFFE ID but may sign other certificates")]
    SigningSvid,
}

/// The identity of the peer of an accepted connection, once its handshake is complete; `None` when it showed
/// no certificate. `now` is the wall clock.
///
/// The certificate was verified by the handshake, or by the one a resumed session began with. For
/// the mapping see [`from_verified`].
///
/// # Errors
/// When the certificate gives no identity; refuse the connection.
pub fn peer_identity(
    connection: &CommonState,
    now: SystemTime,
) -> Result<Option<PeerIdentity>, IdentityError> {
    match connection.peer_certificates().and_then(<[_]>::first) {
        Some(certificate) => from_verified(certificate, now).map(Some),
        None => Ok(None),
    }
}

/// The identity in a certificate **whose chain was verified**; calling this with any other forges one.
///
/// - A URI name with the scheme `spiffe` makes it an X.509-SVID: exactly one URI name, a well-formed ID with a
///   path, and a certificate that cannot sign others (X.509-SVID, sections 2 to 5). Kind workload, id the
///   SPIFFE ID, trust domain from it; a path `/ns/N/sa/A` also gives the attributes `namespace` and
///   `service-account`.
/// - Any other certificate is a workload of no trust domain. Its id is the first URI name (with
///   `://` or of scheme `urn`), else the first DNS name that is one, lower case, else `cn:` and the
///   common name, else `sha256:` and the fingerprint in hex. The forms cannot be mistaken for each other.
///
/// The common name, when there is one, is the principal's name for people. Groups are never taken from a certificate.
///
/// # Errors
/// As listed at [`IdentityError`].
pub fn from_verified(
    certificate: &CertificateDer<'_>,
    now: SystemTime,
) -> Result<PeerIdentity, IdentityError> {
    let facts = CertificateFacts::from_der(certificate)?;
    if !facts.is_valid_at(now) {
        return Err(IdentityError::NotValidNow);
    }
    let claims_spiffe = |uri: &str| {
        let scheme = uri.split_once(':').map(|(scheme, _)| scheme);
        scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("spiffe"))
    };
    let mut builder = match facts.uri_sans().find(|uri| claims_spiffe(uri)) {
        Some(uri) => {
            let id = svid(&facts, uri)?;
            let builder = Principal::workload(id.as_str(), MTLS).trust_domain(id.trust_domain());
            match id.service_account() {
                Some((namespace, account)) => builder
                    .attribute("namespace", namespace)
                    .attribute("service-account", account),
                None => builder,
            }
        }
        None => Principal::workload(plain_id(&facts), MTLS),
    };
    if let Some(name) = facts.common_name() {
        builder = builder.name(name);
    }
    Ok(PeerIdentity {
        principal: builder.build(),
        certificate: Arc::new(facts),
    })
}

fn svid(facts: &CertificateFacts, uri: &str) -> Result<SpiffeId, IdentityError> {
    let count = facts.uri_sans().len();
    if count != 1 {
        return Err(IdentityError::SeveralUris { count });
    }
    let id: SpiffeId = uri.parse()?;
    if id.path().is_empty() {
        return Err(IdentityError::NoWorkloadPath);
    }
    if facts.signs_certificates() {
        return Err(IdentityError::SigningSvid);
    }
    Ok(id)
}

fn plain_id(facts: &CertificateFacts) -> String {
    let is_id = |uri: &&str| {
        let has_form =
            uri.contains("://") || uri.get(..4).is_some_and(|s| s.eq_ignore_ascii_case("urn:"));
        let claims_other_form = uri.starts_with("cn:") || uri.starts_with("sha256:");
        has_form && !claims_other_form && uri.bytes().all(|byte| byte.is_ascii_graphic())
    };
    if let Some(uri) = facts.uri_sans().find(is_id) {
        return uri.to_owned();
    }
    let dns = facts.dns_sans().find_map(|name| {
        let host = name.strip_prefix("*.").unwrap_or(name);
        dns_name(host).map(|_| name.to_ascii_lowercase())
    });
    match (dns, facts.common_name()) {
        (Some(name), _) => name,
        (None, Some(common_name)) => format!("cn:{common_name}"),
        (None, None) => format!("sha256:{}", facts.fingerprint_hex()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::Clock;
    use crate::principal::PrincipalKind;
    use crate::tls::testing::{CertificateSpec, TestCa};

    fn identity(spec: CertificateSpec) -> Result<PeerIdentity, IdentityError> {
        let issued = TestCa::new("Identity CA").issue(spec);
        from_verified(&issued.chain()[0], Clock.wall())
    }

    fn id(spec: CertificateSpec) -> String {
        identity(spec).unwrap().principal.id().to_owned()
    }

    #[test]
    fn an_svid_is_a_workload_of_its_trust_domain() {
        let found = identity(CertificateSpec::spiffe(
            "spiffe://cluster.local/ns/shop/sa/cart",
        ))
        .unwrap();
        let principal = found.principal;
        assert_eq!(principal.kind(), PrincipalKind::Workload);
        assert_eq!(principal.id(), "spiffe://cluster.local/ns/shop/sa/cart");
        assert_eq!(principal.trust_domain(), Some("cluster.local"));
        assert_eq!(principal.attribute("namespace"), Some("shop"));
        assert_eq!(principal.attribute("service-account"), Some("cart"));
        assert_eq!(principal.source(), "mtls");
    }

    #[test]
    fn a_malformed_svid_is_no_identity() {
        let svid = CertificateSpec::spiffe;
        let cases = [
            (
                svid("spiffe://d/a").uri("spiffe://d/b"),
                IdentityError::SeveralUris { count: 2 },
            ),
            (
                svid("https://x/").uri("spiffe://d/b"),
                IdentityError::SeveralUris { count: 2 },
            ),
            (svid("spiffe://d"), IdentityError::NoWorkloadPath),
            (
                svid("spiffe://D/a"),
                IdentityError::Spiffe(InvalidSpiffeId::TrustDomain),
            ),
            (
                svid("SPIFFE://d/a"),
                IdentityError::Spiffe(InvalidSpiffeId::Scheme),
            ),
            (
                svid("spiffe:d"),
                IdentityError::Spiffe(InvalidSpiffeId::Scheme),
            ),
            (
                svid("spiffe://d/a/../b"),
                IdentityError::Spiffe(InvalidSpiffeId::Segment),
            ),
            (svid("spiffe://d/a").authority(), IdentityError::SigningSvid),
        ];
        for (spec, expected) in cases {
            assert_eq!(identity(spec).unwrap_err(), expected);
        }
    }

    #[test]
    fn other_certificates_are_named_by_their_best_name() {
        let client = || CertificateSpec::client("Client One");
        assert_eq!(id(client()), "cn:Client One");
        assert_eq!(id(client().dns("Api.Example")), "api.example");
        assert_eq!(
            id(client().dns("api.example").uri("https://id.example/7")),
            "https://id.example/7"
        );
        assert_eq!(id(client().uri("urn:uuid:1")), "urn:uuid:1");
        assert!(id(client().no_common_name()).starts_with("sha256:"));
        let found = identity(client().dns("api.example")).unwrap().principal;
        assert_eq!(found.name(), Some("Client One"));
        assert_eq!(found.trust_domain(), None);
    }

    #[test]
    fn a_name_cannot_pose_as_a_name_of_another_form() {
        let client = || CertificateSpec::client("Client One");
        assert_eq!(id(client().dns("spiffe://d/a")), "cn:Client One");
        assert_eq!(id(client().dns("cn:admin")), "cn:Client One");
        assert_eq!(id(client().uri("cn:admin")), "cn:Client One");
        assert_eq!(id(client().uri("cn:admin://x")), "cn:Client One");
        assert_eq!(id(client().uri("https://a b\nc")), "cn:Client One");
        assert!(id(client().common_name("line\nbreak")).starts_with("sha256:"));
    }

    #[test]
    fn a_certificate_out_of_its_validity_is_no_identity() {
        let issued = TestCa::new("Identity CA").issue(CertificateSpec::client("c"));
        let later = Clock.wall() + Duration::from_secs(400 * 86_400);
        let error = from_verified(&issued.chain()[0], later).unwrap_err();
        assert_eq!(error, IdentityError::NotValidNow);
    }
}
