//! What is wrong with a configuration, where, and what to do about it.

use std::{fmt, sync::Arc};

use serde::Serialize;

/// A place in a configuration file. Lines and columns count from 1; a column counts characters, not bytes.
///
/// The default value means "nowhere": configuration that did not come from a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Location {
    /// The file as it was named when it was read.
    pub file: Arc<str>,
    /// Line, from 1; 0 when the place is unknown.
    pub line: u32,
    /// Column in characters, from 1; 0 when the place is unknown.
    pub column: u32,
}

impl Location {
    /// Names a place.
    #[must_use]
    pub const fn new(file: Arc<str>, line: u32, column: u32) -> Self {
        Self { file, line, column }
    }

    /// Whether this names a real place in a file.
    #[must_use]
    pub const fn is_known(&self) -> bool {
        self.line != 0
    }
}

impl Default for Location {
    fn default() -> Self {
        Self {
            file: Arc::from(""),
            line: 0,
            column: 0,
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.is_known(), &*self.file) {
            (true, file) => write!(f, "{file}:{}:{}", self.line, self.column),
            (false, "") => f.write_str("(no file)"),
            (false, file) => f.write_str(file),
        }
    }
}

/// How bad a [`Diagnostic`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// The configuration works, but probably not as meant.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// One problem of a configuration.
///
/// Messages are lower case, without a full stop, and say what was expected and what was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// Where, when the configuration came from a file.
    pub at: Option<Location>,
    /// The place inside the document, such as `routes[2].match.path`; empty for the document as a whole.
    pub path: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Diagnostic {
    /// A problem that makes the configuration unusable.
    #[must_use]
    pub fn error(message: impl Into<String>) -> Self {
        Self::new(Severity::Error, message.into())
    }

    /// A problem worth telling that does not stop anything.
    #[must_use]
    pub fn warning(message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, message.into())
    }

    const fn new(severity: Severity, message: String) -> Self {
        Self {
            severity,
            message,
            at: None,
            path: String::new(),
            hint: None,
        }
    }

    /// Says where in the files. An unknown location leaves the diagnostic without one.
    #[must_use]
    pub fn at(mut self, at: Location) -> Self {
        self.at = (at.is_known() || !at.file.is_empty()).then_some(at);
        self
    }

    /// Says where in the document.
    #[must_use]
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// Says what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(at) = &self.at {
            write!(f, "{at}: ")?;
        }
        write!(f, "{}: {}", self.severity, self.message)?;
        if !self.path.is_empty() {
            write!(f, " (at {})", self.path)?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

/// Every problem found so far.
///
/// `Display` writes one problem a line (hints on a line of their own), sorted by file, line and column;
/// problems without a place come last. Serializes as a list in the same order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
}

impl Diagnostics {
    /// Nothing wrong yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { list: Vec::new() }
    }

    /// Adds a problem.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.list.push(diagnostic);
    }

    /// Whether something makes the configuration unusable.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.list.iter().any(|d| d.severity == Severity::Error)
    }

    /// How many problems there are, warnings included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether nothing was reported.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The problems in the order they were reported.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.list.iter()
    }

    /// The problems by file, line and column; those without a place last. Equal places keep their order.
    #[must_use]
    pub fn sorted(&self) -> Vec<&Diagnostic> {
        let mut list: Vec<&Diagnostic> = self.list.iter().collect();
        list.sort_by_key(|d| (d.at.is_none(), d.at.as_ref()));
        list
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.sorted().into_iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{diagnostic}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

impl Serialize for Diagnostics {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.sorted())
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(diagnostic: Diagnostic) -> Self {
        Self {
            list: vec![diagnostic],
        }
    }
}

impl Extend<Diagnostic> for Diagnostics {
    fn extend<I: IntoIterator<Item = Diagnostic>>(&mut self, diagnostics: I) {
        self.list.extend(diagnostics);
    }
}

impl FromIterator<Diagnostic> for Diagnostics {
    fn from_iter<I: IntoIterator<Item = Diagnostic>>(diagnostics: I) -> Self {
        Self {
            list: diagnostics.into_iter().collect(),
        }
    }
}

impl IntoIterator for Diagnostics {
    type Item = Diagnostic;
    type IntoIter = std::vec::IntoIter<Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.into_iter()
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.iter()
    }
}

