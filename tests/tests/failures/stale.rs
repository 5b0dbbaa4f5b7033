//! Requests that meet a pooled connection which has just died: sent again only where nothing can happen twice.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use portcullis::filter::{Flow, NoConfig, RequestHead};
use portcullis::{GatewayError, HeadFilter};
use portcullis_tests::{Message, Peer, TestGateway, Upstream, listener, within};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Holds the worker itself, so that it cannot see what becomes of its connections meanwhile.
struct Hold {
    held: UnboundedSender<()>,
    go: Mutex<Receiver<()>>,
}

impl HeadFilter for Hold {
    fn on_request(&self, head: &mut RequestHead<'_>) -> Result<Flow, GatewayError> {
        if head.headers().contains_key("x-hold") {
            self.held.send(()).unwrap();
            self.go.lock().unwrap().recv().unwrap();
        }
        Ok(Flow::Continue)
    }
}

/// A gateway with one idle connection to its upstream, and how to hold its worker.
struct Scene {
    gateway: TestGateway,
    upstream: Upstream,
    client: Peer,
    held: UnboundedReceiver<()>,
    go: Sender<()>,
}

impl Scene {
    async fn set(route: &str) -> (Self, Peer) {
        let upstream = Upstream::bind().await;
        let (held, holds) = unbounded_channel();
        let (go, goes) = channel();
        let hold = Mutex::new(Some(Hold {
            held,
            go: Mutex::new(goes),
        }));
        let comma = if route.is_empty() { "" } else { ", " };
        let yaml = format!(
            "{}routes: [{{ name: all, filters: [{{ type: hold }}], backends: [{{ upstream: up }}]{comma}{route} }}]\n\
             upstreams: [{{ name: up, endpoints: [\"{}\"] }}]\n",
            listener(""),
            upstream.addr()
        );
        let gateway = TestGateway::with(yaml, |registry| {
            registry.head_filter("hold", move |_: NoConfig, _| {
                Ok(hold.lock().unwrap().take().unwrap())
            })
        })
        .await;
        let client = gateway.client().await;
        let mut scene = Self {
            gateway,
            upstream,
            client,
            held: holds,
            go,
        };
        scene
            .client
            .send("GET / HTTP/1.1\r\nhost: test\r\n\r\n")
            .await;
        let mut peer = scene.upstream.accept().await;
        peer.request().await;
        peer.send(OK).await;
        assert_eq!(scene.client.response().await.text(), "ok");
        (scene, peer)
    }

    /// Sends a request that is held just before it is forwarded, does `meanwhile`, and lets it go.
    async fn meanwhile(&mut self, request: impl AsRef<[u8]>, meanwhile: impl Future<Output = ()>) {
        self.client.send(request).await;
        within("the filter", self.held.recv()).await.unwrap();
        meanwhile.await;
        self.go.send(()).unwrap();
    }

    /// Answers the next request on a new connection.
    async fn answer(&mut self) -> Message {
        let mut peer = self.upstream.accept().await;
        let request = peer.request().await;
        peer.send(OK).await;
        assert_eq!(self.client.response().await.text(), "ok");
        request
    }
}

fn held(framing: &str, body: &str) -> String {
    format!("POST / HTTP/1.1\r\nhost: test\r\nx-hold: 1\r\n{framing}\r\n\r\n{body}")
}

#[tokio::test]
async fn a_request_of_which_nothing_was_written_goes_again_with_its_body() {
    let (mut scene, peer) = Scene::set("").await;
    let request = held("content-length: 5", "hello");
    scene.meanwhile(request, async { peer.reset() }).await;
    let request = scene.answer().await;
    assert_eq!(
        (request.line.as_str(), request.text().as_str()),
        ("POST / HTTP/1.1", "hello")
    );
    assert_eq!(request.header("content-length"), Some("5"));
    for _ in 0..2 {
        let ended = scene.gateway.ended().await;
        assert_eq!(
            (ended.status, ended.attempts, ended.retried),
            (200, 1, false),
            "{ended:?}"
        );
    }
}

#[tokio::test]
async fn chunks_and_trailers_go_again_too() {
    let (mut scene, peer) = Scene::set("").await;
    let body = "2\r\nhe\r\n3\r\nllo\r\n0\r\nx-sum: 7\r\n\r\n";
    let request = held("transfer-encoding: chunked", body);
    scene.meanwhile(request, async { peer.reset() }).await;
    let request = scene.answer().await;
    assert_eq!(
        (request.text().as_str(), request.trailer("x-sum")),
        ("hello", Some("7"))
    );
}

#[tokio::test]
async fn an_upload_that_had_just_begun_goes_on_elsewhere() {
    for route in ["", "retry: { attempts: 1 }"] {
        let (mut scene, peer) = Scene::set(route).await;
        let begun = "x".repeat(3000);
        let request = held("content-length: 600000", &begun);
        scene.meanwhile(request, async { peer.reset() }).await;
        let mut peer = scene.upstream.accept().await;
        assert_eq!(peer.head().await.header("content-length"), Some("600000"));
        assert_eq!(peer.exactly(3000).await, begun.as_bytes());
        let (sent, ()) = tokio::join!(scene.client.send_zeroes(597_000), peer.swallow(597_000));
        sent.unwrap();
        peer.send(OK).await;
        assert_eq!(scene.client.response().await.text(), "ok");
    }
}

#[tokio::test]
async fn a_post_that_may_have_arrived_is_never_sent_twice() {
    for route in [
        "",
        "retry: { attempts: 3, on: [connect-failure, refused-stream, reset, 5xx] }",
    ] {
        let (mut scene, peer) = Scene::set(route).await;
        // The kernel takes the request for a connection that the upstream has ended.
        let request = held("content-length: 5", "hello");
        scene.meanwhile(request, async { drop(peer) }).await;
        assert_eq!(scene.client.response().await.status(), 502);
        scene.gateway.ended().await;
        assert_eq!(scene.gateway.ended().await.attempts, 1);
    }
}

#[tokio::test]
async fn a_get_that_may_have_arrived_is_sent_again() {
    let (mut scene, peer) = Scene::set("").await;
    let request = "GET /again HTTP/1.1\r\nhost: test\r\nx-hold: 1\r\n\r\n";
    scene.meanwhile(request, async { drop(peer) }).await;
    assert_eq!(scene.answer().await.target(), "/again");
}

#[tokio::test]
async fn what_an_upstream_said_before_it_was_asked_is_no_answer() {
    let (mut scene, mut peer) = Scene::set("").await;
    let request = held("content-length: 5", "hello");
    let timed_out = async {
        peer.send("HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
            .await;
        peer.reset();
    };
    scene.meanwhile(request, timed_out).await;
    assert_eq!(scene.answer().await.text(), "hello");
}
