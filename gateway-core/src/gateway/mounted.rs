//! A listener of a gateway without sockets, mounted in another server.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::StatusCode;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::cell::ListenerCell;
use super::mounted_tunnel::{Offer, check_switch};
use crate::body::Body;
use crate::conn::ExchangeReport;
use crate::error::{BoxError, GatewayError};
use crate::exchange::{ConnInfo, Exchange};
use crate::filter::settle;
use crate::handler::{BoxFuture, Response};

/// A listener's stack as a `tower::Service` that never fails: errors are rendered.
///
/// It follows reloads. WebSockets and other upgrades go through where the server around it lets them: that of
/// axum does, one of hyper's has to serve its connections `with_upgrades`, and with `enable_connect_protocol`
/// for those over HTTP/2 (RFC 8441).
#[derive(Clone, Debug)]
pub struct HttpService {
    cell: Arc<ListenerCell>,
}

impl HttpService {
    pub(super) fn new(cell: Arc<ListenerCell>) -> Self {
        Self { cell }
    }

    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn cell(&self) -> &Arc<ListenerCell> {
        &self.cell
    }
}

impl<B> tower_service::Service<http::Request<B>> for HttpService
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let entry = self.cell.current();
        let max_body = entry.settings.body.max_bytes;
        Box::pin(async move {
            let mut request = request.map(Body::new);
            let info = request
                .extensions()
                .get::<ConnInfo>()
                .cloned()
                .unwrap_or_default();
            let exchange = Exchange::new(Arc::new(info));
            request.extensions_mut().insert(exchange.clone());
            let mut report = ExchangeReport::new(exchange.clone(), entry.telemetry.clone());
            let offer = Offer::of(&mut request);
            let outcome = match report.admit(&request, max_body) {
                Ok(()) => {
                    if max_body < u64::MAX && offer.is_none() {
                        request = request.map(|body| body.limited(max_body));
                    }
                    entry.service.call(request).await
                }
                Err(error) => Err(error),
            };
            drop(entry);
            let response = outcome
                .and_then(|response| check_switch(response, offer.as_ref()))
                .unwrap_or_else(|error| settle(error, &exchange));
            report.head(response.status());
            if response.status() == StatusCode::SWITCHING_PROTOCOLS
                && let Some(offer) = offer
            {
                return Ok(offer.take_up(response, report));
            }
            Ok(response.map(|body| {
                Body::new(Reported {
                    body,
                    sent: 0,
                    report: Some(report),
                })
            }))
        })
    }
}

/// A reply's body that reports the exchange when it ends or is dropped.
struct Reported {
    body: Body,
    sent: u64,
    report: Option<ExchangeReport>,
}

impl HttpBody for Reported {
    type Data = Bytes;
    type Error = GatewayError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, GatewayError>>> {
        let this = &mut *self;
        let frame = std::task::ready!(Pin::new(&mut this.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => this.sent += frame.data_ref().map_or(0, |data| data.len() as u64),
            Some(Err(error)) => {
                if let Some(report) = this.report.take() {
                    report.failed(error);
                }
            }
            None => {}
        }
        let over = frame.is_none() || this.body.is_end_stream();
        if over && let Some(report) = this.report.take() {
            report.complete(0, this.sent);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Reported {
    fn drop(&mut self) {
        // A server that sees an empty body does not poll it at all.
        if self.body.is_end_stream()
            && let Some(report) = self.report.take()
        {
            report.complete(0, self.sent);
        }
    }
}
