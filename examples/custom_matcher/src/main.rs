//! A condition of routes: `acme.share` takes a share of the users, always the same ones.

#[path = "../../check.rs"]
mod check;

use portcullis::balance::stable_hash;
use portcullis::http::HeaderName;
use portcullis::route::{MatchError, RequestView};
use portcullis::{BuildError, Gateway, Matcher, Registry, StartError};
use schemars::JsonSchema;
use serde::Deserialize;

/// Matches requests of `percent` of the users.
#[derive(Debug)]
struct Share {
    header: HeaderName,
    percent: u64,
}

impl Matcher for Share {
    fn matches(&self, view: &RequestView<'_>) -> Result<bool, MatchError> {
        // Nobody is known: not meant, and the next best route is asked. A matcher that cannot tell
        // returns an error instead, which closes the route rather than opening it.
        let Some(user) = view.headers.get(&self.header) else {
            return Ok(false);
        };
        Ok(stable_hash(user.as_bytes()) % 100 < self.percent)
    }
}

/// Settings of `acme.share`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ShareConfig {
    /// The header that names the user.
    header: String,
    /// How many of a hundred users are taken.
    percent: u64,
}

fn registry() -> Result<Registry, StartError> {
    let registry = portcullis::registry().matcher("acme.share", |config: ShareConfig, _| {
        if config.percent > 100 {
            return Err(BuildError::new("`percent` is at most 100").at("percent"));
        }
        match config.header.parse() {
            Ok(header) => Ok(Share {
                header,
                percent: config.percent,
            }),
            Err(_) => Err(BuildError::new("`header` must be a header name").at("header")),
        }
    });
    Ok(registry.build()?)
}

const CONFIG: &str = "
listeners:
  - { name: web, bind: '127.0.0.1:8080' }
routes:
  - name: canary
    priority: 1
    match: { custom: [{ type: acme.share, header: x-user, percent: 20 }] }
    backends: [{ upstream: canary }]
  - name: stable
    backends: [{ upstream: stable }]
upstreams:
  - { name: canary, endpoints: ['127.0.0.1:3001'] }
  - { name: stable, endpoints: ['127.0.0.1:3000'] }
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
    let (stable, _stable) = check::upstream("stable").await?;
    let (canary, _canary) = check::upstream("canary").await?;
    let config = CONFIG
        .replace("127.0.0.1:3000", &stable.to_string())
        .replace("127.0.0.1:3001", &canary.to_string());
    let gateway = Gateway::builder(registry()?).yaml(config);
    let (web, handle) = check::start(gateway).await?;

    check::expect(&check::get(web, "/", "").await?, "stable")?;
    let mut taken = 0;
    for user in 0..100 {
        let header = format!("x-user: user-{user}\r\n");
        let first = check::get(web, "/", &header).await?;
        let again = check::get(web, "/", &header).await?;
        let canary = first.ends_with("canary");
        if canary != again.ends_with("canary") {
            return Err(check::Wrong(format!("user-{user} changed sides")).into());
        }
        taken += u32::from(canary);
    }
    // The hash is the same everywhere, so this is not a matter of luck.
    if !(10..=30).contains(&taken) {
        return Err(check::Wrong(format!(
            "{taken} of 100 users went to the canary instead of about 20"
        ))
        .into());
    }

    handle.shutdown().await;
    Ok(())
}
