//! HTTP/2 connections: hyper's engine on both sides, with writes gathered per turn.
//!
//! Clients are served on the `h2` crate, the engine inside hyper, because hyper's own server can neither
//! send interim responses nor hand out extended CONNECT streams as bodies. Endpoints are spoken to
//! through hyper's client connection.

mod client;
mod gather;
mod server;
mod stream;
mod tunnel;
mod upload;

pub(crate) use client::{Sender, UpstreamStream, connect, send};
pub(crate) use server::serve;
pub(crate) use stream::StreamBody;
pub(crate) use tunnel::open as open_tunnel;
