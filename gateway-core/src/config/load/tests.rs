use std::fs;

use tempfile::TempDir;

use super::*;
use crate::config::raw::{RawRoute, RawUpstream};

/// Documents with `shops:`, each of which is an upstream and a route to it.
#[derive(Debug)]
struct Shops;

impl crate::registry::Dialect for Shops {
    fn name(&self) -> &'static str {
        "shops"
    }

    fn recognises(&self, document: &Document) -> bool {
        document.has_key("shops")
    }

    fn translate(&self, documents: &[Document], problems: &mut Diagnostics) -> RawConfig {
        let mut config = RawConfig::default();
        let shops = documents
            .iter()
            .filter_map(|document| document.root().get("shops"));
        for shop in shops.flat_map(|list| list.items()) {
            match shop.as_str() {
                Some("closed") => {
                    problems.push(Diagnostic::warning("a closed shop").at(shop.location()))
                }
                Some(name) => {
                    config.upstreams.push(RawUpstream::new(name.to_owned()));
                    config.routes.push(RawRoute::new(name.to_owned()));
                }
                None => problems.push(Diagnostic::error("a shop is a name").at(shop.location())),
            }
        }
        if documents.iter().any(|document| document.has_key("drain")) {
            config.limits.drain = std::time::Duration::from_secs(1).into();
        }
        config
    }
}

fn registry() -> Registry {
    Registry::builder().dialect(Shops).build().unwrap()
}

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

/// What loading a folder reports, without the folder's name.
fn refused(files: &[(&str, &str)]) -> String {
    let folder = folder(files);
    let problems = load(&[folder.path().to_owned()], &registry()).unwrap_err();
    problems
        .to_string()
        .replace(&format!("{}/", folder.path().display()), "")
}

fn names(config: &RawConfig) -> Vec<&str> {
    config
        .routes
        .iter()
        .map(|route| route.name.as_str())
        .collect()
}

#[test]
fn a_folder_is_read_in_order_and_hidden_parts_are_left_out() {
    let folder = folder(&[
        ("b.toml", "[[routes]]\nname = 'b'\n"),
        (
            "a.yaml",
            "routes: [{ name: a1 }]\n---\nroutes: [{ name: a2 }]\n",
        ),
        (
            "c.json",
            "{ \"routes\": [{ \"name\": \"c\" }], \"limits\": { \"drain\": \"1s\" } }",
        ),
        ("below/d.yml", "routes: [{ name: d }]"),
        ("README.md", "not: [read"),
        (".hidden.yaml", "not: [read"),
        ("..data/a.yaml", "not: [read"),
    ]);
    let loaded = load(&[folder.path().to_owned()], &registry()).unwrap();
    assert_eq!(names(&loaded.config), ["a1", "a2", "b", "d", "c"]);
    assert_eq!(loaded.config.limits.drain.to_string(), "1s");
    assert!(loaded.warnings.is_empty());
    let watched: Vec<_> = loaded
        .watch
        .iter()
        .map(|path| path.strip_prefix(folder.path()).unwrap().to_str().unwrap())
        .collect();
    assert_eq!(
        watched,
        ["", "a.yaml", "b.toml", "below", "below/d.yml", "c.json"]
    );
}

#[cfg(unix)]
#[test]
fn links_are_followed_and_files_count_once() {
    use std::os::unix::fs::symlink;
    let folder = folder(&[
        ("..2026/a.yaml", "routes: [{ name: a }]"),
        ("x/b.yaml", "routes: [{ name: b }]"),
    ]);
    let at = |name: &str| folder.path().join(name);
    symlink("..2026", at("..data")).unwrap();
    symlink("..data/a.yaml", at("a.yaml")).unwrap();
    symlink("x", at("w")).unwrap();
    symlink("..", at("x/loop")).unwrap();
    let paths = [folder.path().to_owned(), at("a.yaml"), at("x")];
    assert_eq!(
        names(&load(&paths, &registry()).unwrap().config),
        ["a", "b"]
    );
    symlink("nowhere.yaml", at("broken.yaml")).unwrap();
    let told = load(&paths, &registry()).unwrap_err().to_string();
    assert!(
        told.contains("broken.yaml: error: cannot be read: No such file"),
        "{told}"
    );
}

#[test]
fn dialects_translate_all_their_documents_together() {
    let folder = folder(&[
        ("a.yaml", "shops: [one]"),
        ("b.yaml", "routes: [{ name: native }]"),
        ("c.yaml", "shops: [two, closed]\ndrain: fast"),
    ]);
    let loaded = load(&[folder.path().to_owned()], &registry()).unwrap();
    assert_eq!(names(&loaded.config), ["one", "two", "native"]);
    assert_eq!(loaded.config.limits.drain.to_string(), "1s");
    assert_eq!(loaded.warnings.len(), 1);
}

