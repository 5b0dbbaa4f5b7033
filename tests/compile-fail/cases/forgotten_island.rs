//! A third-party layer without `island`.

use std::time::Duration;

use portcullis::handler::handler_fn;
use portcullis::{Body, Request, Response, SharedService};
use tower::ServiceBuilder;
use tower::timeout::TimeoutLayer;

fn main() {
    let stack = ServiceBuilder::new()
        .layer(TimeoutLayer::new(Duration::from_secs(1)))
        .service(handler_fn(|_: Request| async { Ok(Response::new(Body::empty())) }));
    let _ = SharedService::new(stack);
}
