//! A third-party layer without `island`, inside of a layer that needs a handler to be made at all.

use std::time::Duration;

use portcullis::gateway::ChainLayer;
use portcullis::handler::handler_fn;
use portcullis::{Body, Request, Response};
use tower::ServiceBuilder;
use tower::timeout::TimeoutLayer;

fn main() {
    let _ = ServiceBuilder::new()
        .layer(ChainLayer::default())
        .layer(TimeoutLayer::new(Duration::from_secs(1)))
        .service(handler_fn(|_: Request| async { Ok(Response::new(Body::empty())) }));
}
