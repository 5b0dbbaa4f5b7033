//! Replies: without a body, and such as no endpoint may send (RFC 9113 8.1.1).

use http::{Request, Response};
use portcullis_tests::{FramePeer, H2Client, h2_upstream, kind, within};

use super::{GET, gateway_and_listener, gateway_to};

#[tokio::test]
async fn replies_without_a_body_end_with_their_head() {
    for status in [200, 204, 304] {
        let (address, _) = h2_upstream(move |_, mut respond| async move {
            let head = Response::builder().status(status).body(()).unwrap();
            respond.send_response(head, true).unwrap();
        })
        .await;
        let gateway = gateway_to(address).await;
        let mut client = gateway.client().await;
        for _ in 0..2 {
            let reply = client.ask(GET).await;
            assert_eq!((reply.status(), reply.body.len()), (status, 0));
        }
        let client = H2Client::connect(gateway.addr()).await;
        let (response, _) = client
            .open(Request::get("http://test/").body(()).unwrap(), true)
            .await;
        let response = within("a response", response).await.unwrap();
        assert_eq!(response.status(), status);
        assert!(response.body().is_end_stream());
    }
}

#[tokio::test]
async fn a_reply_to_head_tells_the_length_and_has_no_body() {
    let (address, _) = h2_upstream(|request, mut respond| async move {
        assert_eq!(request.method(), "HEAD");
        let head = Response::builder().header("content-length", "1000");
        // Some say at once that there is no body, some later.
        let at_once = request.uri().path() == "/at-once";
        let mut send = respond
            .send_response(head.body(()).unwrap(), at_once)
            .unwrap();
        if !at_once {
            send.send_data("".into(), true).unwrap();
        }
    })
    .await;
    let gateway = gateway_to(address).await;
    let mut client = gateway.client().await;
    for path in ["/at-once", "/later", "/at-once"] {
        client
            .send(format!("HEAD {path} HTTP/1.1\r\nhost: test\r\n\r\n"))
            .await;
        let reply = client.head().await;
        assert_eq!(
            (reply.status(), reply.header("content-length")),
            (200, Some("1000")),
            "{path}"
        );
    }
    let client = H2Client::connect(gateway.addr()).await;
    let reply = client
        .ask(Request::head("http://test/later").body("").unwrap())
        .await;
    assert_eq!(
        (reply.header("content-length"), reply.body.len()),
        (Some("1000"), 0)
    );
}

