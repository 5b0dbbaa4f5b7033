//! Filters: small objects that look at requests on the way down and at replies on the way up.
//!
//! Three weights, which a chain may mix:
//!
//! | weight | sees | may | costs |
//! |---|---|---|---|
//! | [`HeadFilter`] | heads | answer, change headers | a virtual call |
//! | [`Filter`] | heads and bodies | wait, buffer, call out, answer | a boxed future per used hook |
//! | any tower `Layer` | everything | anything | a clone and two boxes |
//!
//! Requests go down the list in the order of the configuration; replies come back up through every
//! filter that continued, rendered errors included, so that CORS headers stand on a 401 too.

mod chain;
mod cx;
mod factory;
mod head;
mod phase;
mod store;

use async_trait::async_trait;

pub use chain::{Chain, ChainBuilder, Stage};
pub(crate) use chain::{HeadRun, settle};
pub use cx::FilterCx;
pub use factory::{BuildCx, BuildError, FilterFactory, NoConfig};
pub use head::{HeadFilter, RequestHead, ResponseHead};
pub use phase::Phase;
pub use store::StateStore;

use crate::error::GatewayError;
use crate::handler::Response;

/// What happens after a filter saw a request.
#[derive(Debug)]
#[must_use]
pub enum Flow {
    /// The next filter, and in the end the upstream, sees the request.
    Continue,
    /// This reply goes back up through the filters that continued. The filter that made it does not see it again.
    Reply(Response),
}

/// Which hooks of a [`Filter`] do something; the others are never called and so never boxed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hooks {
    /// Both hooks.
    Both,
    /// Only `on_request`.
    Request,
    /// Only `on_response`.
    Response,
}

impl Hooks {
    pub(crate) fn request(self) -> bool {
        self != Self::Response
    }

    pub(crate) fn response(self) -> bool {
        self != Self::Request
    }
}

/// An asynchronous filter: may wait, buffer a body, call another service, answer.
///
/// Order: `on_request` runs down the list; `on_response` runs up through the filters that continued, for
/// replies of the upstream, of inner filters and for rendered errors. An error in `on_request` is rendered
/// and goes up through the filters before this one; an error in `on_response` replaces the reply.
///
/// # Cancel safety
/// The future is dropped when the client goes away or the route's deadline passes.
///
/// Right: keep per-request state in the context.
/// ```
/// use portcullis_core::filter::{Filter, FilterCx, Flow};
/// use portcullis_core::{GatewayError, async_trait};
///
/// struct Timed;
///
/// #[async_trait]
/// impl Filter for Timed {
///     async fn on_request(&self, cx: &mut FilterCx<'_>) -> Result<Flow, GatewayError> {
///         let now = portcullis_core::clock::Clock.now();
///         cx.set_slot(now);
///         Ok(Flow::Continue)
///     }
/// }
/// ```
/// Wrong: a field such as `started: Mutex<Instant>`; one filter object serves all requests at once.
#[async_trait]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a filter",
    label = "this does not implement `Filter`",
    note = "a filter that only looks at heads implements `HeadFilter` and is registered with `head_filter`",
    note = "put `#[async_trait]` above `impl Filter for {Self}`"
)]
pub trait Filter: Send + Sync + 'static {
    /// Sees the request on its way down.
    ///
    /// # Errors
    /// Any failure; it is rendered for the client like a failure of the upstream.
    async fn on_request(&self, cx: &mut FilterCx<'_>) -> Result<Flow, GatewayError> {
        let _ = cx;
        Ok(Flow::Continue)
    }

    /// Sees the reply on its way up.
    ///
    /// # Errors
    /// Any failure; its rendering replaces the reply.
    async fn on_response(&self, cx: &mut FilterCx<'_>) -> Result<(), GatewayError> {
        let _ = cx;
        Ok(())
    }

    /// Which hooks are worth calling.
    fn hooks(&self) -> Hooks {
        Hooks::Both
    }
}
