//! Reads the text of a rule.

use super::{
    MAX_RULE_BYTES, MAX_RULE_DEPTH, RuleErrorKind,
    alternatives::{self, Alternatives},
    matchers,
};
use crate::route::RouteMatch;

/// An offset in bytes and what is wrong there.
pub(super) type Problem = (usize, RuleErrorKind);

/// A string argument and where it begins.
#[derive(Debug)]
pub(super) struct Argument {
    pub(super) offset: usize,
    pub(super) text: String,
}

pub(super) fn parse(rule: &str) -> Result<Vec<RouteMatch>, Problem> {
    if rule.len() > MAX_RULE_BYTES {
        return Err((0, RuleErrorKind::TooLong { length: rule.len() }));
    }
    let mut parser = Parser {
        rule,
        offset: 0,
        depth: 0,
    };
    parser.skip_space();
    if parser.rest().is_empty() {
        return Err((0, RuleErrorKind::Empty));
    }
    let parsed = parser.disjunction()?;
    if parser.rest().is_empty() {
        Ok(parsed)
    } else {
        Err(parser.unexpected("`&&`, `||` or the end of the rule"))
    }
}

/// Every method leaves the offset behind trailing white space.
struct Parser<'r> {
    rule: &'r str,
    offset: usize,
    depth: usize,
}

impl Parser<'_> {
    fn disjunction(&mut self) -> Result<Alternatives, Problem> {
        let mut parsed = self.conjunction()?;
        loop {
            let operator = self.offset;
            if !self.accept("||") {
                return Ok(parsed);
            }
            let right = self.conjunction()?;
            parsed = alternatives::either(parsed, right).map_err(|kind| (operator, kind))?;
        }
    }

    fn conjunction(&mut self) -> Result<Alternatives, Problem> {
        let mut parsed = self.operand()?;
        loop {
            let operator = self.offset;
            if !self.accept("&&") {
                return Ok(parsed);
            }
            let right = self.operand()?;
            parsed = alternatives::both(parsed, right).map_err(|kind| (operator, kind))?;
        }
    }

    fn operand(&mut self) -> Result<Alternatives, Problem> {
        let start = self.offset;
        if self.accept("!") {
            self.descend(start)?;
            let negated = self.operand()?;
            self.depth -= 1;
            return Ok(alternatives::none(negated));
        }
        if self.accept("(") {
            self.descend(start)?;
            let inner = self.disjunction()?;
            self.depth -= 1;
            if !self.accept(")") {
                return Err(self.unexpected("`&&`, `||` or `)`"));
            }
            return Ok(inner);
        }
        self.call().map(|condition| vec![condition])
    }

    fn descend(&mut self, start: usize) -> Result<(), Problem> {
        self.depth += 1;
        if self.depth > MAX_RULE_DEPTH {
            return Err((start, RuleErrorKind::TooDeep));
        }
        Ok(())
    }

    fn call(&mut self) -> Result<RouteMatch, Problem> {
        let start = self.offset;
        let rest = self.rest();
        let length = rest
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        if length == 0 || rest.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(self.unexpected("a matcher, `!` or `(`"));
        }
        let name = rest[..length].to_owned();
        self.advance(length);
        let matcher = matchers::named(&name).map_err(|kind| (start, kind))?;
        if !self.accept("(") {
            return Err(self.unexpected("`(`"));
        }
        let mut arguments = Vec::new();
        if !self.accept(")") {
            loop {
                arguments.push(self.string()?);
                if self.accept(")") {
                    break;
                }
                if !self.accept(",") {
                    return Err(self.unexpected("`,` or `)`"));
                }
                // Go allows a comma behind the last argument.
                if self.accept(")") {
                    break;
                }
            }
        }
        matcher.condition(start, &arguments)
    }

    fn string(&mut self) -> Result<Argument, Problem> {
        let offset = self.offset;
        let rest = self.rest();
        let (text, length) = match rest.bytes().next() {
            Some(b'`') => {
                let end = rest[1..].find('`');
                let end = end.ok_or((offset, RuleErrorKind::UnclosedString))?;
                // Go drops carriage returns from raw strings.
                (rest[1..=end].replace('\r', ""), end + 2)
            }
            Some(b'"') => {
                let (text, length) =
                    unquote(rest).map_err(|(at, kind)| (offset.saturating_add(at), kind))?;
                (text, length)
            }
            Some(b'\'') => return Err((offset, RuleErrorKind::SingleQuote)),
            _ => return Err(self.unexpected("a quoted string")),
        };
        self.advance(length);
        Ok(Argument { offset, text })
    }

    fn rest(&self) -> &str {
        &self.rule[self.offset..]
    }

    fn accept(&mut self, token: &str) -> bool {
        let accepted = self.rest().starts_with(token);
        if accepted {
            self.advance(token.len());
        }
        accepted
    }

    fn advance(&mut self, length: usize) {
        self.offset += length;
        self.skip_space();
    }

    fn skip_space(&mut self) {
        let rest = self.rest();
        let space = rest.len() - rest.trim_ascii_start().len();
        self.offset += space;
    }

    fn unexpected(&self, expected: &'static str) -> Problem {
        let found = match self.rest().chars().next() {
            None => "the end of the rule".to_owned(),
            Some('\'') => return (self.offset, RuleErrorKind::SingleQuote),
            Some(c) => format!("{c:?}"),
        };
        (self.offset, RuleErrorKind::Unexpected { expected, found })
    }
}

