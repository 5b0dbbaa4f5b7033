use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method};
use proptest::prelude::*;

use super::*;
use crate::route::RequestView;

struct Request {
    method: Method,
    host: &'static str,
    path: &'static str,
    query: Option<&'static str>,
    headers: HeaderMap,
}

fn request() -> Request {
    let mut headers = HeaderMap::new();
    headers.append(
        HeaderName::from_static("x-tenant"),
        HeaderValue::from_static("gold"),
    );
    Request {
        method: Method::GET,
        host: "shop.example",
        path: "/api/v1",
        query: Some("a=1&a=2&flag&empty="),
        headers,
    }
}

fn holds(rule: &str) -> bool {
    let request = request();
    let extensions = Extensions::new();
    let view = RequestView::new(
        &request.method,
        request.host,
        request.path,
        &request.headers,
        &extensions,
    )
    .with_query(request.query)
    .with_client_ip("192.0.2.7".parse().ok());
    parse(rule)
        .unwrap()
        .iter()
        .any(|alternative| alternative.matches(&view).unwrap())
}

fn refusal(rule: &str) -> (usize, RuleErrorKind) {
    let error = parse(rule).unwrap_err();
    (error.offset, error.kind)
}

#[test]
fn matchers_mean_what_traefik_means() {
    for (rule, expected) in [
        ("Host(`shop.example`)", true),
        ("Host(`SHOP.example.`)", true),
        ("Host(`*.example`)", true),
        ("Host(`*.org`)", false),
        ("Host(`*`)", true),
        ("Host(`example`)", false),
        ("HostRegexp(`^sh[a-z]+`)", true),
        ("HostRegexp(`[A-Z]`)", false),
        ("Path(`/api/v1`)", true),
        ("Path(`/api`)", false),
        ("PathPrefix(`/ap`)", true),
        ("PathPrefix(`/api/`)", true),
        ("PathRegexp(`v[0-9]$`)", true),
        ("PathRegexp(`^v[0-9]`)", false),
        ("Method(`get`)", true),
        ("Method(`POST`)", false),
        ("Header(`X-Tenant`, `gold`)", true),
        ("Header(`x-tenant`, `gol`)", false),
        ("HeaderRegexp(`x-tenant`, `ol`)", true),
        ("Query(`a`, `2`)", true),
        ("Query(`a`)", false),
        ("Query(`flag`)", true),
        ("Query(`empty`)", true),
        ("Query(`missing`)", false),
        ("QueryRegexp(`a`, `^[2-9]$`)", true),
        ("QueryRegexp(`flag`)", true),
        ("ClientIP(`192.0.2.0/24`)", true),
        ("ClientIP(`192.0.2.7`)", true),
        ("ClientIP(`2001:db8::/32`)", false),
    ] {
        assert_eq!(holds(rule), expected, "{rule}");
        assert_eq!(holds(&format!("!{rule}")), !expected, "!{rule}");
        assert_eq!(holds(&format!("!!{rule}")), expected, "!!{rule}");
    }
}

#[test]
fn operators_bind_as_in_go() {
    let (yes, no) = ("Method(`GET`)", "Method(`PUT`)");
    for (rule, expected) in [
        (format!("{yes} || {no} && {no}"), true),
        (format!("({yes} || {no}) && {no}"), false),
        (format!("!{no} && {yes}"), true),
        (format!("!({no} || {yes})"), false),
        (format!("!({no} && {yes})"), true),
        (format!("!(!({yes}) || {no}) && {yes}"), true),
        (format!("\n ( ( {yes} ) )\t&&\r\n{yes} "), true),
        (format!("{yes}&&!{no}||{no}"), true),
    ] {
        assert_eq!(holds(&rule), expected, "{rule}");
    }
}

#[test]
fn conditions_of_one_kind_can_be_asked_together() {
    for (rule, expected) in [
        ("PathPrefix(`/api`) && PathRegexp(`v1`)", true),
        ("PathRegexp(`v1`) && PathPrefix(`/api`)", true),
        ("PathPrefix(`/api`) && PathPrefix(`/other`)", false),
        ("Host(`shop.example`) && Host(`b.example`)", false),
        ("Method(`GET`) && Method(`PUT`)", false),
        (
            "ClientIP(`192.0.2.0/24`) && ClientIP(`192.0.2.8/29`)",
            false,
        ),
        ("ClientIP(`192.0.2.0/24`) && ClientIP(`192.0.2.0/29`)", true),
    ] {
        assert_eq!(holds(rule), expected, "{rule}");
    }
    let both = parse("PathRegexp(`v1`) && PathPrefix(`/api`)").unwrap();
    assert_eq!(both[0].paths[0].to_string(), "/api*");
}

