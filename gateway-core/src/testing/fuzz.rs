//! Doors for the fuzz targets in the folder `fuzz`: private parts, driven without sockets.
//!
//! No part of the API: what is here changes with what it leads to.

use std::borrow::Cow;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use tower_layer::Layer;

use crate::config::{Config, Diagnostics, Format, RawConfig, lower_rest, read_text};
use crate::conn::{ConnCx, ConnHandle};
use crate::connect::SharedConnector;
use crate::exchange::ConnInfo;
use crate::forward::{Backend, Forward, Split, UpstreamClient, UpstreamSettings};
use crate::gateway::{Generation, ListenerCell, ListenerEntry, Telemetry};
use crate::handler::SharedService;
use crate::hygiene::HygieneLayer;
use crate::listen::{Spoken, detect};
use crate::proto::h1;
use crate::settings::HttpSettings;
use crate::transport::Transport;
use crate::upstream::{EndpointSpec, Upstream};

/// What a plaintext connection turned out to speak, with everything that was read to find out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FirstBytes {
    /// HTTP/1, or whatever is no HTTP/2.
    Http1(Bytes),
    /// HTTP/2 with prior knowledge.
    Http2(Bytes),
    /// It closed before anything was said.
    Nothing,
    /// These bytes do not tell yet.
    Undecided(Bytes),
}

/// Finds out what a connection speaks, as far as it gets without waiting.
pub fn first_bytes(mut io: Transport) -> FirstBytes {
    let handle = ConnHandle::default();
    let mut seen = BytesMut::new();
    let spoken = {
        let detecting = std::pin::pin!(detect(&mut io, &handle, &mut seen));
        detecting.poll(&mut Context::from_waker(Waker::noop()))
    };
    match spoken {
        Poll::Ready(Ok(Spoken::Http1(first))) => FirstBytes::Http1(first.freeze()),
        Poll::Ready(Ok(Spoken::Http2(first))) => FirstBytes::Http2(first.freeze()),
        Poll::Ready(Ok(Spoken::Nothing) | Err(_)) => FirstBytes::Nothing,
        Poll::Pending => FirstBytes::Undecided(seen.freeze()),
    }
}

/// Serves an HTTP/1 connection of `peer` until it ends.
pub async fn serve_http1(
    io: Transport,
    settings: HttpSettings,
    peer: SocketAddr,
    service: SharedService,
) {
    let entry = ListenerEntry {
        service,
        settings,
        tls: None,
        handler: None,
        layer4: None,
        http: true,
        telemetry: Arc::new(Telemetry::detached("fuzz".into())),
        _generation: Generation::new(0, Arc::default()),
    };
    let cell = Arc::new(ListenerCell::new("fuzz".into(), Arc::new(entry), 1));
    let info = Arc::new(ConnInfo::from_peer(peer));
    let cx = ConnCx::new(info, cell, Arc::default());
    h1::serve(io, BytesMut::new(), &cx).await;
}

/// Cleans requests and sends them to an upstream with one endpoint, over connections that `connector` makes.
#[must_use]
pub fn forwarding(connector: SharedConnector) -> SharedService {
    let endpoint = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let upstream = Upstream::fixed("u", [EndpointSpec::new(endpoint)]);
    let client = UpstreamClient::new(upstream, connector, UpstreamSettings::default());
    let backend = Backend::new(Arc::new(client), 1);
    let forward = Forward::new(Split::new(vec![backend]));
    let cleaned = HygieneLayer::default().writing_forwarded_late();
    SharedService::new(cleaned.layer(forward))
}

/// The host of an authority as routes match it: lower case, without port and trailing dot.
#[must_use]
pub fn bare_host(authority: &str) -> Cow<'_, str> {
    crate::select::bare_host(authority)
}

/// What a text says, as far as it can be read, and what is wrong with it.
#[derive(Debug)]
#[non_exhaustive]
pub struct ReadText {
    /// What was written.
    pub written: RawConfig,
    /// What that means.
    pub meant: Config,
    /// The mistakes of both stages.
    pub problems: Diagnostics,
}

/// Reads and lowers a configuration in its native form; mistakes do not end it.
#[must_use]
pub fn read_configuration(name: &str, text: &str, format: Format) -> ReadText {
    let reading = read_text(name, text, format);
    let mut problems = reading.problems;
    let meant = lower_rest(&reading.config, &reading.damage, &mut problems);
    ReadText {
        written: reading.config,
        meant,
        problems,
    }
}
