//! A filter that waits, registered as one that sees heads.

use portcullis::{Filter, FilterCx, Flow, GatewayError, NoConfig, async_trait};

struct Waits;

#[async_trait]
impl Filter for Waits {
    async fn on_request(&self, _: &mut FilterCx<'_>) -> Result<Flow, GatewayError> {
        Ok(Flow::Continue)
    }
}

fn main() {
    let _ = portcullis::Registry::builder().head_filter("acme.waits", |_: NoConfig, _| Ok(Waits));
}
