//! Rules of Traefik's language, made as trees: what the text means is what the tree says.

use std::net::IpAddr;

use arbitrary::{Result, Unstructured};
use http::{Extensions, HeaderMap, HeaderValue, Method};
use portcullis_core::route::{RequestView, RouteIndex, RouteSpec, rule};

/// Makes a rule and requests, and compares what parsing makes of the rule with the tree.
pub(super) fn check(data: &[u8]) {
    let mut source = Unstructured::new(data);
    let _ = compare(&mut source);
}

fn compare(source: &mut Unstructured<'_>) -> Result<()> {
    let tree = tree(source, 5)?;
    let mut text = String::new();
    tree.write(source, &mut text)?;
    let parsed = match rule::parse(&text) {
        Ok(parsed) => parsed,
        Err(error) => {
            let limit = matches!(
                error.kind(),
                rule::RuleErrorKind::TooManyAlternatives | rule::RuleErrorKind::TooManyConditions
            );
            assert!(limit, "{error}: {text}");
            return Ok(());
        }
    };
    let route = RouteSpec {
        matches: parsed,
        ..RouteSpec::new("rule", ())
    };
    let index = RouteIndex::compile(vec![route.clone()]).expect("a rule can be compiled");
    for _ in 0..8 {
        let request = Request::any(source)?;
        let extensions = Extensions::new();
        let view = RequestView::new(
            &request.method,
            request.host,
            request.path,
            &request.headers,
            &extensions,
        )
        .with_query(request.query)
        .with_client_ip(Some(request.client));
        let expected = tree.holds(&request);
        let any = route
            .matches
            .iter()
            .any(|one| one.matches(&view).expect("the client's address is known"));
        assert_eq!(any, expected, "{text} on {request:?}");
        let found = index.select(&view).expect("the client's address is known");
        assert_eq!(found.is_some(), expected, "{text} on {request:?}");
    }
    Ok(())
}

#[derive(Debug)]
enum Tree {
    Leaf(Leaf),
    Not(Box<Self>),
    And(Vec<Self>),
    Or(Vec<Self>),
}

