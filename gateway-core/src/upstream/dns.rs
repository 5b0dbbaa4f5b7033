//! Endpoints from name resolution.

use std::fmt::Debug;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream;

use crate::upstream::backoff::Backoff;
use crate::upstream::discovery::{BoxStream, Discovery, DiscoveryError, EndpointUpdate};
use crate::upstream::health::BoxFuture;
use crate::upstream::spec::EndpointSpec;

const DEFAULT_REFRESH: Duration = Duration::from_secs(10);
const MIN_REFRESH: Duration = Duration::from_millis(100);
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);
const FIRST_RETRY: Duration = Duration::from_millis(500);

/// Turns a host name into addresses.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot resolve host names",
    label = "this type does not implement `Resolve`",
    note = "`SystemResolver` asks the operating system"
)]
pub trait Resolve: Debug + Send + Sync + 'static {
    /// The addresses of `host`, each with `port`. An empty answer counts as a failure.
    ///
    /// # Errors
    /// When the name does not resolve or nobody answers.
    fn resolve<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>>;
}

/// Asks the operating system (`getaddrinfo`), on tokio's threads for blocking calls.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
    }
}

/// All addresses of a host name, asked again at an interval.
///
/// A lookup that fails or finds nothing keeps the last endpoints and is repeated sooner, starting at half a
/// second. The endpoints carry the host name for `Host` and SNI, unless it is an IP address.
#[derive(Clone, Debug)]
pub struct DnsDiscovery {
    target: Arc<Target>,
}

#[derive(Clone, Debug)]
struct Target {
    host: Arc<str>,
    port: u16,
    weight: u32,
    priority: u32,
    zone: Option<Arc<str>>,
    refresh: Duration,
    resolver: Arc<dyn Resolve>,
}

impl DnsDiscovery {
    /// The addresses of `host`, each with `port`, asked again every 10 s.
    #[must_use]
    pub fn new(host: impl Into<Arc<str>>, port: u16) -> Self {
        Self {
            target: Arc::new(Target {
                host: host.into(),
                port,
                weight: 1,
                priority: 0,
                zone: None,
                refresh: DEFAULT_REFRESH,
                resolver: Arc::new(SystemResolver),
            }),
        }
    }

    /// Sets the interval, at least 100 ms.
    #[must_use]
    pub fn with_refresh(mut self, refresh: Duration) -> Self {
        Arc::make_mut(&mut self.target).refresh = refresh.max(MIN_REFRESH);
        self
    }

    /// Sets the weight of every address.
    #[must_use]
    pub fn with_weight(mut self, weight: u32) -> Self {
        Arc::make_mut(&mut self.target).weight = weight;
        self
    }

    /// Sets the level of every address.
    #[must_use]
    pub fn with_priority(mut self, priority: u32) -> Self {
        Arc::make_mut(&mut self.target).priority = priority;
        self
    }

    /// Sets the zone of every address.
    #[must_use]
    pub fn with_zone(mut self, zone: impl Into<Arc<str>>) -> Self {
        Arc::make_mut(&mut self.target).zone = Some(zone.into());
        self
    }

    /// Sets who is asked.
    #[must_use]
    pub fn with_resolver(mut self, resolver: Arc<dyn Resolve>) -> Self {
        Arc::make_mut(&mut self.target).resolver = resolver;
        self
    }
}

impl Discovery for DnsDiscovery {
    fn watch(&self) -> BoxStream<'static, Result<EndpointUpdate, DiscoveryError>> {
        let lookups = Lookups {
            target: Arc::clone(&self.target),
            retry: Backoff::new(FIRST_RETRY.min(self.target.refresh), self.target.refresh),
            pause: Duration::ZERO,
        };
        Box::pin(stream::unfold(lookups, |mut lookups| async move {
            let item = lookups.next().await;
            Some((item, lookups))
        }))
    }

    fn initial(&self) -> Option<Vec<EndpointSpec>> {
        let address: IpAddr = self.target.host.parse().ok()?;
        Some(self.target.specs(vec![(address, self.target.port).into()]))
    }
}

impl Target {
    async fn lookup(&self) -> Result<Vec<EndpointSpec>, DiscoveryError> {
        let failed = || DiscoveryError::new(format!("resolving {}", self.host));
        let lookup = self.resolver.resolve(&self.host, self.port);
        let addresses = tokio::time::timeout(LOOKUP_TIMEOUT, lookup)
            .await
            .map_err(|elapsed| failed().caused_by(elapsed))?
            .map_err(|error| failed().caused_by(error))?;
        if addresses.is_empty() {
            return Err(failed().caused_by("no addresses"));
        }
        Ok(self.specs(addresses))
    }

    /// Sorted, because name servers rotate their answers and that is no change.
    fn specs(&self, mut addresses: Vec<SocketAddr>) -> Vec<EndpointSpec> {
        addresses.sort_unstable();
        addresses.dedup();
        let name = self.host.parse::<IpAddr>().is_err().then_some(&self.host);
        let spec = |address: SocketAddr| {
            let mut spec = EndpointSpec::new(address)
                .with_weight(self.weight)
                .with_priority(self.priority);
            spec.zone.clone_from(&self.zone);
            match name {
                Some(name) => spec.with_hostname(Arc::clone(name)),
                None => spec,
            }
        };
        addresses.into_iter().map(spec).collect()
    }
}

#[derive(Debug)]
struct Lookups {
    target: Arc<Target>,
    retry: Backoff,
    pause: Duration,
}

impl Lookups {
    async fn next(&mut self) -> Result<EndpointUpdate, DiscoveryError> {
        tokio::time::sleep(self.pause).await;
        match self.target.lookup().await {
            Ok(specs) => {
                self.retry.reset();
                self.pause = self.target.refresh;
                Ok(EndpointUpdate::Replace(specs))
            }
            Err(error) => {
                self.pause = self.retry.next();
                Err(error)
            }
        }
    }
}

#[cfg(test)]
mod tests;
