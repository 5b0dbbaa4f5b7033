//! Who is asking: the one identity type of every mode.
//!
//! A [`Principal`] is what an authentication step established: a consumer (API gateway), a workload
//! (service mesh) or a user (JWT, OIDC). Rate limits, access lists, authorization, logs and metrics
//! read this type and nothing else.
//!
//! # Nothing a client sends can forge it
//!
//! A principal lives in the request's extensions, and extensions never travel over the wire: no
//! header, query parameter or body can put one there. It exists only because gateway code called a
//! constructor here *after* verifying a credential: a certificate chain, a signature, a stored
//! secret. Code that calls these constructors keeps that promise; a name copied from a request header is
//! not an identity, whichever proxy claims to have set it.
//!
//! ```
//! use portcullis_core::principal::{Principal, PrincipalKind};
//!
//! let alice = Principal::user("alice", "jwt")
//!     .trust_domain("https://login.example")
//!     .group("admins")
//!     .build();
//! assert_eq!(alice.kind(), PrincipalKind::User);
//! assert!(alice.in_group("admins"));
//! ```

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// What sort of party a [`Principal`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum PrincipalKind {
    /// An API client known to the gateway by its own credentials (key, HMAC secret, client id).
    Consumer,
    /// A program that proved its identity with a certificate.
    Workload,
    /// A person or service account vouched for by a token issuer.
    User,
}

impl PrincipalKind {
    /// The lower-case word used in logs, metrics and configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Consumer => "consumer",
            Self::Workload => "workload",
            Self::User => "user",
        }
    }
}

impl fmt::Display for PrincipalKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An authenticated identity. Cloning costs one reference count.
///
/// Two principals are equal when kind, trust domain and id are equal: that triple says *who*. The
/// display name, groups, attributes and source say what is known about them and how they were
/// authenticated, and may differ between two requests of the same party.
#[derive(Clone)]
pub struct Principal {
    facts: Arc<Facts>,
}

struct Facts {
    kind: PrincipalKind,
    id: Box<str>,
    name: Option<Box<str>>,
    trust_domain: Option<Box<str>>,
    groups: Box<[Box<str>]>,
    attributes: Box<[(Box<str>, Box<str>)]>,
    source: &'static str,
}

impl Principal {
    /// Starts a consumer that was authenticated by `source`, for example `"key-auth"`.
    pub fn consumer(id: impl Into<Box<str>>, source: &'static str) -> PrincipalBuilder {
        PrincipalBuilder::new(PrincipalKind::Consumer, id.into(), source)
    }

    /// Starts a workload that was authenticated by `source`, for example `"mtls"`.
    pub fn workload(id: impl Into<Box<str>>, source: &'static str) -> PrincipalBuilder {
        PrincipalBuilder::new(PrincipalKind::Workload, id.into(), source)
    }

    /// Starts a user that was authenticated by `source`, for example `"jwt"`. Set the token's issuer
    /// as [`trust_domain`](PrincipalBuilder::trust_domain): the same subject at two issuers is two people.
    pub fn user(id: impl Into<Box<str>>, source: &'static str) -> PrincipalBuilder {
        PrincipalBuilder::new(PrincipalKind::User, id.into(), source)
    }

    /// Consumer, workload or user.
    #[must_use]
    pub fn kind(&self) -> PrincipalKind {
        self.facts.kind
    }

    /// The stable identifier: a consumer id, a SPIFFE ID, a token subject. Unique within kind and
    /// [`trust_domain`](Self::trust_domain).
    #[must_use]
    pub fn id(&self) -> &str {
        &self.facts.id
    }

    /// A name for people, when one is known; not unique, so never a key.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.facts.name.as_deref()
    }

    /// The authority that vouches for the id: the SPIFFE trust domain or the token issuer.
    #[must_use]
    pub fn trust_domain(&self) -> Option<&str> {
        self.facts.trust_domain.as_deref()
    }

    /// The groups the party belongs to, in the order they were established.
    pub fn groups(&self) -> impl ExactSizeIterator<Item = &str> {
        self.facts.groups.iter().map(|group| &**group)
    }

    /// Whether the party belongs to `group` (compared byte by byte).
    #[must_use]
    pub fn in_group(&self, group: &str) -> bool {
        self.facts.groups.iter().any(|known| &**known == group)
    }

    /// Every further fact as name and value, in the order they were established.
    pub fn attributes(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        let attributes = self.facts.attributes.iter();
        attributes.map(|(name, value)| (&**name, &**value))
    }

    /// The first value of the attribute `name`.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes()
            .find_map(|(known, value)| (known == name).then_some(value))
    }

    /// What authenticated the party: `"mtls"`, `"jwt"`, the name of an authentication filter.
    #[must_use]
    pub fn source(&self) -> &'static str {
        self.facts.source
    }
}

impl PartialEq for Principal {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.facts, &other.facts)
            || (self.kind() == other.kind()
                && self.id() == other.id()
                && self.trust_domain() == other.trust_domain())
    }
}

impl Eq for Principal {}

