//! The binary, as a user runs it, between real clients and real upstreams.

// `pub` in a test is for its neighbours, and the clock of the gateway is not the one to measure it with.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::unwrap_used,
    missing_debug_implementations,
    missing_docs,
    unreachable_pub,
    reason = "a test stops where something unexpected happens, waits by the real clock, and is nobody's interface"
)]

mod clients;
mod commands;
mod drain;
mod grpc;
mod long_bodies;
mod mistakes;
mod nginx;
mod observe;
mod pressure;
mod reload;
mod streams;
mod support;
mod websocket;
