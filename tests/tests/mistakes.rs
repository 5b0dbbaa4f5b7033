//! Every mistake of a configuration is reported in one run, exactly once, whatever else is wrong.
//!
//! A correct configuration is given one mistake at a time, then every two of them together: what is reported of
//! two must be what is reported of each, by place, message and hint. So no mistake hides another one, and none
//! is told because of another one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops where something unexpected happens"
)]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::thread;

use portcullis::config::{Captured, Diagnostic, Document, Format, Severity};
use portcullis::filter::{BuildCx, BuildError, FilterFactory, HeadFilter, Stage};
use portcullis::gateway::StartError;
use portcullis::tls::testing::{CertificateSpec, TestCa};
use portcullis::{Gateway, Registry};
use serde_json::Value;
use tempfile::TempDir;

/// Something of every part of the configuration, each value on a line of its own.
const GOOD: &str = r#"
listeners:
  - name: web
    bind: 127.0.0.1:18080
    protocol: auto
    trusted_proxies:
      - 10.0.0.0/8
    limits:
      max_head_bytes: 16KiB
      max_headers: 50
    timeouts:
      head: 10s
    filters:
      - type: request-id
      - type: respond
        status: 404
        content_type: text/plain
  - name: secure
    bind: 127.0.0.1:18443
    forwarded: both
    tls:
      min_version: "1.2"
      alpn:
        - h2
        - http/1.1
      client_auth:
        mode: require
        ca: authorities.pem
      certificates:
        - cert: web.pem
          key: web.key
          hosts:
            - shop.example
routes:
  - name: orders
    priority: 3
    listeners:
      - web
      - secure
    match:
      hosts:
        - orders.example
      path:
        regex: /orders/[0-9]+
      methods:
        - GET
      headers:
        x-tenant: gold
        x-version:
          regex: v[0-9]+
      client_ip:
        - 192.0.2.0/24
      ports:
        - 443
    filters:
      - type: headers
        request:
          remove:
            - x-secret
      - type: keeps
    upgrade: false
    timeouts:
      total: 5s
      per_try: 2s
    retry:
      attempts: 2
      # attempts again
      on:
        - connect-failure
      budget:
        percent: 20
    backends:
      - upstream: one
        weight: 95
      - upstream: two
        weight: 5
        filters:
          - type: redirect
            host: b.example
            status: 301
  - name: rest
    rule: PathPrefix(`/rest`)
    backends:
      - upstream: three
      - upstream: spare
  - name: answer
    filters: [{ type: respond }]
  - name: nameless
    filters:
      - type: respond
        body: x
      # no anchor
upstreams:
  - name: one
    endpoints:
      - 10.0.0.1:8080
      - address: 10.0.0.2:8080
        weight: 2
    balance:
      type: maglev
    hash:
      header: x-user
    health:
      active:
        path: /healthz
        interval: 6s
        expect:
          - 200-299
    timeouts:
      connect: 1s
  - name: two
    endpoints:
      - 10.0.0.3:8080
    tls:
      ca: upstreams.pem
      cert: client.pem
      key: client.key
      server_name: two.example
  - name: three
    discovery:
      type: dns
      host: three.svc
      port: 81
  - name: spare
    endpoints: [10.0.0.4:8080]
  - name: unused
    endpoints: [10.0.0.5:8080]
admin:
  bind: 127.0.0.1:19900
access_log:
  path: stdout
  format: json
tracing:
  sample_ratio: 0.5
  otlp:
    endpoint: http://127.0.0.1:4318
limits:
  drain: 11s
"#;

