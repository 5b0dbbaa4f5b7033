//! Reads TOML into trees.

use std::{cell::Cell, collections::HashSet, sync::Arc};

use ::toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    diagnostic::{Diagnostic, Location},
    node::{Format, Parsed},
    tree::{Breach, Builder, Entry, MAX_DEPTH, Mark, NodeId, Payload},
};

/// Mistakes in the notation that are reported for one file.
const MOST_ERRORS: usize = 100;

/// What the parser says of a key that is there already; it keeps the first.
const DUPLICATE: &str = "duplicate key";

/// Gives the document, unless a mistake in the notation leaves unclear what belongs to what.
pub(super) fn parse(file: &Arc<str>, text: &str) -> Parsed {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (table, errors) = DeTable::parse_recoverable(text);
    let lines = Lines::of(text);
    let mut parsed = Parsed::default();
    if !errors.is_empty() {
        let report = |error: &::toml::de::Error| {
            let mark = lines.mark(error.span().map_or(0, |span| span.start));
            Diagnostic::error(format!("invalid TOML: {}", error.message())).at(Location::new(
                Arc::clone(file),
                mark.line,
                mark.column,
            ))
        };
        // The parser may say the same of a place several times.
        let mut said = HashSet::new();
        let news = errors.iter().filter(|error| {
            let start = error.span().map(|span| span.start);
            said.insert((start, error.message()))
        });
        parsed.problems = news.take(MOST_ERRORS).map(report).collect();
        parsed.cut_short = true;
        if errors.iter().any(|error| error.message() != DUPLICATE) {
            return parsed;
        }
    }
    if table.get_ref().is_empty() {
        return parsed;
    }
    let mut reader = Reader {
        builder: Builder::default(),
        lines,
    };
    match reader.table(table.get_ref(), Mark { line: 1, column: 1 }, 1) {
        Ok(root) => {
            let document = reader.builder.finish(file, Some(Format::Toml), root);
            parsed.documents.push(document);
        }
        Err(breach) => {
            let place = Location::new(Arc::clone(file), 0, 0);
            let problem = Diagnostic::error(breach.to_string()).at(place);
            parsed.problems.push(problem);
            parsed.cut_short = true;
        }
    }
    parsed
}

struct Reader<'t> {
    builder: Builder,
    lines: Lines<'t>,
}

impl Reader<'_> {
    fn value(&mut self, value: &Spanned<DeValue<'_>>, depth: usize) -> Result<NodeId, Breach> {
        let mark = self.lines.mark(value.span().start);
        let payload = match value.get_ref() {
            DeValue::String(text) => Payload::String((&**text).into()),
            DeValue::Integer(number) => {
                let (digits, radix) = (number.as_str(), number.radix());
                match (
                    i64::from_str_radix(digits, radix),
                    u64::from_str_radix(digits, radix),
                ) {
                    (Ok(number), _) => Payload::Int(number),
                    (_, Ok(number)) => Payload::UInt(number),
                    _ => Payload::String(digits.into()),
                }
            }
            DeValue::Float(number) => match number.as_str().parse::<f64>() {
                Ok(number) if number.is_finite() => Payload::Float(number),
                _ => Payload::String(number.as_str().into()),
            },
            DeValue::Boolean(truth) => Payload::Bool(*truth),
            DeValue::Datetime(time) => Payload::String(time.to_string().into()),
            DeValue::Array(items) => {
                if depth > MAX_DEPTH {
                    return Err(Breach::Depth);
                }
                let id = self.builder.push(Payload::Null, mark)?;
                let items = items.iter().map(|item| self.value(item, depth + 1));
                let items = items.collect::<Result<_, _>>()?;
                self.builder.fill(id, Payload::Seq(items));
                return Ok(id);
            }
            DeValue::Table(table) => return self.table(table, mark, depth),
        };
        self.builder.push(payload, mark)
    }

    fn table(&mut self, table: &DeTable<'_>, mark: Mark, depth: usize) -> Result<NodeId, Breach> {
        if depth > MAX_DEPTH {
            return Err(Breach::Depth);
        }
        let id = self.builder.push(Payload::Null, mark)?;
        // The table is sorted by key; the order of the file is wanted.
        let mut pairs: Vec<_> = table.iter().collect();
        pairs.sort_by_key(|(key, _)| key.span().start);
        let mut entries = Vec::with_capacity(pairs.len());
        for (key, value) in pairs {
            let mark = self.lines.mark(key.span().start);
            let value = self.value(value, depth + 1)?;
            entries.push(Entry {
                key: (&**key.get_ref()).into(),
                mark,
                value,
            });
        }
        self.builder.fill(id, Payload::Map(entries));
        Ok(id)
    }
}

