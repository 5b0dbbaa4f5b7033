//! Telling the workload who calls.

use http::{HeaderName, HeaderValue};
use portcullis_core::exchange::Exchange;
use portcullis_core::principal::{Principal, PrincipalKind};
use portcullis_core::{GatewayError, Handler, Request, Response};
use tower::Layer;

/// The header in which Envoy-based meshes pass on the verified identity of the caller.
const CLIENT_CERT: HeaderName = HeaderName::from_static("x-forwarded-client-cert");

/// Replaces `x-forwarded-client-cert` by the identity that the caller's certificate proved
/// (Istio's `forwardClientCertDetails: SANITIZE_SET` with the URI).
///
/// What the caller itself sent under that name never gets through.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct IdentityHeadersLayer;

// No bound here: what is no handler is then reported where the whole stack has to be one.
impl<H> Layer<H> for IdentityHeadersLayer {
    type Service = IdentityHeaders<H>;

    fn layer(&self, inner: H) -> IdentityHeaders<H> {
        IdentityHeaders(inner)
    }
}

/// The handler made by [`IdentityHeadersLayer`].
#[derive(Clone, Debug)]
pub struct IdentityHeaders<H>(H);

impl<H: Handler> Handler for IdentityHeaders<H> {
    async fn handle(&self, mut request: Request) -> Result<Response, GatewayError> {
        request.headers_mut().remove(CLIENT_CERT);
        let exchange = Exchange::of(&mut request);
        let said = exchange.conn().principal.as_ref().and_then(element);
        drop(exchange);
        if let Some(value) = said {
            request.headers_mut().insert(CLIENT_CERT, value);
        }
        self.0.handle(request).await
    }
}

fn element(principal: &Principal) -> Option<HeaderValue> {
    if principal.kind() != PrincipalKind::Workload || !principal.id().starts_with("spiffe://") {
        return None;
    }
    HeaderValue::from_str(&format!("URI={}", principal.id())).ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use portcullis_core::Body;
    use portcullis_core::exchange::ConnInfo;
    use portcullis_core::handler::handler_fn;

    use super::*;

    async fn seen(principal: Option<Principal>) -> Option<String> {
        let mut info = ConnInfo::default();
        info.principal = principal;
        let mut request = Request::new(Body::empty());
        request
            .headers_mut()
            .insert(CLIENT_CERT, HeaderValue::from_static("URI=spiffe://forged"));
        request
            .extensions_mut()
            .insert(Exchange::new(Arc::new(info)));
        let echo = handler_fn(|request: Request| async move {
            let mut response = Response::new(Body::empty());
            if let Some(value) = request.headers().get(CLIENT_CERT) {
                response.headers_mut().insert(CLIENT_CERT, value.clone());
            }
            Ok(response)
        });
        let response = IdentityHeadersLayer
            .layer(echo)
            .handle(request)
            .await
            .unwrap();
        let value = response.headers().get(CLIENT_CERT)?;
        Some(value.to_str().unwrap().to_owned())
    }

    #[tokio::test]
    async fn says_what_was_proved_and_nothing_else() {
        assert_eq!(seen(None).await, None);
        let caller = Principal::workload("spiffe://mesh.example/ns/a/sa/b", "mtls").build();
        assert_eq!(
            seen(Some(caller)).await.as_deref(),
            Some("URI=spiffe://mesh.example/ns/a/sa/b")
        );
    }
}
