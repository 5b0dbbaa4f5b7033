//! Bodies: long ones, slow ones, and those that nobody wants to the end.

use std::time::Duration;

use http::Request;
use portcullis_tests::{H2Client, Peer, TestGateway, Upstream, route_to, within};

const LONG: usize = 64 * 1024 * 1024;

/// What may be under way between two sides when neither gateway nor kernel lets more in.
const UNDER_WAY: usize = 4 * 1024 * 1024;

/// A gateway between Unix sockets: the kernel does not grow their buffers, as it does with those of TCP.
struct Narrow {
    gateway: TestGateway,
    upstream: tokio::net::UnixListener,
    folder: tempfile::TempDir,
}

impl Narrow {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let back = folder.path().join("back.sock");
        let upstream = tokio::net::UnixListener::bind(&back).unwrap();
        let front = format!("unix:{}", folder.path().join("front.sock").display());
        let yaml = route_to(format!("unix:{}", back.display()), "", "");
        let gateway = TestGateway::start(yaml.replace("127.0.0.1:0", &front)).await;
        Self {
            gateway,
            upstream,
            folder,
        }
    }

    fn front(&self) -> std::path::PathBuf {
        self.folder.path().join("front.sock")
    }

    async fn accept(&self) -> Peer {
        let accepted = within("a connection", self.upstream.accept()).await;
        Peer::new(accepted.unwrap().0)
    }
}

#[tokio::test]
async fn a_slow_client_slows_the_upstream() {
    let narrow = Narrow::start().await;
    let mut client = Peer::unix(&narrow.front()).await;
    client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n").await;
    let mut peer = narrow.accept().await;
    peer.request().await;
    peer.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {LONG}\r\n\r\n"))
        .await;
    let taken = peer.send_until_blocked(LONG).await;
    assert!(
        taken < UNDER_WAY,
        "{taken} bytes for a client that reads nothing"
    );
    let sending = tokio::spawn(async move { peer.send_zeroes(LONG - taken).await.map(|()| peer) });
    assert_eq!(client.head().await.status(), 200);
    client.swallow(LONG).await;
    within("the rest", sending).await.unwrap().unwrap();
    assert!(!narrow.gateway.ended().await.aborted);
}

