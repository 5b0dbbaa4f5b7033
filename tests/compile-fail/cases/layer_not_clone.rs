//! A layer whose service cannot be cloned for each request.

use std::task::{Context, Poll};

use portcullis::{NoConfig, Request, SharedService};
use tower::{Layer, Service};

struct OnceLayer;

impl Layer<SharedService> for OnceLayer {
    type Service = Once;

    fn layer(&self, inner: SharedService) -> Once {
        Once(inner)
    }
}

struct Once(SharedService);

impl Service<Request> for Once {
    type Response = <SharedService as Service<Request>>::Response;
    type Error = <SharedService as Service<Request>>::Error;
    type Future = <SharedService as Service<Request>>::Future;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        Service::call(&mut self.0, request)
    }
}

fn main() {
    let _ = portcullis::Registry::builder().layer("acme.once", |_: NoConfig, _| Ok(OnceLayer));
}
