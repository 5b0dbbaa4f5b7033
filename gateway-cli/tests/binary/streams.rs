//! Traffic that is not HTTP, between programs that have their own idea of it.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::support::{
    Certificates, Gateway, Nginx, Peer, Postgres, Program, Site, curl, free_address, python,
    succeed, tool,
};

/// Another address of this host than the one that programs connect from by themselves.
const CLIENT: &str = "127.0.0.9";

fn listener(more: &str) -> String {
    format!("listeners: [{{ name: db, bind: '127.0.0.1:0', protocol: tcp{more} }}]\n")
}

fn upstream(address: SocketAddr, more: &str) -> String {
    format!("upstreams: [{{ name: db, endpoints: ['{address}']{more} }}]\n")
}

fn tls((chain, key): &(std::path::PathBuf, std::path::PathBuf)) -> String {
    format!(
        ", tls: {{ certificates: [{{ cert: '{}', key: '{}' }}] }}",
        chain.display(),
        key.display()
    )
}

/// What curl gets from `address` when it connects from [`CLIENT`].
fn ask(address: SocketAddr) -> String {
    curl(&["--interface", CLIENT, &format!("http://{address}/head/x")]).unwrap()
}

struct Haproxy {
    _program: Program,
    _folder: TempDir,
}

impl Haproxy {
    fn start(address: SocketAddr, config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("haproxy.cfg");
        let defaults = "defaults\n timeout connect 5s\n timeout client 30s\n timeout server 30s\n";
        std::fs::write(&file, format!("{defaults}{config}\n")).unwrap();
        let mut command = Command::new(tool("haproxy"));
        command.arg("-db").arg("-f").arg(&file);
        Self {
            _program: Program::serve(command, address),
            _folder: folder,
        }
    }
}

#[test]
fn haproxy_in_front_tells_of_clients_in_both_versions() {
    let nginx = Nginx::start(&Site::default());
    for (send, mode) in [("send-proxy-v2", "http"), ("send-proxy", "tcp")] {
        let gateway = Gateway::yaml(&format!(
            "listeners: [{{ name: web, bind: '127.0.0.1:0', proxy_protocol: {{ trusted: [127.0.0.1], required: true }} }}]\n\
             routes: [{{ name: all, backends: [{{ upstream: site }}] }}]\n\
             upstreams: [{{ name: site, endpoints: ['{}'] }}]",
            nginx.address()
        ));
        let address = free_address();
        let _haproxy = Haproxy::start(
            address,
            &format!(
                "listen l\n mode {mode}\n bind {address}\n server s {} {send}",
                gateway.web()
            ),
        );
        let seen = ask(address);
        assert!(seen.contains(&format!("for={CLIENT}\n")), "{send}: {seen}");
    }
}

#[test]
fn haproxy_and_nginx_behind_are_told_of_clients_in_both_versions() {
    let haproxy_at = free_address();
    let _haproxy = Haproxy::start(
        haproxy_at,
        &format!(
            "frontend f\n mode http\n bind {haproxy_at} accept-proxy\n \
             http-request return status 200 content-type text/plain lf-string \"%[src]\""
        ),
    );
    let (nginx_at, folder) = (free_address(), tempfile::tempdir().unwrap());
    let at = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(
        folder.path().join("nginx.conf"),
        format!(
            "daemon off; master_process off; pid {}; error_log {};\n\
             events {{}}\n\
             http {{ access_log off; client_body_temp_path {}; proxy_temp_path {}; fastcgi_temp_path {};\n\
             uwsgi_temp_path {}; scgi_temp_path {};\n\
             server {{ listen {nginx_at} proxy_protocol; location / {{ return 200 $proxy_protocol_addr; }} }} }}",
            at("pid"), at("error.log"), at("a"), at("b"), at("c"), at("d"), at("e"),
        ),
    )
    .unwrap();
    let mut command = Command::new(tool("nginx"));
    command.args([
        "-p",
        &at("."),
        "-c",
        &at("nginx.conf"),
        "-e",
        &at("error.log"),
    ]);
    let _nginx = Program::serve(command, nginx_at);
    for (endpoint, version) in [
        (haproxy_at, "v1"),
        (haproxy_at, "v2"),
        (nginx_at, "v1"),
        (nginx_at, "v2"),
    ] {
        let gateway = Gateway::yaml(&format!(
            "{}tcp_routes: [{{ name: db, backends: [{{ upstream: db }}] }}]\n{}",
            listener(""),
            upstream(endpoint, &format!(", proxy_protocol: {version}"))
        ));
        assert_eq!(
            ask(gateway.address("db")),
            CLIENT,
            "{version} to {endpoint}"
        );
    }
}

