//! nginx, with one worker and a site for tests.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::{eventually, free_port, get, tool};

/// What nginx serves.
#[derive(Default)]
pub struct Site {
    pub http2: bool,
    pub tls: Option<(PathBuf, PathBuf)>,
    /// The authority of the clients that it lets in.
    pub clients: Option<PathBuf>,
    /// The port, when it must be a certain one.
    pub port: Option<u16>,
    /// What `/who` answers.
    pub name: &'static str,
}

/// A running nginx; killed when dropped.
pub struct Nginx {
    child: Child,
    folder: TempDir,
    port: u16,
    status: u16,
}

impl Nginx {
    pub fn start(site: &Site) -> Self {
        // A free port may be taken by somebody else in between.
        (0..5)
            .find_map(|_| Self::try_start(site))
            .expect("nginx starts")
    }

    fn try_start(site: &Site) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let (port, status) = (site.port.unwrap_or_else(free_port), free_port());
        std::fs::create_dir(folder.path().join("www")).expect("a folder");
        std::fs::write(
            folder.path().join("nginx.conf"),
            config(site, folder.path(), port, status),
        )
        .expect("its configuration");
        let mut command = Command::new(tool("nginx"));
        command
            .arg("-p")
            .arg(folder.path())
            .arg("-c")
            .arg(folder.path().join("nginx.conf"));
        command
            .arg("-e")
            .arg(folder.path().join("error.log"))
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        let mut nginx = Self {
            child: command.spawn().expect("nginx runs"),
            folder,
            port,
            status,
        };
        eventually("nginx to answer or to end", || {
            if nginx.child.try_wait().expect("a child").is_some() {
                return Some(false);
            }
            get(nginx.status_address(), "/status").ok().map(|_| true)
        })
        .then_some(nginx)
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    fn status_address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.status))
    }

    /// Puts a file on the site.
    pub fn publish(&self, name: &str, content: &[u8]) {
        std::fs::write(self.folder.path().join("www").join(name), content).expect("a file");
    }

    /// Connections on which its site was asked for something, apart from health checks.
    pub fn connections(&self) -> usize {
        let log = self.log();
        let numbers: HashSet<&str> = log
            .iter()
            .filter_map(|line| line.split(' ').nth(4))
            .collect();
        numbers.len()
    }

    /// The lines of its access log.
    pub fn log(&self) -> Vec<String> {
        let log =
            std::fs::read_to_string(self.folder.path().join("access.log")).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn config(site: &Site, folder: &Path, port: u16, status: u16) -> String {
    let folder = folder.display();
    let name = site.name;
    let flags = match (&site.tls, site.http2) {
        (Some(_), true) => " ssl http2",
        (Some(_), false) => " ssl",
        (None, true) => " http2",
        (None, false) => "",
    };
    let mut tls = String::new();
    if let Some((chain, key)) = &site.tls {
        let _ = write!(
            tls,
            "ssl_certificate {}; ssl_certificate_key {};",
            chain.display(),
            key.display()
        );
    }
    if let Some(authority) = &site.clients {
        let _ = write!(
            tls,
            "ssl_client_certificate {}; ssl_verify_client on;",
            authority.display()
        );
    }
    format!(
        r#"
daemon off;
master_process off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 1024; }}
http {{
  log_format short '$request_method $uri $server_protocol $status $connection $http_traceparent';
  access_log {folder}/access.log short;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  client_max_body_size 64m;
  default_type text/plain;
  keepalive_requests 1000000;
  server {{
    listen 127.0.0.1:{status};
    access_log off;
    location = /status {{ stub_status; }}
    location = /size {{ return 200 "$http_x_length\n"; }}
  }}
  server {{
    listen 127.0.0.1:{port}{flags} backlog=512;
    {tls}
    root {folder}/www;
    keepalive_timeout 600s;
    gzip on; gzip_types text/plain; gzip_min_length 100; gzip_proxied any;
    location = /who {{ return 200 "{name}\n"; }}
    location = /healthz {{ access_log off; return 200 "ok\n"; }}
    location /head/ {{ return 200 "$request_method $request_uri\nhost=$http_host\nsni=$ssl_server_name\nclient=$ssl_client_s_dn\nfor=$http_x_forwarded_for\nte=$http_te\nconnection=$http_connection\nforged=$http_x_forged\ntraceparent=$http_traceparent\nb3=$http_b3\nb3-trace=$http_x_b3_traceid\n"; }}
    location /teapot {{ return 418 "short and stout\n"; }}
    location /moved {{ return 301 /head/moved; }}
    location /empty {{ return 204; }}
    location /slow/ {{ alias {folder}/www/; gzip off; limit_rate 4k; }}
    # The whole body is read before the answer is asked for.
    location /upload {{ client_body_buffer_size 64m; proxy_set_header x-length $content_length; proxy_pass http://127.0.0.1:{status}/size; }}
    # The answer comes before the body.
    location /hasty {{ return 413 "too much\n"; }}
  }}
}}
"#
    )
}