/// The candidate somebody probably meant by `unknown`, for a hint.
///
/// Compares without regard to case and to `_` against `-`. A candidate is close when a third of the longer
/// word's characters at most have to change (swapping two neighbours is one change), or when one of the two
/// is the beginning of the other and at least three characters long. The first of equally close ones wins.
#[must_use]
pub fn did_you_mean<'c>(
    unknown: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<&'c str> {
    /// Longer words are not worth comparing: nobody mistypes them, and the comparison is quadratic.
    const LONGEST: usize = 64;
    let fold = |word: &str| -> Vec<char> {
        let plain = |c: char| {
            if c == '_' {
                '-'
            } else {
                c.to_ascii_lowercase()
            }
        };
        word.chars().take(LONGEST + 1).map(plain).collect()
    };
    let wanted = fold(unknown);
    if wanted.is_empty() || wanted.len() > LONGEST {
        return None;
    }
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        let other = fold(candidate);
        if other.is_empty() || other.len() > LONGEST {
            continue;
        }
        let shorter = wanted.len().min(other.len());
        let distance = edit_distance(&wanted, &other);
        let allowed = (wanted.len().max(other.len()) / 3).max(1);
        let rank = if distance <= allowed && distance < shorter.max(2) {
            distance
        } else if shorter >= 3 && (wanted.starts_with(&other) || other.starts_with(&wanted)) {
            LONGEST + distance
        } else {
            continue;
        };
        if best.is_none_or(|(least, _)| rank < least) {
            best = Some((rank, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Insertions, deletions, replacements and swaps of neighbours that turn one word into the other.
fn edit_distance(from: &[char], to: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=to.len()).collect();
    for (row, a) in from.iter().enumerate() {
        let mut line = Vec::with_capacity(above.len());
        line.push(row + 1);
        for (column, b) in to.iter().enumerate() {
            let replaced = above[column] + usize::from(a != b);
            let mut least = replaced.min(above[column + 1] + 1).min(line[column] + 1);
            if row > 0 && column > 0 && *a == to[column - 1] && from[row - 1] == *b {
                least = least.min(before[column - 1] + 1);
            }
            line.push(least);
        }
        before = std::mem::replace(&mut above, line);
    }
    above.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(file: &str, line: u32, column: u32) -> Location {
        Location::new(Arc::from(file), line, column)
    }

    #[test]
    fn renders_sorted_with_paths_and_hints() {
        let mut list = Diagnostics::new();
        list.push(Diagnostic::warning("no place"));
        list.push(
            Diagnostic::error("second")
                .at(at("b.yaml", 1, 2))
                .path("routes[0]"),
        );
        list.push(Diagnostic::error("third").at(at("b.yaml", 10, 1)));
        list.push(
            Diagnostic::error("first")
                .at(at("a.yaml", 7, 3))
                .path("x.y")
                .hint("do it"),
        );
        assert_eq!(
            list.to_string(),
            "a.yaml:7:3: error: first (at x.y)\n  hint: do it\n\
             b.yaml:1:2: error: second (at routes[0])\n\
             b.yaml:10:1: error: third\n\
             warning: no place"
        );
        assert!(list.has_errors());
        assert_eq!(list.len(), 4);
    }

    #[test]
    fn warnings_are_not_errors() {
        let list = Diagnostics::from(Diagnostic::warning("careful"));
        assert!(!list.has_errors() && !list.is_empty());
    }

    #[test]
    fn serializes_for_machines() {
        let list = Diagnostics::from(
            Diagnostic::error("bad")
                .at(at("a", 1, 2))
                .path("p")
                .hint("h"),
        );
        assert_eq!(
            serde_json::to_value(&list).unwrap(),
            serde_json::json!([{
                "severity": "error", "message": "bad", "path": "p", "hint": "h",
                "at": { "file": "a", "line": 1, "column": 2 },
            }])
        );
    }

    #[test]
    fn an_unknown_location_is_none() {
        assert_eq!(Diagnostic::error("x").at(Location::default()).at, None);
        assert_eq!(Location::default().to_string(), "(no file)");
    }

    #[test]
    fn finds_what_was_meant() {
        let keys = [
            "hosts",
            "path",
            "methods",
            "headers",
            "client_ip",
            "per_try",
        ];
        for (typed, meant) in [
            ("host", Some("hosts")),
            ("paht", Some("path")),
            ("pth", Some("path")),
            ("Methods", Some("methods")),
            ("client-ip", Some("client_ip")),
            ("pertry", Some("per_try")),
            ("header", Some("headers")),
            ("client", Some("client_ip")),
            ("zzz", None),
            ("", None),
            ("x", None),
        ] {
            assert_eq!(did_you_mean(typed, keys), meant, "{typed}");
        }
        assert_eq!(did_you_mean(&"a".repeat(100_000), keys), None);
    }
}
