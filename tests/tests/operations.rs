//! What operators see: logs, metrics, events, reloads of watched files, explanations.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops where something unexpected happens"
)]

use std::path::Path;
use std::sync::Mutex;

use portcullis::observe::{Event, Observer};
use portcullis::tls::testing::{CertificateSpec, TestCa};
use portcullis::{Gateway, GatewayHandle};
use portcullis_tests::{
    FramePeer, Peer, TestGateway, Upstream, free_port, listener, route_to, within,
};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// Passes on the events a test asks for, as words.
struct Words(Mutex<mpsc::UnboundedSender<String>>);

impl Observer for Words {
    fn on_event(&self, event: &Event<'_>) {
        let word = match event {
            Event::ConfigApplied { generation } => format!("applied {generation}"),
            Event::ConfigRejected { .. } => "rejected".to_owned(),
            Event::EndpointUp { upstream, endpoint } => format!("up {upstream} {endpoint}"),
            Event::EndpointDown {
                upstream,
                endpoint,
                reason,
            } => format!("down {upstream} {endpoint} {reason}"),
            _ => return,
        };
        // The test may be over already.
        let _ = self.0.lock().unwrap().send(word);
    }
}

/// A gateway that reads and watches `file`, and what it tells.
async fn watching(file: &Path) -> (GatewayHandle, mpsc::UnboundedReceiver<String>) {
    let (sender, words) = mpsc::unbounded_channel();
    let gateway = Gateway::builder(portcullis::registry().build().unwrap())
        .files([file])
        .watch(true)
        .workers(1)
        .without_admin()
        .observer(Words(Mutex::new(sender)))
        .build()
        .unwrap();
    (within("starting", gateway.start()).await.unwrap(), words)
}

async fn next(words: &mut mpsc::UnboundedReceiver<String>) -> String {
    within("an event", words.recv()).await.unwrap()
}

/// Puts a whole file in the place of another, so that no half of it is ever read.
fn replace(file: &Path, text: &str) {
    let fresh = file.with_extension("new");
    std::fs::write(&fresh, text).unwrap();
    std::fs::rename(fresh, file).unwrap();
}

#[tokio::test]
async fn a_head_that_cannot_be_parsed_is_logged_without_method_and_path() {
    let gateway = TestGateway::start(listener("")).await;
    let refused = gateway
        .ask("GET / HTTP/1.1\r\nhost: test\r\nno colon\r\n\r\n")
        .await;
    assert_eq!(refused.status(), 400);
    let ended = gateway.ended().await;
    assert_eq!((&*ended.method, &*ended.path, ended.status), ("", "", 400));
}

#[tokio::test]
async fn a_request_over_the_limit_is_logged_with_method_and_path() {
    let upstream = Upstream::bind().await;
    let limits = "limits: { max_requests_in_flight: 1 }";
    let gateway = TestGateway::start(route_to(upstream.addr(), "", "").replacen(
        " }]",
        &format!(", {limits} }}]"),
        1,
    ))
    .await;
    let mut first = gateway.client().await;
    first.send("GET /one HTTP/1.1\r\nhost: test\r\n\r\n").await;
    let _held = upstream.accept().await;
    let refused = gateway.get("/two").await;
    assert_eq!(refused.status(), 503);
    let ended = gateway.ended().await;
    assert_eq!(
        (&*ended.method, &*ended.path, ended.status),
        ("GET", "/two", 503)
    );
}

#[tokio::test]
async fn certificates_that_a_reload_brought_are_watched() {
    let ca = TestCa::new("ca");
    let folder = tempfile::tempdir().unwrap();
    let pair = |name: &str| {
        let own = folder.path().join(name);
        std::fs::create_dir_all(&own).unwrap();
        let certificate = ca.issue(CertificateSpec::server(["a.test"]));
        replace(
            &own.join("pair.pem"),
            &format!("{}{}", certificate.certificate_pem(), certificate.key_pem()),
        );
        let path = own.join("pair.pem");
        format!(
            "listeners: [{{ name: web, bind: '127.0.0.1:0', tls: {{ certificates: [{{ cert: {0}, key: {0} }}] }} }}]\n",
            path.display()
        )
    };
    let file = folder.path().join("conf").join("gateway.yaml");
    std::fs::create_dir(folder.path().join("conf")).unwrap();
    std::fs::write(&file, pair("one")).unwrap();
    let (_gateway, mut words) = watching(&file).await;
    assert_eq!(next(&mut words).await, "applied 1");
    replace(&file, &pair("two"));
    assert_eq!(next(&mut words).await, "applied 2");
    pair("two");
    assert_eq!(next(&mut words).await, "applied 3");
}

#[tokio::test]
async fn observers_are_told_of_endpoints_that_come_and_go() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.yaml");
    let (one, two) = (
        Upstream::fixed("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await,
        free_port(),
    );
    let health = "health: { active: { interval: 100ms, unhealthy: 1 } }";
    std::fs::write(&file, route_to(one, "", "")).unwrap();
    let (_gateway, mut words) = watching(&file).await;
    assert_eq!(next(&mut words).await, "applied 1");
    assert_eq!(next(&mut words).await, format!("up up {one}"));
    // Nobody listens on the second one; the first one goes on without a word.
    replace(
        &file,
        &route_to(one, "", health).replace("endpoints: [", &format!("endpoints: [\"{two}\", ")),
    );
    let mut told = [next(&mut words).await, next(&mut words).await];
    told.sort();
    assert_eq!(told, ["applied 2".to_owned(), format!("up up {two}")]);
    assert_eq!(next(&mut words).await, format!("down up {two} health"));
    replace(&file, &listener(""));
    let mut told = [next(&mut words).await, next(&mut words).await];
    told.sort();
    assert_eq!(
        told,
        ["applied 3".to_owned(), format!("down up {one} removed")]
    );
}

