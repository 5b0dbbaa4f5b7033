//! Contracts, data plane and configuration of the Portcullis gateway framework.
//!
//! Users depend on the facade crate `portcullis`, which re-exports what is public here.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod clock;
pub mod route;
pub mod worker;
