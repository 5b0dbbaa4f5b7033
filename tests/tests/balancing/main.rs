//! Choosing backends and endpoints, as clients and upstreams see it.
#![allow(
    clippy::unwrap_used,
    reason = "a test stops where something unexpected happens"
)]

mod keys;
mod levels;
mod mirrors;
mod sticky;

use std::net::SocketAddr;

use portcullis_tests::{Message, Upstream, listener};

/// Upstreams that answer with their number.
async fn numbered(count: usize) -> Vec<SocketAddr> {
    let mut addresses = Vec::new();
    for number in 0..count {
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{number}");
        addresses.push(Upstream::answering(move |_| answer.clone()).await.0);
    }
    addresses
}

/// A configuration that sends everything to one upstream with these endpoints.
fn to_all(addresses: &[SocketAddr], route: &str, upstream: &str) -> String {
    let list: Vec<String> = addresses.iter().map(|a| format!("\"{a}\"")).collect();
    format!(
        "{}routes: [{{ name: all, backends: [{{ upstream: up }}], {route} }}]\n\
         upstreams: [{{ name: up, endpoints: [{}], {upstream} }}]\n",
        listener(""),
        list.join(", "),
    )
}

/// A GET with further fields, each ended by a line break.
fn get(target: &str, fields: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nhost: test\r\n{fields}\r\n")
}

/// The name and value of the cookie that a reply sets, and its attributes.
fn cookie(reply: &Message) -> Option<(String, String)> {
    let (pair, attributes) = reply.header("set-cookie")?.split_once("; ")?;
    Some((pair.to_owned(), attributes.to_owned()))
}
