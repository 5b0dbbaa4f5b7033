//! The wire: HTTP/1 and HTTP/2 connections to clients and endpoints.

pub(crate) mod h1;
pub(crate) mod h2;
