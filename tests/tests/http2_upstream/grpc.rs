//! gRPC calls and their deadlines.

use http::Request;
use portcullis_tests::{FramePeer, H2Client, TestGateway, Upstream, kind, route_to, within};

use super::gateway_and_listener;

const GRPC_HEAD: [(&str, &str); 2] = [(":status", "200"), ("content-type", "application/grpc")];

fn call(timeout: &str) -> Request<()> {
    Request::post("http://test/a.B/C")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-timeout", timeout)
        .body(())
        .unwrap()
}

#[tokio::test]
async fn a_deadline_after_the_head_ends_the_call_with_a_status() {
    for total in ["", "timeouts: { total: 300ms }"] {
        let (gateway, listener) = gateway_and_listener(total, "").await;
        let client = H2Client::connect(gateway.addr()).await;
        let timeout = if total.is_empty() { "300m" } else { "1H" };
        // The call goes on upwards: a stream of messages.
        let (response, _send) = client.open(call(timeout), false).await;
        let mut peer = FramePeer::serve(&listener, &[]).await;
        let stream = peer.request().await;
        peer.headers(stream, &GRPC_HEAD, false).await;
        peer.data(stream, b"\0\0\0\0\x02hi", false).await;
        let reply = H2Client::read(within("the head", response).await.unwrap());
        let reply = reply.await.unwrap();
        assert_eq!(reply.body, b"\0\0\0\0\x02hi");
        assert_eq!(reply.trailer("grpc-status"), Some("4"));
        assert!(reply.trailer("grpc-message").is_some());
        let reset = peer.next(kind::RST_STREAM).await;
        assert_eq!((reset.stream, reset.reason()), (stream, h2::Reason::CANCEL));
        let ended = gateway.ended().await;
        assert_eq!(
            (ended.status, ended.reason.as_str(), ended.aborted),
            (200, "upstream_timeout", false)
        );
    }
}

#[tokio::test]
async fn an_http1_client_learns_the_status_if_it_takes_trailers() {
    let head = "POST /a.B/C HTTP/1.1\r\nhost: test\r\ncontent-type: application/grpc\r\n\
                grpc-timeout: 300m\r\ncontent-length: 0\r\n";
    for takes in [true, false] {
        let (gateway, listener) = gateway_and_listener("", "").await;
        let mut client = gateway.client().await;
        let te = if takes { "te: trailers\r\n" } else { "" };
        client.send(format!("{head}{te}\r\n")).await;
        let mut peer = FramePeer::serve(&listener, &[]).await;
        let stream = peer.request().await;
        peer.headers(stream, &GRPC_HEAD, false).await;
        peer.data(stream, b"data", false).await;
        if takes {
            let reply = client.response().await;
            assert_eq!(
                (reply.text().as_str(), reply.trailer("grpc-status")),
                ("data", Some("4"))
            );
        } else {
            client.head().await;
            assert_eq!(client.rest().await, b"4\r\ndata\r\n");
        }
        assert_eq!(gateway.ended().await.aborted, !takes);
    }
}

#[tokio::test]
async fn a_deadline_is_told_whatever_the_endpoint_speaks() {
    let upstream = Upstream::bind().await;
    let gateway = TestGateway::start(route_to(upstream.addr(), "", "")).await;
    let client = H2Client::connect(gateway.addr()).await;
    let (response, _) = client.open(call("300m"), true).await;
    let mut peer = upstream.accept().await;
    peer.request().await;
    peer.send(
        "HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ntransfer-encoding: chunked\r\n\r\n4\r\ndata\r\n",
    )
    .await;
    let reply = H2Client::read(within("the head", response).await.unwrap());
    let reply = reply.await.unwrap();
    assert_eq!(
        (reply.body.as_slice(), reply.trailer("grpc-status")),
        (&b"data"[..], Some("4"))
    );
    peer.closed().await;
}

#[tokio::test]
async fn only_a_deadline_is_told_as_one() {
    // Silence is an upstream that hangs, and a page is no gRPC reply: both are cut.
    let page = [(":status", "200"), ("content-type", "text/plain")];
    for (route, head) in [
        ("timeouts: { idle: 300ms }", GRPC_HEAD),
        ("timeouts: { total: 300ms }", page),
    ] {
        let (gateway, listener) = gateway_and_listener(route, "").await;
        let client = H2Client::connect(gateway.addr()).await;
        let (response, _) = client.open(call("1H"), true).await;
        let mut peer = FramePeer::serve(&listener, &[]).await;
        let stream = peer.request().await;
        peer.headers(stream, &head, false).await;
        let response = within("the head", response).await.unwrap();
        H2Client::read(response).await.unwrap_err();
        let ended = gateway.ended().await;
        assert_eq!(
            (ended.reason.as_str(), ended.aborted),
            ("upstream_timeout", true),
            "{route}"
        );
    }
}

#[tokio::test]
async fn trailers_only_replies_pass() {
    let (gateway, listener) = gateway_and_listener("", "").await;
    let client = H2Client::connect(gateway.addr()).await;
    let (response, mut send) = client.open(call("1H"), false).await;
    send.send_data("\0\0\0\0\0".into(), true).unwrap();
    let mut peer = FramePeer::serve(&listener, &[]).await;
    let stream = peer.request().await;
    let [status, kind] = GRPC_HEAD;
    peer.headers(
        stream,
        &[status, kind, ("grpc-status", "5"), ("grpc-message", "gone")],
        true,
    )
    .await;
    let response = within("a response", response).await.unwrap();
    assert!(response.body().is_end_stream());
    assert_eq!(response.headers()["grpc-status"], "5");
    assert_eq!(response.headers()["grpc-message"], "gone");
}
