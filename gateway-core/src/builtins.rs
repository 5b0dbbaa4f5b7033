//! The balancers and discoveries that every registry has.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::balance::{
    LeastRequests, LeastRequestsConfig, Maglev, MaglevConfig, PowerOfTwo, Random, RingHash,
    RingHashConfig, RoundRobin,
};
use crate::config::units::TimeSpan;
use crate::filter::{BuildError, NoConfig};
use crate::registry::RegistryBuilder;
use crate::upstream::DnsDiscovery;

/// Settings of the `dns` discovery.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct DnsConfig {
    /// The host name that is resolved; every address becomes an endpoint.
    host: String,
    /// The port of the endpoints.
    port: u16,
    /// How often the name is resolved again. Default: 10s.
    #[serde(default)]
    refresh: Option<TimeSpan>,
}

pub(crate) fn register(registry: RegistryBuilder) -> RegistryBuilder {
    registry
        .balancer("p2c", |_: NoConfig, _| Ok(PowerOfTwo))
        .balancer("round-robin", |_: NoConfig, _| Ok(RoundRobin::default()))
        .balancer("random", |_: NoConfig, _| Ok(Random))
        .balancer("least-requests", |config: LeastRequestsConfig, _| {
            Ok(config
                .choices
                .map_or_else(LeastRequests::default, LeastRequests::sampling))
        })
        .balancer("ring-hash", |config: RingHashConfig, _| {
            Ok(config
                .points
                .map_or_else(RingHash::default, RingHash::with_points))
        })
        .balancer("maglev", |config: MaglevConfig, _| {
            Ok(config
                .table_size
                .map_or_else(Maglev::default, Maglev::with_size))
        })
        .discovery("dns", |config: DnsConfig, _| {
            if config.host.is_empty() {
                return Err(BuildError::new("the host name is empty").at("host"));
            }
            let refresh = config
                .refresh
                .map_or(Duration::from_secs(10), Duration::from);
            Ok(DnsDiscovery::new(config.host, config.port).with_refresh(refresh))
        })
}