impl Hash for Principal {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.kind().hash(state);
        self.trust_domain().hash(state);
        self.id().hash(state);
    }
}

/// Writes `kind:id`, the form of log lines.
impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind(), self.id())
    }
}

/// Shows attribute names without their values, which may be private claims.
impl fmt::Debug for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.attributes().map(|(name, _)| name).collect();
        f.debug_struct("Principal")
            .field("kind", &self.facts.kind)
            .field("id", &self.facts.id)
            .field("name", &self.facts.name)
            .field("trust_domain", &self.facts.trust_domain)
            .field("groups", &self.facts.groups)
            .field("attributes", &names)
            .field("source", &self.facts.source)
            .finish()
    }
}

/// Collects what an authentication step knows; [`build`](Self::build) freezes it.
#[must_use = "a builder does nothing until `build` is called"]
pub struct PrincipalBuilder {
    kind: PrincipalKind,
    id: Box<str>,
    name: Option<Box<str>>,
    trust_domain: Option<Box<str>>,
    groups: Vec<Box<str>>,
    attributes: Vec<(Box<str>, Box<str>)>,
    source: &'static str,
}

impl PrincipalBuilder {
    fn new(kind: PrincipalKind, id: Box<str>, source: &'static str) -> Self {
        Self {
            kind,
            id,
            name: None,
            trust_domain: None,
            groups: Vec::new(),
            attributes: Vec::new(),
            source,
        }
    }

    /// Sets the name for people.
    pub fn name(mut self, name: impl Into<Box<str>>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets the authority that vouches for the id.
    pub fn trust_domain(mut self, trust_domain: impl Into<Box<str>>) -> Self {
        self.trust_domain = Some(trust_domain.into());
        self
    }

    /// Adds one group.
    pub fn group(mut self, group: impl Into<Box<str>>) -> Self {
        self.groups.push(group.into());
        self
    }

    /// Adds every group of an iterator.
    pub fn groups<G: Into<Box<str>>>(mut self, groups: impl IntoIterator<Item = G>) -> Self {
        self.groups.extend(groups.into_iter().map(Into::into));
        self
    }

    /// Adds a fact. A name may come more than once.
    pub fn attribute(mut self, name: impl Into<Box<str>>, value: impl Into<Box<str>>) -> Self {
        self.attributes.push((name.into(), value.into()));
        self
    }

    /// The finished, shareable principal.
    #[must_use]
    pub fn build(self) -> Principal {
        Principal {
            facts: Arc::new(Facts {
                kind: self.kind,
                id: self.id,
                name: self.name,
                trust_domain: self.trust_domain,
                groups: self.groups.into_boxed_slice(),
                attributes: self.attributes.into_boxed_slice(),
                source: self.source,
            }),
        }
    }
}

/// As for [`Principal`]: attribute values stay hidden.
impl fmt::Debug for PrincipalBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrincipalBuilder")
            .field("kind", &self.kind)
            .field("id", &self.id)
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn identity_is_kind_trust_domain_and_id() {
        let base = Principal::user("alice", "jwt").trust_domain("a").build();
        let other_source = Principal::user("alice", "oidc")
            .trust_domain("a")
            .group("admins")
            .build();
        let other_issuer = Principal::user("alice", "jwt").trust_domain("b").build();
        let other_kind = Principal::consumer("alice", "jwt")
            .trust_domain("a")
            .build();
        assert_eq!(base, other_source);
        assert_ne!(base, other_issuer);
        assert_ne!(base, other_kind);
        let set = HashSet::from([base, other_source, other_issuer, other_kind]);
        assert_eq!(set.len(), 3);
    }

    #[test]
    fn accessors_give_back_what_was_established() {
        let principal = Principal::consumer("42", "key-auth")
            .name("Shop")
            .groups(["gold", "eu"])
            .attribute("plan", "a")
            .attribute("plan", "b")
            .build();
        assert_eq!(principal.kind().as_str(), "consumer");
        assert_eq!(principal.name(), Some("Shop"));
        assert_eq!(principal.trust_domain(), None);
        assert_eq!(principal.groups().collect::<Vec<_>>(), ["gold", "eu"]);
        assert!(principal.in_group("eu") && !principal.in_group("EU"));
        assert_eq!(principal.attribute("plan"), Some("a"));
        assert_eq!(principal.attribute("missing"), None);
        assert_eq!(principal.source(), "key-auth");
        assert_eq!(principal.to_string(), "consumer:42");
    }

    #[test]
    fn debug_hides_attribute_values() {
        let principal = Principal::user("u", "jwt")
            .attribute("email", "hidden@example.com")
            .build();
        let text = format!("{principal:?}");
        assert!(text.contains("email") && !text.contains("hidden"), "{text}");
    }

    #[test]
    fn a_clone_shares_its_facts() {
        let principal = Principal::workload("w", "mtls").build();
        assert!(Arc::ptr_eq(&principal.facts, &principal.clone().facts));
        assert_eq!(size_of::<Principal>(), size_of::<usize>());
    }
}
