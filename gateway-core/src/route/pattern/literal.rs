//! Finds the text that every match of a regular expression begins with.

use regex_syntax::hir::{Hir, HirKind, Look};

/// The bytes at the start of every text that `tree` can match. `anchored` says that a match has to
/// begin where the text begins even if the expression does not ask for it.
pub(super) fn prefix(tree: &Hir, anchored: bool) -> Vec<u8> {
    let mut gathered = Gathered {
        anchored,
        bytes: Vec::new(),
    };
    gathered.add(tree);
    gathered.bytes
}

struct Gathered {
    anchored: bool,
    bytes: Vec<u8>,
}

impl Gathered {
    /// Adds what `tree` begins with; true when `tree` is nothing but that, so that its successor counts.
    /// The parser's nesting limit bounds the recursion.
    fn add(&mut self, tree: &Hir) -> bool {
        match tree.kind() {
            HirKind::Empty => true,
            HirKind::Literal(literal) if self.anchored => {
                self.bytes.extend_from_slice(&literal.0);
                true
            }
            HirKind::Look(Look::Start) if self.bytes.is_empty() => {
                self.anchored = true;
                true
            }
            HirKind::Capture(group) => self.add(&group.sub),
            HirKind::Concat(parts) => parts.iter().all(|part| self.add(part)),
            HirKind::Repetition(repeated) if repeated.min > 0 => {
                self.add(&repeated.sub);
                false
            }
            HirKind::Alternation(branches) => {
                let begun = branches.iter().map(|branch| prefix(branch, self.anchored));
                self.bytes.extend(begun.reduce(common).unwrap_or_default());
                false
            }
            _ => false,
        }
    }
}

fn common(mut left: Vec<u8>, right: Vec<u8>) -> Vec<u8> {
    let length = left.iter().zip(&right).take_while(|(a, b)| a == b).count();
    left.truncate(length);
    left
}
