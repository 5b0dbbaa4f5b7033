//! A gateway as a service inside an axum application: axum serves its own pages, the gateway the rest.

#[path = "../../check.rs"]
mod check;

use std::net::SocketAddr;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::middleware::map_request;
use axum::routing::get;
use portcullis::{ConnInfo, Gateway, GatewayHandle, StartError};
use tokio::net::TcpListener;

/// Nothing is bound: the listener only gives its filters and routes a name.
const CONFIG: &str = "
listeners:
  - { name: web, bind: '127.0.0.1:0' }
routes:
  - name: api
    match: { path: /api, client_ip: [127.0.0.0/8, '::1/128'] }
    filters: [{ type: headers, response: { set: { x-served-by: portcullis } } }]
    backends: [{ upstream: api }]
upstreams:
  - { name: api, endpoints: ['127.0.0.1:3000'] }
";

/// Tells the gateway who the client is. Without this, conditions on the client's address match nobody.
async fn introduce(ConnectInfo(peer): ConnectInfo<SocketAddr>, mut request: Request) -> Request {
    request.extensions_mut().insert(ConnInfo::from_peer(peer));
    request
}

fn application(gateway: &GatewayHandle) -> Result<Router, StartError> {
    let web = gateway.http_service("web")?;
    Ok(Router::new()
        .route("/about", get(|| async { "served by axum" }))
        .route_service("/api/{*path}", web.clone())
        .fallback_service(web)
        .layer(map_request(introduce)))
}

/// Compiles the configuration and starts what upstreams need; must run inside tokio.
fn gateway(config: &str) -> Result<GatewayHandle, StartError> {
    let registry = portcullis::registry().build()?;
    Ok(Gateway::builder(registry).yaml(config).build()?.mount())
}

#[tokio::main]
async fn main() -> check::CheckResult {
    if check::asked_for("--check") {
        return self_check().await;
    }
    let gateway = gateway(CONFIG)?;
    let service = application(&gateway)?.into_make_service_with_connect_info::<SocketAddr>();
    let listener = TcpListener::bind("127.0.0.1:8080").await?;
    axum::serve(listener, service)
        .with_graceful_shutdown(async move { gateway.until_signalled().await })
        .await?;
    Ok(())
}

async fn self_check() -> check::CheckResult {
    let (upstream, _running) = check::upstream("an api").await?;
    let gateway = gateway(&CONFIG.replace("127.0.0.1:3000", &upstream.to_string()))?;
    let service = application(&gateway)?.into_make_service_with_connect_info::<SocketAddr>();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let web = listener.local_addr()?;
    let server = async move { axum::serve(listener, service).await };
    tokio::select! {
        ended = server => Err(check::Wrong(format!("the server ended early: {ended:?}")).into()),
        result = ask(web) => result,
    }
}

async fn ask(web: SocketAddr) -> check::CheckResult {
    check::expect(&check::get(web, "/about", "").await?, "served by axum")?;
    let reply = check::get(web, "/api/orders", "").await?;
    check::expect(&reply, "HTTP/1.1 200 OK")?;
    check::expect(&reply, "x-served-by: portcullis")?;
    check::expect(&reply, "an api")?;
    // The gateway's own answer, for it is the fallback.
    let reply = check::get(web, "/elsewhere", "").await?;
    Ok(check::expect(&reply, "HTTP/1.1 404")?)
}
