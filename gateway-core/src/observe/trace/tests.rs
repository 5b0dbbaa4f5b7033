use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

use super::context::Incoming;
use super::{Propagation, TraceContext, Tracer, b3, hex, ids, w3c};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let name: HeaderName = name.parse().unwrap();
        headers.append(name, value.parse().unwrap());
    }
    headers
}

fn trace() -> [u8; 16] {
    hex::parse(TRACE.as_bytes()).unwrap()
}

fn span() -> [u8; 8] {
    hex::parse(SPAN.as_bytes()).unwrap()
}

fn text(bytes: &[u8]) -> String {
    let mut into = Vec::new();
    hex::write_hex(&mut into, bytes);
    String::from_utf8(into).unwrap()
}

fn value(headers: &HeaderMap, name: &str) -> Option<String> {
    headers
        .get(name)
        .map(|value| value.to_str().unwrap().into())
}

#[test]
fn traceparent_is_read_as_the_recommendation_says() {
    let sampled = |sampled| {
        Some(Incoming {
            ids: Some((trace(), span())),
            sampled: Some(sampled),
            debug: false,
        })
    };
    for (rest, want) in [
        // Version 00.
        (format!("00-{TRACE}-{SPAN}-01"), sampled(true)),
        (format!("00-{TRACE}-{SPAN}-00"), sampled(false)),
        (format!("00-{TRACE}-{SPAN}-ff"), sampled(true)),
        (format!("00-{TRACE}-{SPAN}-02"), sampled(false)),
        (format!("00-{TRACE}-{SPAN}-01-x"), None),
        (format!("00-{TRACE}-{SPAN}-01-"), None),
        (format!("00-{TRACE}-{SPAN}-010"), None),
        (format!("00-{TRACE}-{SPAN}-1"), None),
        (format!("00-{TRACE}-{SPAN}"), None),
        // Later versions: the known part, and more only behind a dash.
        (format!("01-{TRACE}-{SPAN}-01"), sampled(true)),
        (format!("cc-{TRACE}-{SPAN}-01-what-comes"), sampled(true)),
        (format!("cc-{TRACE}-{SPAN}-01-"), sampled(true)),
        (format!("cc-{TRACE}-{SPAN}-01.what"), None),
        (format!("ff-{TRACE}-{SPAN}-01"), None),
        // Broken parts.
        (format!("0-{TRACE}-{SPAN}-01"), None),
        (format!("000-{TRACE}-{SPAN}-01"), None),
        (format!("0x-{TRACE}-{SPAN}-01"), None),
        (format!("00-{}-{SPAN}-01", "0".repeat(32)), None),
        (format!("00-{TRACE}-{}-01", "0".repeat(16)), None),
        (format!("00-{}-{SPAN}-01", TRACE.to_uppercase()), None),
        (format!("00-{TRACE}-{}-01", SPAN.to_uppercase()), None),
        (format!("00-{TRACE}-{SPAN}-0A"), None),
        (format!("00-{}-{SPAN}-01", &TRACE[1..]), None),
        (format!("00-{TRACE}0-{SPAN}-01"), None),
        (format!("00_{TRACE}-{SPAN}-01"), None),
        (format!("00-{TRACE}.{SPAN}-01"), None),
        (format!("00-{TRACE}-{SPAN}.01"), None),
        (format!(" 00-{TRACE}-{SPAN}-01"), None),
        (String::new(), None),
    ] {
        assert_eq!(w3c::parse(rest.as_bytes()), want, "{rest}");
    }
}

#[test]
fn two_traceparents_are_none() {
    let one = format!("00-{TRACE}-{SPAN}-01");
    let headers = headers(&[("traceparent", &one), ("traceparent", &one)]);
    assert_eq!(w3c::extract(&headers), None);
}

