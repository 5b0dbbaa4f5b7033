//! A type that answers nothing.

use portcullis::SharedService;

struct Page(&'static str);

fn main() {
    let _ = SharedService::new(Page("hello"));
}
