//! curl as the client: HTTP/1.1, HTTP/2 with and without TLS, versions of TLS, certificates, Unix sockets.

use std::path::PathBuf;

use crate::support::{Certificates, Gateway, Nginx, Site, curl, get};

const SEEN: &str = "%{http_version} %{http_code}";

#[test]
fn the_embedded_default_answers_every_protocol() {
    let gateway = Gateway::embedded();
    let web = format!("http://{}/hello?x=1", gateway.web());
    let secure = format!(
        "https://localhost:{}/hello?x=1",
        gateway.address("websecure").port()
    );
    let ask = |flags: &[&str]| curl(&[&["-w", SEEN], flags].concat()).unwrap();
    for (flags, ends) in [
        (&["--http1.1", &web] as &[&str], "1.1 200"),
        (&["--http2-prior-knowledge", &web], "2 200"),
        (&["-k", "--http1.1", &secure], "1.1 200"),
        (&["-k", "--http2", &secure], "2 200"),
        (&["-k", "--tls-max", "1.2", &secure], "2 200"),
        (&["-k", "--tlsv1.3", &secure], "2 200"),
    ] {
        let answer = ask(flags);
        assert!(answer.starts_with("GET /hello?x=1\n"), "{answer}");
        assert!(answer.ends_with(ends), "{flags:?}: {answer}");
    }
    let answer = ask(&["-k", "--http2", &secure]);
    assert!(answer.contains("x-forwarded-proto: https\n"), "{answer}");
    let port = gateway.address("websecure").port();
    assert!(
        answer.contains(&format!("x-forwarded-port: {port}\n")),
        "{answer}"
    );
    assert_eq!(answer.matches("x-forwarded-for:").count(), 1, "{answer}");
    let posted = ask(&[
        "--http2-prior-knowledge",
        "--data-binary",
        "some text",
        &web,
    ]);
    assert_eq!(posted, "some text2 200");
    assert!(
        gateway
            .stderr()
            .contains(&format!("curl -i http://{}/hello", gateway.web()))
    );
    let line = gateway.logged("/hello");
    assert!(line["request_id"].is_string(), "{line}");
}

#[test]
fn certificates_are_chosen_by_name_and_hot_swapped() {
    let certificates = Certificates::new();
    let nginx = Nginx::start(&Site {
        name: "site",
        ..Site::default()
    });
    let pairs: Vec<String> = [
        &["localhost", "127.0.0.1"] as &[&str],
        &["shop.example"],
        &["*.wild.example"],
    ]
    .iter()
    .map(|names| certificates.issue(names))
    .map(|(chain, key)| {
        format!(
            "{{ cert: '{}', key: '{}' }}",
            chain.display(),
            key.display()
        )
    })
    .collect();
    let configuration = |pairs: &[String]| {
        format!(
            "listeners: [{{ name: web, bind: '127.0.0.1:0', tls: {{ certificates: [{}] }} }}]\n\
             routes: [{{ name: all, backends: [{{ upstream: site }}] }}]\n\
             upstreams: [{{ name: site, endpoints: ['{}'] }}]\n",
            pairs.join(", "),
            nginx.address()
        )
    };
    let gateway = Gateway::start(Some(&configuration(&pairs)), &["--watch"]);
    let port = gateway.web().port();
    let ca = certificates.authority().display().to_string();
    let ask = |host: &str| {
        let (resolve, url) = (
            format!("{host}:{port}:127.0.0.1"),
            format!("https://{host}:{port}/who"),
        );
        curl(&["--cacert", &ca, "--resolve", &resolve, &url])
    };
    for host in ["localhost", "shop.example", "a.wild.example"] {
        assert_eq!(ask(host).unwrap(), "site\n", "{host}");
    }
    assert!(
        ask("other.example").is_err(),
        "the default certificate is for another name"
    );
    assert!(ask("a.b.wild.example").is_err(), "a wildcard is one label");

    // A new certificate in the same files is live without a change of the configuration.
    let renewed = Certificates::new();
    let (chain, key) = renewed.issue(&["shop.example"]);
    std::fs::copy(key, certificates.folder().join("shop.example.key.pem")).unwrap();
    std::fs::copy(chain, certificates.folder().join("shop.example.chain.pem")).unwrap();
    let ca = renewed.authority().display().to_string();
    let (resolve, url) = (
        format!("shop.example:{port}:127.0.0.1"),
        format!("https://shop.example:{port}/who"),
    );
    crate::support::eventually("the new certificate", || {
        curl(&["--cacert", &ca, "--resolve", &resolve, &url]).ok()
    });
    assert_eq!(ask("a.wild.example").unwrap(), "site\n");
}

