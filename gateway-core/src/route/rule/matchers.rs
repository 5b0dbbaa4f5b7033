//! The matchers of the rule language.

use std::net::IpAddr;

use http::{HeaderName, Method};
use ipnet::IpNet;

use super::{
    RuleErrorKind,
    parser::{Argument, Problem},
};
use crate::route::{
    Anchoring, HeaderMatch, HostPattern, PathPattern, Pattern, QueryMatch, QueryValues, RouteMatch,
    ValueTest,
};

#[derive(Clone, Copy, Debug)]
pub(super) enum Matcher {
    ClientIp,
    Header,
    HeaderRegexp,
    Host,
    HostRegexp,
    Method,
    Path,
    PathPrefix,
    PathRegexp,
    Query,
    QueryRegexp,
}

const ALL: [Matcher; 11] = [
    Matcher::ClientIp,
    Matcher::Header,
    Matcher::HeaderRegexp,
    Matcher::Host,
    Matcher::HostRegexp,
    Matcher::Method,
    Matcher::Path,
    Matcher::PathPrefix,
    Matcher::PathRegexp,
    Matcher::Query,
    Matcher::QueryRegexp,
];

/// The matcher of that name, in one of the four accepted spellings.
pub(super) fn named(name: &str) -> Result<Matcher, RuleErrorKind> {
    let spelled = |matcher: &Matcher| {
        let declared = matcher.name();
        let lower = declared.to_ascii_lowercase();
        name == declared
            || name == lower
            || name == declared.to_ascii_uppercase()
            || name.strip_prefix(&declared[..1]) == Some(&lower[1..])
    };
    ALL.into_iter()
        .find(spelled)
        .ok_or_else(|| RuleErrorKind::UnknownMatcher {
            name: name.chars().take(64).collect(),
            suggestion: suggestion(name),
        })
}

impl Matcher {
    fn name(self) -> &'static str {
        match self {
            Self::ClientIp => "ClientIP",
            Self::Header => "Header",
            Self::HeaderRegexp => "HeaderRegexp",
            Self::Host => "Host",
            Self::HostRegexp => "HostRegexp",
            Self::Method => "Method",
            Self::Path => "Path",
            Self::PathPrefix => "PathPrefix",
            Self::PathRegexp => "PathRegexp",
            Self::Query => "Query",
            Self::QueryRegexp => "QueryRegexp",
        }
    }

    /// The condition that a call of this matcher at byte `start` stands for.
    pub(super) fn condition(
        self,
        start: usize,
        arguments: &[Argument],
    ) -> Result<RouteMatch, Problem> {
        let takes = match self {
            Self::Header | Self::HeaderRegexp => "2 arguments",
            Self::Query | Self::QueryRegexp => "1 or 2 arguments",
            _ => "1 argument",
        };
        let (first, second) = match (takes, arguments) {
            ("1 argument" | "1 or 2 arguments", [first]) => (first, None),
            ("2 arguments" | "1 or 2 arguments", [first, second]) => (first, Some(second)),
            _ => {
                let kind = RuleErrorKind::Arity {
                    matcher: self.name(),
                    takes,
                    given: arguments.len(),
                };
                return Err((start, kind));
            }
        };
        if let Some(empty) = arguments.iter().find(|argument| argument.text.is_empty()) {
            let matcher = self.name();
            return Err((empty.offset, RuleErrorKind::EmptyArgument { matcher }));
        }
        match second {
            Some(second) => self.of_pair(first, second),
            None => self
                .of_one(&first.text)
                .map_err(|kind| (first.offset, kind)),
        }
    }

    fn of_one(self, text: &str) -> Result<RouteMatch, RuleErrorKind> {
        let mut condition = RouteMatch::default();
        match self {
            Self::ClientIp => condition.client_ip.push(network(text)?),
            Self::Host if !text.is_ascii() => return Err(RuleErrorKind::HostNotAscii),
            Self::Host => condition.hosts.push(HostPattern::one_label(text)?),
            Self::HostRegexp => {
                let pattern = Pattern::new(text, Anchoring::Search)?;
                condition.hosts.push(HostPattern::regex(pattern));
            }
            Self::Method => {
                let method = Method::from_bytes(text.to_ascii_uppercase().as_bytes())
                    .map_err(|_| RuleErrorKind::Method(text.to_owned()))?;
                condition.methods.push(method);
            }
            Self::Path => condition.paths.push(PathPattern::exact(text)?),
            Self::PathPrefix => condition.paths.push(PathPattern::string_prefix(text)?),
            Self::PathRegexp => {
                let pattern = Pattern::new(text, Anchoring::Search)?;
                condition.paths.push(pattern.into());
            }
            // One argument asks for the parameter with an empty value, not for its presence. The two
            // header matchers do not come here: they take two.
            Self::Header | Self::HeaderRegexp | Self::Query | Self::QueryRegexp => {
                let wanted = QueryMatch::exact(text, "").with_values(QueryValues::Any);
                condition.query.push(wanted);
            }
        }
        Ok(condition)
    }

    fn of_pair(self, name: &Argument, value: &Argument) -> Result<RouteMatch, Problem> {
        let test = match self {
            Self::HeaderRegexp | Self::QueryRegexp => Pattern::new(&value.text, Anchoring::Search)
                .map(ValueTest::Regex)
                .map_err(|error| (value.offset, error.into()))?,
            _ => ValueTest::Exact(value.text.as_str().into()),
        };
        let mut condition = RouteMatch::default();
        if matches!(self, Self::Header | Self::HeaderRegexp) {
            let header = HeaderName::from_bytes(name.text.as_bytes())
                .map_err(|_| (name.offset, RuleErrorKind::HeaderName(name.text.clone())))?;
            condition.headers.push(HeaderMatch::new(header, test));
        } else {
            let wanted = QueryMatch::new(&name.text, test).with_values(QueryValues::Any);
            condition.query.push(wanted);
        }
        Ok(condition)
    }
}

fn network(text: &str) -> Result<IpNet, RuleErrorKind> {
    text.parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(|ip| ip.to_canonical().into()))
        .map_err(|_| RuleErrorKind::Network(text.to_owned()))
}

/// The matcher that was probably meant.
fn suggestion(name: &str) -> Option<&'static str> {
    const LONGEST: usize = 24;
    if name.len() > LONGEST {
        return None;
    }
    let name = name.to_ascii_lowercase();
    if name == "hostheader" {
        return Some(Matcher::Host.name()); // its name in the second version of the language
    }
    let allowed = (name.len() / 3).max(2);
    ALL.iter()
        .map(|matcher| matcher.name())
        .map(|known| (distance(&name, &known.to_ascii_lowercase()), known))
        .filter(|&(edits, _)| edits <= allowed)
        .min_by_key(|&(edits, _)| edits)
        .map(|(_, known)| known)
}

/// How many letters have to be added, dropped or exchanged to get from one name to the other.
fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.bytes().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, b) in right.bytes().enumerate() {
            let exchanged = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = exchanged.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[right.len()]
}
