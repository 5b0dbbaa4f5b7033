//! The tower layer: one encoder of tower-http for each algorithm, and the choice between them.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Extensions, HeaderMap, Method, StatusCode, Version};
use portcullis_core::handler::BoxFuture;
use portcullis_core::{Body, GatewayError, Request, Response, SharedService};
use tower_http::CompressionLevel;
use tower_http::compression::{Compression as Encode, CompressionLayer as EncodeLayer};
use tower_layer::Layer;
use tower_service::Service;

use super::Algorithm;
use super::eligible::{encode_head, is_eligible, vary, weaken_etag};
use super::negotiate::negotiate;

/// What tower-http asks before it compresses; here the decision was made by [`Prepare`].
type Decided = fn(StatusCode, Version, &HeaderMap, &Extensions) -> bool;

/// A response extension: this reply is to be compressed.
#[derive(Clone)]
struct Chosen;

/// Compresses replies. Each algorithm has an encoder of its own, because tower-http knows one level for all.
#[derive(Clone)]
pub(super) struct CompressionLayer {
    encoders: Arc<[(Algorithm, EncodeLayer<Decided>)]>,
    min_size: u64,
}

impl CompressionLayer {
    pub(super) fn new(
        encoders: impl Iterator<Item = (Algorithm, CompressionLevel)>,
        min_size: u64,
    ) -> Self {
        let encoders = encoders.map(|(algorithm, level)| {
            let decided: Decided = |_, _, _, extensions| extensions.get::<Chosen>().is_some();
            let layer = EncodeLayer::new()
                .gzip(algorithm == Algorithm::Gzip)
                .br(algorithm == Algorithm::Br)
                .zstd(algorithm == Algorithm::Zstd)
                .quality(level)
                .compress_when(decided);
            (algorithm, layer)
        });
        Self {
            encoders: encoders.collect(),
            min_size,
        }
    }
}

impl Layer<SharedService> for CompressionLayer {
    type Service = CompressionService;

    fn layer(&self, inner: SharedService) -> CompressionService {
        let prepare = |algorithm| Prepare {
            inner: inner.clone(),
            algorithm,
            min_size: self.min_size,
        };
        let encoders = self.encoders.iter();
        CompressionService {
            encoders: encoders
                .map(|(algorithm, layer)| (*algorithm, layer.layer(prepare(Some(*algorithm)))))
                .collect(),
            plain: prepare(None),
        }
    }
}

/// Sends each request through the encoder that its client prefers.
#[derive(Clone)]
pub(super) struct CompressionService {
    encoders: Arc<[(Algorithm, Encode<Prepare, Decided>)]>,
    plain: Prepare,
}

impl Service<Request> for CompressionService {
    type Response = Response;
    type Error = GatewayError;
    type Future = BoxFuture<'static, Result<Response, GatewayError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), GatewayError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let offered = self.encoders.iter().map(|(algorithm, _)| *algorithm);
        let chosen =
            negotiate(request.headers(), offered).and_then(|position| self.encoders.get(position));
        match chosen {
            Some((algorithm, _)) if request.method() == Method::HEAD => {
                let mut prepare = self.plain.clone();
                prepare.algorithm = Some(*algorithm);
                Box::pin(prepare.call(request))
            }
            Some((_, encoder)) => {
                let reply = encoder.clone().call(request);
                Box::pin(async move { Ok(reply.await?.map(Body::new)) })
            }
            None => Box::pin(self.plain.call(request)),
        }
    }
}

impl fmt::Debug for CompressionService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompressionService").finish_non_exhaustive()
    }
}

/// Decides about a reply and prepares its head, before an encoder sees it.
#[derive(Clone)]
struct Prepare {
    inner: SharedService,
    algorithm: Option<Algorithm>,
    min_size: u64,
}

impl Service<Request> for Prepare {
    type Response = Response;
    type Error = GatewayError;
    type Future = Preparing;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), GatewayError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Preparing {
        Preparing {
            head_only: request.method() == Method::HEAD,
            algorithm: self.algorithm,
            min_size: self.min_size,
            reply: self.inner.clone().call_owned(request),
        }
    }
}

/// The reply on its way to an encoder.
struct Preparing {
    reply: BoxFuture<'static, Result<Response, GatewayError>>,
    head_only: bool,
    algorithm: Option<Algorithm>,
    min_size: u64,
}

impl Future for Preparing {
    type Output = Result<Response, GatewayError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut response = ready!(self.reply.as_mut().poll(cx))?;
        if is_eligible(&response, self.head_only, self.min_size) {
            vary(response.headers_mut());
            if let Some(algorithm) = self.algorithm {
                weaken_etag(response.headers_mut());
                if self.head_only {
                    encode_head(response.headers_mut(), algorithm);
                } else {
                    response.extensions_mut().insert(Chosen);
                }
            }
        }
        Poll::Ready(Ok(response))
    }
}