#[test]
fn tracestate_is_checked_member_by_member() {
    let long_key = |length: usize| format!("{}=1", "k".repeat(length));
    let many = |count: usize| vec!["a=1"; count].join(",");
    for (state, valid) in [
        ("foo=1", true),
        ("foo=1,bar=2", true),
        (" foo=1 ,\tbar=2 ", true),
        ("foo=1,,bar=2,", true),
        ("", true),
        ("fw529a3039@dt=FfAxxx", true),
        ("1a@b=1", true),
        ("1a=1", true),
        ("a_-*/0=x y!~", true),
        (&long_key(256), true),
        (&long_key(257), false),
        (&format!("a={}", "v".repeat(256)), true),
        (&format!("a={}", "v".repeat(257)), false),
        (&many(32), true),
        (&many(33), false),
        ("foo", false),
        ("foo=", false),
        ("=1", false),
        ("FOO=1", false),
        ("foo@=1", false),
        ("@foo=1", false),
        ("foo@1a=1", false),
        ("foo@@bar=1", false),
        ("foo =1", false),
        ("foo=a=b", false),
        (&format!("{}@v=1", "t".repeat(242)), false),
        (&format!("t@{}=1", "v".repeat(15)), false),
    ] {
        let headers = headers(&[("tracestate", state)]);
        let broken = matches!(w3c::state(&headers), w3c::State::Broken);
        assert_eq!(broken, !valid, "{state}");
    }
    let split = headers(&[("tracestate", &many(20)), ("tracestate", &many(13))]);
    assert!(
        matches!(w3c::state(&split), w3c::State::Broken),
        "counted over all headers"
    );
}

#[test]
fn single_b3_is_read() {
    let ids = Some((trace(), span()));
    let incoming = |ids, sampled, debug| {
        Some(Incoming {
            ids,
            sampled,
            debug,
        })
    };
    let short = [&[0; 8][..], &trace()[8..]].concat().try_into().unwrap();
    for (value, want) in [
        (
            format!("{TRACE}-{SPAN}-1"),
            incoming(ids, Some(true), false),
        ),
        (
            format!("{TRACE}-{SPAN}-0"),
            incoming(ids, Some(false), false),
        ),
        (format!("{TRACE}-{SPAN}-d"), incoming(ids, Some(true), true)),
        (format!("{TRACE}-{SPAN}"), incoming(ids, None, false)),
        (
            format!("{TRACE}-{SPAN}-1-{SPAN}"),
            incoming(ids, Some(true), false),
        ),
        (
            format!("{}-{SPAN}-1", &TRACE[16..]),
            incoming(Some((short, span())), Some(true), false),
        ),
        ("0".into(), incoming(None, Some(false), false)),
        ("1".into(), incoming(None, Some(true), false)),
        ("d".into(), incoming(None, Some(true), true)),
        ("2".into(), None),
        (String::new(), None),
        (TRACE.into(), None),
        (format!("{TRACE}-{SPAN}-2"), None),
        (format!("{TRACE}-{SPAN}-1-{SPAN}-1"), None),
        (format!("{TRACE}-{SPAN}-1-xyz"), None),
        (format!("{TRACE}-{SPAN}-"), None),
        (format!("{}-{SPAN}-1", "0".repeat(32)), None),
        (format!("{TRACE}-{}-1", "0".repeat(16)), None),
        (format!("{}-{SPAN}-1", &TRACE[..20]), None),
    ] {
        assert_eq!(b3::parse_single(value.as_bytes()), want, "{value}");
    }
}

#[test]
fn multiple_b3_headers_are_read() {
    let ids = [("x-b3-traceid", TRACE), ("x-b3-spanid", SPAN)];
    let both = Some((trace(), span()));
    for (more, want) in [
        (vec![("x-b3-sampled", "1")], (both, Some(true), false)),
        (vec![("x-b3-sampled", "true")], (both, Some(true), false)),
        (vec![("x-b3-sampled", "0")], (both, Some(false), false)),
        (vec![("x-b3-sampled", "x")], (both, None, false)),
        (vec![("x-b3-flags", "1")], (both, Some(true), true)),
        (vec![], (both, None, false)),
    ] {
        let all: Vec<_> = ids.into_iter().chain(more).collect();
        let got = b3::extract_multi(&headers(&all)).unwrap();
        assert_eq!((got.ids, got.sampled, got.debug), want, "{all:?}");
    }
    let denied = b3::extract_multi(&headers(&[("x-b3-sampled", "0")])).unwrap();
    assert_eq!((denied.ids, denied.sampled), (None, Some(false)));
    assert_eq!(b3::extract_multi(&headers(&ids[..1])), None);
    assert_eq!(b3::extract_multi(&HeaderMap::new()), None);
}