/// What psql says to a question, with these settings of its connection beside the address.
fn psql(address: SocketAddr, settings: &str) -> String {
    let connection = format!(
        "host=db.test hostaddr={} port={} user=postgres dbname=postgres connect_timeout=20 {settings}",
        address.ip(),
        address.port()
    );
    let question = "select ssl, repeat('x', 3) from pg_stat_ssl where pid = pg_backend_pid()";
    succeed(Command::new(tool("psql")).args(["-At", "-c", question, &connection]))
}

#[test]
fn postgresql_passes_plain_and_with_tls_that_ends_here_or_there() {
    let certificates = Certificates::new();
    let (here, there) = (
        certificates.issue(&["db.test", "here.test"]),
        certificates.issue(&["there.test", "db.test"]),
    );
    let postgres = Postgres::start(&there.0, &there.1);
    let gateway = |listener_more: &str, route: &str| {
        Gateway::yaml(&format!(
            "{}tcp_routes: [{{ name: db, {route} backends: [{{ upstream: db }}] }}]\n{}",
            listener(listener_more),
            upstream(postgres.address, "")
        ))
    };
    let trust = format!("sslrootcert={}", certificates.authority().display());
    let verified = format!("sslmode=verify-full {trust}");

    let plain = gateway("", "");
    assert_eq!(psql(plain.address("db"), "sslmode=disable"), "f|xxx\n");
    // Bytes pass as they are, the request for TLS as well.
    assert_eq!(psql(plain.address("db"), &verified), "t|xxx\n");

    let ends_here = gateway(&tls(&here), "tls: terminate, starttls: postgres,");
    assert_eq!(psql(ends_here.address("db"), &verified), "f|xxx\n");

    let passes = gateway(
        "",
        "tls: passthrough, starttls: postgres, match: { sni: [db.test] },",
    );
    assert_eq!(psql(passes.address("db"), &verified), "t|xxx\n");
}

fn redis(address: SocketAddr, more: &[&str], command: &[&str]) -> String {
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    let mut cli = Command::new(tool("redis-cli"));
    cli.args(["-h", &host, "-p", &port]);
    succeed(cli.args(more).args(command))
}

#[test]
fn redis_passes_plain_and_with_tls_that_ends_here() {
    let certificates = Certificates::new();
    let address = free_address();
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(tool("redis-server"));
    command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
    command.args(["--port", &address.port().to_string()]);
    command.current_dir(folder.path());
    let _redis = Program::serve(command, address);
    let gateway = |listener_more: &str, route: &str| {
        Gateway::yaml(&format!(
            "{}tcp_routes: [{{ name: db, {route} backends: [{{ upstream: db }}] }}]\n{}",
            listener(listener_more),
            upstream(address, "")
        ))
    };
    let plain = gateway("", "");
    let long = "v".repeat(1 << 16);
    assert_eq!(
        redis(plain.address("db"), &[], &["set", "key", &long]),
        "OK\n"
    );
    assert_eq!(
        redis(plain.address("db"), &[], &["strlen", "key"]),
        "65536\n"
    );
    let secure = gateway(&tls(&certificates.issue(&["db.test"])), "tls: terminate,");
    let authority = certificates.authority();
    let trust = ["--tls", "--sni", "db.test", "--cacert", text(&authority)];
    assert_eq!(redis(secure.address("db"), &trust, &["ping"]), "PONG\n");
    assert_eq!(
        redis(secure.address("db"), &trust, &["get", "key"]),
        format!("{long}\n")
    );
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_resolver_asks_a_dns_server_over_udp() {
    let server = Peer::start("dns_server.py", &[]);
    let gateway = Gateway::yaml(&format!(
        "listeners: [{{ name: dns, bind: '127.0.0.1:0', protocol: udp }}]\n\
         udp_routes: [{{ name: dns, timeouts: {{ idle: 5s }}, backends: [{{ upstream: dns }}] }}]\n\
         upstreams: [{{ name: dns, endpoints: ['{}'] }}]",
        server.address()
    ));
    let address = gateway.address("dns");
    let args = [address.ip().to_string(), address.port().to_string()];
    assert_eq!(python("dns_client.py", &[&args[0], &args[1]]), "ok\n");
}
