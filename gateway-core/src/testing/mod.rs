//! Law suites: what must hold for every implementation of a contract, as checks to run a new one through.
//!
//! | contract | suite |
//! |---|---|
//! | `http_body::Body`, as this gateway relies on it | [`body::check_body`] |
//! | [`HeadFilter`](crate::HeadFilter) | [`filter::check_head_filter`] |
//! | [`Filter`](crate::Filter) | [`filter::check_filter`] |
//! | any configured stage, tower layers too | [`filter::check_stage`] |
//! | [`Matcher`](crate::route::Matcher) | [`matcher::check_matcher`] |
//! | [`Balancer`](crate::balance::Balancer) | [`balancer::check_balancer`] |
//! | [`Discovery`](crate::upstream::Discovery) | [`discovery::check_discovery`] |
//!
//! [`tls`] has a throw-away certificate authority for tests of connections.
//!
//! A suite panics with a message that says which law was broken, so it is called from a test:
//!
//! ```
//! use portcullis_core::balance::RoundRobin;
//! use portcullis_core::testing::balancer;
//! use std::sync::Arc;
//!
//! balancer::check_balancer(&|| Arc::new(RoundRobin::default()));
//! ```

#[doc(hidden)]
pub mod bench;
pub mod body;
pub mod filter;
#[doc(hidden)]
pub mod fuzz;
pub mod matcher;

pub use crate::balance::law as balancer;
pub use crate::tls::testing as tls;
pub use crate::upstream::law as discovery;
