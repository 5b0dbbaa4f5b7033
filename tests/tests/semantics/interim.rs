//! Interim replies: `100 Continue` and `103 Early Hints`.

use http::{Request, Response};
use portcullis::filter::{Filter, FilterCx, Flow};
use portcullis::{GatewayError, NoConfig, async_trait};
use portcullis_tests::{H2Client, TestGateway, Upstream, listener, within};

const EXPECTING: &str =
    "POST /up HTTP/1.1\r\nhost: test\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n";

#[tokio::test]
async fn the_upstreams_100_lets_the_client_send_its_body() {
    let upstream = Upstream::bind().await;
    let gateway = TestGateway::to(upstream.addr()).await;
    let mut client = gateway.client().await;
    client.send(EXPECTING).await;
    let mut peer = upstream.accept().await;
    let head = peer.head().await;
    assert_eq!(head.header("expect"), Some("100-continue"));
    peer.send("HTTP/1.1 100 Continue\r\n\r\n").await;
    assert_eq!(client.head().await.status(), 100);
    client.send("hello").await;
    assert_eq!(peer.exactly(5).await, b"hello");
    peer.send("HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n")
        .await;
    assert_eq!(client.response().await.status(), 201);
    // The connection goes on.
    client
        .send("GET /next HTTP/1.1\r\nhost: test\r\n\r\n")
        .await;
    assert_eq!(peer.request().await.target(), "/next");
}

/// Answers with what it is sent, as it comes.
struct Echoes;

#[async_trait]
impl Filter for Echoes {
    async fn on_request(&self, cx: &mut FilterCx<'_>) -> Result<Flow, GatewayError> {
        let body = std::mem::take(cx.request_mut().body_mut());
        Ok(Flow::Reply(Response::new(body)))
    }
}

#[tokio::test]
async fn a_reply_that_reads_on_asks_for_the_body_before_it() {
    let yaml = format!(
        "{}routes: [{{ name: all, filters: [{{ type: echoes }}] }}]\n",
        listener("")
    );
    let gateway = TestGateway::with(yaml, |registry| {
        registry.async_filter("echoes", |_: NoConfig, _: &_| Ok(Echoes))
    })
    .await;
    for together in [false, true] {
        let mut client = gateway.client().await;
        // One that waits for the interim reply, and one that does not.
        let first = if together {
            [EXPECTING, "hello"].concat()
        } else {
            EXPECTING.to_owned()
        };
        client.send(first).await;
        assert_eq!(client.head().await.status(), 100);
        if !together {
            client.send("hello").await;
        }
        let reply = client.response().await;
        assert_eq!((reply.status(), reply.text().as_str()), (200, "hello"));
        let reply = client.ask("GET / HTTP/1.1\r\nhost: test\r\n\r\n").await;
        assert_eq!((reply.status(), reply.text().as_str()), (200, ""));
    }
}

