//! A filter that sees heads, registered as one that waits.

use portcullis::{Flow, GatewayError, HeadFilter, NoConfig, RequestHead};

struct Looks;

impl HeadFilter for Looks {
    fn on_request(&self, _: &mut RequestHead<'_>) -> Result<Flow, GatewayError> {
        Ok(Flow::Continue)
    }
}

fn main() {
    let _ = portcullis::Registry::builder().async_filter("acme.looks", |_: NoConfig, _| Ok(Looks));
}
