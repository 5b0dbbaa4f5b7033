//! Running what stands around a route's backends, without routes and backends.

use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use gungraun::prelude::*;
use portcullis::config::{Diagnostics, PluginSpec};
use portcullis::exchange::Exchange;
use portcullis::filter::{BuildCx, Chain, Stage, StateStore};
use portcullis::gateway::PanicGuardLayer;
use portcullis::handler::handler_fn;
use portcullis::hygiene::HygieneLayer;
use portcullis::{
    Body, ConnInfo, Filter, FilterCx, Flow, GatewayError, Request, Response, SharedService,
    async_trait,
};
use serde_json::{Value, json};
use tower_layer::Layer;

/// A service, and a request for it.
type Case = (SharedService, Request);

/// A filter that might wait.
struct Patient;

#[async_trait]
impl Filter for Patient {
    async fn on_request(&self, _: &mut FilterCx<'_>) -> Result<Flow, GatewayError> {
        Ok(Flow::Continue)
    }
}

fn stage(kind: &str, settings: Value) -> Stage {
    let registry = portcullis::registry().build().unwrap();
    let spec = PluginSpec::new(kind, settings).unwrap();
    let (store, mut problems) = (StateStore::default(), Diagnostics::new());
    let stage = registry.filter(&spec, &BuildCx::new("route", &store), &mut problems);
    stage.unwrap_or_else(|| panic!("{problems}"))
}

fn request_id() -> Stage {
    stage("request-id", json!({}))
}

fn four() -> [Stage; 4] {
    let ask = json!({ "request": { "set": { "x-canary": "1" }, "remove": ["x-debug"] } });
    let answer = json!({ "response": { "add": { "x-served-by": "gateway" } } });
    [
        request_id(),
        stage("body-limit", json!({ "max": "1MiB" })),
        stage("headers", ask),
        stage("headers", answer),
    ]
}

/// A handler that has its answer at once, behind `stages`.
fn chain(stages: impl IntoIterator<Item = Stage>) -> SharedService {
    let answer = handler_fn(|_| async {
        let mut response = Response::new(Body::from("an answer"));
        let headers = response.headers_mut();
        headers.insert("server", http::HeaderValue::from_static("app"));
        headers.insert("content-type", http::HeaderValue::from_static("text/plain"));
        Ok(response)
    });
    let chain = Chain::builder().stages(stages).build(answer);
    chain.service().clone()
}

/// What each listener does, around `stages`.
fn listener(stages: impl IntoIterator<Item = Stage>) -> SharedService {
    let hygiene = HygieneLayer::default().layer(chain(stages));
    SharedService::new(PanicGuardLayer.layer(hygiene))
}

fn request() -> Request {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = http::Uri::from_static("/orders/7?page=2");
    // As the parser leaves it: with room for what filters add.
    *request.headers_mut() = http::HeaderMap::with_capacity(24);
    for (name, value) in [
        ("host", "shop.example"),
        ("user-agent", "counter/1"),
        ("accept", "text/html,application/xhtml+xml"),
        ("accept-language", "en-GB,en;q=0.5"),
        ("accept-encoding", "gzip, deflate, br, zstd"),
        ("cookie", "session=4f1f7f6ae2f14d9a; theme=dark"),
    ] {
        let value = http::HeaderValue::from_static(value);
        request.headers_mut().insert(name, value);
    }
    let info = ConnInfo::from_peer(SocketAddr::from(([192, 0, 2, 7], 50_000)));
    let exchange = Exchange::new(Arc::new(info));
    request.extensions_mut().insert(exchange);
    request
}

fn case(service: SharedService) -> Case {
    for _ in 0..4 {
        answer(&service, request());
    }
    (service, request())
}

fn answer(service: &SharedService, request: Request) -> Response {
    let mut answer = service.call(request);
    match answer
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        Poll::Ready(answer) => answer.unwrap(),
        Poll::Pending => panic!("there is nothing to wait for"),
    }
}

#[library_benchmark]
#[bench::none(case(chain([])))]
#[bench::request_id(case(chain([request_id()])))]
#[bench::four(case(chain(four())))]
#[bench::four_and_one_that_waits(case(chain(four().into_iter().chain([Stage::filter("patient", Patient)]))))]
#[bench::listener(case(listener([])))]
#[bench::listener_and_request_id(case(listener([request_id()])))]
fn run((service, request): Case) -> (SharedService, Response) {
    let response = answer(&service, black_box(request));
    (service, response)
}

library_benchmark_group!(name = chains, benchmarks = [run]);
