//! A panic in a filter becomes a 500, not a broken connection.

use std::any::Any;
use std::future::{Future, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};

use futures_util::FutureExt;
use tower_layer::Layer;

use crate::error::GatewayError;
use crate::handler::{Handler, Request, Response};

/// Turns panics of the inner handler into internal errors.
#[derive(Clone, Copy, Debug, Default)]
pub struct PanicGuardLayer;

// No bound here: what is no handler is then reported where the whole stack has to be one.
impl<H> Layer<H> for PanicGuardLayer {
    type Service = PanicGuard<H>;

    fn layer(&self, inner: H) -> PanicGuard<H> {
        PanicGuard(inner)
    }
}

/// The handler made by [`PanicGuardLayer`].
#[derive(Clone, Copy, Debug)]
pub struct PanicGuard<H>(H);

// These futures are put together by hand where an `async fn` would do: that would keep a copy of the request
// beside the future it passes it to, and all of it is moved into a box for each request.
impl<H: Handler> Handler for PanicGuard<H> {
    fn handle(
        &self,
        request: Request,
    ) -> impl Future<Output = Result<Response, GatewayError>> + Send {
        // The request is gone after a panic and the handler is used by other requests anyway, so
        // nothing half-done is seen that could not be seen without the panic.
        match catch_unwind(AssertUnwindSafe(|| self.0.handle(request))) {
            Ok(answering) => AssertUnwindSafe(answering)
                .catch_unwind()
                .map(|outcome| outcome.unwrap_or_else(panicked))
                .left_future(),
            Err(panic) => ready(panicked(panic)).right_future(),
        }
    }
}

#[cold]
fn panicked(panic: Box<dyn Any + Send>) -> Result<Response, GatewayError> {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a value that is no text");
    tracing::error!(panic = text, "a request handler panicked");
    Err(GatewayError::internal("answering the request: a handler panicked").with_reason("panic"))
}
