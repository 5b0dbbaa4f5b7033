//! The configurations in README.md and the guide are valid.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Gateway;

/// A configuration printed in a page.
struct Snippet {
    place: String,
    text: String,
}

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

/// The blocks fenced as `yaml`. Those fenced as `yaml fragment` show a part of a configuration.
fn snippets(page: &Path) -> Vec<Snippet> {
    let mut found = Vec::new();
    let mut open: Option<Snippet> = None;
    for (index, line) in fs::read_to_string(page).unwrap().lines().enumerate() {
        match &mut open {
            Some(_) if line.starts_with("```") => found.extend(open.take()),
            Some(snippet) => {
                snippet.text.push_str(line);
                snippet.text.push('\n');
            }
            None if line == "```yaml" => {
                open = Some(Snippet {
                    place: format!("{}:{}", page.display(), index + 1),
                    text: String::new(),
                });
            }
            None => {}
        }
    }
    found
}

#[test]
fn every_printed_configuration_is_valid() {
    let mut checked = 0;
    for snippet in pages().iter().flat_map(|page| snippets(page)) {
        let registry = crate::registry().build().unwrap();
        let built = Gateway::builder(registry).yaml(snippet.text).workers(1).build();
        if let Err(problems) = built {
            panic!("the configuration at {} is refused:\n{problems}", snippet.place);
        }
        checked += 1;
    }
    assert!(checked > 0, "no page prints a configuration");
}
