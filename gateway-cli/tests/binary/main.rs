//! The binary, as a user runs it, between real clients and real upstreams.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod clients;
mod drain;
mod grpc;
mod nginx;
mod reload;
mod support;
mod websocket;
