use serde_json::{Value, json};

use super::*;
use crate::config::{MAX_EXPANDED_BYTES, MAX_FILE_BYTES, MAX_NODES};

fn json_of(text: &str) -> Value {
    let documents = Document::parse("f", text, Format::Yaml).unwrap();
    documents
        .first()
        .map_or(Value::Null, |document| document.root().to_json())
}

fn refused(text: &str) -> String {
    Document::parse("f", text, Format::Yaml)
        .expect_err("mistakes")
        .to_string()
}

#[test]
fn scalars_follow_the_core_schema() {
    for (text, value) in [
        ("~", json!(null)),
        ("Null", json!(null)),
        ("true", json!(true)),
        ("FALSE", json!(false)),
        ("yes", json!("yes")),
        ("on", json!("on")),
        ("-17", json!(-17)),
        ("+5", json!(5)),
        ("0", json!(0)),
        ("0x1F", json!(31)),
        ("0o17", json!(15)),
        ("0644", json!("0644")),
        ("1_000", json!("1_000")),
        ("9223372036854775808", json!(9_223_372_036_854_775_808_u64)),
        ("1.5", json!(1.5)),
        (".5", json!(0.5)),
        ("1.", json!(1.0)),
        ("1e3", json!(1000.0)),
        ("-1.5E-2", json!(-0.015)),
        ("1e999", json!("1e999")),
        (".inf", json!(".inf")),
        (".nan", json!(".nan")),
        (".", json!(".")),
        ("1.2.3", json!("1.2.3")),
        ("1-2", json!("1-2")),
        ("12:30", json!("12:30")),
        ("0x", json!("0x")),
        ("0x+1", json!("0x+1")),
        ("1e", json!("1e")),
        ("2024-01-02", json!("2024-01-02")),
        ("'1'", json!("1")),
        ("\"a\\u00e9\"", json!("aé")),
        ("!!str 1", json!("1")),
        ("! 1", json!("1")),
        ("!!int 1", json!(1)),
        ("!!float 1", json!(1)),
    ] {
        assert_eq!(
            json_of(&format!("[ {text} ]")),
            json!([value.clone()]),
            "{text}"
        );
    }
    assert_eq!(
        json_of("a: |\n  x\n  1\nb: >-\n  1\n"),
        json!({ "a": "x\n1\n", "b": "1" })
    );
}

#[test]
fn documents_are_separated_and_empty_ones_left_out() {
    let text = "# only a comment\n---\na: 1\n---\n---\n# nothing\n...\n---\nb: 2\n";
    let documents = Document::parse("f", text, Format::Yaml).unwrap();
    let values: Vec<_> = documents
        .iter()
        .map(|document| document.root().to_json())
        .collect();
    assert_eq!(values, [json!({ "a": 1 }), json!({ "b": 2 })]);
    assert_eq!(documents[1].root().location().to_string(), "f:9:1");
    assert!(Document::parse("f", "", Format::Yaml).unwrap().is_empty());
}

#[test]
fn anchors_aliases_and_merges() {
    let text = "base: &b { x: 1, y: 2 }\nmore: &m { y: 3, z: 4 }\n\
                one: { <<: *b, x: 9 }\ntwo: { <<: [*b, *m], w: 0 }\nagain: *b\nname: &n text\n*n : key\n'<<': kept\n";
    assert_eq!(
        json_of(text),
        json!({
            "base": { "x": 1, "y": 2 }, "more": { "y": 3, "z": 4 },
            "one": { "x": 9, "y": 2 }, "two": { "w": 0, "x": 1, "y": 2, "z": 4 },
            "again": { "x": 1, "y": 2 }, "name": "text", "text": "key", "<<": "kept",
        })
    );
    let documents = Document::parse("f", text, Format::Yaml).unwrap();
    let root = documents[0].root();
    assert_eq!(root.get("again").unwrap().location().to_string(), "f:5:8");
    assert_eq!(
        root.get("again")
            .unwrap()
            .get("x")
            .unwrap()
            .location()
            .to_string(),
        "f:1:15"
    );
    assert_eq!(root.get("two").unwrap().get("z").unwrap().path(), "two.z");
}

#[test]
fn keys_are_text_whatever_they_look_like() {
    assert_eq!(
        json_of("on: 1\n80: 2\ntrue: 3\n1.50: 4\n"),
        json!({ "on": 1, "80": 2, "true": 3, "1.50": 4 })
    );
}

#[test]
fn all_mistakes_before_a_break_in_the_notation_are_reported() {
    assert_eq!(
        refused(
            "a: 1\na: 2\nb: { c: 1, c: 2 }\nd: *x\n? [k]\n: 1\ne: &e [*e]\nf: !foo 1\n<<: 5\n: 7\ng: [1,\n"
        ),
        "f:2:1: error: duplicate key `a`\n  hint: it was first written in line 1\n\
         f:3:12: error: duplicate key `c`\n  hint: it was first written in line 3\n\
         f:4:4: error: no anchor `&x` before this alias\n\
         f:5:3: error: a list or mapping cannot be a key\n\
         f:7:8: error: this alias stands inside of what it refers to\n\
         f:8:9: error: the tag `!foo` is not supported\n\
         f:10:1: error: a key cannot be empty\n\
         f:11:4: error: invalid YAML: unclosed bracket '['"
    );
}