#[tokio::test]
async fn a_refusal_comes_back_without_the_body() {
    for status in [
        "417 Expectation Failed",
        "413 Content Too Large",
        "401 Unauthorized",
    ] {
        let upstream = Upstream::bind().await;
        let gateway = TestGateway::to(upstream.addr()).await;
        let mut client = gateway.client().await;
        client.send(EXPECTING).await;
        let mut peer = upstream.accept().await;
        peer.head().await;
        peer.send(format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\nno"))
            .await;
        let reply = client.response().await;
        assert_eq!(
            (reply.status().to_string().as_str(), reply.text().as_str()),
            (&status[..3], "no")
        );
        // The body was not asked for and did not come: the connection cannot be used again, and says so.
        assert_eq!(reply.header("connection"), Some("close"));
        client.closed().await;
        peer.closed().await;
        assert!(!gateway.ended().await.aborted);
    }
}

#[tokio::test]
async fn a_silent_upstream_gets_the_body_after_a_while() {
    let upstream = Upstream::bind().await;
    let gateway = TestGateway::to(upstream.addr()).await;
    let mut client = gateway.client().await;
    client.send(EXPECTING).await;
    let mut peer = upstream.accept().await;
    peer.head().await;
    assert_eq!(client.head().await.status(), 100);
    client.send("hello").await;
    assert_eq!(peer.exactly(5).await, b"hello");
    peer.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        .await;
    assert_eq!(client.response().await.status(), 200);
}

#[tokio::test]
async fn an_eager_client_need_not_be_told_to_continue() {
    let upstream = Upstream::bind().await;
    let gateway = TestGateway::to(upstream.addr()).await;
    let mut client = gateway.client().await;
    client.send(format!("{EXPECTING}hello")).await;
    let mut peer = upstream.accept().await;
    peer.head().await;
    peer.send("HTTP/1.1 100 Continue\r\n\r\n").await;
    assert_eq!(peer.exactly(5).await, b"hello");
    peer.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        .await;
    let mut reply = client.response().await;
    if reply.status() == 100 {
        reply = client.response().await;
    }
    assert_eq!(reply.status(), 200);
}

#[tokio::test]
async fn early_hints_reach_an_http1_client() {
    let upstream = Upstream::bind().await;
    let gateway = TestGateway::to(upstream.addr()).await;
    let mut client = gateway.client().await;
    client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n").await;
    let mut peer = upstream.accept().await;
    peer.request().await;
    peer.send("HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n")
        .await;
    let hints = client.head().await;
    assert_eq!(
        (hints.status(), hints.header("link")),
        (103, Some("</a.css>; rel=preload"))
    );
    peer.send("HTTP/1.1 103 Early Hints\r\nlink: </b.css>; rel=preload\r\n\r\n")
        .await;
    assert_eq!(client.head().await.status(), 103);
    peer.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        .await;
    assert_eq!(client.response().await.text(), "ok");
}

#[tokio::test]
async fn interim_replies_do_not_reach_an_http10_client() {
    let upstream = Upstream::fixed(
        "HTTP/1.1 103 Early Hints\r\nlink: <a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    )
    .await;
    let gateway = TestGateway::to(upstream).await;
    let reply = gateway.ask("GET / HTTP/1.0\r\nhost: test\r\n\r\n").await;
    assert_eq!((reply.status(), reply.text().as_str()), (200, "ok"));
}

#[tokio::test]
async fn early_hints_reach_an_http2_client() {
    let upstream = Upstream::bind().await;
    let gateway = TestGateway::to(upstream.addr()).await;
    let client = H2Client::connect(gateway.addr()).await;
    let request = Request::get("http://test/").body(()).unwrap();
    let (mut response, _) = client.open(request, true).await;
    let mut peer = upstream.accept().await;
    peer.request().await;
    peer.send("HTTP/1.1 103 Early Hints\r\nlink: <a>\r\n\r\n")
        .await;
    let hints = within(
        "the hints",
        std::future::poll_fn(|task| response.poll_informational(task)),
    )
    .await;
    let hints = hints.unwrap().unwrap();
    assert_eq!(
        (hints.status().as_u16(), &hints.headers()["link"]),
        (103, &"<a>".parse().unwrap())
    );
    peer.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        .await;
    let reply = H2Client::read(within("a response", response).await.unwrap())
        .await
        .unwrap();
    assert_eq!(reply.body, b"ok");
}

#[tokio::test]
async fn interim_replies_without_end_are_an_upstream_fault() {
    let upstream = Upstream::answering(|_| "HTTP/1.1 102 Processing\r\n\r\n".repeat(100))
        .await
        .0;
    let gateway = TestGateway::to(upstream).await;
    let mut client = gateway.client().await;
    client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n").await;
    let reply = loop {
        let reply = client.response().await;
        if reply.status() != 102 {
            break reply;
        }
    };
    assert_eq!(reply.status(), 502);
    assert_eq!(gateway.ended().await.reason, "upstream_protocol_error");
}
