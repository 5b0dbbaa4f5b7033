//! How a path becomes another: shared by [`rewrite`](crate::rewrite) and [`redirect`](crate::redirect).

use std::borrow::Cow;
use std::sync::Arc;

use portcullis_core::filter::BuildError;
use portcullis_core::hygiene::{PathError, PathPolicy, normalize};
use portcullis_core::route::{MAX_COMPILED_BYTES, MAX_PATTERN_NESTING, Pattern};
use regex::{Regex, RegexBuilder};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::values::UrlPath;

/// A change of a path. Exactly one of these keys.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PathChange {
    /// Replaces the prefix that the route matched: with `/v2`, a route for `/orders` turns `/orders/7` into
    /// `/v2/7`; `/` takes the prefix away. A route for exactly one path counts as one for that prefix, one that asks
    /// for neither as one for `/`.
    Prefix(UrlPath),
    /// Takes the first of these prefixes away that the path has, by whole segments.
    Strip(Vec<UrlPath>),
    /// Puts this in front of the path.
    Add(UrlPath),
    /// Replaces the whole path.
    Full(UrlPath),
    /// Replaces every match of a regular expression.
    Regex(RegexChange),
}

/// A regular expression and what takes the place of its matches.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct RegexChange {
    /// The expression, which may match any part of the path unless it is anchored with `^` and `$`. It sees the
    /// path as routes do: normalised, without query. Linear time: no look-around, no back-references.
    pub pattern: String,
    /// The text that takes the place of a match; `$1`, `${1}` and `${name}` stand for groups, `$$` for a dollar.
    pub replacement: String,
}

/// A [`PathChange`] that is ready to be applied.
#[derive(Clone, Debug)]
pub(crate) enum PathRule {
    Prefix(NewPrefix),
    Strip(Box<[Box<str>]>),
    Add(Box<str>),
    Full(Box<str>),
    Regex(Regex, Box<[Piece]>),
}

/// What takes the place of a matched prefix.
#[derive(Clone, Debug)]
pub(crate) struct NewPrefix {
    path: Box<str>,
    /// What later filters find as the matched prefix.
    pub(crate) matched: Arc<str>,
}

/// A part of a replacement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Text(Box<str>),
    Group(usize),
}

impl PathRule {
    /// Compiles a change that stands under the key `path`.
    pub(crate) fn new(change: &PathChange) -> Result<Self, BuildError> {
        let fail = |message: String| BuildError::new(message).at("path");
        Ok(match change {
            PathChange::Prefix(path) => Self::Prefix(NewPrefix {
                path: path.as_str().into(),
                matched: match bare(path.as_str()) {
                    "" => "/".into(),
                    bare => bare.into(),
                },
            }),
            PathChange::Strip(prefixes) => {
                let bare: Box<[Box<str>]> = prefixes
                    .iter()
                    .map(|prefix| bare(prefix.as_str()).into())
                    .collect();
                if bare.is_empty() || bare.iter().any(|prefix| prefix.is_empty()) {
                    return Err(fail("`strip` takes prefixes beyond `/`".to_owned()));
                }
                Self::Strip(bare)
            }
            PathChange::Add(path) => Self::Add(bare(path.as_str()).into()),
            PathChange::Full(path) => Self::Full(path.as_str().into()),
            PathChange::Regex(RegexChange {
                pattern,
                replacement,
            }) => {
                // Judged by the rules of route patterns, so that the same expressions are accepted everywhere.
                Pattern::search(pattern).map_err(|error| {
                    BuildError::new("`pattern` is refused")
                        .at("path")
                        .with_source(error)
                })?;
                let regex = RegexBuilder::new(pattern)
                    .size_limit(MAX_COMPILED_BYTES)
                    .dfa_size_limit(MAX_COMPILED_BYTES)
                    .nest_limit(MAX_PATTERN_NESTING)
                    .build()
                    .map_err(|error| {
                        BuildError::new("`pattern` is refused")
                            .at("path")
                            .with_source(error)
                    })?;
                let pieces = pieces(replacement, &regex).map_err(fail)?;
                Self::Regex(regex, pieces)
            }
        })
    }

    /// The new path, normalised; `None` when the rule does not concern this path.
    pub(crate) fn apply(
        &self,
        path: &str,
        matched: Option<&str>,
    ) -> Result<Option<String>, PathError> {
        let Some(changed) = self.change(path, matched) else {
            return Ok(None);
        };
        let changed = if changed.starts_with('/') {
            changed
        } else {
            format!("/{changed}")
        };
        let normal = match normalize(&changed, PathPolicy::default())? {
            Cow::Owned(normal) => Some(normal),
            Cow::Borrowed(_) => None,
        };
        Ok(Some(normal.unwrap_or(changed)))
    }

