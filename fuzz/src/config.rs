//! Configurations.

mod generate;

use portcullis_core::config::{Diagnostics, Format, MAX_MISTAKES, lower, parse_native, to_native};
use portcullis_core::route::{RouteIndex, RouteSpec};
use portcullis_core::testing::fuzz::{ReadText, read_configuration};

/// What locations name.
const FILE: &str = "g.yaml";

/// A `~` in front says that the rest chooses values for what the schema knows; `#toml` in the first line that the text
/// is TOML. Anything else is YAML.
pub fn config(data: &[u8]) {
    match data.split_first() {
        Some((b'~', rest)) => {
            if let Ok(value) = generate::document(rest) {
                read(&value.to_string(), Format::Json);
            }
        }
        _ => {
            let Ok(text) = std::str::from_utf8(data) else {
                return;
            };
            let toml = text.starts_with("#toml");
            read(text, if toml { Format::Toml } else { Format::Yaml });
        }
    }
}

fn read(text: &str, format: Format) {
    let found = read_configuration(FILE, text, format);
    told(text, &found.problems);
    let again = read_configuration(FILE, text, format);
    assert_eq!(
        found.problems.to_string(),
        again.problems.to_string(),
        "the same text is told two things"
    );
    agree(text, format, &found);
    if !found.problems.has_errors() {
        comes_back(&found);
        routes(found);
    }
}

/// Reading all that can be read and reading what is right come to the same.
fn agree(text: &str, format: Format, found: &ReadText) {
    match parse_native(FILE, text, format) {
        Ok(written) => {
            assert_eq!(written, found.written);
            let meant = lower(&written, &mut Diagnostics::new());
            assert_eq!(meant.is_none(), found.problems.has_errors());
        }
        Err(problems) => assert!(problems.has_errors() && found.problems.has_errors()),
    }
}

/// Every mistake says what is wrong and where, once.
fn told(text: &str, problems: &Diagnostics) {
    // Both stages and the notation have limits of their own.
    assert!(problems.len() <= 100 + MAX_MISTAKES + 1 + text.len());
    // A CR alone ends a line too.
    let lines = 1 + text.matches(['\n', '\r']).count();
    let longest = text.lines().map(|line| line.chars().count()).max();
    let mut seen = std::collections::HashSet::new();
    for problem in problems {
        assert!(!problem.message.trim().is_empty(), "{problem:?}");
        let at = problem.at.as_ref();
        let at = at.unwrap_or_else(|| panic!("nobody knows where: {problem}"));
        assert_eq!(&*at.file, FILE);
        assert!(at.line as usize <= lines, "{problem}");
        assert!(at.column as usize <= longest.unwrap_or(0) + 2, "{problem}");
        assert_eq!(at.line == 0, at.column == 0, "{problem}");
        assert!(seen.insert(problem.to_string()), "said twice: {problem}");
    }
}

/// A configuration without errors is the same when it is written and read again.
fn comes_back(found: &ReadText) {
    let written = to_native(&found.written).expect("paths are text");
    let again = read_configuration("again.yaml", &written, Format::Yaml);
    assert!(
        !again.problems.has_errors(),
        "{}\n{written}",
        again.problems
    );
    assert_eq!(again.written, found.written, "{written}");
    assert_eq!(
        to_native(&again.written).expect("paths are text"),
        written,
        "written in another way the second time"
    );
    assert_eq!(again.meant.routes.len(), found.meant.routes.len());
    for (one, other) in found.meant.routes.iter().zip(&again.meant.routes) {
        assert_eq!(one.fingerprint, other.fingerprint, "{written}");
    }
    for (one, other) in found.meant.upstreams.iter().zip(&again.meant.upstreams) {
        assert_eq!(one.fingerprint, other.fingerprint, "{written}");
    }
}

/// The routes of a configuration without errors can be compiled.
fn routes(found: ReadText) {
    let specs = found.meant.routes.into_iter().map(|route| RouteSpec {
        matches: route.matches,
        priority: route.priority,
        ..RouteSpec::new(route.name, ())
    });
    // Only what is too large is left to be refused.
    let _ = RouteIndex::compile(specs.collect());
}