#[derive(Clone, Copy, Debug)]
enum Leaf {
    Host(&'static str),
    HostContains(&'static str),
    Path(&'static str),
    PathPrefix(&'static str),
    PathContains(&'static str),
    Method(&'static str),
    Header(&'static str),
    Query(&'static str),
    Client(u8),
}

const HOSTS: [&str; 4] = ["a.x", "b.x", "a.b.x", "y"];
const PATHS: [&str; 5] = ["/", "/a", "/a/b", "/ab", "/c"];
const METHODS: [&str; 3] = ["GET", "POST", "PUT"];
const VALUES: [&str; 3] = ["1", "2", "`"];

fn tree(source: &mut Unstructured<'_>, depth: usize) -> Result<Tree> {
    if depth == 0 || source.is_empty() {
        return leaf(source).map(Tree::Leaf);
    }
    let several = |source: &mut Unstructured<'_>| {
        let count = source.int_in_range(1..=3)?;
        (0..count)
            .map(|_| tree(source, depth - 1))
            .collect::<Result<_>>()
    };
    Ok(match source.int_in_range(0..=5)? {
        0 => Tree::Not(Box::new(tree(source, depth - 1)?)),
        1 | 2 => Tree::And(several(source)?),
        3 | 4 => Tree::Or(several(source)?),
        _ => Tree::Leaf(leaf(source)?),
    })
}

fn leaf(source: &mut Unstructured<'_>) -> Result<Leaf> {
    Ok(match source.int_in_range(0..=8)? {
        0 => Leaf::Host(source.choose(&["a.x", "*.x", "*.b.x", "*"])?),
        1 => Leaf::HostContains(source.choose(&["a", "b.x"])?),
        2 => Leaf::Path(source.choose(&PATHS)?),
        3 => Leaf::PathPrefix(source.choose(&PATHS)?),
        4 => Leaf::PathContains(source.choose(&["b", "/a"])?),
        5 => Leaf::Method(source.choose(&METHODS)?),
        6 => Leaf::Header(source.choose(&VALUES)?),
        7 => Leaf::Query(source.choose(&["1", "2", "3"])?),
        _ => Leaf::Client(source.int_in_range(0..=2)?),
    })
}

impl Tree {
    /// Writes the rule, with white space and parentheses that change nothing.
    fn write(&self, source: &mut Unstructured<'_>, out: &mut String) -> Result<()> {
        let space = *source.choose(&["", " ", "\t", "\n  "])?;
        out.push_str(space);
        match self {
            Self::Leaf(leaf) => leaf.write(source, out)?,
            Self::Not(inner) => {
                out.push('!');
                inner.write_grouped(source, out)?;
            }
            Self::And(parts) | Self::Or(parts) => {
                let operator = if matches!(self, Self::And(_)) {
                    "&&"
                } else {
                    "||"
                };
                for (number, part) in parts.iter().enumerate() {
                    if number > 0 {
                        out.push_str(operator);
                    }
                    part.write_grouped(source, out)?;
                }
            }
        }
        out.push_str(space);
        Ok(())
    }

    fn write_grouped(&self, source: &mut Unstructured<'_>, out: &mut String) -> Result<()> {
        let alone = matches!(self, Self::Leaf(_) | Self::Not(_)) && source.arbitrary()?;
        if alone {
            return self.write(source, out);
        }
        out.push('(');
        self.write(source, out)?;
        out.push(')');
        Ok(())
    }

    fn holds(&self, request: &Request) -> bool {
        match self {
            Self::Leaf(leaf) => leaf.holds(request),
            Self::Not(inner) => !inner.holds(request),
            Self::And(parts) => parts.iter().all(|part| part.holds(request)),
            Self::Or(parts) => parts.iter().any(|part| part.holds(request)),
        }
    }
}

impl Leaf {
    fn write(self, source: &mut Unstructured<'_>, out: &mut String) -> Result<()> {
        let number;
        let (name, arguments): (&str, &[&str]) = match &self {
            Self::Host(host) => ("Host", &[host]),
            Self::HostContains(part) => ("HostRegexp", &[part]),
            Self::Path(path) => ("Path", &[path]),
            Self::PathPrefix(path) => ("PathPrefix", &[path]),
            Self::PathContains(part) => ("PathRegexp", &[part]),
            Self::Method(method) => ("Method", &[method]),
            Self::Header(value) => ("Header", &["x-a", value]),
            Self::Query(value) => ("Query", &["q", value]),
            Self::Client(net) => {
                number = format!("10.{net}.0.0/16");
                ("ClientIP", &[&number])
            }
        };
        match source.int_in_range(0..=2)? {
            0 => out.push_str(&name.to_ascii_lowercase()),
            1 => out.push_str(&name.to_ascii_uppercase()),
            _ => out.push_str(name),
        }
        out.push('(');
        for (number, argument) in arguments.iter().enumerate() {
            if number > 0 {
                out.push_str(", ");
            }
            if argument.contains('`') || source.arbitrary()? {
                out.push_str(&format!("{argument:?}"));
            } else {
                out.push_str(&format!("`{argument}`"));
            }
        }
        out.push(')');
        Ok(())
    }

    fn holds(self, request: &Request) -> bool {
        let Request { host, path, .. } = request;
        match self {
            Self::Host("*") => true,
            Self::Host(pattern) => match pattern.strip_prefix('*') {
                Some(suffix) => host
                    .strip_suffix(suffix)
                    .is_some_and(|front| !front.is_empty() && !front.contains('.')),
                None => *host == pattern,
            },
            // The dots of these are any character; only letters of the hosts above meet them.
            Self::HostContains("b.x") => ["b.x", "a.b.x"].contains(host),
            Self::HostContains(part) => host.contains(part),
            Self::Path(wanted) => *path == wanted,
            Self::PathPrefix(wanted) => path.starts_with(wanted),
            Self::PathContains(part) => path.contains(part),
            Self::Method(wanted) => request.method == wanted,
            Self::Header(value) => request.headers.get_all("x-a").iter().any(|v| v == value),
            Self::Query(value) => {
                let mut pairs = request.query.unwrap_or_default().split('&');
                pairs.any(|pair| pair.strip_prefix("q=") == Some(value))
            }
            Self::Client(net) => match request.client {
                IpAddr::V4(address) => address.octets()[..2] == [10, net],
                IpAddr::V6(_) => false,
            },
        }
    }
}

#[derive(Debug)]
struct Request {
    method: Method,
    host: &'static str,
    path: &'static str,
    query: Option<&'static str>,
    headers: HeaderMap,
    client: IpAddr,
}

impl Request {
    fn any(source: &mut Unstructured<'_>) -> Result<Self> {
        let mut headers = HeaderMap::new();
        for _ in 0..source.int_in_range(0..=2)? {
            headers.append("x-a", HeaderValue::from_static(source.choose(&VALUES)?));
        }
        let method = source.choose(&METHODS)?;
        Ok(Self {
            method: Method::from_bytes(method.as_bytes()).unwrap_or_default(),
            host: source.choose(&HOSTS)?,
            path: source.choose(&PATHS)?,
            query: *source.choose(&[None, Some("q=1"), Some("q=2&q=1"), Some("p=1")])?,
            headers,
            client: [10, source.int_in_range(0..=3)?, 1, 1].into(),
        })
    }
}
