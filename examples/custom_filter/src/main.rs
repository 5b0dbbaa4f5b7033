//! Two filters: `acme.stamp` sees heads only, `acme.guard` waits for bodies.

#[path = "../../check.rs"]
mod check;

use portcullis::config::ByteSize;
use portcullis::http::HeaderValue;
use portcullis::{
    BuildError, Filter, FilterCx, Flow, Gateway, GatewayError, HeadFilter, Registry, ResponseHead,
    StartError, async_trait,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// Stamps every reply, errors included. This is all that a filter of the light kind takes.
struct Stamp(HeaderValue);

impl HeadFilter for Stamp {
    fn on_response(&self, head: &mut ResponseHead<'_>) -> Result<(), GatewayError> {
        head.headers_mut().insert("x-stamp", self.0.clone());
        Ok(())
    }
}

/// Settings of `acme.stamp`. These comments end up in the JSON Schema of the configuration.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct StampConfig {
    /// What the stamp says.
    text: String,
}

/// Reads request bodies and refuses those that contain a word.
struct Guard {
    word: Vec<u8>,
    limit: usize,
}

#[async_trait]
impl Filter for Guard {
    async fn on_request(&self, cx: &mut FilterCx<'_>) -> Result<Flow, GatewayError> {
        // The body is put back, so that the upstream sees it too; 413 if it is longer than the limit.
        let body = cx.buffer_request(self.limit).await?;
        if body
            .data
            .windows(self.word.len())
            .any(|part| part == self.word)
        {
            let error = GatewayError::rejected("reading a body: it contains the forbidden word");
            return Err(error.with_reason("acme_guard"));
        }
        Ok(Flow::Continue)
    }
}

/// Settings of `acme.guard`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct GuardConfig {
    /// The word that must not occur.
    word: String,
    /// The longest body that is looked at.
    limit: ByteSize,
}

fn registry() -> Result<Registry, StartError> {
    let registry = portcullis::registry()
        .head_filter("acme.stamp", |config: StampConfig, _| {
            match config.text.parse() {
                Ok(value) => Ok(Stamp(value)),
                Err(_) => Err(BuildError::new("`text` must be visible ASCII").at("text")),
            }
        })
        .async_filter("acme.guard", |config: GuardConfig, _| {
            if config.word.is_empty() {
                return Err(BuildError::new("an empty word occurs everywhere").at("word"));
            }
            Ok(Guard {
                word: config.word.into(),
                limit: config.limit.as_len(),
            })
        });
    Ok(registry.build()?)
}

const CONFIG: &str = "
listeners:
  - { name: web, bind: '127.0.0.1:8080' }
routes:
  - name: all
    upgrade: false
    filters:
      - { type: acme.stamp, text: seen }
      - { type: acme.guard, word: DROP TABLE, limit: 64KiB }
    backends: [{ upstream: app }]
upstreams:
  - { name: app, endpoints: ['127.0.0.1:3000'] }
";

#[tokio::main(flavor = "current_thread")]
async fn main() -> check::CheckResult {
    if check::asked_for("--check") {
        return self_check().await;
    }
    Gateway::builder(registry()?)
        .yaml(CONFIG)
        .build()?
        .serve()
        .await?;
    Ok(())
}

async fn self_check() -> check::CheckResult {
    let (upstream, _running) = check::upstream("stored").await?;
    let config = CONFIG.replace("127.0.0.1:3000", &upstream.to_string());
    let gateway = Gateway::builder(registry()?).yaml(config);
    let (web, handle) = check::start(gateway).await?;

    let reply = check::send(web, "POST / HTTP/1.1\r\n", "name=Robert").await?;
    check::expect(&reply, "HTTP/1.1 200 OK")?;
    check::expect(&reply, "x-stamp: seen")?;
    check::expect(&reply, "stored")?;

    let reply = check::send(web, "POST / HTTP/1.1\r\n", "name='); DROP TABLE Students").await?;
    check::expect(&reply, "HTTP/1.1 403 Forbidden")?;
    check::expect(&reply, "x-stamp: seen")?;

    handle.shutdown().await;
    Ok(())
}
