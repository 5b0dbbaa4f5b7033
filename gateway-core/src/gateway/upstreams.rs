//! Upstreams across reloads: kept by what they are, rebuilt with what they learned, probed and reaped.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::endpoints::Announcer;
use super::process::Process;
use super::tls::{load_pair, read};
use crate::balance::{Balancer, PowerOfTwo};
use crate::config::{Diagnostics, ir};
use crate::connect::{DirectConnector, SharedConnector};
use crate::error::chain;
use crate::filter::BuildCx;
use crate::forward::UpstreamClient;
use crate::registry::Registry;
use crate::spawn::spawn;
use crate::tls::{
    UpstreamRoots, UpstreamTls, UpstreamTlsOptions, alpn, load_chain, load_roots, load_signer,
};
use crate::upstream::{
    ActiveHealth, BoxFuture, Discovery, DnsDiscovery, Endpoint, JoinedDiscovery, Probe, ProbeError,
    StaticDiscovery, Upstream, check_health, drive,
};

/// How often idle connections are looked over.
const REAP_EVERY: Duration = Duration::from_secs(1);

/// An upstream of the live configuration.
#[derive(Clone, Debug)]
pub(crate) struct LiveUpstream {
    pub(crate) fingerprint: u64,
    pub(crate) client: Arc<UpstreamClient>,
    active: Option<ActiveHealth>,
    running: bool,
}

/// The upstreams of the live configuration, by name.
pub(crate) type LiveUpstreams = HashMap<Arc<str>, LiveUpstream>;

/// Builds what changed and keeps the rest, health, latencies and connections included.
pub(crate) fn build(
    upstreams: &[ir::Upstream],
    before: &LiveUpstreams,
    registry: &Registry,
    process: &Process,
    problems: &mut Diagnostics,
) -> LiveUpstreams {
    let mut built = LiveUpstreams::with_capacity(upstreams.len());
    for upstream in upstreams {
        let old = before.get(&upstream.name);
        if let Some(same) = old.filter(|old| old.fingerprint == upstream.fingerprint) {
            built.insert(upstream.name.clone(), same.clone());
            continue;
        }
        if let Some(live) = build_one(upstream, old, registry, process, problems) {
            built.insert(upstream.name.clone(), live);
        }
    }
    built
}

fn build_one(
    plan: &ir::Upstream,
    old: Option<&LiveUpstream>,
    registry: &Registry,
    process: &Process,
    problems: &mut Diagnostics,
) -> Option<LiveUpstream> {
    let owner = owner(plan);
    let cx = BuildCx::new(&owner, process.store());
    let parts = parts(plan, registry, &cx, problems)?;
    let mut builder = Upstream::builder(plan.name.clone(), parts.discovery)
        .balancer(parts.balancer)
        .panic_policy(plan.panic)
        .config_hash(plan.fingerprint);
    if let Some(zone) = &plan.zone {
        builder = builder.zone(zone.clone());
    }
    if let Some(slow_start) = plan.slow_start {
        builder = builder.slow_start(slow_start);
    }
    if let Some(outlier) = &plan.outlier {
        builder = builder.outlier(outlier.clone());
    }
    if let Some(old) = old {
        builder = builder.inherit(old.client.upstream());
    }
    let mut settings = plan.settings.clone();
    settings.shards = process.shards();
    Some(LiveUpstream {
        fingerprint: plan.fingerprint,
        client: Arc::new(
            UpstreamClient::new(builder.build(), parts.connector, settings)
                .hashing(wants_hash(plan)),
        ),
        active: plan.active.clone(),
        running: false,
    })
}

/// How plugins and messages call an upstream.
pub(super) fn owner(plan: &ir::Upstream) -> String {
    format!("upstream {}", plan.name)
}

/// What an upstream is put together from.
pub(super) struct Parts {
    balancer: Arc<dyn Balancer>,
    discovery: Arc<dyn Discovery>,
    connector: SharedConnector,
}

/// Makes the parts of an upstream, which changes nothing; `None` when one is wrong, every problem reported.
pub(super) fn parts(
    plan: &ir::Upstream,
    registry: &Registry,
    cx: &BuildCx<'_>,
    problems: &mut Diagnostics,
) -> Option<Parts> {
    let balancer = match &plan.balance {
        Some(spec) => registry.balancer(spec, cx, problems),
        None => Some(Arc::new(PowerOfTwo) as _),
    };
    let discovery = discovery(plan, registry, cx, problems);
    let connector = connector(plan, registry, cx, problems);
    Some(Parts {
        balancer: balancer?,
        discovery: discovery?,
        connector: connector?,
    })
}