#[test]
fn alternatives_of_one_kind_share_one_match() {
    let shared = parse("(Host(`a.x`) || Host(`b.x`)) && (Path(`/a`) || PathPrefix(`/b`))").unwrap();
    assert_eq!(shared.len(), 1);
    assert_eq!((shared[0].hosts.len(), shared[0].paths.len()), (2, 2));
    let apart = parse("Host(`a.x`) && Path(`/a`) || Host(`b.x`)").unwrap();
    assert_eq!(apart.len(), 2);
    let many: Vec<_> = (0..2000).map(|n| format!("Host(`h{n}.x`)")).collect();
    assert_eq!(parse(&many.join(" || ")).unwrap()[0].hosts.len(), 2000);
}

#[test]
fn names_have_four_spellings() {
    for name in ["PathPrefix", "pathprefix", "PATHPREFIX", "Pathprefix"] {
        assert!(parse(&format!("{name}(`/a`)")).is_ok(), "{name}");
    }
    for (name, meant) in [
        ("pathPrefix", Some("PathPrefix")),
        ("PathPrefixes", Some("PathPrefix")),
        ("Hots", Some("Host")),
        ("Headers", Some("Header")),
        ("HeadersRegexp", Some("HeaderRegexp")),
        ("HostHeader", Some("Host")),
        ("ClientIp", Some("ClientIP")),
        ("Nothing", None),
    ] {
        let (offset, kind) = refusal(&format!(" {name}(`/a`)"));
        assert_eq!(offset, 1);
        let RuleErrorKind::UnknownMatcher { suggestion, .. } = kind else {
            panic!("{name}: {kind:?}");
        };
        assert_eq!(suggestion, meant, "{name}");
    }
    let text = parse("Hots(`a`)").unwrap_err().to_string();
    assert_eq!(
        text,
        "there is no matcher `Hots`, did you mean `Host`? (at byte 0 of the rule)"
    );
}

