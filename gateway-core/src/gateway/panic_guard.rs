//! A panic in a filter becomes a 500, not a broken connection.

use std::panic::AssertUnwindSafe;

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

impl<H: Handler> Handler for PanicGuard<H> {
    async fn handle(&self, request: Request) -> Result<Response, GatewayError> {
        // The request is gone after a panic and the handler is used by other requests anyway, so
        // nothing half-done is seen that could not be seen without the panic.
        match AssertUnwindSafe(self.0.handle(request))
            .catch_unwind()
            .await
        {
            Ok(outcome) => outcome,
            Err(panic) => {
                let text = panic
                    .downcast_ref::<&str>()
                    .copied()
                    .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
                    .unwrap_or("a value that is no text");
                tracing::error!(panic = text, "a request handler panicked");
                Err(
                    GatewayError::internal("answering the request: a handler panicked")
                        .with_reason("panic"),
                )
            }
        }
    }
}
