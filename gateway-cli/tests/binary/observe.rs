//! What a gateway tells of itself: metrics, access log, traces, admin pages.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::support::{Client, Gateway, Nginx, Peer, Site, eventually, get, tool};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

fn in_front_of(nginx: &Nginx, more: &str) -> Gateway {
    Gateway::yaml(&format!(
        "listeners: [{{ name: web, bind: '127.0.0.1:0', filters: [{{ type: request-id }}] }}]\n\
         routes: [{{ name: all, backends: [{{ upstream: site }}] }}]\n\
         upstreams: [{{ name: site, endpoints: ['{}'] }}]\n\
         access_log: {{ path: stdout }}\n{more}",
        nginx.address()
    ))
}

#[test]
fn promtool_finds_nothing_wrong_with_the_metrics() {
    let nginx = Nginx::start(&Site::default());
    let gateway = in_front_of(&nginx, "");
    let mut client = Client::connect(gateway.web()).unwrap();
    for path in ["/who", "/teapot", "/nothing", "/moved"] {
        client.get(path).unwrap();
    }
    let page = gateway.page("/metrics");
    assert!(
        page.header("content-type")
            .is_some_and(|kind| kind.starts_with("text/plain; version=0.0.4")),
        "{page:?}"
    );
    let mut promtool = Command::new(tool("promtool"))
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    promtool
        .stdin
        .take()
        .unwrap()
        .write_all(&page.body)
        .unwrap();
    let verdict = promtool.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&verdict.stderr).into_owned()
        + &String::from_utf8_lossy(&verdict.stdout);
    assert!(verdict.status.success() && told.is_empty(), "{told}");
    let counted = |class: &str| {
        gateway.metric(&format!(
            "portcullis_requests_total{{class=\"{class}\",route=\"all\"}}"
        ))
    };
    assert_eq!(
        [
            counted("2xx"),
            counted("3xx"),
            counted("4xx"),
            counted("5xx")
        ],
        [Some(1.0), Some(1.0), Some(2.0), Some(0.0)]
    );
    assert_eq!(
        gateway.metric("portcullis_connections_total{listener=\"web\"}"),
        Some(1.0)
    );
    assert_eq!(
        gateway.metric("portcullis_requests_in_flight{listener=\"web\"}"),
        Some(0.0)
    );
    assert_eq!(
        gateway.metric("portcullis_request_duration_seconds_count{route=\"all\"}"),
        Some(4.0)
    );
}

#[test]
fn a_line_of_the_access_log_tells_the_story_of_a_request() {
    let nginx = Nginx::start(&Site::default());
    let gateway = in_front_of(&nginx, "tracing: {}\n");
    let mut client = Client::connect(gateway.web()).unwrap();
    let traceparent = format!("00-{TRACE}-{PARENT}-01");
    let fields = [
        ("host", "shop.example"),
        ("user-agent", "te\"st é"),
        ("traceparent", &traceparent),
    ];
    let answer = client
        .send("POST", "/upload?secret=1", &fields, b"12345")
        .unwrap();
    let line = gateway.logged("/upload");
    for (key, value) in [
        ("listener", "web"),
        ("client", "127.0.0.1"),
        ("method", "POST"),
        ("scheme", "http"),
        ("host", "shop.example"),
        ("protocol", "HTTP/1.1"),
        ("route", "all"),
        ("upstream", "site"),
        ("trace_id", TRACE),
    ] {
        assert_eq!(line[key], value, "{key} of {line}");
    }
    assert_eq!(
        (
            &line["status"],
            &line["bytes_in"],
            &line["bytes_out"],
            &line["attempts"]
        ),
        (&200.into(), &5.into(), &2.into(), &1.into())
    );
    assert_eq!(line["endpoint"], nginx.address().to_string());
    assert_eq!(line["request_id"].as_str(), answer.header("x-request-id"));
    assert!(
        line.get("query").is_none() && line.get("aborted").is_none(),
        "{line}"
    );
    let seconds = |key: &str| {
        line[key]
            .as_f64()
            .unwrap_or_else(|| panic!("{key} of {line}"))
    };
    assert!(
        seconds("upstream_first_byte") <= seconds("upstream_duration")
            && seconds("upstream_duration") <= seconds("duration"),
        "{line}"
    );

    // No route, and a client that leaves in the middle of its answer.
    nginx.publish("page.txt", &[b'x'; 1 << 20]);
    let mut leaving = Client::connect(gateway.web()).unwrap();
    leaving.begin("GET", "/slow/page.txt", &[], b"").unwrap();
    assert_eq!(leaving.head().unwrap().0, 200);
    drop(leaving);
    let line = gateway.logged("/slow/page.txt");
    assert_eq!(
        (&line["aborted"], &line["reason"], &line["status"]),
        (&true.into(), &"client_gone".into(), &200.into()),
        "{line}"
    );
    assert_eq!(
        gateway.metric("portcullis_requests_total{class=\"aborted\",route=\"all\"}"),
        Some(1.0)
    );
    eventually("nothing in flight", || {
        (gateway.metric("portcullis_requests_in_flight{listener=\"web\"}") == Some(0.0))
            .then_some(())
    });
    // The connection to nginx was in the middle of an answer: it is closed, and none is left in use.
    eventually("no connection in use", || {
        let connections = &gateway.json("/upstreams")[0]["connections"];
        (connections["open"] == connections["idle"]).then_some(())
    });
}

