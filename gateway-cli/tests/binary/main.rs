//! The binary, as a user runs it, between real clients and real upstreams.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod clients;
mod commands;
mod drain;
mod grpc;
mod nginx;
mod observe;
mod reload;
mod support;
mod websocket;
