//! What runs without a configuration: two listeners, one of them with TLS, in front of an echo upstream.

mod echo;
mod websocket;

use portcullis::config::{Diagnostic, Format, RawConfig, parse_native};
use portcullis::{Gateway, GatewayHandle, NoConfig, StartError};

/// The echo upstream, itself a gateway with one filter.
pub(crate) struct Echo {
    handle: GatewayHandle,
}

impl Echo {
    /// Starts the upstream on a free port of the loopback interface.
    pub(crate) async fn start() -> Result<Self, StartError> {
        let registry = portcullis::Registry::builder()
            .async_filter("echo", |_: NoConfig, _| Ok(echo::Echo))
            .build()?;
        let handle = Gateway::builder(registry)
            .yaml(
                // It shows the forwarded fields that the gateway sent, and adds none.
                "listeners: [{ name: echo, bind: '127.0.0.1:0', trusted_proxies: ['127.0.0.1'], forwarded: 'off' }]\n\
                 routes: [{ name: echo, filters: [{ type: echo }] }]\n",
            )
            .workers(1)
            .without_admin()
            .build()?
            .start()
            .await?;
        Ok(Self { handle })
    }

    /// The configuration of the gateway in front of it.
    pub(crate) fn configuration(&self) -> Result<RawConfig, StartError> {
        let echo = self
            .handle
            .local_addr("echo")
            .ok_or_else(|| StartError::NoListener("echo".to_owned()))?;
        let failed = |error: rcgen::Error| {
            let problem = format!("making a certificate for localhost: {error}");
            StartError::Config(Diagnostic::error(problem).into())
        };
        let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let pair = rcgen::generate_simple_self_signed(names).map_err(failed)?;
        // The same document a user would write, apart from the certificate and the port.
        let text = format!(
            r#"
listeners:
  - name: web
    bind: "127.0.0.1:8080"
    filters: [{{ type: request-id }}]
  - name: websecure
    bind: "127.0.0.1:8443"
    tls:
      certificates:
        - cert: {cert}
          key: {key}
    filters: [{{ type: request-id }}]
routes:
  - name: echo
    backends: [{{ upstream: echo }}]
upstreams:
  - name: echo
    endpoints: ["{echo}"]
access_log: {{ path: stdout }}
"#,
            cert = serde_json::Value::from(pair.cert.pem()),
            key = serde_json::Value::from(pair.signing_key.serialize_pem()),
        );
        parse_native("embedded default", &text, Format::Yaml).map_err(StartError::Config)
    }

    /// Says what to try.
    pub(crate) fn greet(&self, gateway: &GatewayHandle) {
        let Some(web) = gateway.local_addr("web") else {
            return;
        };
        eprintln!("portcullis runs its embedded default: everything goes to an echo upstream.");
        eprintln!("  try:    curl -i http://{web}/hello");
        if let Some(secure) = gateway.local_addr("websecure") {
            eprintln!("  tls:    curl -ik https://{secure}/hello   (self-signed certificate)");
        }
        if let Some(admin) = gateway.admin_addr() {
            eprintln!("  admin:  http://{admin}/");
        }
        eprintln!("  yours:  portcullis -c gateway.yaml");
    }

    /// Stops the upstream.
    pub(crate) async fn stop(self) {
        self.handle.shutdown().await;
    }
}