#[test]
fn a_trace_goes_on_in_the_callers_format() {
    let parent = format!("00-{TRACE}-{SPAN}-01");
    let mut headers = headers(&[("traceparent", &parent), ("tracestate", "foo=1")]);
    let tracer = Tracer::new(Propagation::W3c, 0.0);
    let context = tracer.start(&headers);
    assert_eq!((context.trace_id, context.parent), (trace(), Some(span())));
    assert!(context.sampled);
    assert_eq!(context.state, Some(HeaderValue::from_static("foo=1")));
    tracer.inject(&context, &mut headers);
    let ours = format!("00-{TRACE}-{}-01", text(&context.span_id));
    assert_eq!(value(&headers, "traceparent"), Some(ours));
    assert_eq!(value(&headers, "tracestate"), Some("foo=1".into()));
}

#[test]
fn a_broken_context_starts_a_new_trace_and_loses_its_state() {
    for (parent, state, kept) in [
        ("00-x", "foo=1", false),
        (&*format!("00-{TRACE}-{SPAN}-00"), "FOO", false),
        (&*format!("00-{TRACE}-{SPAN}-00"), "foo=1", true),
    ] {
        let mut headers = headers(&[("traceparent", parent), ("tracestate", state)]);
        let tracer = Tracer::new(Propagation::W3c, 0.0);
        let context = tracer.start(&headers);
        assert_eq!(context.state, None, "not sampled");
        tracer.inject(&context, &mut headers);
        assert_eq!(headers.contains_key("tracestate"), kept, "{parent} {state}");
        let ours = value(&headers, "traceparent").unwrap();
        let back = w3c::parse(ours.as_bytes()).unwrap();
        assert_eq!(back.ids, Some((context.trace_id, context.span_id)));
        assert_eq!(back.sampled, Some(false));
    }
}

#[test]
fn every_format_reads_back_what_it_writes() {
    for propagation in [
        Propagation::W3c,
        Propagation::B3,
        Propagation::B3Multi,
        Propagation::Both,
    ] {
        for ratio in [0.0, 1.0] {
            let tracer = Tracer::new(propagation, ratio);
            let mut headers = HeaderMap::new();
            let first = tracer.start(&headers);
            assert_eq!((first.parent, first.sampled), (None, ratio == 1.0));
            tracer.inject(&first, &mut headers);
            // The next gateway keeps the decision whatever its own ratio.
            let second = Tracer::new(propagation, 1.0 - ratio).start(&headers);
            assert_eq!(second.trace_id, first.trace_id);
            assert_eq!(second.parent, Some(first.span_id));
            assert_eq!(second.sampled, first.sampled);
            tracer.inject(&second, &mut headers);
            let third = tracer.start(&headers);
            assert_eq!(third.parent, Some(second.span_id), "{propagation:?}");
            let expected = match propagation {
                Propagation::W3c | Propagation::B3 => 1,
                Propagation::Both => 2,
                Propagation::B3Multi => 4,
            };
            assert_eq!(headers.len(), expected, "{propagation:?}");
        }
    }
}

#[test]
fn the_debug_flag_is_passed_on() {
    let pairs = [
        ("x-b3-traceid", TRACE),
        ("x-b3-spanid", SPAN),
        ("x-b3-flags", "1"),
    ];
    let mut multi = headers(&pairs);
    let tracer = Tracer::new(Propagation::B3Multi, 0.0);
    let context = tracer.start(&multi);
    tracer.inject(&context, &mut multi);
    assert!(context.sampled);
    assert_eq!(value(&multi, "x-b3-flags").as_deref(), Some("1"));
    assert_eq!(value(&multi, "x-b3-parentspanid").as_deref(), Some(SPAN));
    assert!(!multi.contains_key("x-b3-sampled"));

    // One header of ours replaces the several that came.
    let mut single = headers(&pairs);
    let tracer = Tracer::new(Propagation::B3, 0.0);
    let context = tracer.start(&single);
    tracer.inject(&context, &mut single);
    let ours = format!("{TRACE}-{}-d-{SPAN}", text(&context.span_id));
    assert_eq!(value(&single, "b3"), Some(ours));
    assert_eq!(single.len(), 1);
}

