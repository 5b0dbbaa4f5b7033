use serde_json::json;

use super::*;
use crate::config::MAX_DEPTH;

fn one(text: &str) -> Document {
    let mut documents = Document::parse("f.yaml", text, Format::Yaml).unwrap();
    assert_eq!(documents.len(), 1);
    documents.remove(0)
}

#[test]
fn formats_follow_the_extension() {
    for (name, format) in [
        ("a.yaml", Some(Format::Yaml)),
        ("b/a.YML", Some(Format::Yaml)),
        ("a.toml", Some(Format::Toml)),
        ("a.json", Some(Format::Json)),
        ("a.conf", None),
        ("yaml", None),
    ] {
        assert_eq!(Format::from_path(name), format, "{name}");
    }
}

#[test]
fn nodes_know_their_way_and_place() {
    let document = one("routes:\n- name: a\n- name: b\n  'x y': { '': [1] }\n");
    let second = document
        .root()
        .get("routes")
        .unwrap()
        .items()
        .nth(1)
        .unwrap();
    let deep = second
        .get("x y")
        .unwrap()
        .get("")
        .unwrap()
        .items()
        .next()
        .unwrap();
    assert_eq!(deep.path(), "routes[1][\"x y\"][\"\"][0]");
    assert_eq!(deep.location().to_string(), "f.yaml:4:17");
    assert_eq!(deep.key_location(), deep.location());
    assert_eq!(
        second.get("name").unwrap().key_location().to_string(),
        "f.yaml:3:3"
    );
    assert_eq!(document.root().path(), "");
    assert_eq!((deep.kind(), deep.as_int()), (Kind::Int, Some(1)));
    assert_eq!(second.get("name").unwrap().as_str(), Some("b"));
}

#[test]
fn documents_are_recognised_by_their_keys() {
    let document = one("_format_version: '3.0'\nservices: []\n");
    assert!(document.has_key("_format_version") && !document.has_key("routes"));
    assert!(!one("- a\n").has_key("a"));
}

#[test]
fn sub_trees_become_json() {
    let document = one("a: { b: [1, -2, 18446744073709551615, 1.5, true, ~, x] }\n");
    assert_eq!(
        document.root().get("a").unwrap().to_json(),
        json!({ "b": [1, -2, u64::MAX, 1.5, true, null, "x"] })
    );
    let back = Document::from_json("x", &document.root().to_json()).unwrap();
    assert_eq!(back.root(), document.root());
    assert_eq!(
        (back.format(), back.root().location().to_string()),
        (None, "x".to_owned())
    );
}

#[test]
fn content_decides_equality() {
    let a = one("a: 1\nb: [x, { c: ~ }]\n");
    let b = one("b:\n  - x\n  - c:\na: 1\n");
    assert_eq!(a.root(), b.root());
    for other in [
        "a: 1\n",
        "a: 1\nb: [x, { c: 1 }]\n",
        "a: 1\nb: [{ c: ~ }, x]\n",
        "a: 1.0\nb: [x, { c: ~ }]\n",
    ] {
        assert_ne!(a.root(), one(other).root(), "{other}");
    }
}

#[test]
fn values_that_are_too_deep_are_refused() {
    let mut value = json!(1);
    for _ in 0..MAX_DEPTH {
        value = json!([value]);
    }
    let error = Document::from_json("x", &value).unwrap_err();
    assert_eq!(
        error.to_string(),
        "x: error: values are nested more than 128 deep"
    );
}

#[test]
fn files_are_read_with_their_limits() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("a.yaml"), "a: 1\n---\nb: 2\n").unwrap();
    std::fs::write(path("b.json"), b"\xff").unwrap();
    std::fs::write(path("c.toml"), vec![b'\n'; MAX_FILE_BYTES + 1]).unwrap();
    std::fs::write(path("d.txt"), "a").unwrap();
    assert_eq!(Document::load(&path("a.yaml")).unwrap().len(), 2);
    for (name, message) in [
        ("b.json", "the file is not UTF-8 text (byte 0)"),
        ("c.toml", "the file is larger than 8 MiB"),
        ("d.txt", "unknown kind of file"),
        ("e.yaml", "cannot read the file"),
    ] {
        let error = Document::load(&path(name)).unwrap_err().to_string();
        assert!(error.contains(message) && error.contains(name), "{error}");
    }
}
