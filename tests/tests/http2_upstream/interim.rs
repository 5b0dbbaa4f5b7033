//! Interim replies of HTTP/2 endpoints: they reach clients as those of HTTP/1 endpoints do.

use std::future::poll_fn;

use bytes::Bytes;
use h2::server::SendResponse;
use http::{Request, Response, StatusCode};
use portcullis_tests::{FramePeer, H2Client, h2_upstream, kind, within};

use super::{GET, gateway_and_listener, gateway_to};

const EXPECTING: &str =
    "POST /up HTTP/1.1\r\nhost: test\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n";

fn hint(respond: &mut SendResponse<Bytes>, status: u16, link: &str) {
    let interim = Response::builder().status(status).header("link", link);
    respond
        .send_informational(interim.body(()).unwrap())
        .unwrap();
}

#[tokio::test]
async fn hints_reach_an_http1_client_before_the_reply() {
    let (address, _) = h2_upstream(|_, mut respond| async move {
        hint(&mut respond, 103, "</a.css>; rel=preload");
        hint(&mut respond, 102, "none");
        hint(&mut respond, 103, "</b.css>; rel=preload");
        let mut send = respond.send_response(Response::new(()), false).unwrap();
        send.send_data("ok".into(), true).unwrap();
    })
    .await;
    let gateway = gateway_to(address).await;
    let mut client = gateway.client().await;
    client.send(GET).await;
    for (status, link) in [
        (103, "</a.css>; rel=preload"),
        (102, "none"),
        (103, "</b.css>; rel=preload"),
    ] {
        let head = client.head().await;
        assert_eq!((head.status(), head.header("link")), (status, Some(link)));
    }
    assert_eq!(client.response().await.text(), "ok");
}

#[tokio::test]
async fn a_hint_is_not_held_back_until_the_reply() {
    let (gateway, listener) = gateway_and_listener("", "").await;
    let client = H2Client::connect(gateway.addr()).await;
    let (mut response, _) = client
        .open(Request::get("http://test/").body(()).unwrap(), true)
        .await;
    let mut peer = FramePeer::serve(&listener, &[]).await;
    let stream = peer.request().await;
    peer.headers(stream, &[(":status", "103"), ("link", "<a>")], false)
        .await;
    let hints = within(
        "the hints",
        poll_fn(|task| response.poll_informational(task)),
    );
    let hints = hints.await.unwrap().unwrap();
    assert_eq!(
        (hints.status().as_u16(), &hints.headers()["link"]),
        (103, &"<a>".parse().unwrap())
    );
    peer.headers(stream, &[(":status", "204")], true).await;
    assert_eq!(within("a response", response).await.unwrap().status(), 204);
}

#[tokio::test]
async fn interim_replies_without_end_are_an_upstream_fault() {
    for status in ["102", "103", "101"] {
        let (gateway, listener) = gateway_and_listener("", "").await;
        let mut client = gateway.client().await;
        client.send(GET).await;
        let mut peer = FramePeer::serve(&listener, &[]).await;
        let stream = peer.request().await;
        for _ in 0..100 {
            peer.headers(stream, &[(":status", status)], false).await;
        }
        let reply = loop {
            let reply = client.response().await;
            if reply.status() >= 200 {
                break reply;
            }
        };
        assert_eq!(reply.status(), 502, "{status}");
        assert_eq!(gateway.ended().await.reason, "upstream_protocol_error");
        assert_eq!(
            peer.next(kind::RST_STREAM).await.reason(),
            h2::Reason::CANCEL
        );
    }
}

#[tokio::test]
async fn the_endpoints_100_lets_the_client_send_its_body() {
    let (address, _) = h2_upstream(|request, mut respond| async move {
        assert_eq!(request.headers()["expect"], "100-continue");
        let mut body = request.into_body();
        assert!(!body.is_end_stream());
        let interim = Response::builder().status(StatusCode::CONTINUE);
        respond
            .send_informational(interim.body(()).unwrap())
            .unwrap();
        let data = body.data().await.unwrap().unwrap();
        let mut send = respond.send_response(Response::new(()), false).unwrap();
        send.send_data(data, true).unwrap();
    })
    .await;
    let gateway = gateway_to(address).await;
    let mut client = gateway.client().await;
    client.send(EXPECTING).await;
    assert_eq!(client.head().await.status(), 100);
    client.send("hello").await;
    assert_eq!(client.response().await.text(), "hello");
    // The same over HTTP/2.
    let client = H2Client::connect(gateway.addr()).await;
    let request = Request::post("http://test/").header("expect", "100-continue");
    let (mut response, mut send) = client.open(request.body(()).unwrap(), false).await;
    let interim = within(
        "permission",
        poll_fn(|task| response.poll_informational(task)),
    );
    assert_eq!(interim.await.unwrap().unwrap().status(), 100);
    send.send_data("hello".into(), true).unwrap();
    let reply = H2Client::read(within("a response", response).await.unwrap());
    assert_eq!(reply.await.unwrap().body, b"hello");
}

#[tokio::test]
async fn a_refusal_comes_back_without_the_body() {
    let (gateway, listener) = gateway_and_listener("", "").await;
    let mut client = gateway.client().await;
    client.send(EXPECTING).await;
    let mut peer = FramePeer::serve(&listener, &[]).await;
    let stream = peer.request().await;
    peer.headers(
        stream,
        &[(":status", "417"), ("content-length", "2")],
        false,
    )
    .await;
    peer.data(stream, b"no", true).await;
    let reply = client.response().await;
    assert_eq!((reply.status(), reply.text().as_str()), (417, "no"));
    assert_eq!(reply.header("connection"), Some("close"));
    client.closed().await;
    // The body that was not asked for is not coming: the endpoint is told.
    loop {
        let frame = peer.frame().await.unwrap();
        assert_ne!(frame.kind, kind::DATA);
        if frame.kind == kind::RST_STREAM {
            assert_eq!(frame.reason(), h2::Reason::CANCEL);
            break;
        }
    }
    assert!(!gateway.ended().await.aborted);
}

#[tokio::test]
async fn a_silent_endpoint_gets_the_body_after_a_while() {
    let (gateway, listener) = gateway_and_listener("", "").await;
    let mut client = gateway.client().await;
    client.send(EXPECTING).await;
    let mut peer = FramePeer::serve(&listener, &[]).await;
    let stream = peer.request().await;
    assert_eq!(client.head().await.status(), 100);
    client.send("hello").await;
    assert_eq!(peer.next(kind::DATA).await.payload, b"hello");
    peer.headers(stream, &[(":status", "204")], true).await;
    assert_eq!(client.response().await.status(), 204);
}
