//! A gateway binary of your own: `bespoke_gateway [FILE]` runs, `--schema` prints what FILE may say.

#[path = "../../check.rs"]
mod check;
mod stack;

use portcullis::http::HeaderValue;
use portcullis::http::header::HOST;
use portcullis::{
    BuildError, Flow, Gateway, GatewayError, HeadFilter, Registry, RequestHead, StartError,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// Says which tenant a request is for, by the first label of its host.
struct Tenant {
    suffix: String,
}

impl HeadFilter for Tenant {
    fn on_request(&self, head: &mut RequestHead<'_>) -> Result<Flow, GatewayError> {
        let host = head.headers().get(HOST).and_then(|host| host.to_str().ok());
        let tenant = host.and_then(|host| host.strip_suffix(&self.suffix));
        let tenant = tenant.and_then(|tenant| HeaderValue::from_str(tenant).ok());
        // A client must not choose its tenant by itself.
        head.headers_mut().remove("x-tenant");
        if let Some(tenant) = tenant {
            head.headers_mut().insert("x-tenant", tenant);
        }
        Ok(Flow::Continue)
    }
}

/// Finds the tenant in the host name.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TenantConfig {
    /// The domain whose subdomains are tenants.
    domain: String,
}

fn registry() -> Result<Registry, StartError> {
    let registry = portcullis::registry().head_filter("acme.tenant", |config: TenantConfig, _| {
        if config.domain.is_empty() || config.domain.starts_with('.') {
            return Err(BuildError::new("write the domain itself: `shops.example`").at("domain"));
        }
        Ok(Tenant {
            suffix: format!(".{}", config.domain),
        })
    });
    Ok(registry.build()?)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> check::CheckResult {
    if check::asked_for("--check") {
        return self_check().await;
    }
    if check::asked_for("--schema") {
        println!("{:#}", registry()?.schema());
        return Ok(());
    }
    let file = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "gateway.yaml".to_owned());
    let gateway = Gateway::builder(registry()?)
        .mode(stack::Bespoke)
        .files([file])
        .watch(true)
        .build()?;
    Ok(gateway.serve().await?)
}

async fn self_check() -> check::CheckResult {
    let schema = registry()?.schema();
    check::expect(
        &schema.to_string(),
        "The domain whose subdomains are tenants.",
    )?;

    let (upstream, _running) = check::upstream("shop").await?;
    let config = include_str!("../gateway.yaml").replace("127.0.0.1:3000", &upstream.to_string());

    let mistaken = config.replace("domain: shops", "domian: shops");
    match Gateway::builder(registry()?).yaml(mistaken).build() {
        Ok(_) => return Err("a misspelled key was accepted".into()),
        Err(problems) => {
            check::expect(&problems.to_string(), "inline:2:")?;
            check::expect(&problems.to_string(), "did you mean `domain`?")?;
        }
    }

    let gateway = Gateway::builder(registry()?)
        .mode(stack::Bespoke)
        .yaml(config);
    let (web, handle) = check::start(gateway).await?;
    let reply = check::get(web, "/", "host: gold.shops.example\r\n").await?;
    check::expect(&reply, "HTTP/1.1 200 OK")?;
    check::expect(&reply, "x-plan: gold")?;
    check::expect(&reply, "x-took-ms: ")?;
    let reply = check::get(web, "/", "x-tenant: gold\r\n").await?;
    if reply.contains("x-plan: gold") {
        return Err(check::Wrong(format!("a client chose its tenant by itself:\n{reply}")).into());
    }

    handle.shutdown().await;
    Ok(())
}
