//! Documents made along the schema: keys and kinds of values are mostly right, so that what is behind them is reached.

use std::sync::LazyLock;

use arbitrary::{Result, Unstructured};
use serde_json::{Map, Value, json};

static SCHEMA: LazyLock<Value> = LazyLock::new(portcullis_core::config::schema);

/// Deep enough for every key there is.
const DEPTH: usize = 12;

/// A document that `data` chooses.
pub(super) fn document(data: &[u8]) -> Result<Value> {
    let mut source = Unstructured::new(data);
    value(&mut source, &SCHEMA, DEPTH)
}

fn value(source: &mut Unstructured<'_>, schema: &Value, depth: usize) -> Result<Value> {
    if depth == 0 || source.is_empty() {
        return Ok(json!({}));
    }
    // Now and then something that nobody asked for.
    if source.ratio(1, 40)? {
        return odd(source);
    }
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap_or_default();
        return value(source, &SCHEMA["$defs"][name], depth - 1);
    }
    for either in ["anyOf", "oneOf"] {
        if let Some(variants) = schema[either].as_array().filter(|list| !list.is_empty()) {
            let at = source.choose_index(variants.len())?;
            return value(source, &variants[at], depth - 1);
        }
    }
    if let Some(wanted) = schema.get("const") {
        return Ok(wanted.clone());
    }
    for list in ["enum", "examples"] {
        if let Some(values) = schema[list].as_array().filter(|list| !list.is_empty())
            && (list == "enum" || source.ratio(7, 8)?)
        {
            return Ok(source.choose(values)?.clone());
        }
    }
    let kind = match &schema["type"] {
        Value::Array(kinds) if !kinds.is_empty() => source.choose(kinds)?.as_str(),
        other => other.as_str(),
    };
    Ok(match kind {
        Some("object") => Value::Object(object(source, schema, depth)?),
        Some("array") => {
            let count = source.int_in_range(0..=3)?;
            let items = (0..count).map(|_| value(source, &schema["items"], depth - 1));
            Value::Array(items.collect::<Result<_>>()?)
        }
        Some("string") => text(source)?,
        Some("integer" | "number") => number(source)?,
        Some("boolean") => source.arbitrary::<bool>()?.into(),
        Some("null") => Value::Null,
        _ => odd(source)?,
    })
}

fn object(
    source: &mut Unstructured<'_>,
    schema: &Value,
    depth: usize,
) -> Result<Map<String, Value>> {
    let mut object = Map::new();
    let required = schema["required"].as_array();
    let required: Vec<&str> = required
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    if let Some(properties) = schema["properties"].as_object() {
        for (key, property) in properties {
            let wanted = if required.contains(&key.as_str()) {
                !source.ratio(1, 50)?
            } else {
                source.ratio(1, 6)?
            };
            if wanted {
                object.insert(key.clone(), value(source, property, depth - 1)?);
            }
        }
    }
    if schema["additionalProperties"].is_object() {
        for _ in 0..source.int_in_range(0..=2)? {
            let key = text(source)?.as_str().unwrap_or_default().to_owned();
            let below = value(source, &schema["additionalProperties"], depth - 1)?;
            object.insert(key, below);
        }
    }
    Ok(object)
}

/// Names that are likely to meet, and texts that mean something somewhere.
fn text(source: &mut Unstructured<'_>) -> Result<Value> {
    const TEXTS: [&str; 32] = [
        "a",
        "a",
        "a",
        "b",
        "web",
        "127.0.0.1:8080",
        "10.0.0.1:80",
        "unix:/run/a.sock",
        ":80",
        "a.example",
        "*.example",
        "/",
        "/a",
        "/a/../b",
        "5s",
        "0s",
        "1MiB",
        "200-299",
        "503",
        "5xx",
        "timeout",
        "GET",
        "x-a",
        "Host(`a`) && !Path(`/b`)",
        "[a-z]+",
        "(",
        "on",
        "~",
        "1",
        "",
        "respond",
        "p2c",
    ];
    if source.ratio(1, 12)? {
        let length = source.int_in_range(0..=12)?.min(source.len());
        let bytes = source.bytes(length)?;
        return Ok(String::from_utf8_lossy(bytes).into_owned().into());
    }
    Ok((*source.choose(&TEXTS)?).into())
}

fn number(source: &mut Unstructured<'_>) -> Result<Value> {
    Ok(match source.int_in_range(0..=5)? {
        0 => source.arbitrary::<i64>()?.into(),
        1 => source.arbitrary::<u64>()?.into(),
        2 => json!(source.int_in_range(0..=2000)? as f64 / 8.0),
        _ => source.int_in_range(0..=100_u32)?.into(),
    })
}

/// Anything.
fn odd(source: &mut Unstructured<'_>) -> Result<Value> {
    Ok(match source.int_in_range(0..=6)? {
        0 => Value::Null,
        1 => source.arbitrary::<bool>()?.into(),
        2 => number(source)?,
        3 => json!([]),
        4 => json!({}),
        5 => json!({ "type": text(source)?, "a": number(source)? }),
        _ => text(source)?,
    })
}