/// Mistakes of every kind: text that occurs once in `GOOD`, and what stands in its place.
const MISTAKES: &[(&str, &str)] = &[
    // Of shape: keys nobody knows, values of another kind, values that cannot be read, keys that are missing.
    ("    protocol: auto", "    protocl: auto"),
    ("      - 10.0.0.0/8", "      - 10.0.0.0/33"),
    ("      max_headers: 50", "      max_headers: many"),
    ("      head: 10s", "      head: 10 parsecs"),
    ("    forwarded: both", "    forwarded: all"),
    ("      min_version: \"1.2\"", "      min_version: 1.2"),
    ("        mode: require", "        mode: sometimes"),
    ("    priority: 3", "    nonsense: 3"),
    ("      client_ip:", "      client_api:"),
    ("        - 192.0.2.0/24", "        - 192.0.2"),
    ("        - 443", "        - 70000"),
    ("    upgrade: false", "    upgrade: no"),
    ("      total: 5s", "      total: 5"),
    ("        weight: 95", "        wieght: 95"),
    ("        weight: 5\n", "        weight: -5\n"),
    ("      - 10.0.0.1:8080", "      - 10.0.0.1"),
    (
        "      - address: 10.0.0.2:8080",
        "      - adress: 10.0.0.2:8080",
    ),
    ("        weight: 2\n", "        weight: two\n"),
    ("          - 200-299", "          - 2000"),
    ("  format: json", "  format: xml"),
    ("  sample_ratio: 0.5", "  sample_ratio: 5"),
    ("  drain: 11s", "  drain: eleven"),
    ("    bind: 127.0.0.1:18080", "    bind: nowhere"),
    ("  bind: 127.0.0.1:19900", "  bind: 19900"),
    ("      - upstream: spare", "      - weight: 7"),
    ("  - name: nameless", "  - priority: 7"),
    ("  - name: unused", "  - protocol: auto"),
    (
        "    endpoints: [10.0.0.4:8080]",
        "    endpoints: 10.0.0.4:8080",
    ),
    ("        body: x", "        body: 5"),
    ("\nroutes:\n", "\nruotes:\n"),
    ("\nupstreams:\n", "\nupsteams:\n"),
    // Of meaning: names, references, texts with a grammar of their own, settings that do not fit each other.
    ("    bind: 127.0.0.1:18443", "    bind: 127.0.0.1:18080"),
    ("      max_head_bytes: 16KiB", "      max_head_bytes: 16"),
    ("        - h2\n", "        - h3\n"),
    ("            - shop.example", "            - shop.*"),
    ("      - web\n", "      - wep\n"),
    ("        - orders.example", "        - orders..example"),
    (
        "        regex: /orders/[0-9]+",
        "        regex: /orders/[0-9+",
    ),
    ("        - GET", "        - get"),
    ("          regex: v[0-9]+", "          regex: v(0-9]+"),
    ("        - connect-failure", "        - connect-fail"),
    ("        percent: 20", "        percent: 2000"),
    ("      - upstream: one", "      - upstream: oen"),
    ("  - name: rest", "  - name: orders"),
    (
        "    rule: PathPrefix(`/rest`)",
        "    rule: PathPrefix(`/rest`",
    ),
    ("      - upstream: three", "      - upstream: for"),
    ("      header: x-user", "      header: x user"),
    ("        path: /healthz", "        path: healthz"),
    ("        interval: 6s", "        interval: 0s"),
    ("      connect: 1s", "      connect: 0s"),
    (
        "      server_name: two.example",
        "      server_name: two example",
    ),
    (
        "    endpoint: http://127.0.0.1:4318",
        "    endpoint: 127.0.0.1:4318",
    ),
    ("    filters: [{ type: respond }]", "    filters: []"),
    ("    endpoints: [10.0.0.5:8080]", "    endpoints: []"),
    // Of plugins, and of what lies outside of the configuration.
    ("      - type: request-id", "      - type: request-ids"),
    ("        status: 404", "        status: 1000"),
    (
        "        content_type: text/plain",
        "        contnt_type: text/plain",
    ),
    ("            - x-secret", "            - content-length"),
    ("          - type: redirect", "          - type: redirekt"),
    ("            status: 301", "            status: 200"),
    ("      type: maglev", "      type: magleff"),
    ("      host: three.svc", "      host: ''"),
    ("      port: 81", "      prot: 81"),
    ("        ca: authorities.pem", "        ca: gone.pem"),
    ("        - cert: web.pem", "        - cert: gone.pem"),
    ("          key: web.key", "          key: web.pem"),
    ("      ca: upstreams.pem", "      ca: gone.pem"),
    ("      cert: client.pem", "      cert: gone.pem"),
    ("      key: client.key", "      key: client.pem"),
    ("  path: stdout", "  path: /nowhere/at/all.log"),
];

/// Mistakes of the notation that leave the rest readable; only YAML can show them.
const IN_YAML: &[(&str, &str)] = &[
    ("      # attempts again", "      attempts: 3"),
    ("      # no anchor", "      - *nowhere"),
];

/// What messages repeat of another mistake: a misspelt key in a path, a name that is not there.
const REPEATED: [(&str, &str); 4] = [
    ("this upstream", "the upstream `unused`"),
    ("client_api", "client_ip"),
    ("ruotes", "routes"),
    ("upsteams", "upstreams"),
];

/// Mistakes that leave open whether another one is one: the first of each pair hides the second.
const HIDES: &[(&str, &str)] = &[
    // The plugin's settings are not known, so nothing is known of them.
    ("          - type: redirekt", "            status: 200"),
    // It may be the address of the other listener.
    ("    bind: nowhere", "    bind: 127.0.0.1:18080"),
    // It may be the upstream that is referred to.
    ("  - protocol: auto", "      - upstream: oen"),
    ("  - protocol: auto", "      - upstream: for"),
];

