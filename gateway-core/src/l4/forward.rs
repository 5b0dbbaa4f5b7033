//! A TCP connection on its way to an endpoint.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::BytesMut;

use super::copy::Copy;
use super::proxy_protocol;
use super::report::Report;
use super::route::{End, TcpRoute, pick};
use super::starttls;
use crate::clock::Clock;
use crate::connect::ConnectError;
use crate::exchange::ConnInfo;
use crate::forward::{StreamError, UpstreamClient};
use crate::gateway::Telemetry;
use crate::transport::Transport;
use crate::upstream::{Endpoint, EndpointId, InFlight, Outcome};

/// A connection whose route is known.
pub(crate) struct Stream {
    pub(crate) io: Transport,
    /// What was read of it already.
    pub(crate) first: BytesMut,
    pub(crate) info: Arc<ConnInfo>,
    /// The name the client asked for, where TLS is passed through.
    pub(crate) sni: Option<Box<str>>,
    pub(crate) route: Arc<TcpRoute>,
    /// The endpoint has to be asked for TLS first, as the client did.
    pub(crate) asks_for_tls: bool,
}

/// An endpoint that was connected to.
struct Reached {
    upstream: Arc<UpstreamClient>,
    io: Transport,
    in_flight: InFlight,
}

impl Stream {
    /// Serves it until it ends.
    pub(crate) async fn serve(self, telemetry: &Telemetry) {
        let route = self.route;
        let metrics = &route.metrics;
        let mut report = Report::new("TCP", &route.name, metrics, telemetry, &self.info);
        report.sni = self.sni.as_deref();
        let Some(_place) = route.room.try_enter() else {
            report.end = End::Full;
            return;
        };
        let reaching = reach(&route, &self.info, self.asks_for_tls, &mut report);
        let Some(mut reached) = Box::pin(reaching).await else {
            // Nothing was served: not to be taken for an empty reply.
            self.io.reset_on_close(true);
            return;
        };
        let mut copy = Copy::new(self.io, reached.io, self.first, route.idle, &route.metrics);
        let watched = Watched {
            copy: &mut copy,
            report: &mut report,
        };
        let end = watched.copy.run().await;
        drop(watched);
        report.end = end;
        report.moved = copy.moved();
        if end == End::UpstreamReset && report.moved.1 == 0 {
            let since = Clock.since(report.began);
            reached.in_flight.record(Outcome::GatewayError, since);
        }
        report.upstream = Some(reached.upstream);
    }
}

/// Keeps what was moved for the report when the future is dropped.
struct Watched<'a, 'm, 't> {
    copy: &'a mut Copy<'m>,
    report: &'a mut Report<'t>,
}

impl Drop for Watched<'_, '_, '_> {
    fn drop(&mut self) {
        self.report.moved = self.copy.moved();
    }
}

/// Connects to an endpoint, to another one when that fails. What came of it goes to the report.
async fn reach(
    route: &TcpRoute,
    info: &ConnInfo,
    asks_for_tls: bool,
    report: &mut Report<'_>,
) -> Option<Reached> {
    let Some(client) = route.backends.choose() else {
        report.end = End::NoEndpoint;
        return None;
    };
    report.upstream = Some(client.clone());
    if client.is_full() {
        report.end = End::UpstreamFull;
        return None;
    }
    let first = client
        .proxy_protocol()
        .map(|version| proxy_protocol::write(version, info.peer, info.local))
        .unwrap_or_default();
    let peer: Option<IpAddr> = info.peer.map(|peer| peer.ip());
    let mut tried: Vec<EndpointId> = Vec::new();
    let mut failure = End::NoEndpoint;
    for _ in 0..route.connect_attempts {
        let Some(endpoint) = pick(client, peer, &tried) else {
            break;
        };
        if tried.contains(&endpoint.id()) && failure == End::UpstreamFull {
            // There is no other one, and trying again at once would not make room.
            break;
        }
        tried.push(endpoint.id());
        if client.is_endpoint_full(&endpoint) {
            failure = End::UpstreamFull;
            continue;
        }
        report.attempts += 1;
        report.endpoint = Some(endpoint.clone());
        let started = Clock.now();
        let mut in_flight = endpoint.clone().begin();
        let opened = open(client, &endpoint, &first, asks_for_tls).await;
        let latency = Clock.now() - started;
        match opened {
            Ok(io) => {
                in_flight.record(Outcome::Success, latency);
                return Some(Reached {
                    upstream: client.clone(),
                    io,
                    in_flight,
                });
            }
            Err(end) => {
                tracing::debug!(
                    route = %route.name,
                    endpoint = %endpoint.address(),
                    reason = end.reason(),
                    "an endpoint could not be connected to"
                );
                in_flight.finish(Outcome::ConnectFailure, latency);
                failure = end;
            }
        }
    }
    report.end = failure;
    None
}

async fn open(
    client: &UpstreamClient,
    endpoint: &Arc<Endpoint>,
    first: &[u8],
    asks_for_tls: bool,
) -> Result<Transport, End> {
    let mut io = client
        .open_stream(endpoint, first)
        .await
        .map_err(|error| match error {
            StreamError::Timeout => End::ConnectTimeout,
            StreamError::Connect(ConnectError::Tls { .. }) => End::ConnectTls,
            StreamError::Connect(_) => End::Connect,
        })?;
    if asks_for_tls {
        let limit = client.settings().connect_timeout;
        let asking = starttls::ask(&mut io);
        match tokio::time::timeout(limit, asking).await {
            Ok(true) => {}
            Ok(false) => return Err(End::StartTls),
            Err(_) => return Err(End::ConnectTimeout),
        }
    }
    Ok(io)
}