#[test]
fn refusals_are_logged_with_their_reason() {
    let gateway = Gateway::yaml(
        "listeners: [{ name: web, bind: '127.0.0.1:0' }]\n\
         routes: [{ name: one, match: { path: /one }, backends: [{ upstream: none }] }]\n\
         upstreams: [{ name: none, endpoints: [{ address: '127.0.0.1:1', weight: 0 }] }]\n\
         access_log: { path: stdout }\n",
    );
    for (path, status) in [("/other", 404), ("/one", 503)] {
        assert_eq!(get(gateway.web(), path).unwrap().status, status, "{path}");
        let line = gateway.logged(path);
        assert_eq!(line["status"], status);
        assert!(
            line["reason"]
                .as_str()
                .is_some_and(|reason| !reason.is_empty()),
            "{line}"
        );
    }
}

#[test]
fn the_access_log_goes_to_a_file_that_can_be_moved_away() {
    let folder = tempfile::tempdir().unwrap();
    let (log, moved) = (
        folder.path().join("access.log"),
        folder.path().join("moved.log"),
    );
    let gateway = Gateway::yaml(&format!(
        "listeners: [{{ name: web, bind: '127.0.0.1:0' }}]\n\
         routes: [{{ name: all, filters: [{{ type: respond, body: in }}] }}]\n\
         access_log: {{ path: '{}', format: text, query: true }}\n",
        log.display()
    ));
    let holds = |file: &std::path::Path, text: &str| {
        eventually(text, || {
            std::fs::read_to_string(file)
                .ok()
                .filter(|all| all.contains(text))
        })
    };
    get(gateway.web(), "/first?a=1").unwrap();
    let line = holds(&log, "/first?a=1");
    assert!(line.starts_with("127.0.0.1 - - ["), "{line}");
    assert!(line.contains("\"GET /first?a=1 HTTP/1.1\" 200 "), "{line}");
    std::fs::rename(&log, &moved).unwrap();
    gateway.signal(rustix::process::Signal::USR1);
    eventually("a new file", || {
        get(gateway.web(), "/second").unwrap();
        log.exists().then_some(())
    });
    get(gateway.web(), "/third").unwrap();
    holds(&log, "/third");
    assert!(!std::fs::read_to_string(&moved).unwrap().contains("/third"));
}

#[test]
fn traces_are_passed_on_in_both_dialects() {
    let nginx = Nginx::start(&Site::default());
    let sent = |gateway: &Gateway, fields: &[(&str, &str)], name: &str| {
        let text = Client::connect(gateway.web())
            .unwrap()
            .send("GET", "/head/x", fields, b"")
            .unwrap()
            .text();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{name}=")).map(str::to_owned));
        line.unwrap_or_else(|| panic!("{name} in {text}"))
    };
    let w3c = in_front_of(&nginx, "tracing: {}\n");
    let traceparent = format!("00-{TRACE}-{PARENT}-01");
    let passed = sent(&w3c, &[("traceparent", &traceparent)], "traceparent");
    assert!(
        passed.starts_with(&format!("00-{TRACE}-")) && passed.ends_with("-01"),
        "{passed}"
    );
    assert!(
        !passed.contains(PARENT),
        "the gateway is the parent now: {passed}"
    );
    let fresh = sent(&w3c, &[("traceparent", "00-nonsense")], "traceparent");
    assert_eq!(fresh.len(), 55, "{fresh}");
    let unsampled = sent(
        &w3c,
        &[("traceparent", &format!("00-{TRACE}-{PARENT}-00"))],
        "traceparent",
    );
    assert!(unsampled.ends_with("-00"), "{unsampled}");

    let b3 = in_front_of(&nginx, "tracing: { propagation: b3 }\n");
    let passed = sent(&b3, &[("b3", &format!("{TRACE}-{PARENT}-1"))], "b3");
    assert!(
        passed.starts_with(&format!("{TRACE}-"))
            && !passed[TRACE.len()..].starts_with(&format!("-{PARENT}")),
        "{passed}"
    );
    let multi = in_front_of(&nginx, "tracing: { propagation: b3multi }\n");
    let fields = [
        ("x-b3-traceid", TRACE),
        ("x-b3-spanid", PARENT),
        ("x-b3-sampled", "1"),
    ];
    assert_eq!(sent(&multi, &fields, "b3-trace"), TRACE);

    let off = in_front_of(&nginx, "");
    assert_eq!(
        sent(&off, &[("traceparent", &traceparent)], "traceparent"),
        traceparent,
        "without tracing it is a field like any other"
    );
}

