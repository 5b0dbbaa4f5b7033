//! A filter registered where a factory is asked for.

use portcullis::HeadFilter;

struct Mark;

impl HeadFilter for Mark {}

fn main() {
    let _ = portcullis::Registry::builder().filter::<Mark>();
}