/// A filter that keeps bodies, which only goes with `upgrade: false`.
struct Keeps;

impl HeadFilter for Keeps {}

impl FilterFactory for Keeps {
    const NAME: &'static str = "keeps";
    type Config = ();

    fn build(_: (), _: &BuildCx<'_>) -> Result<Stage, BuildError> {
        Ok(Stage::head(Self::NAME, Self).buffering())
    }
}

fn registry() -> Registry {
    portcullis::registry().filter::<Keeps>().build().unwrap()
}

/// A folder with the files the configuration names.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let ca = TestCa::new("ca");
    for name in ["authorities.pem", "upstreams.pem"] {
        std::fs::write(folder.path().join(name), ca.pem()).unwrap();
    }
    for name in ["web", "client"] {
        let certificate = ca.issue(CertificateSpec::server(["shop.example"]));
        let write = |kind: &str, text: &str| {
            std::fs::write(folder.path().join(format!("{name}.{kind}")), text).unwrap();
        };
        write("pem", certificate.certificate_pem());
        write("key", certificate.key_pem());
    }
    folder
}

/// What is reported of a configuration.
fn reported(folder: &Path, registry: &Registry, name: &str, text: &str) -> Vec<Diagnostic> {
    let file = folder.join(name);
    std::fs::write(&file, text).unwrap();
    let built = Gateway::builder(registry.clone())
        .workers(1)
        .without_admin()
        .files([file])
        .build();
    match built {
        Ok(gateway) => gateway.warnings().iter().cloned().collect(),
        Err(StartError::Config(problems)) => problems.into_iter().collect(),
        Err(error) => panic!("{error}"),
    }
}

fn with(mistakes: &[(&str, &str)]) -> String {
    let mut text = GOOD.to_owned();
    for (good, bad) in mistakes {
        assert_eq!(text.matches(good).count(), 1, "{good:?} occurs once");
        assert_eq!(good.matches('\n').count(), bad.matches('\n').count());
        text = text.replacen(good, bad, 1);
    }
    text
}

/// How a problem is compared: by everything that a reader sees of it, `place` included if wanted.
fn shown(problems: &[Diagnostic], place: bool) -> Vec<String> {
    let mut all: Vec<String> = problems
        .iter()
        .map(|problem| {
            let mut shown = problem.clone();
            if !place {
                // Where the other notation has it.
                shown.at = None;
                shown.hint = None;
            }
            shown.to_string()
        })
        .collect();
    all.sort();
    all
}

fn as_if_alone(problems: Vec<String>) -> Vec<String> {
    let right = |text: String, (wrong, right): &(&str, &str)| text.replace(wrong, right);
    let all = problems.into_iter();
    let mut all: Vec<_> = all.map(|text| REPEATED.iter().fold(text, right)).collect();
    all.sort();
    all
}

/// Checks every pair of mistakes, `write` turning the YAML into the text of a file with this extension.
///
/// With a `step`, every so manieth pair has to do: what is behind the readers is the same for all formats.
fn check_pairs(
    extension: &str,
    mistakes: &[(&str, &str)],
    step: usize,
    write: impl Fn(&str) -> String + Sync,
) {
    let place = step == 1;
    let (folder, registry) = (folder(), registry());
    let (folder, registry, write) = (folder.path(), &registry, &write);
    let name = |number: &str| format!("{number}.{extension}");
    let find = |file: &str, mistakes: &[(&str, &str)]| {
        let text = write(&with(mistakes));
        let found = reported(folder, registry, &name(file), &text);
        let here = found.iter().all(|problem| {
            let at = problem.at.as_ref();
            at.is_some_and(|at| at.is_known() && at.file.ends_with(&name(file)))
        });
        assert!(here, "{found:#?}");
        // Every file has another name, which places in hints repeat.
        let all = as_if_alone(shown(&found, place)).into_iter();
        all.map(|text| text.replace(&name(file), "F"))
            .collect::<Vec<_>>()
    };
    assert_eq!(find("good", &[]), Vec::<String>::new());
    let singles: Vec<Vec<String>> = mistakes
        .iter()
        .map(|mistake| {
            let found = find("single", &[*mistake]);
            assert_eq!(found.len(), 1, "{mistake:?}: {found:#?}");
            assert!(found[0].contains("error: "), "{found:?}");
            found
        })
        .collect();
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for turn in 0..threads {
            let (find, singles) = (&find, &singles);
            scope.spawn(move || {
                for first in (turn..mistakes.len()).step_by(threads) {
                    for second in (first + 1..mistakes.len()).step_by(step) {
                        let pair = [mistakes[first], mistakes[second]];
                        let hidden = |at: usize, other: usize| {
                            HIDES.contains(&(mistakes[other].1, mistakes[at].1))
                        };
                        let mut expected = Vec::new();
                        for (at, other) in [(first, second), (second, first)] {
                            if !hidden(at, other) {
                                expected.extend(singles[at].iter().cloned());
                            }
                        }
                        expected.sort();
                        let found = find(&format!("pair-{turn}"), &pair);
                        assert_eq!(found, expected, "{pair:#?}");
                    }
                }
            });
        }
    });
}

