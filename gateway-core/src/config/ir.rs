//! The validated configuration: what lowering makes of a [`RawConfig`](super::RawConfig), and what is compiled.
//!
//! Names are resolved to positions, texts to patterns, durations of `0s` to no limit. What takes the outside
//! world to judge is left for later: plugins are still [`PluginSpec`]s, PEM documents are not read, and
//! nothing is bound.
//!
//! A *fingerprint* says whether an object is the same as in another configuration: equal fingerprints mean
//! that everything it was written with is equal. Fingerprints compare within one process only.

mod l4;

use std::{path::Path, sync::Arc, time::Duration};

use crate::{
    forward::{HedgePolicy, RetryPolicy, RouteTimeouts, Sticky, UpstreamSettings},
    hygiene::HygieneLayer,
    observe::config::{AccessLogConfig, MetricsConfig, TracingConfig},
    route::RouteMatch,
    settings::HttpSettings,
    socket::TcpKeepalive,
    tls::{PemSource, TlsVersion},
    upstream::{ActiveHealth, EndpointSpec, OutlierConfig, PanicPolicy, SlowStart},
};

use super::{
    capture::{Located, PluginSpec},
    diagnostic::Location,
    raw::WhenFull,
    values::BindAddress,
};

pub use l4::{ListenerKind, ProxyProtocol, StreamBackend, TcpMatch, TcpRoute, UdpRoute};

/// A whole configuration in which every reference leads somewhere.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Config {
    /// Where connections come in. Names are unique.
    pub listeners: Vec<Listener>,
    /// What happens to requests, the older ones first. Names are unique.
    pub routes: Vec<Route>,
    /// What happens to TCP connections, the older ones first. Names are unique.
    pub tcp_routes: Vec<TcpRoute>,
    /// What happens to datagrams. Names are unique.
    pub udp_routes: Vec<UdpRoute>,
    /// Groups of endpoints. Names are unique.
    pub upstreams: Vec<Upstream>,
    /// Where operators look in; `None` when that is switched off.
    pub admin: Option<Admin>,
    /// One line for every request; `None` for none.
    pub access_log: Option<AccessLogConfig>,
    /// Trace context and spans; `None` when trace headers pass untouched.
    pub tracing: Option<TracingConfig>,
    /// What is counted.
    pub metrics: MetricsConfig,
    /// Limits over all listeners.
    pub limits: Limits,
    /// Memory of the process in bytes, 0 for no limit; `None` for what the cgroup allows.
    pub memory: Option<u64>,
    /// How long requests may go on after the gateway was told to stop.
    pub drain: Duration,
}

/// The listener for operators.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Admin {
    /// Where it listens.
    pub bind: BindAddress,
    /// Where that was written.
    pub at: Location,
}

/// Limits of a listener, or of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Connections open at a time; `None` for no limit.
    pub max_connections: Option<usize>,
    /// Requests being served at a time; `None` for no limit.
    pub max_requests_in_flight: Option<usize>,
}

/// A place where connections come in.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Listener {
    /// Its name.
    pub name: Arc<str>,
    /// Where it listens.
    pub bind: Located<BindAddress>,
    /// What it serves.
    pub kind: ListenerKind,
    /// Who may say on whose behalf it connects; `None` where nobody may.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// How it speaks HTTP.
    pub http: HttpSettings,
    /// How requests are cleaned before anything sees them.
    pub hygiene: HygieneLayer,
    /// TLS; `None` for plain text.
    pub tls: Option<ServerTlsPlan>,
    /// Filters before the route is chosen.
    pub filters: Vec<PluginSpec>,
    /// What serves its connections, if that is not HTTP.
    pub handler: Option<PluginSpec>,
    /// Limits of this listener.
    pub limits: Limits,
    /// Connections open at a time from one address; `None` for no limit.
    pub max_connections_per_address: Option<usize>,
    /// What becomes of connections beyond the limit of the listener or of the process.
    pub when_full: WhenFull,
    /// How clients that are gone are found.
    pub tcp_keepalive: TcpKeepalive,
    /// One socket per worker. Never for Unix sockets.
    pub reuse_port: bool,
    /// Equal when nothing about it has changed.
    pub fingerprint: u64,
    /// Where its name was written.
    pub place: Located<()>,
}