/// Reads the double-quoted string that `text` begins with, by the rules of Go's interpreted string literals.
/// Gives the value and the length of the literal in bytes.
fn unquote(text: &str) -> Result<(String, usize), Problem> {
    let bytes = text.as_bytes();
    let mut value = Vec::new();
    let mut at = 1;
    loop {
        match bytes.get(at) {
            None | Some(b'\n') => return Err((0, RuleErrorKind::UnclosedString)),
            Some(b'"') => break,
            Some(b'\\') => {
                let (used, decoded) = escape(&text[at..]).ok_or((at, RuleErrorKind::Escape))?;
                match decoded {
                    Escaped::Byte(byte) => value.push(byte),
                    Escaped::Char(c) => {
                        value.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                    }
                }
                at += used;
            }
            Some(&byte) => {
                value.push(byte);
                at += 1;
            }
        }
    }
    let value = String::from_utf8(value).map_err(|_| (0, RuleErrorKind::Escape))?;
    Ok((value, at + 1))
}

enum Escaped {
    Byte(u8),
    Char(char),
}

/// Decodes the escape that `text` begins with and says how many bytes it has.
fn escape(text: &str) -> Option<(usize, Escaped)> {
    let number = |start: usize, digits: usize, radix: u32| {
        let digits = text.get(start..start + digits)?;
        // Signs would parse as well.
        digits
            .bytes()
            .all(|b| b.is_ascii_hexdigit())
            .then(|| u32::from_str_radix(digits, radix).ok())?
    };
    let byte = |value: u32| u8::try_from(value).ok().map(Escaped::Byte);
    let character = |value: u32| char::from_u32(value).map(Escaped::Char);
    Some(match text.as_bytes().get(1)? {
        b'a' => (2, Escaped::Byte(0x07)),
        b'b' => (2, Escaped::Byte(0x08)),
        b'f' => (2, Escaped::Byte(0x0C)),
        b'n' => (2, Escaped::Byte(b'\n')),
        b'r' => (2, Escaped::Byte(b'\r')),
        b't' => (2, Escaped::Byte(b'\t')),
        b'v' => (2, Escaped::Byte(0x0B)),
        b'\\' => (2, Escaped::Byte(b'\\')),
        b'"' => (2, Escaped::Byte(b'"')),
        b'0'..=b'7' => (4, byte(number(1, 3, 8)?)?),
        b'x' => (4, byte(number(2, 2, 16)?)?),
        b'u' => (6, character(number(2, 4, 16)?)?),
        b'U' => (10, character(number(2, 8, 16)?)?),
        _ => return None,
    })
}