#[test]
fn two_mistakes_are_reported_as_each_of_them_is() {
    check_pairs("yaml", &[MISTAKES, IN_YAML].concat(), 1, str::to_owned);
}

#[test]
fn two_mistakes_of_a_json_file_are_reported_as_each_of_them_is() {
    check_pairs("json", MISTAKES, 7, |yaml| {
        serde_json::to_string_pretty(&value(yaml)).unwrap()
    });
}

#[test]
fn two_mistakes_of_a_toml_file_are_reported_as_each_of_them_is() {
    check_pairs("toml", MISTAKES, 7, |yaml| {
        let Value::Object(top) = value(yaml) else {
            panic!("a mapping at the top");
        };
        top.iter().fold(String::new(), |mut text, (key, value)| {
            writeln!(text, "{key} = {}", toml(value)).unwrap();
            text
        })
    });
}

fn value(yaml: &str) -> Value {
    let documents = Document::parse("mistakes", yaml, Format::Yaml).unwrap();
    documents[0].root().to_json()
}

/// A value on one line.
fn toml(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(toml).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(entries) => {
            let entries: Vec<_> = entries
                .iter()
                .map(|(key, value)| format!("{} = {}", toml(&key.as_str().into()), toml(value)))
                .collect();
            format!("{{ {} }}", entries.join(", "))
        }
        // Strings of JSON are strings of TOML.
        other => other.to_string(),
    }
}

#[test]
fn all_mistakes_together_are_reported_each_once() {
    let (folder, registry) = (folder(), registry());
    let hidden: BTreeSet<&str> = HIDES.iter().map(|(_, hidden)| *hidden).collect();
    let all: Vec<_> = [MISTAKES, IN_YAML]
        .concat()
        .into_iter()
        .filter(|(_, bad)| !hidden.contains(bad))
        .collect();
    let mut expected: Vec<String> = all
        .iter()
        .flat_map(|mistake| {
            let problems = reported(folder.path(), &registry, "all.yaml", &with(&[*mistake]));
            as_if_alone(shown(&problems, true))
        })
        .collect();
    expected.sort();
    let found = reported(folder.path(), &registry, "all.yaml", &with(&all));
    assert_eq!(as_if_alone(shown(&found, true)), expected);
    assert!(
        found
            .iter()
            .all(|problem| problem.severity == Severity::Error)
    );
}

#[tokio::test]
async fn a_refused_configuration_leaves_no_trace_in_plugins_and_files() {
    /// Whether it was made for a configuration that was refused.
    struct Shared(bool);

    let folder = folder();
    let registry = portcullis::registry()
        .head_filter("shares", |refused: Captured, cx| {
            cx.shared("state", || Shared(refused.node().has_key("refused")));
            Ok(Keeps)
        })
        .build()
        .unwrap();
    let (file, log) = (
        folder.path().join("gateway.yaml"),
        folder.path().join("access.log"),
    );
    let write = |filter: &str, more: &str| {
        let text = format!(
            "listeners: [{{ name: web, bind: '127.0.0.1:0' }}]\n\
             routes: [{{ name: a, filters: [{{ type: {filter} }}] }}]\n{more}"
        );
        std::fs::write(&file, text).unwrap();
    };
    let with_log = format!("access_log: {{ path: '{}' }}\n", log.display());
    write("respond", "");
    let gateway = Gateway::builder(registry)
        .workers(1)
        .without_admin()
        .files([&file])
        .build()
        .unwrap()
        .mount();
    write("shares, refused: true", &format!("{with_log}nonsense: 1\n"));
    assert_eq!(gateway.reload().unwrap_err().len(), 1);
    assert!(!log.exists());
    write("shares", &with_log);
    gateway.reload().unwrap();
    let state = gateway.process().store();
    let state = state.shared("state", || Shared(true));
    assert!(!state.0, "made for the configuration that went live");
    assert!(log.exists());
}