/// Endpoints come from the list, from names in it, and from a discovery plugin: from all that are given.
fn discovery(
    plan: &ir::Upstream,
    registry: &Registry,
    cx: &BuildCx<'_>,
    problems: &mut Diagnostics,
) -> Option<Arc<dyn Discovery>> {
    let mut sources: Vec<Arc<dyn Discovery>> = Vec::new();
    if !plan.endpoints.is_empty() {
        sources.push(Arc::new(StaticDiscovery::new(plan.endpoints.clone())));
    }
    for named in &plan.names {
        let mut dns = DnsDiscovery::new(named.host.clone(), named.port)
            .with_weight(named.weight)
            .with_priority(named.priority);
        if let Some(zone) = &named.zone {
            dns = dns.with_zone(zone.clone());
        }
        sources.push(Arc::new(dns));
    }
    if let Some(spec) = &plan.discovery {
        sources.push(registry.discovery(spec, cx, problems)?);
    }
    Some(match sources.len() {
        0 => Arc::new(StaticDiscovery::new(Vec::new())),
        1 => sources.swap_remove(0),
        _ => Arc::new(JoinedDiscovery::new(sources)),
    })
}

/// The stock balancers that look at nothing of the request; any other may want a hash of it.
fn wants_hash(plan: &ir::Upstream) -> bool {
    const BLIND: [&str; 4] = ["p2c", "round-robin", "random", "least-requests"];
    plan.balance
        .as_ref()
        .is_some_and(|spec| !BLIND.contains(&spec.kind.as_str()))
}

/// Reads the PEM documents of an upstream's TLS; `None` when something is wrong with them.
fn tls_options(
    plan: &ir::UpstreamTlsPlan,
    problems: &mut Diagnostics,
) -> Option<UpstreamTlsOptions> {
    let roots = match &plan.ca {
        Some(ca) => read(ca, load_roots, problems).map(|_| UpstreamRoots::only(ca.value.clone())),
        None => Some(UpstreamRoots::default()),
    };
    let client_certificate = match (&plan.certificate, &plan.key) {
        (Some(certificate), Some(key)) => Some(Some(load_pair(certificate, key, problems)?)),
        (None, None) => Some(None),
        // Half of it was reported.
        (certificate, key) => {
            if let Some(certificate) = certificate {
                read(certificate, load_chain, problems);
            }
            if let Some(key) = key {
                read(key, load_signer, problems);
            }
            None
        }
    };
    Some(UpstreamTlsOptions {
        roots: roots?,
        client_certificate: client_certificate?,
        server_name: plan.server_name.clone(),
        alpn: plan.alpn.clone(),
        insecure_skip_verify: plan.insecure_skip_verify,
        ..UpstreamTlsOptions::default()
    })
}

fn connector(
    plan: &ir::Upstream,
    registry: &Registry,
    cx: &BuildCx<'_>,
    problems: &mut Diagnostics,
) -> Option<SharedConnector> {
    if let Some(spec) = &plan.connector {
        return registry.connector(spec, cx, problems);
    }
    let keepalive = plan.settings.tcp_keepalive;
    let Some(tls) = &plan.tls else {
        return Some(Arc::new(
            DirectConnector::plaintext().with_keepalive(keepalive),
        ));
    };
    let options = tls_options(tls, problems)?;
    // Upgrades go over HTTP/1.1 only, so a connection for one must not offer anything else.
    let mut http1 = options.clone();
    http1.alpn.retain(|protocol| protocol == alpn::HTTP_1_1);
    match UpstreamTls::new(options).and_then(|tls| Ok((tls, UpstreamTls::new(http1)?))) {
        Ok((tls, http1)) => Some(Arc::new(
            DirectConnector::tls(Arc::new(tls))
                .with_http1(Arc::new(http1))
                .with_keepalive(keepalive)
                .with_tls_timeout(plan.settings.tls_timeout),
        )),
        Err(error) => {
            let problem = format!("tls of upstream {}: {}", plan.name, chain(&error));
            problems.push(plan.place.error(problem));
            None
        }
    }
}

/// Starts discovery and health checks of upstreams that have none yet. They end with their upstream.
pub(super) fn run(upstreams: &mut LiveUpstreams, announcer: &Arc<Announcer>) {
    announcer.retain(upstreams);
    for live in upstreams.values_mut() {
        if std::mem::replace(&mut live.running, true) {
            continue;
        }
        announcer.follow(live.client.upstream());
        spawn(drive(live.client.upstream()));
        if let Some(active) = &live.active {
            let probe = HttpProbe {
                client: Arc::downgrade(&live.client),
                health: active.clone(),
            };
            spawn(check_health(
                live.client.upstream(),
                Arc::new(probe),
                active.clone(),
            ));
        }
        let client = Arc::downgrade(&live.client);
        spawn(async move {
            loop {
                tokio::time::sleep(REAP_EVERY).await;
                let Some(client) = client.upgrade() else {
                    return;
                };
                client.reap();
            }
        });
    }
}

/// Asks an endpoint for a page and looks at the status.
#[derive(Debug)]
struct HttpProbe {
    client: Weak<UpstreamClient>,
    health: ActiveHealth,
}

impl Probe for HttpProbe {
    fn probe<'a>(&'a self, endpoint: &'a Endpoint) -> BoxFuture<'a, Result<(), ProbeError>> {
        Box::pin(async move {
            let Some(client) = self.client.upgrade() else {
                return Ok(());
            };
            let status = client
                .probe(endpoint, &self.health.path)
                .await
                .map_err(|error| ProbeError::Other(error.into()))?;
            if self.health.expects(status.as_u16()) {
                Ok(())
            } else {
                Err(ProbeError::Status {
                    status: status.as_u16(),
                })
            }
        })
    }
}
