//! WebSockets with the Python `websockets` package as client and server.

use crate::support::{Certificates, Gateway, Peer, free_port, python};

fn configuration(upstream: &str, chain: &str, key: &str) -> String {
    format!(
        "listeners:\n\
         - {{ name: web, bind: '127.0.0.1:0' }}\n\
         - {{ name: websecure, bind: '127.0.0.1:0', tls: {{ certificates: [{{ cert: '{chain}', key: '{key}' }}] }} }}\n\
         routes:\n\
         - {{ name: closed, match: {{ path: /closed }}, upgrade: false, backends: [{{ upstream: server }}] }}\n\
         - {{ name: down, match: {{ path: /down }}, backends: [{{ upstream: down }}] }}\n\
         - {{ name: all, backends: [{{ upstream: server }}] }}\n\
         upstreams:\n\
         - {{ name: server, {upstream} }}\n\
         - {{ name: down, endpoints: ['127.0.0.1:{}'] }}\n\
         access_log: {{ path: stdout }}\n",
        free_port()
    )
}

#[test]
fn websockets_pass_with_and_without_tls_on_either_side() {
    let certificates = Certificates::new();
    let (chain, key) = certificates.issue(&["localhost", "127.0.0.1"]);
    let (chain, key) = (chain.display().to_string(), key.display().to_string());
    let ca = certificates.authority().display().to_string();
    let plain = Peer::start("ws_server.py", &[]);
    let secure = Peer::start("ws_server.py", &[&chain, &key]);
    for upstream in [
        format!("endpoints: ['{}']", plain.address()),
        format!(
            "endpoints: ['{}'], tls: {{ ca: '{ca}', server_name: localhost }}",
            secure.address()
        ),
    ] {
        let gateway = Gateway::yaml(&configuration(&upstream, &chain, &key));
        python(
            "ws_client.py",
            &["real", &format!("ws://{}", gateway.web())],
        );
        let port = gateway.address("websecure").port();
        python(
            "ws_client.py",
            &["real", &format!("wss://localhost:{port}"), &ca],
        );
        let line = gateway.logged("/room");
        assert_eq!(
            (&line["status"], &line["route"]),
            (&101.into(), &"all".into()),
            "{line}"
        );
        assert!(
            line["bytes_in"].as_u64() > Some(0) && line["bytes_out"].as_u64() > Some(0),
            "{line}"
        );
    }
}

#[test]
fn handshakes_are_refused_where_they_must_be() {
    let certificates = Certificates::new();
    let (chain, key) = certificates.issue(&["localhost"]);
    let server = Peer::start("ws_server.py", &[]);
    let gateway = Gateway::yaml(&configuration(
        &format!("endpoints: ['{}']", server.address()),
        &chain.display().to_string(),
        &key.display().to_string(),
    ));
    let url = |path: &str| format!("ws://{}{path}", gateway.web());
    let down = python("ws_client.py", &["refused", &url("/down")]);
    assert_eq!(down, "502\nok\n");
    // The request goes on as one that asks for no upgrade, which the server does not serve.
    let closed = python("ws_client.py", &["refused", &url("/closed")]);
    assert!(closed.starts_with('4'), "{closed}");
}

#[test]
fn the_embedded_default_echoes_messages() {
    let gateway = Gateway::embedded();
    python(
        "ws_client.py",
        &["echo", &format!("ws://{}", gateway.web())],
    );
    let port = gateway.address("websecure").port();
    python(
        "ws_client.py",
        &["echo", &format!("wss://localhost:{port}")],
    );
}