#[test]
fn headers_of_other_formats_are_left_alone() {
    let mut headers = headers(&[("b3", "0"), ("x-b3-sampled", "1")]);
    let tracer = Tracer::new(Propagation::W3c, 1.0);
    let context = tracer.start(&headers);
    assert!(context.sampled);
    tracer.inject(&context, &mut headers);
    assert_eq!(value(&headers, "b3").as_deref(), Some("0"));
    assert_eq!(headers.len(), 3);
}

#[test]
fn the_ratio_is_a_rule_on_the_trace_id() {
    let sampled = |ratio: f64, low: u64| {
        let id = text(&(u128::from(low) | 1 << 100).to_be_bytes());
        let deferred = headers(&[("b3", &format!("{id}-{SPAN}"))]);
        Tracer::new(Propagation::B3, ratio).start(&deferred).sampled
    };
    assert!(sampled(0.5, u64::MAX / 2 - 1));
    assert!(!sampled(0.5, u64::MAX / 2 + 1));
    assert!(sampled(1.0, u64::MAX));
    assert!(sampled(7.0, u64::MAX));
    assert!(!sampled(0.0, 0));
    assert!(!sampled(-1.0, 0));
    assert!(!sampled(f64::NAN, 0));
}

#[test]
fn identifiers_do_not_repeat_within_or_between_threads() {
    let draw = || (0..2_000).map(|_| ids::span_id()).collect::<Vec<_>>();
    let mut all = draw();
    let threads: Vec<_> = (0..3).map(|_| std::thread::spawn(draw)).collect();
    for thread in threads {
        all.extend(thread.join().unwrap());
    }
    let count = all.len();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), count);
    assert!(!all.contains(&[0; 8]));
    assert_ne!(ids::trace_id(), ids::trace_id());
}

#[test]
fn a_child_keeps_the_trace() {
    let parent = Tracer::new(Propagation::W3c, 1.0).start(&HeaderMap::new());
    let child: TraceContext = parent.child();
    assert_eq!(child.trace_id, parent.trace_id);
    assert_eq!(child.parent, Some(parent.span_id));
    assert_ne!(child.span_id, parent.span_id);
    assert!(child.sampled);
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..80),
        proptest::collection::vec(proptest::sample::select(b"0123f-,=@d".to_vec()), 0..80),
    ]
}

proptest! {
    #[test]
    fn no_header_value_panics_and_ours_is_always_valid(
        values in proptest::collection::vec((0..8_usize, bytes()), 0..8),
        propagation in proptest::sample::select(vec![
            Propagation::W3c, Propagation::B3, Propagation::B3Multi, Propagation::Both,
        ]),
    ) {
        const NAMES: [&str; 8] = [
            "traceparent", "tracestate", "b3", "x-b3-traceid", "x-b3-spanid",
            "x-b3-parentspanid", "x-b3-sampled", "x-b3-flags",
        ];
        let mut headers = HeaderMap::new();
        for (name, bytes) in &values {
            if let Ok(value) = HeaderValue::from_bytes(bytes) {
                headers.append(NAMES[*name], value);
            }
        }
        let tracer = Tracer::new(propagation, 0.5);
        let context = tracer.start(&headers);
        tracer.inject(&context, &mut headers);
        let next = tracer.start(&headers);
        prop_assert_eq!(next.trace_id, context.trace_id);
        prop_assert_eq!(next.parent, Some(context.span_id));
        prop_assert_eq!(next.sampled, context.sampled);
    }

    #[test]
    fn valid_identifiers_survive(trace in any::<[u8; 16]>(), span in any::<[u8; 8]>(), flags in any::<u8>()) {
        prop_assume!(trace != [0; 16] && span != [0; 8]);
        let header = format!("00-{}-{}-{}", text(&trace), text(&span), text(&[flags]));
        let incoming = w3c::parse(header.as_bytes()).unwrap();
        prop_assert_eq!(incoming.ids, Some((trace, span)));
        prop_assert_eq!(incoming.sampled, Some(flags & 1 == 1));
    }
}
