//! The configurations in README.md and the guide are valid.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::Gateway;

/// A configuration printed in a page.
struct Snippet {
    place: String,
    text: String,
}

/// What a list of filters stands in.
const FILTERS: &str =
    "listeners: [{ name: web, bind: '127.0.0.1:0' }]\nroutes:\n- name: snippet\n  filters:\n";

fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = vec![root.join("README.md")];
    for entry in fs::read_dir(root.join("docs/src")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "md") {
            pages.push(path);
        }
    }
    pages
}

/// The blocks fenced as `yaml` are whole configurations and those fenced as `yaml filters` lists of filters; those
/// fenced as `yaml fragment` cannot be checked alone.
fn snippets(page: &Path) -> Vec<Snippet> {
    let mut found = Vec::new();
    let mut open: Option<Snippet> = None;
    for (index, line) in fs::read_to_string(page).unwrap().lines().enumerate() {
        match &mut open {
            Some(_) if line.starts_with("```") => found.extend(open.take()),
            Some(snippet) => {
                if snippet.text.starts_with(FILTERS) {
                    snippet.text.push_str("  ");
                }
                snippet.text.push_str(line);
                snippet.text.push('\n');
            }
            None => {
                let frame = match line {
                    "```yaml" => "",
                    "```yaml filters" => FILTERS,
                    _ => continue,
                };
                open = Some(Snippet {
                    place: format!("{}:{}", page.display(), index + 1),
                    text: frame.to_owned(),
                });
            }
        }
    }
    found
}

#[test]
fn every_printed_configuration_is_valid() {
    let mut checked = 0;
    for snippet in pages().iter().flat_map(|page| snippets(page)) {
        let registry = crate::registry().build().unwrap();
        let built = Gateway::builder(registry)
            .yaml(snippet.text)
            .workers(1)
            .build();
        if let Err(problems) = built {
            panic!(
                "the configuration at {} is refused:\n{problems}",
                snippet.place
            );
        }
        checked += 1;
    }
    assert!(checked > 0, "no page prints a configuration");
}

/// Every key of an object of the schema, with the objects below it.
fn keys(schema: &serde_json::Value, found: &mut BTreeSet<String>) {
    if let Some(properties) = schema["properties"].as_object() {
        found.extend(properties.keys().cloned());
    }
    match schema {
        serde_json::Value::Object(object) => object.values().for_each(|value| keys(value, found)),
        serde_json::Value::Array(items) => items.iter().for_each(|value| keys(value, found)),
        _ => {}
    }
}

#[test]
fn the_guide_names_every_key_and_every_plugin() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/src");
    let text: String = [
        "configuration.md",
        "filters.md",
        "upstreams.md",
        "quick-start.md",
    ]
    .iter()
    .map(|page| fs::read_to_string(root.join(page)).unwrap())
    .collect();
    let registry = crate::registry().build().unwrap();
    let mut expected = BTreeSet::new();
    keys(&registry.schema(), &mut expected);
    for names in registry.names().into_values() {
        expected.extend(names.into_iter().map(str::to_owned));
    }
    let missing: Vec<_> = expected
        .iter()
        .filter(|key| !text.contains(&format!("`{key}`")) && !text.contains(&format!("{key}:")))
        .filter(|key| !text.contains(&format!("## {key}\n")))
        .collect();
    assert!(missing.is_empty(), "the guide does not name {missing:?}");
}
