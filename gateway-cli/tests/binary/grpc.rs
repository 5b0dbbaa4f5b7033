//! gRPC with grpcio as client and server.

use crate::support::{Certificates, Gateway, Peer, eventually, free_port, python};

/// Scenarios of `grpc_client.py` that need the real server.
const SCENARIOS: [&str; 5] = ["unary", "streams", "errors", "many", "large"];

fn configuration(upstream: &str, tls: &str) -> String {
    format!(
        "listeners: [{{ name: web, bind: '127.0.0.1:0'{tls} }}]\n\
         routes:\n\
         - {{ name: echo, match: {{ path: {{ prefix: /test.Echo }} }}, backends: [{{ upstream: server }}] }}\n\
         upstreams: [{{ name: server, {upstream} }}]\n\
         access_log: {{ path: stdout }}\n"
    )
}

fn plain(server: &Peer) -> String {
    configuration(
        &format!("endpoints: ['{}'], protocol: http2", server.address()),
        "",
    )
}

#[test]
fn every_kind_of_call_passes_without_tls() {
    let server = Peer::start("grpc_server.py", &[]);
    let gateway = Gateway::yaml(&plain(&server));
    let address = gateway.web().to_string();
    for scenario in SCENARIOS {
        python("grpc_client.py", &[scenario, &address]);
    }
    let line = gateway.log().pop().expect("a line");
    assert_eq!(line["protocol"], "HTTP/2.0", "{line}");
}

#[test]
fn every_kind_of_call_passes_with_tls_on_both_sides() {
    let certificates = Certificates::new();
    let (chain, key) = certificates.issue(&["localhost", "127.0.0.1"]);
    let (chain, key) = (chain.display().to_string(), key.display().to_string());
    let ca = certificates.authority().display().to_string();
    let server = Peer::start("grpc_server.py", &[&chain, &key]);
    let gateway = Gateway::yaml(&configuration(
        &format!(
            "endpoints: ['{}'], tls: {{ ca: '{ca}', server_name: localhost }}",
            server.address()
        ),
        &format!(", tls: {{ certificates: [{{ cert: '{chain}', key: '{key}' }}] }}"),
    ));
    let address = gateway.web().to_string();
    for scenario in SCENARIOS {
        python("grpc_client.py", &[scenario, &address, &ca]);
    }
}

#[test]
fn deadlines_and_cancellation_reach_the_server() {
    let server = Peer::start("grpc_server.py", &[]);
    let gateway = Gateway::yaml(&plain(&server));
    python("grpc_client.py", &["deadline", &gateway.web().to_string()]);
    // Both calls were given up by the client: the server hears of both.
    for _ in 0..2 {
        assert_eq!(server.line()["cancelled"], true);
    }
    python("grpc_client.py", &["cancel", &gateway.web().to_string()]);
    for stream in ["endless", "listen"] {
        assert_eq!(server.line()["cancelled"], stream);
    }
    let aborted = eventually("an aborted call in the access log", || {
        gateway
            .log()
            .into_iter()
            .find(|line| line["aborted"] == true)
    });
    assert_eq!(aborted["upstream"], "server");
}

#[test]
fn a_server_that_is_down_is_unavailable_and_a_missing_route_unimplemented() {
    let gateway = Gateway::yaml(&configuration(
        &format!("endpoints: ['127.0.0.1:{}'], protocol: http2", free_port()),
        "",
    ));
    let address = gateway.web().to_string();
    python("grpc_client.py", &["unavailable", &address]);
    let nowhere = Gateway::yaml("listeners: [{ name: web, bind: '127.0.0.1:0' }]");
    python(
        "grpc_client.py",
        &["unimplemented", &nowhere.web().to_string()],
    );
}

#[test]
fn the_embedded_default_echoes_calls() {
    let gateway = Gateway::embedded();
    python("grpc_client.py", &["echo", &gateway.web().to_string()]);
    let line = gateway.logged("/any.Service/Method");
    assert_eq!(
        (&line["status"], &line["upstream"]),
        (&200.into(), &"echo".into())
    );
    let secure = format!("localhost:{}", gateway.address("websecure").port());
    python("grpc_client.py", &["echo", &secure, "as-shown"]);
}
