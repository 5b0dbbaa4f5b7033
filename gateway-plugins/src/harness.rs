//! What the tests of filters share: a chain of one configured filter around a terminal that writes down what
//! it saw.

use std::sync::{Arc, Mutex};

use http::HeaderMap;
use http::request::Parts;
use portcullis_core::body::Collected;
use portcullis_core::config::{Diagnostics, PluginSpec};
use portcullis_core::filter::{BuildCx, Chain, Stage, StateStore};
use portcullis_core::handler::handler_fn;
use portcullis_core::{Body, GatewayError, Request, Response};
use serde_json::Value;

/// Builds a filter as a configuration does.
pub(crate) fn build(kind: &str, settings: Value) -> Result<Stage, String> {
    let registry = crate::std_registry().build().unwrap();
    let spec = PluginSpec::new(kind, settings).unwrap();
    let (store, mut problems) = (StateStore::default(), Diagnostics::new());
    let cx = BuildCx::new("route test", &store);
    let stage = registry.filter(&spec, &cx, &mut problems);
    stage.ok_or_else(|| problems.to_string().trim_end().to_owned())
}

/// What is wrong with these settings.
pub(crate) fn problem(kind: &str, settings: Value) -> String {
    match build(kind, settings) {
        Ok(_) => panic!("the settings were accepted"),
        Err(problem) => problem,
    }
}

/// A filter around an upstream that answers the same to everybody.
pub(crate) struct Rig {
    chain: Chain,
    seen: Arc<Mutex<Vec<(Parts, Collected)>>>,
}

impl Rig {
    pub(crate) fn new(kind: &str, settings: Value) -> Self {
        Self::answering(kind, settings, || {
            Ok(Response::new(Body::from("from upstream")))
        })
    }

    pub(crate) fn answering(
        kind: &str,
        settings: Value,
        answer: impl Fn() -> Result<Response, GatewayError> + Send + Sync + 'static,
    ) -> Self {
        let seen = Arc::<Mutex<Vec<_>>>::default();
        let (answer, notes) = (Arc::new(answer), seen.clone());
        let upstream = handler_fn(move |request: Request| {
            let (answer, notes) = (answer.clone(), notes.clone());
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect(1 << 20).await?;
                notes.lock().unwrap().push((parts, body));
                answer()
            }
        });
        let stage = build(kind, settings).unwrap();
        let chain = Chain::builder().stage(stage).build(upstream);
        Self { chain, seen }
    }

    /// Sends a request through the filter.
    pub(crate) async fn send(&self, request: Request) -> Response {
        self.try_send(request).await.unwrap()
    }

    /// Sends a request through a filter that passes errors on, as tower layers do.
    pub(crate) async fn try_send(&self, request: Request) -> Result<Response, GatewayError> {
        self.chain.service().call(request).await
    }

    /// Sends a request that has to reach the upstream, and returns what arrived there with the reply.
    pub(crate) async fn pass(&self, request: Request) -> (Parts, Collected, Response) {
        let response = self.send(request).await;
        let (parts, body) = self
            .seen
            .lock()
            .unwrap()
            .pop()
            .expect("the request did not arrive");
        (parts, body, response)
    }

    /// How many requests reached the upstream that [`pass`](Self::pass) did not take.
    pub(crate) fn arrived(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

/// A GET request for `target` at `shop.example`.
pub(crate) fn get(target: &str) -> Request {
    let request = http::Request::builder()
        .uri(target)
        .header("host", "shop.example");
    request.body(Body::empty()).unwrap()
}

/// All values of a field.
pub(crate) fn values(headers: &HeaderMap, name: &str) -> Vec<String> {
    let values = headers.get_all(name).iter();
    values
        .map(|value| value.to_str().unwrap().to_owned())
        .collect()
}

/// The text of a reply's body.
pub(crate) async fn text(response: Response) -> String {
    let body = response.into_body().collect(1 << 20).await.unwrap();
    String::from_utf8(body.data.to_vec()).unwrap()
}
