//! A configuration that can be read, but of which no schema can be shown.

use portcullis::HeadFilter;

#[derive(serde::Deserialize)]
struct MarkConfig {
    text: String,
}

struct Mark(String);

impl HeadFilter for Mark {}

fn main() {
    let _ = portcullis::registry().head_filter("acme.mark", |config: MarkConfig, _| Ok(Mark(config.text)));
}
