//! What clients may use of the gateway, and what those are told that ask for more.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops where something unexpected happens"
)]

mod answers;
mod bodies;
mod connections;
mod heads;
mod http2;
mod sockets;

use portcullis_tests::{TestGateway, listener, route_to};

pub(crate) const GET: &str = "GET / HTTP/1.1\r\nhost: test\r\n\r\n";
pub(crate) const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// A gateway whose listener has these settings and sends everything to one upstream.
pub(crate) async fn limited(upstream: std::net::SocketAddr, settings: &str) -> TestGateway {
    TestGateway::start(configuration(upstream, settings)).await
}

/// The configuration of [`limited`].
pub(crate) fn configuration(upstream: std::net::SocketAddr, settings: &str) -> String {
    route_to(upstream, "", "").replace(&listener(""), &listener(settings))
}

/// The value of a metric with these labels, as they are written.
pub(crate) async fn metric(gateway: &TestGateway, series: &str) -> f64 {
    let page = gateway.admin("/metrics").await.text();
    let line = page.lines().find_map(|line| line.strip_prefix(series));
    line.and_then(|value| value.trim().parse().ok())
        .unwrap_or_else(|| panic!("no {series} in {page}"))
}