/// What the TLS of a listener is made of.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerTlsPlan {
    /// The certificates to serve, at least one.
    pub certificates: Vec<CertificatePlan>,
    /// Whether clients show a certificate.
    pub client_auth: ClientAuthPlan,
    /// The oldest version that is spoken.
    pub min_version: TlsVersion,
    /// Protocols offered by ALPN, best first.
    pub alpn: Vec<Vec<u8>>,
    /// What is left of broken pairs; empty in a configuration without errors.
    pub(crate) unpaired: Vec<Unpaired>,
}

/// A certificate that is still to be read.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CertificatePlan {
    /// The certificate and its intermediates.
    pub certificate: Located<PemSource>,
    /// Its key.
    pub key: Located<PemSource>,
    /// Names it is served for, instead of its own; empty for its own.
    pub hosts: Vec<String>,
    /// Serve it to clients that ask for no name or an unknown one. One per listener at most.
    pub default: bool,
}

/// Half of a pair whose other half is wrong already: it can still be read to see whether it is wrong too.
#[derive(Clone, Debug)]
pub(crate) enum Unpaired {
    Certificate(Located<PemSource>),
    Key(Located<PemSource>),
}

/// Whether clients show a certificate, and who may have issued it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientAuthPlan {
    /// They are not asked.
    #[default]
    Off,
    /// They may show one by these authorities.
    Request(Located<PemSource>),
    /// They must show one by these authorities.
    Require(Located<PemSource>),
}

/// What happens to requests that match.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Route {
    /// Its name.
    pub name: Arc<str>,
    /// Positions of its listeners in [`Config::listeners`], ascending; empty for all that speak HTTP.
    pub listeners: Vec<usize>,
    /// Alternatives, one of which has to hold; none means everything. Their `custom` lists are empty.
    pub matches: Vec<RouteMatch>,
    /// Matchers by plugins, which have to hold beside any of the alternatives.
    pub matchers: Vec<PluginSpec>,
    /// Explicit priority; higher wins.
    pub priority: Option<i64>,
    /// Filters of the route.
    pub filters: Vec<PluginSpec>,
    /// How long a request may take.
    pub timeouts: RouteTimeouts,
    /// When a failed attempt is repeated; `None` for never.
    pub retry: Option<RetryPolicy>,
    /// When a second attempt is made beside a slow one; `None` for never.
    pub hedge: Option<HedgePolicy>,
    /// Where requests go. Empty only when there are filters, one of which has to answer.
    pub backends: Vec<Backend>,
    /// Who gets copies of requests.
    pub mirrors: Vec<Mirror>,
    /// Keeps clients on their backends; `None` for no client.
    pub sticky: Option<Box<Sticky>>,
    /// Whether connections may change protocol.
    pub upgrade: bool,
    /// Equal when nothing about it or its upstreams has changed.
    pub fingerprint: u64,
    /// Where its name was written.
    pub place: Located<()>,
}

impl Route {
    /// Whether it belongs to the listener at this position.
    #[must_use]
    pub fn is_on(&self, listener: usize) -> bool {
        self.listeners.is_empty() || self.listeners.binary_search(&listener).is_ok()
    }
}

/// A share of a route's requests.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Backend {
    /// Position in [`Config::upstreams`].
    pub upstream: usize,
    /// The share, relative to the other backends; 0 for none.
    pub weight: u32,
    /// Used only while the backends of lower numbers have no healthy endpoint.
    pub priority: u32,
    /// Filters for these requests only.
    pub filters: Vec<PluginSpec>,
}

/// An upstream that gets copies of requests.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Mirror {
    /// Position in [`Config::upstreams`].
    pub upstream: usize,
    /// The part of the requests, 0 to 1.
    pub share: f64,
    /// The largest body, in bytes.
    pub max_body: usize,
    /// Copies under way at a time.
    pub max_in_flight: usize,
}

