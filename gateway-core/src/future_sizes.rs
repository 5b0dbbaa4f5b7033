//! How large the futures of the request path are, and what their seams promise.
//!
//! A future's size is memory that every connection or request holds, and bytes that are moved when it is
//! boxed or returned by value. Requests are to be moved at seams only, so a stage that begins to move them,
//! or holds a large value across an await, shows up here. Sizes are those of a 64-bit target with the
//! pinned compiler; debug and release builds lay futures out alike.
//!
//! A budget is what was measured when it was set and about a tenth more. One that is exceeded is raised on
//! purpose, with a reason in the commit; one that is far from reached is lowered. A listener's stack is in
//! one box with everything up to the route's seam, a route's chain in another with everything up to the
//! socket, so `Forward` is the largest part of what a request in flight holds.

use std::sync::Arc;

use crate::body::Body;
use crate::exchange::Exchange;
use crate::filter::{Chain, FilterCx, Stage};
use crate::forward::{AttemptCx, Forward, SendOnce, UpstreamClient};
use crate::gateway::{Chained, Gateway, GatewayHandle, HttpService, PanicGuard};
use crate::handler::{Handler, IntoService, Request, Response, SharedService};
use crate::hygiene::{Hygiene, HygieneLayer};
use crate::registry::Registry;
use crate::select::SelectRoute;

/// The size of the future that `function` returns.
pub(crate) fn of<A, F: Future>(_: impl Fn(A) -> F) -> usize {
    size_of::<F>()
}

/// The size of the future of a handler, which is what one box of a seam holds.
fn of_handler<H: Handler>() -> usize {
    of(|(handler, request): (&'static H, Request)| handler.handle(request))
}

/// Fails with all sizes that are over their budgets.
#[track_caller]
pub(crate) fn assert_within(budgets: &[(&str, usize, usize)]) {
    let over: Vec<String> = budgets
        .iter()
        .filter(|(_, size, budget)| size > budget)
        .map(|(what, size, budget)| format!("{what}: {size} bytes, budget {budget}"))
        .collect();
    assert!(over.is_empty(), "futures have grown: {over:#?}");
}

#[test]
fn request_path_futures_stay_within_their_budgets() {
    type Listener = PanicGuard<Hygiene<Chained<SelectRoute>>>;
    assert_within(&[
        ("a request", size_of::<Request>(), 288),
        ("a response", size_of::<Response>(), 176),
        ("context of a filter run", size_of::<FilterCx<'_>>(), 512),
        ("stack of a listener", of_handler::<Listener>(), 416),
        ("selecting a route", of_handler::<SelectRoute>(), 384),
        // The largest piece of memory that the C library keeps for its thread.
        ("forwarding", of_handler::<Forward>(), 1056),
        (
            "forwarding behind backend filters",
            of_handler::<SendOnce>(),
            3312,
        ),
        ("one attempt", of(attempt), 656),
        ("a seam", of_handler::<SharedService>(), 24),
    ]);
}

type Attempt = (
    &'static UpstreamClient,
    &'static http::request::Parts,
    Body,
    &'static AttemptCx,
    &'static Exchange,
);

fn attempt((client, parts, body, cx, exchange): Attempt) -> impl Future {
    client.send(parts, body, cx, exchange)
}

#[test]
fn what_stands_at_seams_can_be_shared_cloned_and_sent() {
    fn shareable<T: Clone + Send + Sync + 'static>() {}
    fn sendable<T: Send + 'static>(
        _: impl Fn(T) -> crate::handler::BoxFuture<'static, Result<Response, crate::GatewayError>>,
    ) {
    }
    fn service<S>()
    where
        S: tower_service::Service<http::Request<Body>, Future: Send + 'static>
            + Clone
            + Send
            + Sync
            + 'static,
    {
    }

    shareable::<SharedService>();
    shareable::<IntoService<Body>>();
    shareable::<HttpService>();
    shareable::<GatewayHandle>();
    shareable::<Registry>();
    shareable::<Chain>();
    shareable::<Stage>();
    shareable::<Exchange>();
    shareable::<HygieneLayer>();
    shareable::<Arc<UpstreamClient>>();
    service::<SharedService>();
    service::<IntoService<Body>>();
    service::<HttpService>();
    sendable(|(shared, request): (SharedService, Request)| shared.call_owned(request));

    fn sent<T: Send + 'static>() {}
    sent::<Gateway>();
    sent::<Request>();
    sent::<Response>();
}