#[test]
fn strings_are_raw_or_escaped_as_in_go() {
    assert!(holds(r#"PathRegexp("v\x31$") && Path("/api/\u00761")"#));
    assert!(holds(r#"PathRegexp("\\d") && PathRegexp(`\d`)"#));
    assert!(holds(r#"!Header("x-tenant", "\"\t\101")"#));
    assert!(matches!(
        refusal("Host('a')"),
        (5, RuleErrorKind::SingleQuote)
    ));
    assert!(matches!(
        refusal("Host(`a)"),
        (5, RuleErrorKind::UnclosedString)
    ));
    assert!(matches!(
        refusal("Host(\"a)"),
        (5, RuleErrorKind::UnclosedString)
    ));
    assert!(matches!(
        refusal(r#"Host("a\q")"#),
        (7, RuleErrorKind::Escape)
    ));
    assert!(matches!(
        refusal(r#"Host("\x+1")"#),
        (6, RuleErrorKind::Escape)
    ));
    assert!(matches!(
        refusal(r#"Host("\400")"#),
        (6, RuleErrorKind::Escape)
    ));
    assert!(matches!(
        refusal(r#"Host("\uD800")"#),
        (6, RuleErrorKind::Escape)
    ));
    assert!(matches!(
        refusal(r#"Host("\xff")"#),
        (5, RuleErrorKind::Escape)
    ));
}

#[test]
fn errors_say_where() {
    use RuleErrorKind as Kind;
    for (rule, at) in [
        ("Host(`a`", 8),
        ("Host(`a`) &&", 12),
        ("Host(`a`) && )", 13),
        ("(Host(`a`)", 10),
        ("Host(`a`))", 9),
        ("Host(`a`) & Host(`b`)", 10),
        ("Host(`a`) Host(`b`)", 10),
        ("Host", 4),
        ("Host(a)", 5),
        ("Host(`a` `b`)", 9),
        ("9(`a`)", 0),
        ("ü", 0),
    ] {
        let (offset, kind) = refusal(rule);
        assert!(matches!(kind, Kind::Unexpected { .. }), "{rule}: {kind:?}");
        assert_eq!(offset, at, "{rule}");
    }
    assert!(matches!(refusal("  "), (0, Kind::Empty)));
    assert!(matches!(
        refusal("Host()"),
        (0, Kind::Arity { given: 0, .. })
    ));
    assert!(matches!(
        refusal("Host(`a`, `b`)"),
        (0, Kind::Arity { given: 2, .. })
    ));
    assert!(matches!(refusal("Header(`a`)"), (0, Kind::Arity { .. })));
    assert!(matches!(
        refusal("Query(`a`, ``)"),
        (11, Kind::EmptyArgument { .. })
    ));
    assert!(matches!(refusal("Host(`a:80`)"), (5, Kind::Host(_))));
    assert!(matches!(refusal("Host(`ü.x`)"), (5, Kind::HostNotAscii)));
    assert!(matches!(refusal("Path(`a`)"), (5, Kind::Path(_))));
    assert!(matches!(refusal("PathRegexp(`(`)"), (11, Kind::Pattern(_))));
    assert!(matches!(
        refusal("HeaderRegexp(`a`, `(`)"),
        (18, Kind::Pattern(_))
    ));
    assert!(matches!(refusal("Method(`a b`)"), (7, Kind::Method(_))));
    assert!(matches!(
        refusal("Header(`a b`, `c`)"),
        (7, Kind::HeaderName(_))
    ));
    assert!(matches!(
        refusal("ClientIP(`10.0.0.0/40`)"),
        (9, Kind::Network(_))
    ));
}

#[test]
fn budgets_hold_against_hostile_rules() {
    let nested = |open: &str, levels: usize, close: &str| {
        format!("{}Host(`a`){}", open.repeat(levels), close.repeat(levels))
    };
    assert!(parse(&nested("(", MAX_RULE_DEPTH, ")")).is_ok());
    assert!(parse(&nested("!", MAX_RULE_DEPTH, "")).is_ok());
    assert!(parse(&nested("!(", MAX_RULE_DEPTH / 2, ")")).is_ok());
    for open in ["(", "!", "!("] {
        let (offset, kind) = refusal(&nested(open, 20_000, ""));
        assert!(matches!(kind, RuleErrorKind::TooDeep));
        assert_eq!(offset, MAX_RULE_DEPTH);
    }
    let pair = "(Path(`/a`) || Method(`GET`))";
    assert_eq!(parse(&[pair; 9].join("&&")).unwrap().len(), 512);
    let (offset, kind) = refusal(&[pair; 10].join("&&"));
    assert!(matches!(kind, RuleErrorKind::TooManyAlternatives));
    assert_eq!(offset, 9 * (pair.len() + 2) - 2);
    let chain = vec!["(Path(`/a`)&&Method(`A`))"; 513].join("||");
    assert!(matches!(
        refusal(&chain).1,
        RuleErrorKind::TooManyAlternatives
    ));
    let excluded = format!("!({})", [pair; 8].join("&&"));
    let heavy = vec![excluded; 80].join("&&");
    assert!(matches!(
        refusal(&heavy).1,
        RuleErrorKind::TooManyConditions
    ));
    assert!(matches!(
        refusal(&"(".repeat(MAX_RULE_BYTES + 1)).1,
        RuleErrorKind::TooLong { .. }
    ));
}

#[test]
fn default_priority_is_the_length() {
    assert_eq!(default_priority("Host(`example.org`)"), 19);
}

/// A boolean expression that can also be evaluated directly.
#[derive(Clone, Debug)]
enum Expression {
    Leaf(&'static str, bool),
    Not(Box<Self>),
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
}

impl Expression {
    fn value(&self) -> bool {
        match self {
            Self::Leaf(_, value) => *value,
            Self::Not(e) => !e.value(),
            Self::And(a, b) => a.value() && b.value(),
            Self::Or(a, b) => a.value() || b.value(),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Leaf(text, _) => (*text).to_owned(),
            Self::Not(e) => format!("!({})", e.text()),
            Self::And(a, b) => format!("({}) && ({})", a.text(), b.text()),
            Self::Or(a, b) => format!("({}) || ({})", a.text(), b.text()),
        }
    }
}

fn expression() -> impl Strategy<Value = Expression> {
    let leaf = prop::sample::select(vec![
        Expression::Leaf("Host(`shop.example`)", true),
        Expression::Leaf("Host(`*.org`)", false),
        Expression::Leaf("PathPrefix(`/api`)", true),
        Expression::Leaf("PathRegexp(`^/x`)", false),
        Expression::Leaf("Method(`GET`)", true),
        Expression::Leaf("Method(`PUT`)", false),
        Expression::Leaf("Header(`x-tenant`, `gold`)", true),
        Expression::Leaf("Query(`a`, `3`)", false),
        Expression::Leaf("ClientIP(`192.0.2.0/24`)", true),
        Expression::Leaf("ClientIP(`::1`)", false),
    ]);
    leaf.prop_recursive(4, 16, 2, |inner| {
        prop_oneof![
            inner.clone().prop_map(|e| Expression::Not(Box::new(e))),
            (inner.clone(), inner.clone())
                .prop_map(|(a, b)| Expression::And(Box::new(a), Box::new(b))),
            (inner.clone(), inner).prop_map(|(a, b)| Expression::Or(Box::new(a), Box::new(b))),
        ]
    })
}

proptest! {
    #[test]
    fn alternatives_keep_the_meaning_of_the_rule(expression in expression()) {
        prop_assert_eq!(holds(&expression.text()), expression.value());
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "[!()&|`\", \\\\aHost/ü0-9x]{0,60}") {
        let _ = parse(&text);
    }
}