/// A group of endpoints.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Upstream {
    /// Its name.
    pub name: Arc<str>,
    /// Endpoints that are known in advance, each address once.
    pub endpoints: Vec<EndpointSpec>,
    /// Host names whose addresses are endpoints too: one
    /// [`DnsDiscovery`](crate::upstream::DnsDiscovery) each.
    pub names: Vec<NamedEndpoint>,
    /// Where further endpoints come from. At least one of the three sources is there.
    pub discovery: Option<PluginSpec>,
    /// How an endpoint is chosen; `None` for the default.
    pub balance: Option<PluginSpec>,
    /// Who makes connections; `None` for TCP and Unix sockets.
    pub connector: Option<PluginSpec>,
    /// How it is spoken to. `shards` is for the caller to set.
    pub settings: UpstreamSettings,
    /// TLS to the endpoints; `None` for plain text.
    pub tls: Option<UpstreamTlsPlan>,
    /// When health is ignored.
    pub panic: PanicPolicy,
    /// The zone whose endpoints are preferred; `None` when zones do not matter.
    pub zone: Option<Arc<str>>,
    /// How endpoints get their share; `None` for at once.
    pub slow_start: Option<SlowStart>,
    /// Probes; `None` for none.
    pub active: Option<ActiveHealth>,
    /// When endpoints are put aside for what they answer; `None` for never.
    pub outlier: Option<OutlierConfig>,
    /// Equal when nothing about it has changed: the live upstream can be kept.
    pub fingerprint: u64,
    /// Where its name was written.
    pub place: Located<()>,
}

/// A host name that stands for endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NamedEndpoint {
    /// The name.
    pub host: Arc<str>,
    /// The port of every address.
    pub port: u16,
    /// The weight of every address.
    pub weight: u32,
    /// The level of every address.
    pub priority: u32,
    /// Where it runs.
    pub zone: Option<Arc<str>>,
}

/// What the TLS to an upstream is made of.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct UpstreamTlsPlan {
    /// The authorities that are trusted; `None` for the system's.
    pub ca: Option<Located<PemSource>>,
    /// The certificate shown to the endpoints.
    pub certificate: Option<Located<PemSource>>,
    /// Its key: there when the certificate is.
    pub key: Option<Located<PemSource>>,
    /// The name the endpoints must prove; `None` for the endpoint's or the request's.
    pub server_name: Option<String>,
    /// Protocols offered by ALPN, best first.
    pub alpn: Vec<Vec<u8>>,
    /// Believe any certificate.
    pub insecure_skip_verify: bool,
}

impl Config {
    /// The PEM files it names, in no order and possibly repeated: what a watcher has to watch.
    pub fn pem_files(&self) -> impl Iterator<Item = &Path> {
        let server = self
            .listeners
            .iter()
            .filter_map(|listener| listener.tls.as_ref());
        let client = self
            .upstreams
            .iter()
            .filter_map(|upstream| upstream.tls.as_ref());
        let sources = server
            .flat_map(ServerTlsPlan::sources)
            .chain(client.flat_map(UpstreamTlsPlan::sources));
        sources.filter_map(PemSource::path)
    }
}

impl ServerTlsPlan {
    /// Every PEM document it is made of.
    pub(super) fn sources(&self) -> impl Iterator<Item = &PemSource> {
        let pairs = self
            .certificates
            .iter()
            .flat_map(|pair| [&*pair.certificate, &*pair.key]);
        pairs.chain(match &self.client_auth {
            ClientAuthPlan::Off => None,
            ClientAuthPlan::Request(source) | ClientAuthPlan::Require(source) => Some(&**source),
        })
    }
}

impl UpstreamTlsPlan {
    /// Every PEM document it is made of.
    pub(super) fn sources(&self) -> impl Iterator<Item = &PemSource> {
        let all = [&self.ca, &self.certificate, &self.key];
        all.into_iter().flatten().map(|source| &**source)
    }
}
