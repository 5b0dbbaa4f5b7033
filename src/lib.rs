//! One gateway framework for three jobs: routing at the edge (ingress), managing APIs (API gateway), and
//! securing traffic between services (mesh).
//!
//! A gateway is composed of a [`Registry`] of what its configuration may name, a mode (the order of its
//! layers), and a configuration:
//!
//! ```no_run
//! use portcullis::{Gateway, StartError};
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), StartError> {
//!     let registry = portcullis::registry().build()?;
//!     Gateway::builder(registry).files(["gateway.yaml"]).watch(true).build()?.serve().await
//! }
//! ```
//!
//! | to add | implement | register with |
//! |---|---|---|
//! | a filter that looks at heads | [`HeadFilter`] | `head_filter` |
//! | a filter that waits or reads bodies | [`Filter`] | `async_filter` |
//! | any tower layer | nothing | `layer` |
//! | a condition of routes | [`Matcher`] | `matcher` |
//! | a way to choose endpoints | [`Balancer`] | `balancer` |
//! | a source of endpoints | [`Discovery`] | `discovery` |
//! | a way to connect | [`Connector`] | `connector` |
//! | a form of configuration | [`registry::Dialect`] | `dialect` |
//! | an order of layers | [`Mode`] | `GatewayBuilder::mode` |

#![cfg_attr(doctest, doc = include_str!("../README.md"))]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub use portcullis_core::{
    Balancer, Body, BuildError, ConnInfo, Connector, Discovery, ErrorClass, Filter, FilterCx, Flow,
    Gateway, GatewayError, GatewayHandle, Handler, HeadFilter, Matcher, Mode, NoConfig, PoolLimits,
    Principal, Registry, Request, RequestHead, Response, ResponseHead, SharedService, StartError,
    admin, async_trait, balance, body, bridge, bytes, clock, config, connect, error, exchange,
    filter, forward, gateway, grpc, handler, http, hygiene, island, l4, observe, principal,
    registry, route, runtime, select, settings, tls, transport, upgrade, upstream,
};

#[cfg(feature = "testing")]
pub use portcullis_core::testing;

#[cfg(feature = "ingress")]
pub use portcullis_ingress as ingress;
#[cfg(feature = "mesh")]
pub use portcullis_mesh as mesh;
#[cfg(feature = "plugins")]
pub use portcullis_plugins as plugins;
#[cfg(feature = "api")]
pub use portcullis_plugins::api;

/// Starts a registry with what the enabled features bring: the core's balancers and discoveries and, with
/// feature `plugins`, every stock filter.
pub fn registry() -> registry::RegistryBuilder {
    #[cfg(feature = "plugins")]
    return portcullis_plugins::std_registry();
    #[cfg(not(feature = "plugins"))]
    return Registry::builder();
}

#[cfg(all(test, feature = "plugins"))]
mod snippets;

/// The programs of the guide.
#[cfg(all(doctest, feature = "plugins"))]
#[doc = include_str!("../docs/src/extending.md")]
mod guide {}
