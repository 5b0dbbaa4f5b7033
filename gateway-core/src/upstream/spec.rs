//! What discovery says about an endpoint.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::balance::{combine_hashes, stable_hash};

/// Where an endpoint listens. Always resolved: names are the business of discovery.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum EndpointAddress {
    /// An IP address and port.
    Socket(SocketAddr),
    /// The path of a Unix domain socket.
    Unix(PathBuf),
}

impl EndpointAddress {
    /// The IP address and port, unless this is a Unix socket.
    #[must_use]
    pub fn socket(&self) -> Option<SocketAddr> {
        match self {
            Self::Socket(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
}

impl From<SocketAddr> for EndpointAddress {
    fn from(address: SocketAddr) -> Self {
        Self::Socket(address)
    }
}

impl<I: Into<IpAddr>> From<(I, u16)> for EndpointAddress {
    fn from(address: (I, u16)) -> Self {
        Self::Socket(address.into())
    }
}

impl From<PathBuf> for EndpointAddress {
    fn from(path: PathBuf) -> Self {
        Self::Unix(path)
    }
}

impl fmt::Display for EndpointAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Names a live endpoint within this process. Never reused, and meaningless elsewhere: what outlives the
/// process is [`Endpoint::fingerprint`](crate::upstream::Endpoint::fingerprint).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointId(u64);

impl EndpointId {
    pub(super) fn fresh() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

impl fmt::Display for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One endpoint as discovery describes it.
///
/// Its identity is the address together with the host name: two names that resolve to one address stay two
/// endpoints. Everything else may change from update to update while the endpoint keeps its statistics.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EndpointSpec {
    /// Where it listens.
    pub address: EndpointAddress,
    /// The name for `Host` and SNI when the route does not say otherwise.
    pub hostname: Option<Arc<str>>,
    /// Its share relative to the other endpoints; 0 gives it no new requests.
    pub weight: u32,
    /// The zone it runs in.
    pub zone: Option<Arc<str>>,
    /// Its level: endpoints of higher numbers are used when those of lower ones are too few.
    pub priority: u32,
    /// Further facts for whoever knows them (labels, peer identity, tunnel address).
    pub metadata: BTreeMap<Arc<str>, Arc<str>>,
}

impl EndpointSpec {
    /// An endpoint at `address` with weight 1.
    #[must_use]
    pub fn new(address: impl Into<EndpointAddress>) -> Self {
        Self {
            address: address.into(),
            hostname: None,
            weight: 1,
            zone: None,
            priority: 0,
            metadata: BTreeMap::new(),
        }
    }

    /// Sets the name for `Host` and SNI.
    #[must_use]
    pub fn with_hostname(mut self, hostname: impl Into<Arc<str>>) -> Self {
        self.hostname = Some(hostname.into());
        self
    }

    /// Sets the weight.
    #[must_use]
    pub fn with_weight(mut self, weight: u32) -> Self {
        self.weight = weight;
        self
    }

    /// Sets the zone.
    #[must_use]
    pub fn with_zone(mut self, zone: impl Into<Arc<str>>) -> Self {
        self.zone = Some(zone.into());
        self
    }

    /// Sets the level.
    #[must_use]
    pub fn with_priority(mut self, priority: u32) -> Self {
        self.priority = priority;
        self
    }

    /// Adds a fact.
    #[must_use]
    pub fn with_metadata(mut self, key: impl Into<Arc<str>>, value: impl Into<Arc<str>>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    pub(super) fn key(&self) -> EndpointKey {
        EndpointKey {
            address: self.address.clone(),
            hostname: self.hostname.clone(),
        }
    }

    pub(super) fn fingerprint(&self) -> u64 {
        let address = stable_hash(self.address.to_string().as_bytes());
        match &self.hostname {
            Some(name) => combine_hashes(address, stable_hash(name.as_bytes())),
            None => address,
        }
    }
}

/// The identity of an endpoint within its upstream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct EndpointKey {
    pub(super) address: EndpointAddress,
    pub(super) hostname: Option<Arc<str>>,
}
