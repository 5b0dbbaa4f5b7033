//! The smallest useful Pingora proxy: one upstream, kept connections, `x-forwarded-for`.
//!
//! ```text
//! bench-pingora LISTEN UPSTREAM WORKERS [CERTIFICATE KEY]
//! ```
//!
//! With a certificate it speaks TLS with HTTP/2 and HTTP/1.1, otherwise HTTP/1.1.

use std::net::SocketAddr;
use std::process::ExitCode;

use async_trait::async_trait;
use pingora_core::Result;
use pingora_core::listeners::tls::TlsSettings;
use pingora_core::server::Server;
use pingora_core::server::configuration::{Opt, ServerConf};
use pingora_core::upstreams::peer::HttpPeer;
use pingora_http::RequestHeader;
use pingora_proxy::{ProxyHttp, Session, http_proxy_service};

/// What the command line says.
struct Options {
    listen: String,
    upstream: SocketAddr,
    workers: usize,
    certificate: Option<(String, String)>,
}

impl Options {
    fn from_command_line() -> Option<Self> {
        let mut words = std::env::args().skip(1);
        Some(Self {
            listen: words.next()?,
            upstream: words.next()?.parse().ok()?,
            workers: words.next()?.parse().ok()?,
            certificate: words.next().zip(words.next()),
        })
    }
}

/// Sends everything to one address.
struct OneUpstream(SocketAddr);

#[async_trait]
impl ProxyHttp for OneUpstream {
    type CTX = ();

    fn new_ctx(&self) -> Self::CTX {}

    async fn upstream_peer(
        &self,
        _session: &mut Session,
        _ctx: &mut Self::CTX,
    ) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.0, false, String::new())))
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        _ctx: &mut Self::CTX,
    ) -> Result<()> {
        if let Some(client) = session.client_addr().and_then(|address| address.as_inet()) {
            request.insert_header("x-forwarded-for", client.ip().to_string())?;
        }
        Ok(())
    }
}

fn main() -> ExitCode {
    let Some(options) = Options::from_command_line() else {
        eprintln!("usage: bench-pingora LISTEN UPSTREAM WORKERS [CERTIFICATE KEY]");
        return ExitCode::from(2);
    };
    let settings = ServerConf {
        threads: options.workers,
        upstream_keepalive_pool_size: 512,
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(Opt::default(), settings);
    server.bootstrap();
    let mut proxy = http_proxy_service(&server.configuration, OneUpstream(options.upstream));
    match options.certificate {
        None => proxy.add_tcp(&options.listen),
        Some((certificate, key)) => match TlsSettings::intermediate(&certificate, &key) {
            Ok(mut tls) => {
                tls.enable_h2();
                proxy.add_tls_with_settings(&options.listen, None, tls);
            }
            Err(problem) => {
                eprintln!("bench-pingora: reading {certificate} and {key}: {problem}");
                return ExitCode::from(1);
            }
        },
    }
    server.add_service(proxy);
    server.run_forever()
}
