//! Traffic that is not HTTP: TCP and UDP routes, TLS that is passed through or ended, the PROXY protocol.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops where something unexpected happens"
)]

mod mistakes;
mod proxy_protocol;
mod starttls;
mod tcp;
mod tls;
mod tunnels;
mod udp;

use std::net::SocketAddr;

/// A configuration with one TCP listener, `db`, whose route has `more` and one endpoint.
fn to(endpoint: SocketAddr, more: &str) -> String {
    format!(
        "listeners: [{{ name: db, bind: '127.0.0.1:0', protocol: tcp }}]\n\
         tcp_routes: [{{ name: db, backends: [{{ upstream: db }}] {more} }}]\n\
         upstreams: [{{ name: db, endpoints: ['{endpoint}'] }}]"
    )
}