    fn change(&self, path: &str, matched: Option<&str>) -> Option<String> {
        match self {
            Self::Prefix(new) => {
                let prefix = bare(matched.unwrap_or("/"));
                path.strip_prefix(prefix).map(|rest| join(&new.path, rest))
            }
            Self::Strip(prefixes) => prefixes
                .iter()
                .filter_map(|prefix| path.strip_prefix(&**prefix))
                .find(|rest| rest.is_empty() || rest.starts_with('/'))
                .map(str::to_owned),
            Self::Add(front) => Some([front, path].concat()),
            Self::Full(path) => Some(path.clone().into()),
            Self::Regex(regex, pieces) => replace(regex, pieces, path),
        }
    }
}

/// A prefix without its last slash: `/` is nothing.
fn bare(path: &str) -> &str {
    path.strip_suffix('/').unwrap_or(path)
}

/// `front` with what followed the old prefix: one slash between them, none at the end that was not there.
fn join(front: &str, rest: &str) -> String {
    if rest.starts_with('/') {
        [bare(front), rest].concat()
    } else {
        [front, rest].concat()
    }
}

/// `path` with every match replaced; `None` when there is none.
fn replace(regex: &Regex, pieces: &[Piece], path: &str) -> Option<String> {
    let mut matches = regex.captures_iter(path).peekable();
    matches.peek()?;
    let mut out = String::with_capacity(path.len() + 16);
    let mut copied = 0;
    for groups in matches {
        let whole = groups.get_match();
        out.push_str(path.get(copied..whole.start()).unwrap_or_default());
        copied = whole.end();
        for piece in pieces {
            out.push_str(match piece {
                Piece::Text(text) => text,
                Piece::Group(group) => groups.get(*group).map_or("", |found| found.as_str()),
            });
        }
    }
    out.push_str(path.get(copied..).unwrap_or_default());
    Some(out)
}

/// Reads a replacement; every group it names must exist, and its text must be fit for a path.
fn pieces(replacement: &str, regex: &Regex) -> Result<Box<[Piece]>, String> {
    let mut pieces = Vec::new();
    let mut text = String::new();
    let mut rest = replacement;
    while let Some((before, after)) = rest.split_once('$') {
        text.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            text.push('$');
            rest = after;
            continue;
        }
        let (name, after) = reference(after)
            .ok_or("`replacement` holds a `$` that names no group: write `$$` for a dollar")?;
        let group = match name.parse::<usize>() {
            Ok(number) => Some(number).filter(|number| *number < regex.captures_len()),
            Err(_) => regex.capture_names().position(|known| known == Some(name)),
        };
        let group = group.ok_or_else(|| {
            format!("`replacement` names the group `{name}`, which `pattern` does not have; `${{1}}a` is group 1 before an `a`")
        })?;
        if !text.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut text).into()));
        }
        pieces.push(Piece::Group(group));
        rest = after;
    }
    text.push_str(rest);
    if !text.is_empty() {
        pieces.push(Piece::Text(text.into()));
    }
    let unfit = |byte| matches!(byte, 0..=0x20 | 0x7f.. | b'\\' | b'?' | b'#');
    if replacement.bytes().any(unfit) {
        return Err("`replacement` holds what no path may: write it as a percent sign and two hexadecimal digits".to_owned());
    }
    Ok(pieces.into())
}

