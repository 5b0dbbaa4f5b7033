//! Every mistake of every kind is reported in one run, by the commands and by a reload.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Output;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Client, Gateway, eventually, run};

/// Mistakes of every phase: keys and values that cannot be read, references and texts that mean nothing,
/// plugins that refuse their settings, files that are not there.
const YAML: &str = "\
listeners:
  - name: web
    bind: 127.0.0.1:18080
    trusted_proxies: [10.0.0.0/33]
    filters: [{ type: hedaers }]
  - name: secure
    bind: 127.0.0.1:18080
    tls:
      certificates:
        - { cert: gone.pem, key: gone.key }
routes:
  - name: orders
    match: { path: { regex: '/(' } }
    timeouts: { total: 5x }
    backends: [{ upstream: shop, wieght: 3 }, { upstream: shpo }]
  - name: orders
    rule: Host(`a`
    filters: [{ type: respond, status: 1000 }]
upstreams:
  - name: shop
    endpoints: [127.0.0.1:99999]
    balance: { type: p3c }
    tls: { cert: gone.pem }
";

/// Where each of them is, which part of the document that is, what is said of it, and what is to be done.
const REPORTED: [(u64, u64, &str, &str, &str); 14] = [
    (
        4,
        23,
        "listeners[0].trusted_proxies[0]",
        "10.0.0.0/33",
        "up to 32",
    ),
    (
        5,
        23,
        "listeners[0].filters[0].type",
        "hedaers",
        "did you mean `headers`?",
    ),
    (
        7,
        11,
        "listeners[1].bind",
        "listens on 127.0.0.1:18080 too",
        "gateway.yaml:3:11",
    ),
    (
        10,
        19,
        "listeners[1].tls.certificates[0].cert",
        "gone.pem: No such file",
        "that it exists",
    ),
    (
        10,
        34,
        "listeners[1].tls.certificates[0].key",
        "gone.key: No such file",
        "that it exists",
    ),
    (13, 20, "routes[0].match.path", "unclosed group", "regex"),
    (
        14,
        24,
        "routes[0].timeouts.total",
        "duration",
        "`x` is no unit",
    ),
    (
        15,
        34,
        "routes[0].backends[0].wieght",
        "unknown key",
        "did you mean `weight`?",
    ),
    (
        15,
        59,
        "routes[0].backends[1].upstream",
        "shpo",
        "did you mean `shop`?",
    ),
    (
        16,
        11,
        "routes[1].name",
        "another route",
        "gateway.yaml:12:11",
    ),
    (
        17,
        11,
        "routes[1].rule",
        "the end of the rule",
        "Host(`shop.example`)",
    ),
    (
        18,
        40,
        "routes[1].filters[0].status",
        "`status`",
        "a status such as 404",
    ),
    (
        21,
        17,
        "upstreams[0].endpoints[0]",
        "127.0.0.1:99999",
        "up to 65535",
    ),
    (
        22,
        22,
        "upstreams[0].balance.type",
        "p3c",
        "did you mean `p2c`?",
    ),
];
/// In the same line, but one that is checked apart because it is the only one of its kind.
const HALF: (u64, u64, &str) = (23, 18, "upstreams[0].tls.cert");

fn on(command: &[&str], paths: &[&Path]) -> Output {
    let flags = paths
        .iter()
        .flat_map(|path| ["-c".as_ref(), path.as_os_str()]);
    run(command.iter().map(|arg| arg.as_ref()).chain(flags))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The problems of `check --json`, which ends with exit code 1.
fn problems(paths: &[&Path]) -> Vec<Value> {
    let output = on(&["check", "--json"], paths);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn one_run_reports_every_mistake_of_every_phase_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.yaml");
    std::fs::write(&file, YAML).unwrap();
    let found = problems(&[&file]);
    let mut expected: Vec<_> = REPORTED
        .iter()
        .map(|told| (told.0, told.1, told.2))
        .collect();
    expected.push(HALF);
    let mut places: Vec<_> = found
        .iter()
        .map(|problem| {
            assert_eq!(problem["severity"], "error", "{problem:#}");
            assert_eq!(problem["at"]["file"], file.to_str().unwrap());
            let number = |key: &str| problem["at"][key].as_u64().unwrap();
            (
                number("line"),
                number("column"),
                problem["path"].as_str().unwrap(),
            )
        })
        .collect();
    // A cert without key, and no such file: both of the same value.
    let half = places.iter().filter(|place| **place == HALF).count();
    assert_eq!(half, 2, "{found:#?}");
    places.dedup();
    assert_eq!(places, expected);
    for (line, column, _, says, hint) in REPORTED {
        let told: Vec<_> = found
            .iter()
            .filter(|problem| problem["at"]["line"] == line && problem["at"]["column"] == column)
            .collect();
        let [told] = &told[..] else {
            panic!("{line}:{column} is told once: {told:#?}");
        };
        assert!(told["message"].as_str().unwrap().contains(says), "{told:#}");
        assert!(told["hint"].as_str().unwrap().contains(hint), "{told:#}");
    }
    // The other commands say the same, in words.
    for command in [
        &["check"] as &[&str],
        &["run"],
        &["explain", "GET", "http://a/"],
    ] {
        let output = on(command, &[&file]);
        assert_eq!(output.status.code(), Some(1));
        let told = text(&output.stderr);
        for (line, column, path, ..) in REPORTED {
            let place = format!("gateway.yaml:{line}:{column}: error: ");
            let at = format!("(at {path})");
            let lines = told.lines();
            let lines = lines.filter(|line| line.contains(&place) && line.contains(&at));
            assert_eq!(lines.count(), 1, "{command:?} says {place} once:\n{told}");
        }
        assert_eq!(told.matches(": error: ").count(), found.len(), "{told}");
    }
    assert!(!folder.path().join("gone.pem").exists());
}

#[test]
fn every_format_is_checked_to_the_end() {
    let toml = "[[listeners]]\n\
                name = \"web\"\n\
                bind = \"127.0.0.1:18080\"\n\
                trusted_proxies = [\"10.0.0.0/33\"]\n\
                filters = [{ type = \"hedaers\" }, { type = \"respond\", status = 1000 }]\n\
                [listeners.tls]\n\
                certificates = [{ cert = \"gone.pem\", key = \"gone.pem\" }]\n\
                [[listeners]]\n\
                name = \"web\"\n\
                bind = \"127.0.0.1:18080\"\n\
                [[routes]]\n\
                name = \"a\"\n\
                backends = [{ upstream = \"nowhere\", wieght = 1 }]\n\
                match = { path = { regex = \"/(\" } }\n\
                timeouts = { total = 5 }\n";
    let json = r#"{
  "listeners": [
    { "name": "web", "bind": "127.0.0.1:18080", "trusted_proxies": ["10.0.0.0/33"],
      "filters": [{ "type": "hedaers" }, { "type": "respond", "status": 1000 }],
      "tls": { "certificates": [{ "cert": "gone.pem", "key": "gone.pem" }] } },
    { "name": "web", "bind": "127.0.0.1:18080" }
  ],
  "routes": [
    { "name": "a", "backends": [{ "upstream": "nowhere", "wieght": 1 }],
      "match": { "path": { "regex": "/(" } }, "timeouts": { "total": 5 } }
  ]
}"#;
    let paths = [
        "listeners[0].filters[0].type",
        "listeners[0].filters[1].status",
        "listeners[0].tls.certificates[0].cert",
        "listeners[0].tls.certificates[0].key",
        "listeners[0].trusted_proxies[0]",
        "listeners[1].bind",
        "listeners[1].name",
        "routes[0].backends[0].upstream",
        "routes[0].backends[0].wieght",
        "routes[0].match.path",
        "routes[0].timeouts.total",
    ];
    let folder = tempfile::tempdir().unwrap();
    for (name, text, cidr, wieght) in [
        ("gateway.toml", toml, (4, 20), (13, 37)),
        ("gateway.json", json, (3, 69), (9, 58)),
    ] {
        let file = folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        let found: BTreeMap<String, Value> = problems(&[&file])
            .into_iter()
            .map(|problem| (problem["path"].as_str().unwrap().to_owned(), problem))
            .collect();
        assert_eq!(found.keys().collect::<Vec<_>>(), paths, "{name}");
        let place = |path: &str| {
            let at = &found[path]["at"];
            (at["line"].as_u64().unwrap(), at["column"].as_u64().unwrap())
        };
        assert_eq!(place("listeners[0].trusted_proxies[0]"), cidr, "{name}");
        assert_eq!(place("routes[0].backends[0].wieght"), wieght, "{name}");
        assert!(
            found.values().all(|problem| problem["hint"].is_string()),
            "{found:#?}"
        );
    }
}

#[test]
fn a_file_that_cannot_be_read_does_not_hide_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("a.yaml", "upstreams:\n- { name: lost, endpoints: [\n");
    write("b.toml", "[[upstreams]\nname = 'gone'\n");
    write(
        "c.json",
        "{ \"routes\": [{ \"name\": \"c\", \"rule\": \"Host(\", \"backends\": [{ \"upstream\": \"lost\" }] }] }",
    );
    write(
        "d.yaml",
        "routes:\n- { name: d, timeouts: { total: x }, filters: [{ type: hedaers }] }\n---\nroutes:\n- { name: c, backends: [{ upstream: gone }] }\n",
    );
    let file = |problem: &Value| {
        let file = problem["at"]["file"].as_str().unwrap();
        let name = Path::new(file).file_name().unwrap().to_str().unwrap();
        format!("{name}:{}", problem["at"]["line"])
    };
    let found = problems(&[folder.path(), &folder.path().join("missing.yaml")]);
    let places: Vec<_> = found.iter().map(file).collect();
    // The upstreams that the two files may have are not said to be missing.
    assert_eq!(
        places,
        [
            "a.yaml:2",
            "b.toml:1",
            "c.json:1",
            "d.yaml:2",
            "d.yaml:2",
            "d.yaml:5",
            "missing.yaml:0"
        ],
        "{found:#?}"
    );
}

