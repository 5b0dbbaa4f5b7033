//! The smallest gateway: a configuration and three lines of Rust.

#[path = "../../check.rs"]
mod check;

use portcullis::{Gateway, StartError};

const CONFIG: &str = "
listeners:
  - { name: web, bind: '127.0.0.1:8080' }
routes:
  - name: hello
    match: { path: /hello }
    filters: [{ type: headers, response: { set: { x-served-by: portcullis } } }]
    backends: [{ upstream: hello }]
upstreams:
  - { name: hello, endpoints: ['127.0.0.1:3000'] }
";

#[tokio::main(flavor = "current_thread")]
async fn main() -> check::CheckResult {
    if check::asked_for("--check") {
        return self_check().await;
    }
    Ok(serve().await?)
}

async fn serve() -> Result<(), StartError> {
    let registry = portcullis::registry().build()?;
    let gateway = Gateway::builder(registry).yaml(CONFIG).build()?;
    gateway.serve().await
}

async fn self_check() -> check::CheckResult {
    let (upstream, _running) = check::upstream("hello from upstream").await?;
    let config = CONFIG.replace("127.0.0.1:3000", &upstream.to_string());
    let gateway = Gateway::builder(portcullis::registry().build()?).yaml(config);
    let (web, handle) = check::start(gateway).await?;

    let reply = check::get(web, "/hello/world", "").await?;
    check::expect(&reply, "HTTP/1.1 200 OK")?;
    check::expect(&reply, "x-served-by: portcullis")?;
    check::expect(&reply, "hello from upstream")?;
    check::expect(&check::get(web, "/elsewhere", "").await?, "HTTP/1.1 404")?;

    handle.shutdown().await;
    Ok(())
}
