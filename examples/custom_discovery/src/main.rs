//! A source of endpoints: `acme.file` reads addresses from a text file, one a line, again and again.

#[path = "../../check.rs"]
mod check;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use portcullis::config::TimeSpan;
use portcullis::upstream::{DiscoveryError, EndpointSpec, EndpointStream, poll_every};
use portcullis::{Discovery, Gateway, Registry, StartError};
use schemars::JsonSchema;
use serde::Deserialize;

/// Settings of `acme.file`, and the discovery itself.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct AddressFile {
    /// The file.
    path: PathBuf,
    /// How often it is read.
    every: TimeSpan,
}

impl Discovery for AddressFile {
    fn watch(&self) -> EndpointStream {
        let path = self.path.clone();
        // A source that tells of changes by itself returns a stream of its own instead.
        poll_every(self.every.into(), move || {
            let endpoints = read(&path);
            async { endpoints }
        })
    }
}

/// An error keeps the endpoints as they are, so a broken file does not take anything down.
fn read(path: &Path) -> Result<Vec<EndpointSpec>, DiscoveryError> {
    let failed = || format!("reading addresses from {}", path.display());
    let text = std::fs::read_to_string(path)
        .map_err(|error| DiscoveryError::new(failed()).caused_by(error))?;
    text.lines()
        .map(|line| match line.trim().parse::<SocketAddr>() {
            Ok(address) => Ok(EndpointSpec::new(address)),
            Err(error) => Err(DiscoveryError::new(failed()).caused_by(error)),
        })
        .collect()
}

fn registry() -> Result<Registry, StartError> {
    let registry =
        portcullis::registry().discovery("acme.file", |config: AddressFile, _| Ok(config));
    Ok(registry.build()?)
}

const CONFIG: &str = "
listeners:
  - { name: web, bind: '127.0.0.1:8080' }
routes:
  - { name: all, backends: [{ upstream: app }] }
upstreams:
  - { name: app, discovery: { type: acme.file, path: addresses.txt, every: 1s } }
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
    let (first, _first) = check::upstream("first").await?;
    let (second, _second) = check::upstream("second").await?;
    let file =
        std::env::temp_dir().join(format!("portcullis-addresses-{}.txt", std::process::id()));
    std::fs::write(&file, format!("{first}\n"))?;
    let config = CONFIG
        .replace("addresses.txt", &file.to_string_lossy())
        .replace("every: 1s", "every: 20ms");
    let gateway = Gateway::builder(registry()?).yaml(config);
    let (web, handle) = check::start(gateway).await?;

    until(web, "first").await?;
    std::fs::write(&file, format!("{second}\n"))?;
    until(web, "second").await?;
    std::fs::write(&file, "no address\n")?;
    check::expect(&check::get(web, "/", "").await?, "second")?;

    std::fs::remove_file(&file)?;
    handle.shutdown().await;
    Ok(())
}

/// Asks until the answer is the expected one, for two seconds at most.
async fn until(web: SocketAddr, answer: &str) -> check::CheckResult {
    let mut reply = String::new();
    for _ in 0..200 {
        reply = check::get(web, "/", "").await?;
        if reply.ends_with(answer) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(check::expect(&reply, answer)?)
}