#[test]
fn every_mistake_of_every_file_is_told() {
    let told = refused(&[
        ("a.yaml", "routes: [{ nam: a }]"),
        (
            "b.yaml",
            "limits: {}\nadmin: { bind: ':1' }\n---\nlimits: {}",
        ),
        ("c.yaml", "shops: [1]\ndrain: fast"),
        ("d.yaml", "a: 1\nbb: 2\nc: 3\nd: 4\ne: 5\nf: 6"),
        ("e.yaml", "- 1"),
        ("f.yaml", "listner: []"),
        ("g.yaml", "{"),
    ]);
    assert_eq!(
        told,
        "a.yaml:1:12: error: unknown key `nam` (at routes[0].nam)\n  hint: did you mean `name`?\n\
         b.yaml:4:1: error: `limits` is given twice (at limits)\n  hint: the other one is at b.yaml:1:1\n\
         c.yaml: error: `limits` is given twice (at limits)\n  hint: the other one is at b.yaml:1:1\n\
         c.yaml:1:9: error: a shop is a name\n\
         d.yaml:1:1: error: no known kind of configuration has the keys `a`, `bb`, `c`, `d`, `e`, ... at its top\n  hint: known: native (listeners, routes, tcp_routes, udp_routes, upstreams), shops\n\
         e.yaml:1:1: error: no known kind of configuration has a list at its top\n  hint: known: native (listeners, routes, tcp_routes, udp_routes, upstreams), shops\n\
         f.yaml:1:1: error: unknown key `listner` (at listner)\n  hint: did you mean `listeners`?\n\
         g.yaml:1:1: error: invalid YAML: unclosed bracket '{'"
    );
}

#[test]
fn paths_have_to_be_there() {
    let folder = folder(&[("conf.txt", "routes: []"), ("empty/README.md", "")]);
    let at = |name: &str| folder.path().join(name);
    let told = load(
        &[at("missing.yaml"), at("conf.txt"), at("empty")],
        &registry(),
    )
    .unwrap_err()
    .to_string();
    let told = told.replace(&format!("{}/", folder.path().display()), "");
    assert_eq!(
        told,
        "conf.txt: error: unknown kind of file\n  hint: name it .yaml, .yml, .toml or .json\n\
         empty: warning: no configuration file in this folder\n  hint: files are called .yaml, .yml, .toml or .json\n\
         missing.yaml: error: cannot be read: No such file or directory (os error 2)"
    );
    let loaded = load(&[at("empty")], &registry()).unwrap();
    assert_eq!(
        (loaded.config, loaded.warnings.len()),
        (RawConfig::default(), 1)
    );
}

#[test]
fn embedded_text_is_native() {
    let config = parse_native(
        "built-in",
        "routes: [{ name: a }]\n---\nroutes: [{ name: b }]",
        Format::Yaml,
    )
    .unwrap();
    assert_eq!(names(&config), ["a", "b"]);
    assert_eq!(config.routes[0].name.at.to_string(), "built-in:1:18");
    let problems = parse_native("built-in", "shops: []", Format::Yaml).unwrap_err();
    assert_eq!(
        problems.to_string(),
        "built-in:1:1: error: no known kind of configuration has the keys `shops` at its top\n  hint: known: native (listeners, routes, tcp_routes, udp_routes, upstreams)"
    );
}

#[test]
fn what_a_dialect_could_not_translate_is_not_said_to_be_missing() {
    let refused = |files: &[(&str, &str)]| {
        let folder = folder(files);
        let reading = read_files(&[folder.path().to_owned()], &registry());
        let mut problems = reading.problems;
        crate::config::lower_rest(&reading.config, &reading.damage, &mut problems);
        problems
            .to_string()
            .replace(&format!("{}/", folder.path().display()), "")
    };
    let route = (
        "b.yaml",
        "routes: [{ name: b, backends: [{ upstream: books }] }]",
    );
    assert_eq!(
        refused(&[("a.yaml", "shops: [5]"), route]),
        "a.yaml:1:9: error: a shop is a name"
    );
    // A dialect is not shown a document that is not what was written.
    assert_eq!(
        refused(&[("a.yaml", "shops: [*books, 5]"), route]),
        "a.yaml:1:9: error: no anchor `&books` before this alias"
    );
    assert!(refused(&[("a.yaml", "shops: []"), route]).contains("no upstream is called `books`"));
}
