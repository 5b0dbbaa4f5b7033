//! A filter without `#[async_trait]`.

use portcullis::{Filter, FilterCx, Flow, GatewayError};

struct Waits;

impl Filter for Waits {
    async fn on_request(&self, _: &mut FilterCx<'_>) -> Result<Flow, GatewayError> {
        Ok(Flow::Continue)
    }
}

fn main() {}