#[tokio::test]
async fn connections_of_an_endpoint_that_was_removed_are_closed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.yaml");
    for protocol in ["http1", "http2"] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let yaml = route_to(address, "", &format!("protocol: {protocol}"));
        std::fs::write(&file, &yaml).unwrap();
        let gateway = TestGateway::files([file.clone()]).await;
        let mut client = gateway.client().await;
        client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n").await;
        if protocol == "http1" {
            let (stream, _) = within("a connection", listener.accept()).await.unwrap();
            let mut peer = Peer::tcp(stream);
            peer.request().await;
            peer.send("HTTP/1.1 204 No Content\r\n\r\n").await;
            assert_eq!(client.response().await.status(), 204);
            std::fs::write(&file, yaml.replace(&address.to_string(), "127.0.0.1:1")).unwrap();
            gateway.handle.reload().unwrap();
            peer.closed().await;
        } else {
            let mut peer = FramePeer::serve(&listener, &[]).await;
            let stream = peer.request().await;
            peer.headers(stream, &[(":status", "204")], true).await;
            assert_eq!(client.response().await.status(), 204);
            std::fs::write(&file, yaml.replace(&address.to_string(), "127.0.0.1:1")).unwrap();
            gateway.handle.reload().unwrap();
            while peer.frame().await.is_some() {}
        }
    }
}

#[tokio::test]
async fn metrics_show_the_endpoints_of_upstreams() {
    let upstream = Upstream::fixed("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let gateway = TestGateway::to(upstream).await;
    assert_eq!(gateway.get("/").await.status(), 200);
    gateway.settles("up", 1, 1).await;
    let page = gateway.admin("/metrics").await.text();
    for (line, value) in [
        ("endpoint_up{EP,UP}", 1),
        ("requests_in_flight{EP,UP}", 0),
        ("requests_total{EP,outcome=\"success\",UP}", 1),
        ("requests_total{EP,outcome=\"failure\",UP}", 0),
        ("requests_total{EP,outcome=\"cancelled\",UP}", 0),
        ("connections{EP,state=\"open\",UP}", 1),
        ("connections{EP,state=\"idle\",UP}", 1),
    ] {
        let line = line
            .replace("EP", &format!("endpoint=\"{upstream}\""))
            .replace("UP", "upstream=\"up\"");
        let line = format!("portcullis_upstream_{line} {value}\n");
        assert!(page.contains(&line), "{line} is not in\n{page}");
    }
}

#[tokio::test]
async fn explain_uses_the_path_policy_of_each_listener() {
    let gateway = TestGateway::start(
        "listeners:\n\
         - { name: kept, bind: \"127.0.0.1:0\" }\n\
         - { name: merged, bind: \"127.0.0.1:0\", merge_slashes: true }\n\
         routes: [{ name: a, match: { path: { exact: /a/b } }, filters: [{ type: respond, status: 204 }] }]\n",
    )
    .await;
    let page = gateway.admin("/explain?url=%2Fa%2F%2Fb").await;
    let page: serde_json::Value = serde_json::from_slice(&page.body).unwrap();
    let of = |name: &str| {
        let listeners = page["listeners"].as_array().unwrap();
        listeners
            .iter()
            .find(|listener| listener["listener"] == name)
            .unwrap()
            .clone()
    };
    assert!(
        of("kept")["route"].is_null() && of("kept")["path"].is_null(),
        "{page}"
    );
    assert_eq!(
        (&of("merged")["route"]["name"], &of("merged")["path"]),
        (&"a".into(), &"/a/b".into()),
        "{page}"
    );
}

#[tokio::test]
async fn the_metrics_of_endpoints_are_bounded() {
    let upstream = Upstream::fixed("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let mut yaml = route_to(upstream, "", "");
    let endpoints: Vec<String> = (1..=9)
        .map(|host| format!("\"127.0.0.{host}:1\""))
        .collect();
    yaml = yaml.replace(
        &format!("[\"{upstream}\"]"),
        &format!("[{}]", endpoints.join(", ")),
    );
    yaml.push_str("metrics: { max_series: 4 }\n");
    let gateway = TestGateway::start(yaml).await;
    let page = gateway.admin("/metrics").await.text();
    let shown: Vec<&str> = page
        .lines()
        .filter(|line| line.starts_with("portcullis_upstream_endpoint_up{"))
        .collect();
    assert_eq!(shown.len(), 5, "{page}");
    assert!(
        shown.contains(&"portcullis_upstream_endpoint_up{endpoint=\"other\",upstream=\"other\"} 5"),
        "{shown:?}"
    );
    assert!(page.contains(
        "portcullis_metrics_overflow_total{family=\"portcullis_upstream_endpoint_up\"} 5\n"
    ));
}

#[tokio::test]
async fn tunnels_are_counted_as_such() {
    let upstream = Upstream::bind().await;
    let gateway = TestGateway::to(upstream.addr()).await;
    let mut client = gateway.client().await;
    client
        .send("GET / HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: talk\r\n\r\n")
        .await;
    let mut peer = upstream.accept().await;
    peer.request().await;
    peer.send("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: talk\r\n\r\n")
        .await;
    assert_eq!(client.head().await.status(), 101);
    drop((client, peer));
    gateway.ended().await;
    let page = gateway.admin("/metrics").await.text();
    assert!(
        page.contains("portcullis_requests_total{class=\"upgrade\",route=\"all\"} 1\n"),
        "{page}"
    );
    assert!(!page.contains("1xx"), "{page}");
}
