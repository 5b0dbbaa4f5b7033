//! A gateway on ephemeral ports.

use std::net::SocketAddr;
use std::path::PathBuf;

use portcullis::Gateway;
use portcullis::gateway::{GatewayBuilder, GatewayHandle};
use portcullis::observe::{Event, Observer};
use portcullis::registry::RegistryBuilder;
use serde_json::Value;
use tokio::sync::mpsc;

use crate::{Message, Peer, within};

/// A running gateway with what it reported.
#[derive(Debug)]
pub struct TestGateway {
    /// Controls it.
    pub handle: GatewayHandle,
    ended: tokio::sync::Mutex<mpsc::UnboundedReceiver<Ended>>,
    streams: tokio::sync::Mutex<mpsc::UnboundedReceiver<Ended>>,
    refused: tokio::sync::Mutex<mpsc::UnboundedReceiver<String>>,
}

/// A request that ended, as an observer was told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields of an access record")]
pub struct Ended {
    pub method: String,
    pub path: String,
    pub status: u16,
    pub reason: String,
    pub route: Option<String>,
    pub upstream: Option<String>,
    pub endpoint: Option<String>,
    pub principal: Option<String>,
    pub client: Option<std::net::IpAddr>,
    pub attempts: u32,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub aborted: bool,
    pub retried: bool,
}

struct Reporter {
    requests: mpsc::UnboundedSender<Ended>,
    streams: mpsc::UnboundedSender<Ended>,
    refused: mpsc::UnboundedSender<String>,
}

impl Observer for Reporter {
    fn on_event(&self, event: &Event<'_>) {
        let to = match event {
            Event::RequestEnd(_) => &self.requests,
            Event::StreamEnd(_) => &self.streams,
            Event::ConnectionRefused { reason, .. } => {
                let _ = self.refused.send((*reason).to_owned());
                return;
            }
            _ => return,
        };
        if let Event::RequestEnd(record) | Event::StreamEnd(record) = event {
            let ended = Ended {
                method: record.method.to_owned(),
                path: record.path.to_owned(),
                status: record.status,
                reason: record.reason.to_owned(),
                route: record.route.map(Into::into),
                upstream: record.upstream.map(Into::into),
                endpoint: record.endpoint.map(Into::into),
                principal: record.principal.map(Into::into),
                client: record.client,
                attempts: record.attempts,
                bytes_in: record.bytes_in,
                bytes_out: record.bytes_out,
                aborted: record.aborted,
                retried: record.retried,
            };
            // The test may be over already.
            let _ = to.send(ended);
        }
    }
}

impl TestGateway {
    /// Starts one with the stock plugins.
    pub async fn start(yaml: impl AsRef<str>) -> Self {
        Self::with(yaml, |registry| registry).await
    }

    /// Starts one with plugins of the test's own.
    pub async fn with(
        yaml: impl AsRef<str>,
        plugins: impl FnOnce(RegistryBuilder) -> RegistryBuilder,
    ) -> Self {
        Self::build(yaml.as_ref(), 1, plugins).await
    }

    /// Starts one with so many workers.
    pub async fn workers(workers: usize, yaml: impl AsRef<str>) -> Self {
        Self::build(yaml.as_ref(), workers, |registry| registry).await
    }

    /// Starts one from files, which can be changed and read again.
    pub async fn files(paths: impl IntoIterator<Item = PathBuf>) -> Self {
        Self::finish(1, |registry| registry, |builder| builder.files(paths)).await
    }

    async fn build(
        yaml: &str,
        workers: usize,
        plugins: impl FnOnce(RegistryBuilder) -> RegistryBuilder,
    ) -> Self {
        Self::finish(workers, plugins, |builder| builder.yaml(yaml)).await
    }

    async fn finish(
        workers: usize,
        plugins: impl FnOnce(RegistryBuilder) -> RegistryBuilder,
        configure: impl FnOnce(GatewayBuilder) -> GatewayBuilder,
    ) -> Self {
        let registry = plugins(portcullis::registry()).build().unwrap();
        let (requests, ended) = mpsc::unbounded_channel();
        let (streams, streams_ended) = mpsc::unbounded_channel();
        let (refused, refusals) = mpsc::unbounded_channel();
        let gateway = configure(Gateway::builder(registry))
            .workers(workers)
            .admin(SocketAddr::from(([127, 0, 0, 1], 0)))
            .observer(Reporter {
                requests,
                streams,
                refused,
            })
            .build();
        let gateway = gateway.unwrap_or_else(|error| panic!("{error}"));
        let handle = within("starting", gateway.start()).await.unwrap();
        Self {
            handle,
            ended: tokio::sync::Mutex::new(ended),
            streams: tokio::sync::Mutex::new(streams_ended),
            refused: tokio::sync::Mutex::new(refusals),
        }
    }

