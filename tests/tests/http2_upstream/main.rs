//! Endpoints that speak HTTP/2: interim replies, bodies both ways, tunnels, connections that leave or are full,
//! and replies that are not valid.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops where something unexpected happens"
)]

mod bodies;
mod cancellation;
mod connections;
mod grpc;
mod interim;
mod replies;
mod tunnels;

use std::net::SocketAddr;

use portcullis_tests::{TestGateway, route_to};
use tokio::net::TcpListener;

/// A gateway in front of one HTTP/2 endpoint.
async fn gateway_to(address: SocketAddr) -> TestGateway {
    TestGateway::start(route_to(address, "", "protocol: http2")).await
}

/// A gateway in front of an endpoint whose connections the test takes.
async fn gateway_and_listener(route: &str, upstream: &str) -> (TestGateway, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let comma = if upstream.is_empty() { "" } else { ", " };
    let yaml = route_to(
        listener.local_addr().unwrap(),
        route,
        &format!("protocol: http2{comma}{upstream}"),
    );
    (TestGateway::start(yaml).await, listener)
}

const GET: &str = "GET / HTTP/1.1\r\nhost: test\r\n\r\n";
