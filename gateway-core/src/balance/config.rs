//! The `balance` section of an upstream.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::balance::{
    Balancer, LeastRequests, Maglev, PowerOfTwo, Random, Rendezvous, RingHash, RoundRobin,
};

/// How an upstream chooses among its endpoints, for example `{ type: p2c }`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
// empty braces instead of unit variants: serde would accept unknown keys beside the latter
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub enum BalanceConfig {
    /// The cheaper of two endpoints drawn by weight, by latency, load and recent failures.
    P2c {},
    /// In turn, weights interleaved.
    RoundRobin {},
    /// Fewest requests in flight, relative to the weight.
    LeastRequests(LeastRequestsConfig),
    /// At random, by weight.
    Random {},
    /// By hash key on a ring: few keys move when endpoints come and go.
    RingHash(RingHashConfig),
    /// By hash key from a table: evenest shares, fastest pick.
    Maglev(MaglevConfig),
    /// By hash key, comparing all endpoints: exact shares, for up to a few dozen endpoints.
    Rendezvous {},
}

/// Settings of `least-requests`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LeastRequestsConfig {
    /// How many endpoints, drawn at random, to compare. Default: all up to 16 endpoints, 8 beyond.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 2))]
    pub choices: Option<u32>,
}

/// Settings of `ring-hash`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RingHashConfig {
    /// Points on the ring for the heaviest endpoint; others get points by weight. Default: 256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65536))]
    pub points: Option<u32>,
    /// Passes a key on to the next endpoint while its own is busy. Left out: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bounded_load: Option<BoundedLoadConfig>,
}

/// Settings of `maglev`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MaglevConfig {
    /// Slots of the table; rounded up to a prime. Default: 65537.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 3, max = 5000011))]
    pub table_size: Option<u32>,
    /// Passes a key on to another endpoint while its own is busy. Left out: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bounded_load: Option<BoundedLoadConfig>,
}

/// When an endpoint is too busy for more keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BoundedLoadConfig {
    /// Requests in flight at one endpoint, at most, in percent of the mean by weight, rounded up. Default: 125.
    #[serde(default = "quarter_more")]
    #[schemars(range(min = 100))]
    pub percent: u32,
}

impl Default for BoundedLoadConfig {
    fn default() -> Self {
        Self {
            percent: quarter_more(),
        }
    }
}

const fn quarter_more() -> u32 {
    125
}

impl Default for BalanceConfig {
    fn default() -> Self {
        Self::P2c {}
    }
}

impl BalanceConfig {
    /// Builds a new policy, for one upstream. Numbers out of range are moved into it.
    #[must_use]
    pub fn build(&self) -> Arc<dyn Balancer> {
        match self {
            Self::P2c {} => Arc::new(PowerOfTwo),
            Self::RoundRobin {} => Arc::new(RoundRobin::default()),
            Self::LeastRequests(config) => Arc::new(
                config
                    .choices
                    .map_or_else(LeastRequests::default, LeastRequests::sampling),
            ),
            Self::Random {} => Arc::new(Random),
            Self::RingHash(config) => {
                let points = config.points;
                let ring = points.map_or_else(RingHash::default, RingHash::with_points);
                Arc::new(match config.bounded_load {
                    Some(load) => ring.bounded(load.percent),
                    None => ring,
                })
            }
            Self::Maglev(config) => {
                let size = config.table_size;
                let maglev = size.map_or_else(Maglev::default, Maglev::with_size);
                Arc::new(match config.bounded_load {
                    Some(load) => maglev.bounded(load.percent),
                    None => maglev,
                })
            }
            Self::Rendezvous {} => Arc::new(Rendezvous),
        }
    }

    /// Whether the policy needs a hash key to do what its name says.
    #[must_use]
    pub fn is_consistent(&self) -> bool {
        matches!(
            self,
            Self::RingHash(_) | Self::Maglev(_) | Self::Rendezvous {}
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_builds_the_policy_of_its_name() {
        for name in [
            "p2c",
            "round-robin",
            "least-requests",
            "random",
            "ring-hash",
            "maglev",
            "rendezvous",
        ] {
            let config: BalanceConfig =
                serde_json::from_value(serde_json::json!({ "type": name })).unwrap();
            assert_eq!(config.build().name(), name);
        }
    }

    #[test]
    fn settings_sit_beside_the_type_and_are_strict() {
        let config: BalanceConfig =
            serde_json::from_str(r#"{ "type": "maglev", "table_size": 1009 }"#).unwrap();
        assert_eq!(
            config,
            BalanceConfig::Maglev(MaglevConfig {
                table_size: Some(1009),
                bounded_load: None,
            })
        );
        for wrong in [
            r#"{ "type": "maglev", "size": 1 }"#,
            r#"{ "type": "p2c", "size": 1 }"#,
            r#"{ "type": "fastest" }"#,
            "{}",
        ] {
            assert!(
                serde_json::from_str::<BalanceConfig>(wrong).is_err(),
                "{wrong}"
            );
        }
    }

    #[test]
    fn has_a_schema() {
        let schema = schemars::schema_for!(BalanceConfig).to_value().to_string();
        assert!(schema.contains("ring-hash") && schema.contains("table_size"));
    }
}