#[tokio::test]
async fn a_malformed_head_is_a_502_and_leaves_other_streams_alone() {
    let long = "x".repeat(126);
    type Fields<'a> = Vec<(&'a str, &'a str)>;
    let heads: [(&str, Fields<'_>, bool); 6] = [
        ("no status", vec![("server", "x")], true),
        (
            "connection field",
            vec![(":status", "200"), ("connection", "close")],
            true,
        ),
        (
            "length of a body that is not there",
            vec![(":status", "200"), ("content-length", "5")],
            true,
        ),
        (
            "two lengths",
            vec![
                (":status", "200"),
                ("content-length", "5"),
                ("content-length", "6"),
            ],
            false,
        ),
        (
            "length that is no number",
            vec![(":status", "200"), ("content-length", "five")],
            false,
        ),
        (
            "larger than the limit",
            std::iter::once((":status", "200"))
                .chain((0..600).map(|_| ("x-long", long.as_str())))
                .collect(),
            false,
        ),
    ];
    for (what, fields, end) in heads {
        let (gateway, listener) = gateway_and_listener("", "").await;
        let mut client = gateway.client().await;
        let mut other = gateway.client().await;
        other.send(GET).await;
        let mut peer = FramePeer::serve(&listener, &[]).await;
        let innocent = peer.request().await;
        client.send(GET).await;
        let stream = peer.request().await;
        peer.headers(stream, &fields, end).await;
        assert_eq!(client.response().await.status(), 502, "{what}");
        let ended = gateway.ended().await;
        assert_eq!(
            (ended.reason.as_str(), ended.aborted),
            ("upstream_protocol_error", false),
            "{what}"
        );
        if !end {
            let reset = peer.next(kind::RST_STREAM).await;
            assert_eq!(reset.stream, stream, "{what}");
        }
        peer.headers(innocent, &[(":status", "204")], true).await;
        assert_eq!(other.response().await.status(), 204, "{what}");
    }
}

#[tokio::test]
async fn frames_that_break_the_connection_are_an_upstream_fault() {
    let broken: [(&str, u8, u32, &[u8]); 3] = [
        ("settings of a stream", kind::SETTINGS, 1, &[]),
        (
            "a field in upper case",
            kind::HEADERS,
            1,
            b"\x88\0\x01X\x01y",
        ),
        (
            "a field block that cannot be read",
            kind::HEADERS,
            1,
            &[0xff; 9],
        ),
    ];
    for (what, frame, stream, payload) in broken {
        let (gateway, listener) = gateway_and_listener("", "").await;
        let mut client = gateway.client().await;
        client.send(GET).await;
        let mut peer = FramePeer::serve(&listener, &[]).await;
        assert_eq!(peer.request().await, 1);
        let flags = if frame == kind::HEADERS { 5 } else { 0 };
        peer.send(frame, flags, stream, payload).await;
        assert_eq!(client.response().await.status(), 502, "{what}");
        let ended = gateway.ended().await;
        assert_eq!(ended.reason, "upstream_protocol_error", "{what}");
        peer.next(kind::GOAWAY).await;
        gateway.settles("up", 0, 0).await;
    }
}

#[tokio::test]
async fn a_body_that_does_not_keep_its_length_is_cut() {
    for sent in [&b"abc"[..], b"abcdefg"] {
        let (gateway, listener) = gateway_and_listener("", "").await;
        let mut old = gateway.client().await;
        let new = H2Client::connect(gateway.addr()).await;
        old.send(GET).await;
        let mut peer = FramePeer::serve(&listener, &[]).await;
        let stream = peer.request().await;
        let head = [(":status", "200"), ("content-length", "5")];
        peer.headers(stream, &head, false).await;
        peer.data(stream, sent, true).await;
        let reply = old.head().await;
        assert!(old.rest().await.len() < 5, "{}", reply.line);
        let ended = gateway.ended().await;
        assert_eq!(
            (ended.reason.as_str(), ended.aborted),
            ("upstream_protocol_error", true)
        );
        let (response, _) = new
            .open(Request::get("http://test/").body(()).unwrap(), true)
            .await;
        let stream = peer.request().await;
        peer.headers(stream, &head, false).await;
        let response = within("a response", response).await.unwrap();
        peer.data(stream, sent, true).await;
        H2Client::read(response).await.unwrap_err();
    }
}

#[tokio::test]
async fn a_reset_before_the_end_is_not_an_end() {
    // Some libraries take NO_ERROR and CANCEL for the end of a body.
    for reason in [
        h2::Reason::NO_ERROR,
        h2::Reason::CANCEL,
        h2::Reason::INTERNAL_ERROR,
    ] {
        let (gateway, listener) = gateway_and_listener("", "").await;
        let mut client = gateway.client().await;
        client.send(GET).await;
        let mut peer = FramePeer::serve(&listener, &[]).await;
        let stream = peer.request().await;
        peer.headers(stream, &[(":status", "200")], false).await;
        peer.data(stream, b"half", false).await;
        peer.reset(stream, reason).await;
        assert_eq!(
            client.head().await.header("transfer-encoding"),
            Some("chunked")
        );
        assert_eq!(client.rest().await, b"4\r\nhalf\r\n", "{reason:?}");
        let ended = gateway.ended().await;
        assert_eq!(
            (ended.reason.as_str(), ended.aborted),
            ("upstream_reset", true)
        );
    }
}