#[tokio::test]
async fn a_slow_upstream_slows_the_client() {
    let narrow = Narrow::start().await;
    let mut client = Peer::unix(&narrow.front()).await;
    client
        .send(format!(
            "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: {LONG}\r\n\r\n"
        ))
        .await;
    let mut peer = narrow.accept().await;
    peer.head().await;
    let taken = client.send_until_blocked(LONG).await;
    assert!(
        taken < UNDER_WAY,
        "{taken} bytes for an upstream that reads nothing"
    );
    let sending =
        tokio::spawn(async move { client.send_zeroes(LONG - taken).await.map(|()| client) });
    peer.swallow(LONG).await;
    within("the rest", sending).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_slow_http2_client_slows_the_upstream() {
    let narrow = Narrow::start().await;
    let client = H2Client::on(
        tokio::net::UnixStream::connect(narrow.front())
            .await
            .unwrap(),
    )
    .await;
    let (response, _) = client
        .open(Request::get("http://test/").body(()).unwrap(), true)
        .await;
    let mut peer = narrow.accept().await;
    peer.request().await;
    peer.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {LONG}\r\n\r\n"))
        .await;
    let response = within("a response", response).await.unwrap();
    let taken = peer.send_until_blocked(LONG).await;
    assert!(
        taken < UNDER_WAY,
        "{taken} bytes for a client that reads nothing"
    );
    let sending = tokio::spawn(async move { peer.send_zeroes(LONG - taken).await.map(|()| peer) });
    assert_eq!(H2Client::read(response).await.unwrap().body.len(), LONG);
    within("the rest", sending).await.unwrap().unwrap();
}

#[tokio::test]
async fn an_early_reply_does_not_wait_for_the_upload() {
    let upstream = Upstream::bind().await;
    let gateway = TestGateway::to(upstream.addr()).await;
    let mut client = gateway.client().await;
    client
        .send(format!(
            "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: {LONG}\r\n\r\nsome"
        ))
        .await;
    let mut peer = upstream.accept().await;
    peer.head().await;
    peer.exactly(4).await;
    peer.send("HTTP/1.1 413 Content Too Large\r\ncontent-length: 3\r\n\r\nbig")
        .await;
    let reply = client.response().await;
    assert_eq!((reply.status(), reply.text().as_str()), (413, "big"));
    assert_eq!(reply.header("connection"), Some("close"));
    client.closed().await;
    peer.closed().await;
    assert!(!gateway.ended().await.aborted);
    gateway.settles("up", 0, 0).await;
}

#[tokio::test]
async fn an_early_refusal_of_an_upload_without_known_end_announces_the_close() {
    let upstream = Upstream::bind().await;
    let gateway = TestGateway::to(upstream.addr()).await;
    let mut client = gateway.client().await;
    client
        .send("POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n4\r\nsome\r\n")
        .await;
    let mut peer = upstream.accept().await;
    peer.head().await;
    peer.send("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno")
        .await;
    let reply = client.response().await;
    assert_eq!((reply.status(), reply.text().as_str()), (403, "no"));
    assert_eq!(reply.header("connection"), Some("close"));
    client.closed().await;
}

/// A gateway whose path `/no` is refused by a filter, which reads no body; the rest goes to `upstream`.
async fn refusing(upstream: std::net::SocketAddr) -> TestGateway {
    TestGateway::start(format!(
        "{}routes:\n\
         - {{ name: no, match: {{ path: /no }}, filters: [{{ type: respond, status: 403 }}] }}\n\
         - {{ name: all, backends: [{{ upstream: up }}] }}\n\
         upstreams: [{{ name: up, endpoints: [\"{upstream}\"] }}]\n",
        portcullis_tests::listener("")
    ))
    .await
}

#[tokio::test]
async fn the_little_that_is_left_of_an_upload_is_thrown_away() {
    let upstream = Upstream::bind().await;
    let gateway = refusing(upstream.addr()).await;
    for path in ["/no", "/early"] {
        let mut client = gateway.client().await;
        client
            .send(format!(
                "POST {path} HTTP/1.1\r\nhost: test\r\ncontent-length: 100000\r\n\r\nsome"
            ))
            .await;
        if path == "/early" {
            let mut peer = upstream.accept().await;
            peer.head().await;
            peer.exactly(4).await;
            peer.send("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n")
                .await;
            peer.closed().await;
        }
        let reply = client.response().await;
        assert_eq!((reply.status(), reply.header("connection")), (403, None));
        client.send_zeroes(99_996).await.unwrap();
        client
            .send("GET /next HTTP/1.1\r\nhost: test\r\n\r\n")
            .await;
        let mut peer = upstream.accept().await;
        assert_eq!(peer.request().await.target(), "/next");
        peer.send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok")
            .await;
        assert_eq!(client.response().await.text(), "ok");
    }
}

#[tokio::test]
async fn an_upload_that_is_refused_and_never_ends_ends_the_connection() {
    let gateway = refusing(portcullis_tests::free_port()).await;
    for framing in [
        "content-length: 1000000",
        "transfer-encoding: chunked",
        "content-length: 1000",
    ] {
        let mut client = gateway.client().await;
        client
            .send(format!(
                "POST /no HTTP/1.1\r\nhost: test\r\n{framing}\r\n\r\n"
            ))
            .await;
        let reply = client.response().await;
        // The last one might have come to its end: it is waited for a little.
        let announced = (framing != "content-length: 1000").then_some("close");
        assert_eq!(
            (reply.status(), reply.header("connection")),
            (403, announced)
        );
        client.closed().await;
    }
}

#[tokio::test]
async fn an_upload_goes_on_while_the_reply_is_read() {
    let upstream = Upstream::bind().await;
    let gateway = TestGateway::to(upstream.addr()).await;
    let mut client = gateway.client().await;
    client
        .send("POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n")
        .await;
    let mut peer = upstream.accept().await;
    peer.head().await;
    peer.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        .await;
    assert_eq!(client.head().await.status(), 200);
    for word in ["one", "two", "six"] {
        client.send(format!("3\r\n{word}\r\n")).await;
        assert_eq!(peer.chunk().await.unwrap(), word.as_bytes());
        peer.send(format!("3\r\n{word}\r\n")).await;
        assert_eq!(client.chunk().await.unwrap(), word.as_bytes());
    }
    client.send("0\r\n\r\n").await;
    assert_eq!(peer.chunk().await, None);
    assert_eq!(peer.line().await, "");
    peer.send("0\r\n\r\n").await;
    assert_eq!(client.chunk().await, None);
    assert_eq!(client.line().await, "");
    client
        .send("GET /next HTTP/1.1\r\nhost: test\r\n\r\n")
        .await;
    assert_eq!(peer.request().await.target(), "/next");
}

#[tokio::test]
async fn a_client_that_leaves_cancels_its_request() {
    let upstream = Upstream::bind().await;
    let gateway = TestGateway::to(upstream.addr()).await;
    let mut client = gateway.client().await;
    client
        .send("GET /slow HTTP/1.1\r\nhost: test\r\n\r\n")
        .await;
    let mut peer = upstream.accept().await;
    peer.request().await;
    drop(client);
    peer.closed().await;
    let ended = gateway.ended().await;
    assert_eq!(
        (ended.status, ended.reason.as_str(), ended.aborted),
        (0, "client_gone", true)
    );
    gateway.settles("up", 0, 0).await;
}

#[tokio::test]
async fn a_client_that_leaves_within_the_reply_cancels_it() {
    let upstream = Upstream::bind().await;
    let gateway = TestGateway::to(upstream.addr()).await;
    let mut client = gateway.client().await;
    client
        .send("GET /slow HTTP/1.1\r\nhost: test\r\n\r\n")
        .await;
    let mut peer = upstream.accept().await;
    peer.request().await;
    peer.send("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\npart")
        .await;
    client.head().await;
    client.exactly(4).await;
    client.reset();
    peer.closed().await;
    let ended = gateway.ended().await;
    assert_eq!(
        (ended.status, ended.reason.as_str(), ended.aborted),
        (200, "client_gone", true)
    );
    gateway.settles("up", 0, 0).await;
}

#[tokio::test]
async fn a_client_that_leaves_within_its_upload_is_noticed_upstream() {
    let upstream = Upstream::bind().await;
    let gateway = TestGateway::to(upstream.addr()).await;
    let mut client = gateway.client().await;
    client
        .send("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 100\r\n\r\npart")
        .await;
    let mut peer = upstream.accept().await;
    peer.head().await;
    peer.exactly(4).await;
    drop(client);
    peer.closed().await;
    let ended = gateway.ended().await;
    assert_eq!(
        (ended.reason.as_str(), ended.bytes_in),
        ("client_gone", 4),
        "{ended:?}"
    );
    gateway.settles("up", 0, 0).await;
}

#[tokio::test]
async fn a_client_that_leaves_an_upload_that_nobody_reads_is_noticed() {
    let narrow = Narrow::start().await;
    let mut client = Peer::unix(&narrow.front()).await;
    client
        .send(format!(
            "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: {LONG}\r\n\r\n"
        ))
        .await;
    let mut peer = narrow.accept().await;
    peer.head().await;
    assert!(client.send_until_blocked(LONG).await < UNDER_WAY);
    drop(client);
    let ended = narrow.gateway.ended().await;
    assert_eq!(
        (ended.reason.as_str(), ended.aborted),
        ("client_gone", true)
    );
    narrow.gateway.settles("up", 0, 0).await;
}

#[tokio::test]
async fn an_http2_client_that_resets_its_stream_cancels_its_request() {
    let upstream = Upstream::bind().await;
    let gateway = TestGateway::to(upstream.addr()).await;
    let client = H2Client::connect(gateway.addr()).await;
    let (response, mut send) = client
        .open(Request::get("http://test/").body(()).unwrap(), true)
        .await;
    let mut peer = upstream.accept().await;
    peer.request().await;
    send.send_reset(h2::Reason::CANCEL);
    drop(response);
    peer.closed().await;
    let ended = gateway.ended().await;
    assert_eq!(
        (ended.reason.as_str(), ended.aborted),
        ("client_gone", true)
    );
    gateway.settles("up", 0, 0).await;
}

#[tokio::test]
async fn a_steady_upload_is_not_silence() {
    let upstream = Upstream::bind().await;
    let gateway =
        TestGateway::start(route_to(upstream.addr(), "timeouts: { idle: 300ms }", "")).await;
    let mut client = gateway.client().await;
    client
        .send("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 8\r\n\r\n")
        .await;
    let mut peer = upstream.accept().await;
    peer.head().await;
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    for _ in 0..8 {
        ticks.tick().await;
        client.send("x").await;
        peer.exactly(1).await;
    }
    peer.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        .await;
    assert_eq!(client.response().await.status(), 200);
}

#[tokio::test]
async fn a_client_that_stops_within_its_upload_is_told_so() {
    let upstream = Upstream::bind().await;
    let yaml = route_to(upstream.addr(), "", "").replace(
        &portcullis_tests::listener(""),
        &portcullis_tests::listener("timeouts: { body_idle: 200ms }"),
    );
    let gateway = TestGateway::start(yaml).await;
    let mut client = gateway.client().await;
    client
        .send("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 8\r\n\r\nhalf")
        .await;
    let mut peer = upstream.accept().await;
    peer.head().await;
    assert_eq!(client.response().await.status(), 408);
    client.closed().await;
    peer.exactly(4).await;
    peer.closed().await;
    assert_eq!(gateway.ended().await.reason, "request_timeout");
}
