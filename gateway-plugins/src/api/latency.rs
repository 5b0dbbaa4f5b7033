//! Telling API clients where the time went.

use http::{HeaderName, HeaderValue};
use portcullis_core::exchange::Exchange;
use portcullis_core::{GatewayError, Handler, Request, Response};
use tower::Layer;

const UPSTREAM: HeaderName = HeaderName::from_static("x-portcullis-upstream-latency");
const PROXY: HeaderName = HeaderName::from_static("x-portcullis-proxy-latency");

/// Adds `x-portcullis-upstream-latency` and `x-portcullis-proxy-latency` to replies, in milliseconds.
///
/// They mean what Kong's `X-Kong-Upstream-Latency` and `X-Kong-Proxy-Latency` mean: how long the upstream
/// took to its response head, and how long the gateway took besides. A reply that no upstream made has
/// only the second.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct LatencyLayer;

// No bound here: what is no handler is then reported where the whole stack has to be one.
impl<H> Layer<H> for LatencyLayer {
    type Service = Latency<H>;

    fn layer(&self, inner: H) -> Latency<H> {
        Latency(inner)
    }
}

/// The handler made by [`LatencyLayer`].
#[derive(Clone, Debug)]
pub struct Latency<H>(H);

impl<H: Handler> Handler for Latency<H> {
    async fn handle(&self, mut request: Request) -> Result<Response, GatewayError> {
        let exchange = Exchange::of(&mut request);
        let mut response = self.0.handle(request).await?;
        let whole = exchange.elapsed();
        let state = exchange.state();
        let upstream = match (state.upstream_started, state.upstream_head) {
            (Some(started), Some(head)) => Some(head.saturating_sub(started)),
            _ => None,
        };
        drop(state);
        let headers = response.headers_mut();
        let millis = |time: std::time::Duration| {
            HeaderValue::from(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
        };
        if let Some(upstream) = upstream {
            headers.insert(UPSTREAM, millis(upstream));
        }
        headers.insert(
            PROXY,
            millis(whole.saturating_sub(upstream.unwrap_or_default())),
        );
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use portcullis_core::Body;
    use portcullis_core::handler::handler_fn;

    use super::*;

    #[tokio::test]
    async fn a_reply_without_an_upstream_has_only_the_gateway_s_share() {
        let inner = handler_fn(|_| async { Ok(Response::new(Body::empty())) });
        let request = Request::new(Body::empty());
        let response = LatencyLayer.layer(inner).handle(request).await.unwrap();
        assert!(response.headers().contains_key(PROXY));
        assert!(!response.headers().contains_key(UPSTREAM));
    }
}
