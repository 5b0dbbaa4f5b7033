//! Contracts, data plane and configuration of the Portcullis gateway framework.
//!
//! Users depend on the facade crate `portcullis`, which re-exports what is public here.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod admin;
pub mod balance;
mod base64;
pub mod body;
pub mod bridge;
mod builtins;
pub mod clock;
pub mod config;
mod conn;
pub mod connect;
pub mod error;
pub mod exchange;
pub mod filter;
pub mod forward;
#[cfg(test)]
mod future_sizes;
pub mod gateway;
pub mod grpc;
pub mod handler;
mod heads;
pub mod http1;
pub mod hygiene;
mod kept;
pub mod l4;
mod listen;
pub mod observe;
mod pace;
mod pool;
pub mod principal;
mod proto;
pub mod registry;
mod rewind;
pub mod route;
pub mod route_entry;
pub mod runtime;
pub mod select;
pub mod settings;
mod socket;
mod spawn;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod timer;
pub mod tls;
pub mod transport;
pub mod upgrade;
pub mod upstream;
pub mod worker;

/// The crates whose types stand in this one's signatures, in the versions it uses.
pub use ::{bytes, http};
pub use async_trait::async_trait;

pub use balance::Balancer;
pub use body::Body;
pub use bridge::island;
pub use connect::Connector;
pub use error::{ErrorClass, GatewayError};
pub use exchange::ConnInfo;
pub use filter::{
    BuildError, Filter, FilterCx, Flow, HeadFilter, NoConfig, RequestHead, ResponseHead,
};
pub use gateway::{Gateway, GatewayHandle, Mode, StartError};
pub use handler::{Handler, Request, Response, SharedService};
pub use pool::PoolLimits;
pub use principal::Principal;
pub use registry::Registry;
pub use route::Matcher;
pub use upstream::Discovery;