#[test]
fn tags_must_fit() {
    assert_eq!(
        refused("a: !!int x\nb: !!seq {}\nc: !!binary eA==\n<<: [1]\n"),
        "f:1:10: error: \"x\" does not fit its tag `!!int`\n\
         f:2:10: error: the tag `!!seq` does not fit here\n\
         f:3:13: error: the tag `!!binary` is not supported\n\
         f:4:6: error: `<<` merges mappings only"
    );
}

#[test]
fn nesting_is_bounded() {
    for text in [
        "[".repeat(100_000),
        "{a: ".repeat(100_000),
        "- ".repeat(100_000),
        format!("{}1{}", "[".repeat(129), "]".repeat(129)),
        (0..200)
            .map(|depth| format!("{}a:\n", " ".repeat(depth)))
            .collect(),
    ] {
        let error = refused(&text);
        assert!(error.contains("nest") || error.contains("limit"), "{error}");
    }
    let deepest = format!("{}1{}", "[".repeat(128), "]".repeat(128));
    let documents = Document::parse("f", &deepest, Format::Yaml).unwrap();
    let mut diagnostics = Diagnostics::new();
    let value = crate::config::decode::<Value>(documents[0].root(), &mut diagnostics);
    assert_eq!(value, Some(documents[0].root().to_json()));
}

#[test]
fn aliases_cannot_multiply_without_bound() {
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let before = format!("*a{}", level - 1);
        let list = [before.as_str(); 9].join(", ");
        laughs.push_str(&format!("a{level}: &a{level} [{list}]\n"));
    }
    assert!(refused(&laughs).contains(&format!("more than {MAX_NODES} values")));

    let mut long = format!("a: &a {}\nb:\n", "x".repeat(1 << 20));
    long.push_str(&"- *a\n".repeat((MAX_EXPANDED_BYTES >> 20) + 1));
    assert!(refused(&long).contains("aliases stand for more than 32 MiB of text"));

    let mut deep = "a0: &a0 [1]\n".to_owned();
    for level in 1..200 {
        deep.push_str(&format!("a{level}: &a{level} [*a{}]\n", level - 1));
    }
    assert!(refused(&deep).contains("nested more than 128 deep"));
}

#[test]
fn size_is_bounded() {
    let text = " ".repeat(MAX_FILE_BYTES + 1);
    assert_eq!(
        refused(&text),
        "f: error: the file is larger than 8 MiB\n  hint: split it into several files"
    );
    let many = format!("[{}]", "1,".repeat(MAX_NODES + 1));
    assert!(refused(&many).contains(&format!("more than {MAX_NODES} values")));
}

#[test]
fn json_reads_like_json() {
    let text = "{\n\t\"a\": [1, -2.5e3, true, null, \"\\u00e9\\ud83d\\ude00\\/\\n\"],\n\t\"b\":{\"c\":\"d\"}\n}\n";
    let documents = Document::parse("f.json", text, Format::Json).unwrap();
    assert_eq!(
        documents[0].root().to_json(),
        serde_json::from_str::<Value>(text).unwrap()
    );
    let error = Document::parse("f.json", "{\"a\": 1", Format::Json)
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("f.json:1:") && error.contains("invalid JSON"),
        "{error}"
    );
}

#[test]
fn what_a_mistake_leaves_readable_is_read() {
    use crate::config::tree::Flaw;

    let parsed = Document::parse_rest(
        "f",
        "a: { x: 1, x: 2 }\nb: *nope\nc: !!int y\n? [d]\n: 1\n---\ne: { [f]: 1, g: *nope }\n---\nh: [\n",
        Format::Yaml,
    );
    assert!(parsed.cut_short, "the last document has no end");
    assert_eq!(
        parsed.problems.to_string(),
        "f:1:12: error: duplicate key `x`\n  hint: it was first written in line 1\n\
         f:2:4: error: no anchor `&nope` before this alias\n\
         f:3:10: error: \"y\" does not fit its tag `!!int`\n\
         f:4:3: error: a list or mapping cannot be a key\n\
         f:7:6: error: a list or mapping cannot be a key\n\
         f:7:17: error: no anchor `&nope` before this alias\n\
         f:9:4: error: invalid YAML: unclosed bracket '['"
    );
    let flaws = |document: &Document| -> Vec<(String, Flaw)> {
        let flaws = document.flaws().iter();
        flaws
            .map(|(id, flaw)| (document.node(*id).path(), *flaw))
            .collect()
    };
    let [first, second] = &parsed.documents[..] else {
        panic!("two whole documents: {:?}", parsed.documents);
    };
    assert_eq!(
        flaws(first),
        [
            ("a.x".to_owned(), Flaw::Ambiguous),
            ("b".to_owned(), Flaw::Unreadable),
            ("c".to_owned(), Flaw::Unreadable),
            (String::new(), Flaw::Unreadable),
        ]
    );
    assert_eq!(
        flaws(second),
        [
            ("e".to_owned(), Flaw::Unreadable),
            ("e.g".to_owned(), Flaw::Unreadable),
        ]
    );
    assert_eq!(
        first.root().get("a").unwrap().to_json(),
        serde_json::json!({ "x": 1 })
    );
}

#[test]
fn an_alias_of_something_unreadable_is_unreadable_too() {
    let text = "a: &a { b: *nope }\nc: *a\n";
    let parsed = Document::parse_rest("f", text, Format::Yaml);
    let paths = parsed.documents[0].flaws().iter();
    let paths: Vec<_> = paths
        .map(|(id, _)| parsed.documents[0].node(*id).path())
        .collect();
    assert_eq!(
        (paths, parsed.problems.len()),
        (vec!["a.b".to_owned(), "c.b".to_owned()], 1)
    );
}
