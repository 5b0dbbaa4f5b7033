//! HTTP/1 connections: our own codec, driven by the task that needs it.

mod buffer;
mod client;
mod linger;
mod reply;
mod request_body;
mod response_body;
mod restored;
mod server;
mod server_conn;
mod spare;
mod writer;

pub(crate) use client::{
    CONTINUE_WAIT, Connection, MAX_INTERIM, Outgoing, SendFailure, earliest, send,
};
pub(crate) use request_body::RequestBody;
pub(crate) use response_body::ResponseBody;
pub(crate) use server::serve;