#[test]
fn spans_reach_an_opentelemetry_collector() {
    let nginx = Nginx::start(&Site::default());
    let collector = Peer::start("otlp_sink.py", &[]);
    let tracing = format!(
        "tracing: {{ otlp: {{ endpoint: 'http://{}', service_name: edge }} }}\n",
        collector.address()
    );
    let mut gateway = in_front_of(&nginx, &tracing);
    let traceparent = format!("00-{TRACE}-{PARENT}-01");
    let mut client = Client::connect(gateway.web()).unwrap();
    let text = client
        .send("GET", "/head/x", &[("traceparent", &traceparent)], b"")
        .unwrap()
        .text();
    let passed = text
        .lines()
        .find_map(|line| line.strip_prefix("traceparent="))
        .unwrap()
        .to_owned();
    let span = collector.line();
    assert_eq!(
        (&span["path"], &span["resource"]["service.name"]),
        (&"/v1/traces".into(), &"edge".into()),
        "{span}"
    );
    assert_eq!(
        (&span["trace"], &span["parent"]),
        (&TRACE.into(), &PARENT.into()),
        "{span}"
    );
    assert_eq!(
        passed.split('-').nth(2),
        span["span"].as_str(),
        "the upstream's parent is the span that was sent"
    );
    assert_eq!(span["attributes"]["http.response.status_code"], 200);
    assert_eq!(span["attributes"]["url.path"], "/head/x");
    assert!(span["took"].as_i64() > Some(0), "{span}");
    client
        .send(
            "GET",
            "/who",
            &[("traceparent", &format!("00-{TRACE}-{PARENT}-00"))],
            b"",
        )
        .unwrap();
    client.get("/teapot").unwrap();
    // The one that was not to be sampled does not come, and what waits is sent before the end.
    gateway.stop();
    let span = collector.line();
    assert_eq!(
        (&span["attributes"]["url.path"], &span["parent"]),
        (&"/teapot".into(), &"".into()),
        "{span}"
    );
}

#[test]
fn admin_pages_show_what_is_live() {
    let nginx = Nginx::start(&Site::default());
    let gateway = in_front_of(&nginx, "tracing: {}\n");
    get(gateway.web(), "/who").unwrap();
    for path in ["/livez", "/readyz"] {
        assert_eq!(gateway.page(path).status, 200, "{path}");
    }
    assert!(gateway.page("/").text().contains("<html"));
    assert_eq!(
        gateway.json("/config")["config"]["routes"][0]["name"],
        "all"
    );
    assert_eq!(
        gateway.json("/routes")[0]["backends"][0]["upstream"],
        "site"
    );
    let site = &gateway.json("/upstreams")[0];
    assert_eq!(
        (&site["name"], &site["endpoints"][0]["successes"]),
        (&"site".into(), &1.into())
    );
    let explained = gateway.json("/explain?method=GET&url=http%3A%2F%2Fshop.example%2Fwho");
    assert_eq!(explained["listeners"][0]["route"]["name"], "all");
    assert_eq!(gateway.page("/explain?url=%zz").status, 400);
    assert_eq!(gateway.page("/nothing").status, 404);
    let mut client = Client::connect(gateway.admin().unwrap()).unwrap();
    assert_eq!(
        client.send("POST", "/config", &[], b"{}").unwrap().status,
        405
    );
}