    /// Starts one whose listener `web` sends everything to one upstream.
    pub async fn to(upstream: SocketAddr) -> Self {
        Self::start(route_to(upstream, "", "")).await
    }

    /// The address of listener `web`.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.listener("web")
    }

    /// The address of a listener.
    #[must_use]
    pub fn listener(&self, name: &str) -> SocketAddr {
        self.handle.local_addr(name).unwrap()
    }

    /// A connection to listener `web`.
    pub async fn client(&self) -> Peer {
        Peer::connect(self.addr()).await
    }

    /// One request on a connection of its own.
    pub async fn ask(&self, request: impl AsRef<[u8]>) -> Message {
        self.client().await.ask(request).await
    }

    /// One GET of `path` on host `test`, on a connection of its own.
    pub async fn get(&self, path: &str) -> Message {
        self.ask(format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n"))
            .await
    }

    /// The next request that ended.
    pub async fn ended(&self) -> Ended {
        let mut ended = self.ended.lock().await;
        within("the end of a request", ended.recv()).await.unwrap()
    }

    /// The next TCP connection or UDP session that ended.
    pub async fn stream_ended(&self) -> Ended {
        let mut ended = self.streams.lock().await;
        within("the end of a stream", ended.recv()).await.unwrap()
    }

    /// Why the next connection was refused or dropped.
    pub async fn refused(&self) -> String {
        let mut refused = self.refused.lock().await;
        within("a refusal", refused.recv()).await.unwrap()
    }

    /// The value of a metric with these labels, as they are written.
    pub async fn metric(&self, series: &str) -> u64 {
        let page = self.admin("/metrics").await.text();
        let value = page.lines().find_map(|line| line.strip_prefix(series));
        value.map_or(0, |value| value.trim().parse().unwrap())
    }

    /// A page of the admin listener.
    pub async fn admin(&self, path: &str) -> Message {
        let mut admin = Peer::connect(self.handle.admin_addr().unwrap()).await;
        admin
            .ask(format!(
                "GET {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n"
            ))
            .await
    }

    /// Connections to an upstream: open ones, and how many of them are idle.
    pub async fn connections(&self, upstream: &str) -> (u64, u64) {
        let page: Value = serde_json::from_slice(&self.admin("/upstreams").await.body).unwrap();
        let pages = page.as_array().unwrap();
        let page = pages.iter().find(|page| page["name"] == upstream).unwrap();
        let count = |key| page["connections"][key].as_u64().unwrap();
        (count("open"), count("idle"))
    }

    /// Waits until an upstream has so many connections, so many of them idle.
    pub async fn settles(&self, upstream: &str, open: u64, idle: u64) {
        let mut last = (0, 0);
        let settled = tokio::time::timeout(crate::PATIENCE, async {
            loop {
                last = self.connections(upstream).await;
                if last == (open, idle) {
                    return;
                }
            }
        });
        let settled = settled.await.is_ok();
        assert!(
            settled,
            "{upstream} has {last:?} (open, idle) connections, not {:?}",
            (open, idle)
        );
    }
}

/// A listener called `web` on a free port; `more` goes into its mapping.
#[must_use]
pub fn listener(more: &str) -> String {
    let comma = if more.is_empty() { "" } else { ", " };
    format!("listeners: [{{ name: web, bind: \"127.0.0.1:0\"{comma}{more} }}]\n")
}

/// A configuration that sends everything to one upstream, `up`; `route` and `upstream` go into their mappings.
#[must_use]
pub fn route_to(address: impl std::fmt::Display, route: &str, upstream: &str) -> String {
    let comma = |text: &str| if text.is_empty() { "" } else { ", " };
    format!(
        "{}routes: [{{ name: all, backends: [{{ upstream: up }}]{}{route} }}]\n\
         upstreams: [{{ name: up, endpoints: [\"{address}\"]{}{upstream} }}]\n",
        listener(""),
        comma(route),
        comma(upstream),
    )
}
