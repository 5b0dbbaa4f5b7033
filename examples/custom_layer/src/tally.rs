//! A tower layer as you would write it for any other server: nothing here knows the gateway.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use tower::{Layer, Service};

/// Counts the requests that pass.
#[derive(Clone)]
pub(crate) struct TallyLayer {
    requests: Arc<AtomicU64>,
}

impl TallyLayer {
    pub(crate) fn new(requests: Arc<AtomicU64>) -> Self {
        Self { requests }
    }
}

impl<S> Layer<S> for TallyLayer {
    type Service = Tally<S>;

    fn layer(&self, inner: S) -> Tally<S> {
        Tally {
            inner,
            requests: self.requests.clone(),
        }
    }
}

/// The service made by [`TallyLayer`]. Its clones share the count, as an island clones it for each request.
#[derive(Clone)]
pub(crate) struct Tally<S> {
    inner: S,
    requests: Arc<AtomicU64>,
}

impl<R, S: Service<R>> Service<R> for Tally<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> S::Future {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.inner.call(request)
    }
}
