//! Whole requests: from the bytes on a client's connection that is kept to those on one to the upstream, and back.

use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Waker};

use gungraun::prelude::*;
use portcullis::connect::{ConnectCx, ConnectError, Connected, Connector};
use portcullis::filter::NoConfig;
use portcullis::handler::BoxFuture;
use portcullis::testing::bench::serve_http1;
use portcullis::transport::Transport;
use portcullis::upstream::Endpoint;
use portcullis::{ConnInfo, Gateway, GatewayHandle};
use tokio::runtime::{Builder, Runtime};

use crate::memory::{Client, Memory, Upstream};

const GET: &str = "GET /orders/7 HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: counter/1\r\n\
    Accept: */*\r\n\r\n";
const POST: &str = "POST /orders HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: counter/1\r\n\
    Content-Type: application/json\r\nContent-Length: 16\r\n\r\n{\"article\":4711}";

const NO_FILTERS: &str = "";
const REQUEST_ID: &str = "{ type: request-id }";
const FOUR: &str = "{ type: request-id }, { type: body-limit, max: 1MiB }, \
    { type: headers, request: { set: { x-canary: \"1\" }, remove: [x-debug] } }, \
    { type: headers, response: { add: { x-served-by: gateway } } }";

/// Connects to an upstream in memory, which answers once it has this request.
#[derive(Debug)]
struct ToMemory(&'static str);

impl Connector for ToMemory {
    fn connect<'a>(
        &'a self,
        _: &'a Endpoint,
        _: ConnectCx<'a>,
    ) -> BoxFuture<'a, Result<Connected, ConnectError>> {
        let upstream = Memory::new(Upstream::new(self.0));
        Box::pin(async { Ok(Connected::new(Transport::new(upstream))) })
    }
}

/// A client's connection to a gateway with one route.
struct Connection {
    client: Memory<Client>,
    request: &'static str,
    serving: Pin<Box<dyn Future<Output = ()>>>,
    runtime: Runtime,
    _gateway: GatewayHandle,
}

/// A connection on which the request was answered a few times.
fn kept(request: &'static str, filters: &str) -> Connection {
    let yaml = format!(
        "listeners: [{{ name: web, bind: \"127.0.0.1:0\", filters: [{filters}] }}]\n\
         routes: [{{ name: all, match: {{ path: /orders }}, backends: [{{ upstream: up }}] }}]\n\
         upstreams: [{{ name: up, endpoints: [\"192.0.2.8:80\"], connector: {{ type: memory }} }}]\n"
    );
    let registry = portcullis::registry()
        .connector("memory", move |_: NoConfig, _| Ok(ToMemory(request)))
        .build()
        .unwrap();
    let gateway = Gateway::builder(registry).yaml(yaml).workers(1).build();
    let gateway = gateway.unwrap_or_else(|error| panic!("{error}"));
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let entered = runtime.enter();
    let gateway = gateway.mount();
    drop(entered);
    let mut info = ConnInfo::from_peer(SocketAddr::from(([192, 0, 2, 7], 50_000)));
    info.local = Some(SocketAddr::from(([192, 0, 2, 1], 80)));
    let client = Memory::new(Client::default());
    let io = Transport::new(client.clone());
    let service = gateway.http_service("web").unwrap();
    let mut connection = Connection {
        client,
        request,
        serving: Box::pin(serve_http1(service, io, info)),
        runtime,
        _gateway: gateway,
    };
    for _ in 0..20 {
        connection.ask();
        // Endpoints are found meanwhile.
        connection.runtime.block_on(tokio::task::yield_now());
    }
    assert!(connection.ask(), "the upstream's reply did not come");
    connection
}

impl Connection {
    /// Sends the request; whether the upstream's reply came back.
    fn ask(&mut self) -> bool {
        // Timers belong to a runtime; nothing else of it is used.
        let _entered = self.runtime.enter();
        self.client.peer().send(self.request);
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..5 {
            let over = self.serving.as_mut().poll(&mut context).is_ready();
            assert!(!over, "the gateway closed the connection");
            if let Some(answered) = self.client.peer().reply() {
                return answered;
            }
        }
        panic!("the gateway waits for what nobody sends")
    }
}

#[library_benchmark]
#[bench::get(kept(GET, NO_FILTERS))]
#[bench::get_with_request_id(kept(GET, REQUEST_ID))]
#[bench::get_through_four_filters(kept(GET, FOUR))]
#[bench::post(kept(POST, NO_FILTERS))]
fn forward(mut connection: Connection) -> Connection {
    assert!(connection.ask());
    connection
}

library_benchmark_group!(name = requests, benchmarks = [forward]);