#[test]
fn a_reload_keeps_the_old_configuration_and_reports_everything() {
    let good = "listeners: [{ name: web, bind: '127.0.0.1:0' }]\n\
                routes: [{ name: all, filters: [{ type: respond, body: first }] }]\n";
    let gateway = Gateway::yaml(good);
    let mut client = Client::connect(gateway.web()).unwrap();
    assert_eq!(client.get("/").unwrap().text(), "first");
    gateway.write_config(YAML);
    gateway.signal(Signal::HUP);
    let rejected = "portcullis_config_loads_total{outcome=\"rejected\"}";
    eventually("the refusal", || {
        (gateway.metric(rejected) == Some(1.0)).then_some(())
    });
    assert_eq!(client.get("/").unwrap().text(), "first");
    let page = gateway.json("/config");
    assert_eq!(page["generation"], 1);
    let told = page["rejected"].as_array().unwrap();
    let checked = problems(&[&gateway.config_file()]);
    assert_eq!(told.len(), checked.len(), "{page:#}");
    for problem in &checked {
        assert_eq!(
            told.iter().filter(|told| *told == problem).count(),
            1,
            "{problem:#}"
        );
    }
    let log = eventually("the refusal on stderr", || {
        Some(gateway.stderr()).filter(|text| text.contains("upstreams[0].tls.cert"))
    });
    for (line, column, path, _, hint) in REPORTED {
        let place = format!("gateway.yaml:{line}:{column}: error: ");
        assert_eq!(log.matches(&place).count(), 1, "{place}\n{log}");
        assert!(
            log.contains(&format!("(at {path})")) && log.contains(hint),
            "{log}"
        );
    }
    gateway.write_config(&good.replace("first", "second"));
    gateway.signal(Signal::HUP);
    eventually("the repaired file", || {
        (client.get("/").unwrap().text() == "second").then_some(())
    });
    assert_eq!(gateway.json("/config")["rejected"], serde_json::json!([]));
}
