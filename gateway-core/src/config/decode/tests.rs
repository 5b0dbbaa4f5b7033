use std::{collections::BTreeMap, num::NonZeroU16};

use proptest::prelude::*;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::*;
use crate::config::{
    Captured, Diagnostics, Document, Format, Located, MAX_MISTAKES, PluginSpec, RawConfig, TimeSpan,
};

fn read<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let documents = Document::parse("f", text, Format::Yaml).map_err(|error| error.to_string())?;
    let mut diagnostics = Diagnostics::new();
    let value = decode(documents[0].root(), &mut diagnostics);
    assert_eq!(value.is_some(), diagnostics.is_empty(), "{diagnostics}");
    value.ok_or_else(|| diagnostics.to_string())
}

fn refused<T: DeserializeOwned>(text: &str) -> String {
    read::<T>(text).err().expect("mistakes")
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Shape {
    Dot,
    Round(u8),
    Box { wide: u8, high: u8 },
    Pair(u8, u8),
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Everything {
    flag: bool,
    small: i8,
    big: u64,
    float: f32,
    letter: char,
    maybe: Option<u8>,
    nothing: Option<u8>,
    unit: (),
    pair: (u8, String),
    array: [u8; 2],
    numbers: BTreeMap<u16, bool>,
    shapes: Vec<Shape>,
    by_shape: BTreeMap<String, Shape>,
    any: Value,
    wrapped: Wrapped,
    port: NonZeroU16,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Wrapped(Box<str>);

#[test]
fn reads_every_kind_of_type() {
    let everything: Everything = read(
        "flag: true\nsmall: -5\nbig: 18446744073709551615\nfloat: 2\nletter: x\nmaybe: 1\nnothing: ~\nunit:\n\
         pair: [1, a]\narray: [1, 2]\nnumbers: { 80: true }\n\
         shapes: [dot, { round: 1 }, { box: { wide: 1, high: 2 } }, { pair: [1, 2] }, { dot: }]\n\
         by_shape: { a: dot }\nany: { z: [1, 1.5, ~, 'x'] }\nwrapped: w\nport: 1\n",
    )
    .unwrap();
    assert_eq!(everything.big, u64::MAX);
    assert_eq!(everything.pair, (1, "a".to_owned()));
    assert!(everything.numbers[&80]);
    assert_eq!(
        everything.shapes,
        [
            Shape::Dot,
            Shape::Round(1),
            Shape::Box { wide: 1, high: 2 },
            Shape::Pair(1, 2),
            Shape::Dot
        ]
    );
    assert_eq!(everything.any, json!({ "z": [1, 1.5, null, "x"] }));
}

#[test]
fn names_what_was_expected() {
    for (text, message) in [
        (
            "{ flag: 1 }",
            "f:1:9: error: expected true or false, found the number 1 (at flag)",
        ),
        (
            "{ small: 128 }",
            "f:1:10: error: expected a whole number from -128 to 127, found the number 128 (at small)",
        ),
        (
            "{ small: 1.5 }",
            "f:1:10: error: expected a whole number from -128 to 127, found the number 1.5 (at small)",
        ),
        (
            "{ float: x }",
            "f:1:10: error: expected a number, found the string \"x\" (at float)",
        ),
        (
            "{ letter: ab }",
            "f:1:11: error: expected a single character, found the string \"ab\" (at letter)",
        ),
        (
            "{ unit: 1 }",
            "f:1:9: error: expected nothing, found the number 1 (at unit)",
        ),
        (
            "{ pair: [1] }",
            "f:1:9: error: expected a list of 2, found 1 of them (at pair)",
        ),
        (
            "{ array: [1, 2, 3] }",
            "f:1:10: error: expected an array of length 2, found 3 of them (at array)",
        ),
        (
            "{ numbers: { x: true } }",
            "f:1:14: error: expected a whole number from 0 to 65535, found the string \"x\" (at numbers.x)",
        ),
        (
            "{ shapes: [bx] }",
            "f:1:12: error: expected one of dot, round, box, pair, found the string \"bx\" (at shapes[0])\n  hint: did you mean `box`?",
        ),
        (
            "{ shapes: [{ rond: 1 }] }",
            "f:1:14: error: expected one of dot, round, box, pair, found the string \"rond\" (at shapes[0].rond)\n  hint: did you mean `round`?",
        ),
        (
            "{ shapes: [{ round: 256 }] }",
            "f:1:21: error: expected a whole number from 0 to 255, found the number 256 (at shapes[0].round)",
        ),
        (
            "{ shapes: [{ round: 1, dot: }] }",
            "f:1:12: error: expected a mapping with one key, one of dot, round, box, pair, found 2 keys (at shapes[0])",
        ),
        (
            "{ by_shape: { 'a b': 1 } }",
            "f:1:22: error: expected one of dot, round, box, pair, found the number 1 (at by_shape[\"a b\"])\n  hint: put the value in quotes",
        ),
        (
            "{ wrapped: [] }",
            "f:1:12: error: expected a string, found a list (at wrapped)",
        ),
        (
            "{ port: 0 }",
            "f:1:9: error: expected a whole number from 1 to 65535, found the number 0 (at port)",
        ),
        (
            "{ nope: 1 }",
            "f:1:3: error: unknown key `nope` (at nope)\n  hint: known keys: flag, small, big, float, letter, maybe, nothing, unit, pair, array, numbers, shapes, by_shape, any, wrapped, port",
        ),
    ] {
        let all = refused::<Everything>(text);
        assert!(
            all.split("\nf:")
                .any(|one| one.trim_start_matches("f:") == message.trim_start_matches("f:")),
            "{text}: {all}"
        );
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only the mistakes matter")]
struct Inner {
    a: u8,
    b: u8,
    #[serde(default)]
    c: Vec<u8>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only the mistakes matter")]
struct Outer {
    first: Inner,
    list: Vec<Inner>,
    last: TimeSpan,
}

#[test]
fn every_missing_key_is_reported_once() {
    assert_eq!(
        refused::<Outer>("first: {}\nlist:\n- {}\n- { a: 1 }\n"),
        "f:1:1: error: missing key `last`\n\
         f:1:8: error: missing key `a` (at first)\n\
         f:1:8: error: missing key `b` (at first)\n\
         f:3:3: error: missing key `a` (at list[0])\n\
         f:3:3: error: missing key `b` (at list[0])\n\
         f:4:3: error: missing key `b` (at list[1])"
    );
}

#[test]
fn what_follows_from_a_mistake_is_not_reported() {
    assert_eq!(
        refused::<Outer>(
            "first: { a: x, b: 1 }\nlist: [{ a: 1, b: [], c: [0, 999, z] }, 5, { a: 1, bb: 2 }]\nlast: 1x\n"
        ),
        "f:1:13: error: expected a whole number from 0 to 255, found the string \"x\" (at first.a)\n\
         f:2:19: error: expected a whole number from 0 to 255, found a list (at list[0].b)\n\
         f:2:30: error: expected a whole number from 0 to 255, found the number 999 (at list[0].c[1])\n\
         f:2:35: error: expected a whole number from 0 to 255, found the string \"z\" (at list[0].c[2])\n\
         f:2:41: error: expected a mapping, found the number 5 (at list[1])\n\
         f:2:52: error: unknown key `bb` (at list[2].bb)\n  hint: did you mean `b`?\n\
         f:3:7: error: expected a duration such as 5s, found the string \"1x\" (at last)\n  hint: `x` is no unit; there are ns, us, ms, s, m, h and d"
    );
}

#[test]
fn positions_of_a_fixed_list_do_not_shift() {
    assert_eq!(
        refused::<Vec<(u8, String)>>("[[x, a], [1, 2]]"),
        "f:1:3: error: expected a whole number from 0 to 255, found the string \"x\" (at [0][0])\n\
         f:1:14: error: expected a string, found the number 2 (at [1][1])\n  hint: put the value in quotes"
    );
}

#[test]
fn a_mistake_under_an_alias_is_shown_for_each_use() {
    assert_eq!(
        refused::<Vec<Inner>>("- &x { a: 1, b: z }\n- *x\n- { <<: *x, b: 2 }\n"),
        "f:1:17: error: expected a whole number from 0 to 255, found the string \"z\" (at [0].b)\n\
         f:1:17: error: expected a whole number from 0 to 255, found the string \"z\" (at [1].b)"
    );
}

#[derive(Debug, Deserialize)]
#[serde(try_from = "u8")]
#[expect(dead_code, reason = "only the mistakes matter")]
struct Even(u8);

impl TryFrom<u8> for Even {
    type Error = String;

    fn try_from(number: u8) -> Result<Self, String> {
        if number.is_multiple_of(2) {
            Ok(Self(number))
        } else {
            Err(format!("{number} is odd\nhint: add one"))
        }
    }
}

#[test]
fn a_type_s_own_message_gets_the_place_and_may_carry_a_hint() {
    assert_eq!(
        refused::<BTreeMap<String, Vec<Even>>>("a: [2, 3]\nb: [5]\n"),
        "f:1:8: error: 3 is odd (at a[1])\n  hint: add one\nf:2:5: error: 5 is odd (at b[0])\n  hint: add one"
    );
}

#[derive(Debug, Deserialize)]
#[serde(tag = "kind", deny_unknown_fields)]
#[expect(dead_code, reason = "only the mistakes matter")]
enum Buffered {
    One { x: u8, y: u8 },
}

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "only the mistakes matter")]
struct Flat {
    a: u8,
    #[serde(flatten)]
    rest: Inner2,
}

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "only the mistakes matter")]
struct Inner2 {
    b: u8,
    d: u8,
}

#[test]
fn buffered_types_get_one_message_each_and_end() {
    assert_eq!(
        refused::<Vec<Buffered>>(
            "[{ kind: One, x: 1 }, { kind: One, x: q, y: 1 }, { kind: One, x: 1, y: 1, z: 1 }]"
        ),
        "f:1:2: error: missing key `y` (at [0])\n\
         f:1:23: error: expected a whole number from 0 to 255, found the string \"q\" (at [1])\n\
         f:1:75: error: unknown key `z` (at [2].z)\n  hint: did you mean `x`?"
    );
    assert_eq!(
        refused::<Vec<Flat>>("[{ a: 1 }, { a: 1, b: 2 }, { b: 1, d: 1 }]"),
        "f:1:2: error: missing key `b` (at [0])\n\
         f:1:12: error: missing key `d` (at [1])\n\
         f:1:28: error: missing key `a` (at [2])"
    );
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Holder {
    name: Located<String>,
    filters: Vec<PluginSpec>,
    rest: Captured,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only the mistakes matter")]
struct Limit {
    limit: u32,
    per: TimeSpan,
}

#[test]
fn plugins_decode_their_own_keys_with_the_same_places() {
    let holder: Holder = read(
        "name: n\nrest: [1, { a: b }]\nfilters:\n- { type: rate-limit, limit: 100, per: 1m }\n- type: rate-limit\n  limit: many\n  pr: 1m\n- type: nothing\n- { type: nothing, x: 1 }\n",
    )
    .unwrap();
    assert_eq!(
        (holder.name.value.as_str(), holder.name.at.to_string()),
        ("n", "f:1:7".to_owned())
    );
    assert_eq!(
        holder.name.error("bad").to_string(),
        "f:1:7: error: bad (at name)"
    );
    assert_eq!(holder.rest.node().to_json(), json!([1, { "a": "b" }]));

    let mut diagnostics = Diagnostics::new();
    assert_eq!(
        holder.filters[0]
            .decode::<Limit>(&mut diagnostics)
            .unwrap()
            .limit,
        100
    );
    assert!(
        holder.filters[1]
            .decode::<Limit>(&mut diagnostics)
            .is_none()
    );
    assert!(holder.filters[2].decode::<()>(&mut diagnostics).is_some());
    assert!(holder.filters[3].decode::<()>(&mut diagnostics).is_none());
    assert_eq!(
        diagnostics.to_string(),
        "f:6:10: error: expected a whole number from 0 to 4294967295, found the string \"many\" (at filters[1].limit)\n\
         f:7:3: error: unknown key `pr` (at filters[1].pr)\n  hint: did you mean `per`?\n\
         f:9:3: error: expected nothing, found a mapping (at filters[3])"
    );
    assert_eq!(
        holder.filters[2]
            .kind_error("no filter `nothing`")
            .to_string(),
        "f:8:9: error: no filter `nothing` (at filters[2].type)"
    );
    assert_eq!(
        format!("{:?}", holder.filters[2]),
        "PluginSpec { kind: \"nothing\", at: Location { file: \"f\", line: 8, column: 3 }, .. }"
    );
}

#[test]
fn other_deserializers_work_without_places() {
    let holder: Holder =
        serde_json::from_str(r#"{ "name": "n", "filters": [{ "type": "x", "a": 1 }], "rest": 5 }"#)
            .unwrap();
    assert!(!holder.name.at.is_known());
    assert_eq!(holder.filters[0].kind, "x");
    assert_eq!(holder.rest.node().as_int(), Some(5));
    let mut diagnostics = Diagnostics::new();
    assert!(
        holder.filters[0]
            .decode::<Limit>(&mut diagnostics)
            .is_none()
    );
    assert_eq!(
        diagnostics.sorted()[0].to_string(),
        "(program): error: unknown key `a` (at a)\n  hint: known keys: limit, per"
    );
}

#[test]
fn many_mistakes_stay_within_the_bound() {
    let text = format!("[{}]", vec!["x"; 5000].join(","));
    let diagnostics = refused::<Vec<u8>>(&text);
    assert_eq!(diagnostics.lines().count(), MAX_MISTAKES + 1);
}

/// A document that says something in every part of the configuration.
const SEED: &str = "listeners:\n- &l { name: web, bind: ':80', tls: { certificates: [{ cert: a, key: b }] }, filters: [{ type: x, y: 1 }] }\n- { <<: *l, name: two }\nroutes:\n- name: r\n  match: { hosts: [a.example], path: { prefix: / }, headers: { a: { present: true } } }\n  timeouts: { total: 5s }\n  retry: { on: [503] }\n  backends: [{ upstream: u, weight: 1 }]\nupstreams:\n- { name: u, endpoints: ['10.0.0.1:80'], health: { active: { expect: [2xx] } } }\n";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn mutated_documents_never_panic(
        edits in prop::collection::vec((0..SEED.len(), 0..12_usize, "[-\\PC\n\t:{}\\[\\]&*!<>|'\"#%@`,0-9a-z]{0,6}"), 1..6),
        format in prop::sample::select(vec![Format::Yaml, Format::Json, Format::Toml]),
    ) {
        let mut text: Vec<char> = SEED.chars().collect();
        for (at, remove, insert) in edits {
            let from = at.min(text.len());
            let to = (from + remove).min(text.len());
            text.splice(from..to, insert.chars());
        }
        let text: String = text.into_iter().collect();
        match Document::parse("f", &text, format) {
            Err(diagnostics) => prop_assert!(diagnostics.has_errors()),
            Ok(documents) => for document in documents {
                let mut diagnostics = Diagnostics::new();
                let config = decode::<RawConfig>(document.root(), &mut diagnostics);
                prop_assert_eq!(config.is_none(), diagnostics.has_errors());
                let _ = diagnostics.to_string();
            },
        }
    }

    #[test]
    fn any_tree_survives_every_type(text in "[-a-c0-3:{}\\[\\], \n]{0,60}") {
        for document in Document::parse("f", &text, Format::Yaml).unwrap_or_default() {
            let mut diagnostics = Diagnostics::new();
            let _ = decode::<Everything>(document.root(), &mut diagnostics);
            let _ = decode::<Vec<Shape>>(document.root(), &mut diagnostics);
            let _ = decode::<BTreeMap<String, PluginSpec>>(document.root(), &mut diagnostics);
            let json = decode::<Value>(document.root(), &mut diagnostics);
            prop_assert_eq!(json, Some(document.root().to_json()));
        }
    }
}
