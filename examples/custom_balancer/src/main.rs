//! A way to choose endpoints: `acme.failover` uses the first one that works, the others stand by.

#[path = "../../check.rs"]
mod check;

use std::sync::Arc;

use portcullis::balance::{EndpointView, PickCx, Picker};
use portcullis::upstream::Endpoint;
use portcullis::{Balancer, Gateway, NoConfig, Registry, StartError};

/// The policy. It is asked for a new picker whenever endpoints come, go or change health.
#[derive(Debug)]
struct Failover;

impl Balancer for Failover {
    fn picker(&self, view: &EndpointView<'_>) -> Arc<dyn Picker> {
        // Endpoints that are down are not in the view, so the first one is the best that is left.
        Arc::new(InOrder(view.endpoints().to_vec()))
    }

    fn name(&self) -> &str {
        "acme.failover"
    }
}

/// The frozen result: asked once per attempt, by all workers at once, without a lock.
#[derive(Debug)]
struct InOrder(Vec<Arc<Endpoint>>);

impl Picker for InOrder {
    fn pick(&self, cx: &PickCx<'_>) -> Option<Arc<Endpoint>> {
        let fresh = self.0.iter().find(|endpoint| !cx.was_tried(endpoint));
        fresh.or(self.0.first()).cloned()
    }
}

fn registry() -> Result<Registry, StartError> {
    let registry = portcullis::registry().balancer("acme.failover", |_: NoConfig, _| Ok(Failover));
    Ok(registry.build()?)
}

const CONFIG: &str = "
listeners:
  - { name: web, bind: '127.0.0.1:8080' }
routes:
  - name: all
    retry: { attempts: 1, on: [connect-failure] }
    backends: [{ upstream: app }]
upstreams:
  - name: app
    balance: { type: acme.failover }
    endpoints: ['127.0.0.1:3000', '127.0.0.1:3001']
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
    let (primary, running) = check::upstream("primary").await?;
    let (standby, _standby) = check::upstream("stand-by").await?;
    let config = CONFIG
        .replace("127.0.0.1:3000", &primary.to_string())
        .replace("127.0.0.1:3001", &standby.to_string());
    let gateway = Gateway::builder(registry()?).yaml(config);
    let (web, handle) = check::start(gateway).await?;

    for _ in 0..10 {
        check::expect(&check::get(web, "/", "").await?, "primary")?;
    }
    running.shutdown().await;
    // The first attempt is refused; the second one goes to an endpoint that was not tried.
    check::expect(&check::get(web, "/", "").await?, "stand-by")?;

    handle.shutdown().await;
    Ok(())
}
