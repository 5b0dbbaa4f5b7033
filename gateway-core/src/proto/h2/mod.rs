//! HTTP/2 connections on the `h2` crate, with writes gathered per turn.
//!
//! A connection has one task that reads and writes it. Requests on it are driven by whoever serves them:
//! sending a body, reading the response and what comes before it need no tasks of their own.

mod client;
mod connection;
mod fields;
mod flood;
mod gather;
mod keep_alive;
mod reply;
mod request;
mod response_body;
mod server;
mod silence;
mod stream;
mod tunnel;
mod upload;

pub(crate) use client::{Again, SendFailure, send};
pub(crate) use connection::{Sender, connect};
pub(crate) use fields::strip_connection_fields;
pub(crate) use response_body::UpstreamStream;
pub(crate) use server::serve;
pub(crate) use stream::StreamBody;
pub(crate) use tunnel::open as open_tunnel;