/// The name behind a dollar and what follows it.
fn reference(text: &str) -> Option<(&str, &str)> {
    if let Some(text) = text.strip_prefix('{') {
        return text.split_once('}');
    }
    let end = text
        .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(json: serde_json::Value) -> Result<PathRule, String> {
        let change = serde_json::from_value(json).map_err(|error| error.to_string())?;
        PathRule::new(&change).map_err(|error| portcullis_core::error::chain(&error))
    }

    fn applied(json: serde_json::Value, path: &str, matched: Option<&str>) -> Option<String> {
        rule(json).unwrap().apply(path, matched).unwrap()
    }

    #[test]
    fn replaces_prefixes_as_gateway_api_asks() {
        for (path, matched, with, expected) in [
            ("/foo/bar", "/foo", "/xyz", "/xyz/bar"),
            ("/foo/bar", "/foo", "/xyz/", "/xyz/bar"),
            ("/foo/bar", "/foo/", "/xyz", "/xyz/bar"),
            ("/foo/bar", "/foo/", "/xyz/", "/xyz/bar"),
            ("/foo", "/foo", "/xyz", "/xyz"),
            ("/foo/", "/foo", "/xyz", "/xyz/"),
            ("/foo/bar", "/foo", "/", "/bar"),
            ("/foo/", "/foo", "/", "/"),
            ("/foo", "/foo", "/", "/"),
            ("/bar", "/", "/xyz", "/xyz/bar"),
            ("/", "/", "/xyz", "/xyz/"),
            ("/api/v2/x", "/api/v", "/api/w", "/api/w2/x"),
            ("/foo./x", "/foo", "/", "/x"),
            ("/foo../x", "/foo", "/a/", "/x"),
        ] {
            let got = applied(serde_json::json!({ "prefix": with }), path, Some(matched));
            assert_eq!(got.as_deref(), Some(expected), "{path} {matched} {with}");
        }
    }

    #[test]
    fn a_prefix_that_is_gone_concerns_nobody() {
        let prefix = serde_json::json!({ "prefix": "/v2" });
        assert_eq!(applied(prefix.clone(), "/other", Some("/foo")), None);
        assert_eq!(
            applied(prefix, "/other", None).as_deref(),
            Some("/v2/other")
        );
    }

    #[test]
    fn strips_adds_and_replaces() {
        let strip = serde_json::json!({ "strip": ["/a/", "/b"] });
        for (path, expected) in [
            ("/a", Some("/")),
            ("/a/x", Some("/x")),
            ("/ax", None),
            ("/b/", Some("/")),
            ("/a//x", Some("//x")),
        ] {
            assert_eq!(
                applied(strip.clone(), path, None).as_deref(),
                expected,
                "{path}"
            );
        }
        let add = serde_json::json!({ "add": "/front/" });
        assert_eq!(applied(add, "/x", None).as_deref(), Some("/front/x"));
        let full = serde_json::json!({ "full": "/only" });
        assert_eq!(applied(full, "/x/y", None).as_deref(), Some("/only"));
    }

    #[test]
    fn replaces_matches_with_groups() {
        for (pattern, replacement, path, expected) in [
            ("^/api/(.*)$", "/$1", "/api/x/y", Some("/x/y")),
            (
                "^/(?<tenant>[^/]+)/(.+)",
                "/${2}/${tenant}",
                "/t/x",
                Some("/x/t"),
            ),
            ("a", "bb", "/a/a", Some("/bb/bb")),
            ("/x(y)?", "/z$1", "/x/xy", Some("/z/zy")),
            ("^/nothing", "/z", "/x", None),
            ("^/(.*)", "$1", "/x", Some("/x")),
            ("x*", "", "/a", Some("/a")),
            ("^/a", "/$$1", "/a", Some("/$1")),
            ("%2F", "/", "/a/..%2Fb", Some("/b")),
        ] {
            let json =
                serde_json::json!({ "regex": { "pattern": pattern, "replacement": replacement } });
            assert_eq!(
                applied(json, path, None).as_deref(),
                expected,
                "{pattern} {replacement}"
            );
        }
    }

    #[test]
    fn a_replacement_that_breaks_an_escape_is_an_error() {
        let json = serde_json::json!({ "regex": { "pattern": "2F", "replacement": "" } });
        assert_eq!(
            rule(json).unwrap().apply("/a%2F", None),
            Err(PathError::Escape)
        );
    }

    #[test]
    fn explains_what_it_refuses() {
        let regex = |pattern: &str, replacement: &str| {
            rule(serde_json::json!({ "regex": { "pattern": pattern, "replacement": replacement } }))
                .unwrap_err()
        };
        assert!(
            regex("(", "").starts_with("`pattern` is refused: parsing the regular expression `(`")
        );
        assert!(regex("", "").starts_with("`pattern` is refused: the regular expression is empty"));
        assert!(regex(r"\w{1000}{1000}", "").starts_with("`pattern` is refused: compiling"));
        assert!(regex("(a)", "$1b").starts_with("`replacement` names the group `1b`"));
        assert!(regex("(a)", "$2").starts_with("`replacement` names the group `2`"));
        assert!(regex("a", "$").starts_with("`replacement` holds a `$`"));
        assert!(regex("a", "/b?c=d").starts_with("`replacement` holds what no path may"));
        let strip = rule(serde_json::json!({ "strip": ["/"] })).unwrap_err();
        assert_eq!(strip, "`strip` takes prefixes beyond `/`");
    }
}
