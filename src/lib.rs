//! One gateway framework for three jobs: routing at the edge (ingress), managing APIs (API gateway), and
//! securing traffic between services (mesh).
//!
//! A gateway is composed of a [`Registry`] of what its configuration may name, a mode (the order of its
//! layers), and a configuration:
//!
//! ```no_run
//! use portcullis::{Gateway, Registry};
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let registry = portcullis::registry().build()?;
//!     let gateway = Gateway::builder(registry).files(["gateway.yaml".into()]).build()?;
//!     gateway.run(async { tokio::signal::ctrl_c().await.unwrap_or_default() }).await?;
//!     Ok(())
//! }
//! ```
//!
//! | to add | implement | register with |
//! |---|---|---|
//! | a filter that looks at heads | [`HeadFilter`] | `head_filter` |
//! | a filter that waits or reads bodies | [`Filter`] | `async_filter` |
//! | any tower layer | nothing | `layer` |
//! | a condition of routes | [`route::Matcher`] | `matcher` |
//! | a way to choose endpoints | [`balance::Balancer`] | `balancer` |
//! | a source of endpoints | [`upstream::Discovery`] | `discovery` |
//! | a way to connect | [`connect::Connector`] | `connector` |
//! | a form of configuration | [`registry::Dialect`] | `dialect` |

pub use portcullis_core::{
    Body, ErrorClass, Filter, FilterCx, Flow, Gateway, GatewayError, Handler, HeadFilter, PoolLimits,
    Principal, Registry, Request, Response, SharedService, async_trait, admin, balance, body, bridge,
    clock, config, connect, error, exchange, filter, forward, gateway, grpc, handler, hygiene, island,
    observe, principal, registry, route, runtime, select, settings, tls, transport, upgrade, upstream,
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