#[test]
fn clients_without_a_certificate_stay_outside() {
    let certificates = Certificates::new();
    let (chain, key) = certificates.issue(&["localhost"]);
    let client = certificates.issue(&["a-client"]);
    let ca = certificates.authority().display().to_string();
    let gateway = Gateway::yaml(&format!(
        "listeners:\n\
         - name: web\n\
         \x20 bind: '127.0.0.1:0'\n\
         \x20 tls: {{ certificates: [{{ cert: '{}', key: '{}' }}], client_auth: {{ ca: '{ca}' }} }}\n\
         routes: [{{ name: all, filters: [{{ type: respond, body: in }}] }}]\n\
         access_log: {{ path: stdout }}\n",
        chain.display(),
        key.display()
    ));
    let url = format!("https://localhost:{}/in", gateway.web().port());
    let resolve = format!("localhost:{}:127.0.0.1", gateway.web().port());
    let common = ["--cacert", &ca, "--resolve", &resolve];
    curl(&[&common as &[&str], &[&url]].concat()).expect_err("no certificate");
    let with = |(chain, key): &(PathBuf, PathBuf)| {
        let (chain, key) = (chain.display().to_string(), key.display().to_string());
        curl(&[&common as &[&str], &["--cert", &chain, "--key", &key, &url]].concat())
    };
    let others = Certificates::new();
    with(&others.issue(&["a-client"])).expect_err("a stranger's certificate");
    assert_eq!(with(&client).unwrap(), "in");
    let line = gateway.logged("/in");
    assert!(
        line["principal"]
            .as_str()
            .is_some_and(|id| id.contains("a-client")),
        "{line}"
    );
    assert!(
        gateway.metric("portcullis_tls_handshake_failures_total{listener=\"web\"}") >= Some(1.0)
    );
}

#[test]
fn a_listener_on_a_unix_socket_answers() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("web.sock");
    let gateway = Gateway::yaml(&format!(
        "listeners: [{{ name: web, bind: 'unix:{}' }}]\n\
         routes: [{{ name: all, filters: [{{ type: respond, body: in }}] }}]\n",
        socket.display()
    ));
    assert_eq!(
        gateway.listeners()["web"],
        format!("unix:{}", socket.display())
    );
    let path = socket.display().to_string();
    for protocol in ["--http1.1", "--http2-prior-knowledge"] {
        assert_eq!(
            curl(&[protocol, "--unix-socket", &path, "http://localhost/x"]).unwrap(),
            "in"
        );
    }
    drop(gateway);
    // A socket that a killed process left behind is taken over.
    let again = Gateway::yaml(&format!(
        "listeners: [{{ name: web, bind: 'unix:{path}' }}]"
    ));
    drop(again);
}

#[test]
fn both_families_answer_on_an_unspecified_address() {
    let gateway = Gateway::yaml(
        "listeners: [{ name: web, bind: ':0' }]\n\
         routes: [{ name: all, filters: [{ type: respond, body: in }] }]\n",
    );
    let port = gateway.web().port();
    for host in ["127.0.0.1", "[::1]"] {
        let address = format!("{host}:{port}").parse().unwrap();
        assert_eq!(get(address, "/").unwrap().text(), "in", "{host}");
    }
}