/// Turns byte offsets into lines and columns.
struct Lines<'t> {
    text: &'t str,
    starts: Vec<usize>,
    /// Offset and column of the last answer: without it a long line would be counted from its start each time.
    last: Cell<(usize, usize)>,
}

impl<'t> Lines<'t> {
    fn of(text: &'t str) -> Self {
        let ends = text
            .bytes()
            .enumerate()
            .filter(|(_, byte)| *byte == b'\n')
            .map(|(at, _)| at + 1);
        Self {
            text,
            starts: std::iter::once(0).chain(ends).collect(),
            last: Cell::new((0, 1)),
        }
    }

    fn mark(&self, offset: usize) -> Mark {
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = line
            .checked_sub(1)
            .and_then(|before| self.starts.get(before))
            .copied()
            .unwrap_or(0);
        let (from, counted) = match self.last.get() {
            (last, column) if (start..=offset).contains(&last) => (last, column),
            _ => (start, 1),
        };
        let column = self
            .text
            .get(from..offset)
            .map_or(0, |text| text.chars().count())
            + counted;
        self.last.set((offset, column));
        let small = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Mark {
            line: small(line),
            column: small(column),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Diagnostics, Document};

    fn parse(file: &Arc<str>, text: &str) -> Result<Vec<Document>, Diagnostics> {
        Document::parse(file, text, Format::Toml)
    }

    fn root(text: &str) -> serde_json::Value {
        let documents = parse(&Arc::from("a.toml"), text).unwrap();
        documents[0].root().to_json()
    }

    #[test]
    fn reads_values_in_the_order_of_the_file() {
        let text = "z = 1\na = [true, 1.5, \"x\", 0xff, 1_000]\nd = 2024-01-02\n[t.u]\nv = 'w'\n";
        assert_eq!(
            root(text).to_string(),
            r#"{"a":[true,1.5,"x",255,1000],"d":"2024-01-02","t":{"u":{"v":"w"}},"z":1}"#
        );
        let documents = parse(&Arc::from("a.toml"), text).unwrap();
        let keys: Vec<_> = documents[0].root().entries().map(|(key, _)| key).collect();
        assert_eq!(keys, ["z", "a", "d", "t"]);
    }

    #[test]
    fn knows_where_things_are() {
        let text = "# é\n[[routes]]\nname = 'a'\n[[routes]]\n  name = 'ü'  \n  path.x = 1\n";
        let documents = parse(&Arc::from("a.toml"), text).unwrap();
        let root = documents[0].root();
        let second = root.get("routes").unwrap().items().nth(1).unwrap();
        assert_eq!(second.location().to_string(), "a.toml:4:1");
        let name = second.get("name").unwrap();
        assert_eq!(name.location().to_string(), "a.toml:5:10");
        assert_eq!(name.key_location().to_string(), "a.toml:5:3");
        assert_eq!(name.path(), "routes[1].name");
        assert_eq!(
            second
                .get("path")
                .unwrap()
                .get("x")
                .unwrap()
                .location()
                .to_string(),
            "a.toml:6:12"
        );
    }

    #[test]
    fn reports_several_mistakes_at_once() {
        let error = parse(&Arc::from("a.toml"), "a = 1\na = 2\nb = [1,\nc = 'x\n").unwrap_err();
        assert!(error.len() > 1, "{error}");
        assert!(
            error
                .to_string()
                .starts_with("a.toml:2:1: error: invalid TOML: duplicate key"),
            "{error}"
        );
    }

    #[test]
    fn a_mistake_is_told_once() {
        let text =
            "name = 'a'\nmatch.path = { exact = \"/t = \"/a\" }\nlist = [{ b\" }]\nc = 'x'\n";
        let error = parse(&Arc::from("a.toml"), text).unwrap_err();
        let told: Vec<_> = error.iter().map(ToString::to_string).collect();
        let mut once = told.clone();
        once.dedup();
        assert!(told.len() > 1 && once == told, "{error}");
    }

    #[test]
    fn deep_nesting_is_refused() {
        for text in [
            format!("a = {}", "[".repeat(100_000)),
            format!("a = {}1{}", "[".repeat(1000), "]".repeat(1000)),
            format!("[{}]", vec!["a"; 100_000].join(".")),
            format!("{} = 1", vec!["a"; 100_000].join(".")),
            format!(
                "[{0}]\n{0} = {1}1{2}",
                vec!["a"; 79].join("."),
                "[".repeat(70),
                "]".repeat(70)
            ),
        ] {
            assert!(parse(&Arc::from("a.toml"), &text).unwrap_err().has_errors());
        }
    }

    #[test]
    fn an_empty_file_holds_no_document() {
        assert!(
            parse(&Arc::from("a.toml"), "# nothing\n")
                .unwrap()
                .is_empty()
        );
    }
}
