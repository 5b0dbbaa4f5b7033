//! A matcher that cannot be shown by `explain` and on admin pages.

use portcullis::Matcher;
use portcullis::route::{MatchError, RequestView};

struct Never;

impl Matcher for Never {
    fn matches(&self, _: &RequestView<'_>) -> Result<bool, MatchError> {
        Ok(false)
    }
}

fn main() {}
