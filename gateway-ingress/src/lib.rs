//! Ingress mode: the gateway at the edge of a cluster or a network.
//!
//! [`IngressMode`] is the order of layers; hand it to `Gateway::builder(..).mode(..)`.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod stack;

pub use stack::IngressMode;
