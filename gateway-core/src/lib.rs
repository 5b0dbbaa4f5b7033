//! Contracts, data plane and configuration of the Portcullis gateway framework.
//!
//! Users depend on the facade crate `portcullis`, which re-exports what is public here.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod balance;
pub mod clock;
pub mod http1;
pub mod principal;
pub mod tls;
pub mod upstream;
pub mod observe;
pub mod config;
pub mod route;
pub mod worker;
