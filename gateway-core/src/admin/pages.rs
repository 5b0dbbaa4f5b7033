//! What the JSON pages show.

use serde::Serialize;
use serde_json::{Value, json};

use crate::gateway::Controller;

/// Keys whose values are hidden.
const SECRET_WORDS: &[&str] = &[
    "secret",
    "password",
    "passwd",
    "token",
    "credential",
    "private",
    "api_key",
    "apikey",
    "api-key",
];

/// The live configuration, and why the last one was refused.
pub(super) fn config(controller: &Controller) -> Value {
    let state = controller.state();
    let mut raw = state
        .raw
        .as_deref()
        .and_then(|raw| serde_json::to_value(raw).ok())
        .unwrap_or_default();
    redact(&mut raw);
    json!({
        "generation": controller.process.generation(),
        "live_generations": controller.process.live_generations(),
        "mode": controller.mode.name(),
        "rejected": state.rejected,
        "config": raw,
    })
}

/// Hides values under keys that sound like secrets, wherever a plugin has them.
fn redact(value: &mut Value) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                let key = key.to_ascii_lowercase();
                if !value.is_object() && SECRET_WORDS.iter().any(|word| key.contains(word)) {
                    *value = Value::from("(hidden)");
                } else if let Value::String(text) = value
                    && text.contains("PRIVATE KEY-----")
                {
                    *value = Value::from("(hidden)");
                } else {
                    redact(value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(redact),
        _ => {}
    }
}

#[derive(Serialize)]
struct RoutePage {
    name: String,
    listeners: Vec<String>,
    priority: Option<i64>,
    filters: Vec<String>,
    backends: Vec<BackendPage>,
    matches: Option<Value>,
    rule: Option<String>,
}

#[derive(Serialize)]
struct BackendPage {
    upstream: String,
    weight: u32,
}

/// The routes, in the order of the configuration.
pub(super) fn routes(controller: &Controller) -> Value {
    let state = controller.state();
    let Some(raw) = &state.raw else {
        return json!([]);
    };
    let pages: Vec<RoutePage> = raw
        .routes
        .iter()
        .map(|route| RoutePage {
            name: route.name.to_string(),
            listeners: route.listeners.iter().map(ToString::to_string).collect(),
            priority: route.priority,
            filters: route
                .filters
                .iter()
                .map(|filter| filter.kind.clone())
                .collect(),
            backends: route
                .backends
                .iter()
                .map(|backend| BackendPage {
                    upstream: backend.upstream.to_string(),
                    weight: backend.weight,
                })
                .collect(),
            matches: route
                .matches
                .as_ref()
                .and_then(|matches| serde_json::to_value(matches).ok()),
            rule: route.rule.as_ref().map(ToString::to_string),
        })
        .collect();
    json!(pages)
}

/// The upstreams, by name.
pub(super) fn upstreams(controller: &Controller) -> Value {
    let state = controller.state();
    let mut pages: Vec<Value> = state
        .upstreams
        .values()
        .map(|live| {
            let upstream = live.client.upstream();
            let mut page = serde_json::to_value(upstream.report()).unwrap_or_default();
            let (mut open, mut idle) = (0, 0);
            for endpoint in upstream.snapshot().endpoints() {
                let pool = live.client.pool(endpoint);
                open += pool.open();
                idle += pool.idle();
            }
            if let Some(page) = page.as_object_mut() {
                page.insert("connections".into(), json!({ "open": open, "idle": idle }));
            }
            page
        })
        .collect();
    pages.sort_by_key(|page| page["name"].as_str().unwrap_or_default().to_owned());
    json!(pages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hides_what_sounds_secret() {
        let mut value = json!({
            "filters": [{ "type": "x", "client_secret": "a", "apiKey": "b", "name": "c" }],
            "cert": "-----BEGIN PRIVATE KEY-----\nabc",
        });
        redact(&mut value);
        assert_eq!(
            value,
            json!({
                "filters": [{ "type": "x", "client_secret": "(hidden)", "apiKey": "(hidden)", "name": "c" }],
                "cert": "(hidden)",
            })
        );
    }
}
