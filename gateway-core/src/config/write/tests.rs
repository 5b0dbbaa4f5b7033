use proptest::prelude::*;

use super::*;
use crate::config::{Captured, parse_native};

fn written(text: &str) -> String {
    let config = parse_native("g.yaml", text, Format::Yaml).unwrap();
    let out = to_native(&config).unwrap();
    let back = parse_native("back.yaml", &out, Format::Yaml);
    assert_eq!(
        back.unwrap_or_else(|problems| panic!("{problems}\n{out}")),
        config,
        "{out}"
    );
    out
}

#[test]
fn writes_what_a_person_would() {
    let out = written(
        r#"
limits: { drain: 10s }
listeners: [{ name: web, bind: "0.0.0.0:8443", tls: { certificates: [{ cert: "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n", key: a.key }] }, filters: [{ type: request-id }] }]
routes:
  - name: orders
    match: { hosts: ["*.example"], path: /orders, headers: { x-tenant: gold, "yes": { present: true } } }
    filters: [{ type: rate-limit, limit: 100, per: 1m, burst: 1.0, note: "a: b" }]
    timeouts: { total: 5s }
    retry: { on: [503] }
    backends: [{ upstream: orders, weight: 95 }]
upstreams: [{ name: orders, endpoints: ["10.0.0.1:8080", { address: "a:80", zone: on }], hash: { cookie: a } }]
"#,
    );
    assert_eq!(
        out,
        r#"listeners:
  - name: web
    bind: "0.0.0.0:8443"
    tls:
      certificates:
        - cert: |
            -----BEGIN CERTIFICATE-----
            AA==
            -----END CERTIFICATE-----
          key: a.key
    filters: [{ type: request-id }]
routes:
  - name: orders
    match:
      hosts: ["*.example"]
      path: { prefix: /orders }
      headers: { x-tenant: { exact: gold }, "yes": { present: true } }
    filters:
      - type: rate-limit
        limit: 100
        per: 1m
        burst: 1.0
        note: "a: b"
    timeouts: { total: 5s }
    retry: { attempts: 1, "on": ["503"], buffer: 64KiB }
    backends:
      - { upstream: orders, weight: 95 }
upstreams:
  - name: orders
    endpoints:
      - { address: "10.0.0.1:8080" }
      - { address: "a:80", zone: "on" }
    hash: { cookie: a }
limits: { drain: 10s }
"#
    );
}

#[test]
fn nothing_is_an_empty_mapping() {
    assert_eq!(written("{}"), "{}\n");
}

fn values() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<u64>().prop_map(Into::into),
        (-1e9_f64..1e9).prop_map(Into::into),
        "\\PC{0,12}".prop_map(Into::into),
        "[ -~\n\t]{0,24}".prop_map(Into::into),
        "[0-9eE+._:xob-]{0,8}".prop_map(Into::into),
        any::<String>().prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::btree_map("\\PC{1,8}|[a-z-]{1,6}", inner, 0..4)
                .prop_map(|map| map.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    })
}

proptest! {
    #[test]
    fn whatever_plugins_hold_reads_back(value in values()) {
        let mut out = String::new();
        let wrapped = serde_json::json!({ "list": [value, { "a": 1, "b": value }], "value": value });
        let tree = Captured::from_json(&wrapped).unwrap();
        block(tree.node(), 0, &mut out);
        let documents = Document::parse("back.yaml", &out, Format::Yaml);
        let documents = documents.map_err(|problems| TestCaseError::fail(format!("{problems}\n{out}")))?;
        prop_assert_eq!(documents[0].root(), tree.node(), "{}", out);
    }
}
