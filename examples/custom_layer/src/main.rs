//! Tower layers, your own and tower-http's, between those of the gateway: named in the configuration, or
//! fixed in a mode.

#[path = "../../check.rs"]
mod check;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use portcullis::config::TimeSpan;
use portcullis::gateway::{ChainLayer, EdgeMode, LayerInfo, ListenerParts, PanicGuardLayer};
use portcullis::http::StatusCode;
use portcullis::select::SelectRoute;
use portcullis::{Gateway, Mode, NoConfig, Registry, SharedService, StartError, island};
use schemars::JsonSchema;
use serde::Deserialize;
use tower::ServiceBuilder;
use tower_http::compression::CompressionLayer;
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;

mod tally;
use tally::TallyLayer;

/// Settings of `acme.deadline`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct DeadlineConfig {
    /// How long everything behind it may take.
    after: TimeSpan,
}

/// Layers that a configuration may name like any filter.
fn registry() -> Result<Registry, StartError> {
    let registry = portcullis::registry()
        .layer("acme.gzip", |_: NoConfig, _| Ok(CompressionLayer::new()))
        .layer("acme.deadline", |config: DeadlineConfig, _| {
            let after = config.after.into();
            Ok(TimeoutLayer::with_status_code(
                StatusCode::GATEWAY_TIMEOUT,
                after,
            ))
        });
    Ok(registry.build()?)
}

/// A mode of one's own: the order in which layers stand around the routes.
#[derive(Debug, Default)]
struct Traced {
    requests: Arc<AtomicU64>,
}

impl Mode for Traced {
    fn name(&self) -> &'static str {
        "traced"
    }

    fn layers(&self) -> Vec<LayerInfo> {
        let own = [
            LayerInfo::new("trace", "a span for each request"),
            LayerInfo::new("tally", "counts requests"),
        ];
        EdgeMode::layers_with("hygiene", &own)
    }

    fn assemble(&self, parts: ListenerParts) -> SharedService {
        SharedService::new(
            ServiceBuilder::new()
                .layer(PanicGuardLayer)
                .layer(parts.hygiene)
                .layer(island(TraceLayer::new_for_http()))
                .layer(island(TallyLayer::new(self.requests.clone())))
                .layer(ChainLayer::new(parts.filters))
                .service(SelectRoute::new(parts.table)),
        )
    }
}

const CONFIG: &str = include_str!("../gateway.yaml");

#[tokio::main(flavor = "current_thread")]
async fn main() -> check::CheckResult {
    if check::asked_for("--check") {
        return self_check().await;
    }
    let gateway = Gateway::builder(registry()?)
        .mode(Traced::default())
        .yaml(CONFIG)
        .build()?;
    Ok(gateway.serve().await?)
}

async fn self_check() -> check::CheckResult {
    let (upstream, _running) = check::upstream(&"a text worth compressing ".repeat(100)).await?;
    // Connections are taken by the system, but nobody ever answers.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let config = CONFIG
        .replace("127.0.0.1:3000", &upstream.to_string())
        .replace("127.0.0.1:3001", &silent.local_addr()?.to_string());
    let mode = Traced::default();
    let requests = mode.requests.clone();
    let gateway = Gateway::builder(registry()?).mode(mode).yaml(config);
    let (web, handle) = check::start(gateway).await?;

    let reply = check::get(web, "/", "accept-encoding: gzip\r\n").await?;
    check::expect(&reply, "HTTP/1.1 200 OK")?;
    check::expect(&reply, "content-encoding: gzip")?;
    check::expect(&check::get(web, "/slow", "").await?, "HTTP/1.1 504")?;
    let seen = requests.load(Ordering::Relaxed);
    if seen != 2 {
        return Err(check::Wrong(format!(
            "the layer of the mode counted {seen} requests instead of 2"
        ))
        .into());
    }

    handle.shutdown().await;
    Ok(())
}
