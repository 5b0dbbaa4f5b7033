//! Bodies on their way to and from HTTP/2 endpoints: windows, trailers, early replies.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, HeaderValue, Request, Response};
use portcullis_tests::{FramePeer, H2Client, PATIENCE, h2_upstream, kind, within};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::{GET, gateway_and_listener, gateway_to};

const MIB: usize = 1 << 20;

/// How long nothing has to move until it is taken for stuck.
const STUCK: Duration = Duration::from_millis(300);

/// Sends until the peer lets nothing more through for so long; says how much that was.
async fn stuff(send: &mut SendStream<Bytes>, most: usize, stuck: Duration) -> usize {
    let mut sent = 0;
    while sent < most {
        send.reserve_capacity(64 * 1024);
        let room = poll_fn(|task| send.poll_capacity(task));
        let Ok(room) = tokio::time::timeout(stuck, room).await else {
            break;
        };
        let part = room.unwrap().unwrap().min(64 * 1024);
        send.send_data(vec![b'z'; part].into(), false).unwrap();
        sent += part;
    }
    sent
}

/// Reads everything and gives the windows back.
async fn drain(body: &mut RecvStream) -> usize {
    let mut got = 0;
    while let Some(data) = within("data", body.data()).await {
        let data = data.unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        got += data.len();
    }
    got
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_its_endpoint_back_and_nobody_else() {
    const MOST: usize = 32 * MIB;
    let stuck = Arc::new(Notify::new());
    let total = Arc::new(AtomicUsize::new(0));
    let (told, counter) = (stuck.clone(), total.clone());
    let (address, connections) = h2_upstream(move |request, mut respond| {
        let (told, counter) = (told.clone(), counter.clone());
        async move {
            let mut send = respond.send_response(Response::new(()), false).unwrap();
            if request.uri().path() == "/small" {
                send.send_data("small".into(), true).unwrap();
                return;
            }
            let held = stuff(&mut send, MOST, STUCK).await;
            counter.store(held, Ordering::SeqCst);
            told.notify_one();
            send.reserve_capacity(0);
            // What the client gives back lets the rest through.
            let mut left = MOST - held;
            while left > 0 {
                send.reserve_capacity(left.min(64 * 1024));
                let room = poll_fn(|task| send.poll_capacity(task)).await;
                let part = room.unwrap().unwrap().min(left);
                send.send_data(vec![b'z'; part].into(), false).unwrap();
                left -= part;
            }
            send.send_data(Bytes::new(), true).unwrap();
        }
    })
    .await;
    let gateway = gateway_to(address).await;
    let slow = H2Client::connect(gateway.addr()).await;
    let (response, _) = slow
        .open(Request::get("http://test/large").body(()).unwrap(), true)
        .await;
    let mut body = within("the head", response).await.unwrap().into_body();
    within("the endpoint's windows", stuck.notified()).await;
    // One stream's window towards the gateway, what waits in it, and the client's window.
    let held = total.load(Ordering::SeqCst);
    assert!(
        held < 4 * MIB,
        "{held} bytes were taken for a client that does not read"
    );
    assert_eq!(gateway.get("/small").await.text(), "small");
    assert_eq!(connections.load(Ordering::SeqCst), 1);
    assert_eq!(drain(&mut body).await, MOST);
}

#[tokio::test]
async fn an_endpoint_that_does_not_read_holds_its_client_back() {
    let reading = Arc::new(Notify::new());
    let go = reading.clone();
    let (address, _) = h2_upstream(move |request, mut respond| {
        let go = go.clone();
        async move {
            go.notified().await;
            let got = drain(&mut request.into_body()).await;
            let head = Response::builder().header("x-got", got).body(()).unwrap();
            respond.send_response(head, true).unwrap();
        }
    })
    .await;
    let gateway = gateway_to(address).await;
    let client = H2Client::connect(gateway.addr()).await;
    let request = Request::post("http://test/").body(()).unwrap();
    let (response, mut send) = client.open(request, false).await;
    let held = stuff(&mut send, 32 * MIB, STUCK).await;
    assert!(
        held < 4 * MIB,
        "{held} bytes were taken for an endpoint that does not read"
    );
    reading.notify_one();
    send.send_data(Bytes::new(), true).unwrap();
    let response = within("a response", response).await.unwrap();
    assert_eq!(response.headers()["x-got"], held.to_string().as_str());
}

/// An endpoint that says more than clients take, reads everything and tells when it has.
async fn talkative(length: usize) -> (SocketAddr, Arc<Notify>) {
    let all = Arc::new(Notify::new());
    let told = all.clone();
    let (address, _) = h2_upstream(move |request, mut respond| {
        let told = told.clone();
        async move {
            let mut send = respond.send_response(Response::new(()), false).unwrap();
            send.send_data(vec![b'z'; length].into(), true).unwrap();
            assert_eq!(drain(&mut request.into_body()).await, 4 * MIB);
            told.notify_one();
        }
    })
    .await;
    (address, all)
}

#[tokio::test]
async fn an_http2_client_that_does_not_read_can_still_send() {
    let (address, all) = talkative(8 * MIB).await;
    let gateway = gateway_to(address).await;
    let client = H2Client::connect(gateway.addr()).await;
    let request = Request::post("http://test/").body(()).unwrap();
    let (response, mut send) = client.open(request, false).await;
    let mut body = within("the head", response).await.unwrap().into_body();
    assert_eq!(stuff(&mut send, 4 * MIB, PATIENCE).await, 4 * MIB);
    send.send_data(Bytes::new(), true).unwrap();
    within("the whole upload", all.notified()).await;
    assert_eq!(drain(&mut body).await, 8 * MIB);
}

#[tokio::test]
async fn an_http1_client_that_does_not_read_can_still_send() {
    // More than the sockets between take.
    let (address, all) = talkative(64 * MIB).await;
    let gateway = gateway_to(address).await;
    let mut client = gateway.client().await;
    client
        .send("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 4194304\r\n\r\n")
        .await;
    client.head().await;
    for _ in 0..4 {
        client.send(vec![b'z'; MIB]).await;
    }
    within("the whole upload", all.notified()).await;
}

#[tokio::test]
async fn trailers_pass_both_ways() {
    let (address, _) = h2_upstream(|request, mut respond| async move {
        let mut body = request.into_body();
        assert_eq!(drain(&mut body).await, 5);
        let sum = body.trailers().await.unwrap().unwrap()["x-sum"].clone();
        let mut send = respond.send_response(Response::new(()), false).unwrap();
        send.send_data("ok".into(), false).unwrap();
        let mut trailers = HeaderMap::new();
        trailers.insert("x-echoed", sum);
        send.send_trailers(trailers).unwrap();
    })
    .await;
    let gateway = gateway_to(address).await;
    let client = H2Client::connect(gateway.addr()).await;
    for length in [None, Some("5")] {
        let mut request = Request::post("http://test/").body(()).unwrap();
        if let Some(length) = length {
            let length = HeaderValue::from_static(length);
            request.headers_mut().insert("content-length", length);
        }
        let (response, mut send) = client.open(request, false).await;
        send.send_data("hello".into(), false).unwrap();
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", HeaderValue::from_static("42"));
        send.send_trailers(trailers).unwrap();
        let reply = H2Client::read(within("a response", response).await.unwrap());
        let reply = reply.await.unwrap();
        assert_eq!(
            (reply.body.as_slice(), reply.trailer("x-echoed")),
            (&b"ok"[..], Some("42"))
        );
    }
    let reply = gateway
        .ask(
            "POST / HTTP/1.1\r\nhost: test\r\nte: trailers\r\ntransfer-encoding: chunked\r\n\r\n\
             5\r\nhello\r\n0\r\nx-sum: 42\r\n\r\n",
        )
        .await;
    assert_eq!(
        (reply.text().as_str(), reply.trailer("x-echoed")),
        ("ok", Some("42"))
    );
}

#[tokio::test]
async fn a_whole_reply_before_the_whole_request_ends_the_upload() {
    let (gateway, listener) = gateway_and_listener("", "").await;
    let mut old = gateway.client().await;
    let new = H2Client::connect(gateway.addr()).await;
    old.send("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 1000000\r\n\r\nfirst")
        .await;
    let mut peer = FramePeer::serve(&listener, &[]).await;
    for over_http1 in [true, false] {
        let (response, mut send) = if over_http1 {
            (None, None)
        } else {
            let request = Request::post("http://test/").body(()).unwrap();
            let (response, mut send) = new.open(request, false).await;
            send.send_data("first".into(), false).unwrap();
            (Some(response), Some(send))
        };
        let stream = peer.request().await;
        assert_eq!(peer.next(kind::DATA).await.payload, b"first");
        peer.headers(stream, &[(":status", "413")], false).await;
        peer.data(stream, b"too much", true).await;
        // RFC 9113 8.1: the server wants no more of the request.
        peer.reset(stream, h2::Reason::NO_ERROR).await;
        match (response, &mut send) {
            (Some(response), Some(send)) => {
                let response = within("a response", response).await.unwrap();
                let reply = H2Client::read(response).await.unwrap();
                assert_eq!(
                    (reply.status(), reply.body.as_slice()),
                    (413, &b"too much"[..])
                );
                let reset = within("the end", poll_fn(|task| send.poll_reset(task))).await;
                assert_eq!(reset.unwrap(), h2::Reason::NO_ERROR);
            }
            _ => {
                let reply = old.response().await;
                assert_eq!((reply.status(), reply.text().as_str()), (413, "too much"));
                old.closed().await;
            }
        }
        assert!(!gateway.ended().await.aborted);
    }
}

#[tokio::test]
async fn an_endpoint_that_ends_its_reply_early_gets_no_more_of_the_request() {
    // It has not said so: the gateway does.
    let (gateway, listener) = gateway_and_listener("", "").await;
    let client = H2Client::connect(gateway.addr()).await;
    let request = Request::post("http://test/").body(()).unwrap();
    let (response, _send) = client.open(request, false).await;
    let mut peer = FramePeer::serve(&listener, &[]).await;
    let stream = peer.request().await;
    peer.headers(stream, &[(":status", "200")], true).await;
    assert_eq!(within("a response", response).await.unwrap().status(), 200);
    let reset = peer.next(kind::RST_STREAM).await;
    assert_eq!((reset.stream, reset.reason()), (stream, h2::Reason::CANCEL));
}

#[tokio::test]
async fn a_request_that_does_not_keep_its_length_is_not_completed() {
    let (gateway, listener) = gateway_and_listener("", "").await;
    let client = H2Client::connect(gateway.addr()).await;
    let mut peer = None;
    for sent in ["abc", "abcdefg"] {
        let request = Request::post("http://test/").header("content-length", "5");
        let (response, mut send) = client.open(request.body(()).unwrap(), false).await;
        send.send_data("a".into(), false).unwrap();
        if peer.is_none() {
            peer = Some(FramePeer::serve(&listener, &[]).await);
        }
        let peer = peer.as_mut().unwrap();
        let stream = peer.request().await;
        send.send_data(sent[1..].into(), true).unwrap();
        within("a reset", response).await.unwrap_err();
        loop {
            let frame = peer.frame().await.unwrap();
            assert!(
                frame.kind != kind::DATA || frame.flags & 1 == 0,
                "{frame:?}"
            );
            if frame.kind == kind::RST_STREAM {
                assert_eq!((frame.stream, frame.reason()), (stream, h2::Reason::CANCEL));
                break;
            }
        }
        assert_eq!(gateway.ended().await.reason, "client_gone");
    }
}

#[tokio::test]
async fn many_small_messages_wait_for_a_slow_client() {
    // More of them than the engine's own bound would let a connection live with.
    const COUNT: usize = 20_000;
    let (gateway, listener) = gateway_and_listener("", "").await;
    // A client that knows no such bound.
    let stream = TcpStream::connect(gateway.addr()).await.unwrap();
    let mut client = h2::client::Builder::new();
    let client = client
        .data_frame_budget(usize::MAX)
        .handshake::<_, Bytes>(stream);
    let (mut client, connection) = within("the handshake", client).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("http://test/").body(()).unwrap();
    let (response, _) = client.send_request(request, true).unwrap();
    let mut peer = FramePeer::serve(&listener, &[]).await;
    let stream = peer.request().await;
    peer.headers(stream, &[(":status", "200")], false).await;
    let mut body = within("the head", response).await.unwrap().into_body();
    let mut frames = Vec::new();
    for _ in 0..COUNT {
        frames.extend_from_slice(&[
            0,
            0,
            16,
            kind::DATA,
            0,
            0,
            0,
            0,
            u8::try_from(stream).unwrap(),
        ]);
        frames.extend_from_slice(&[b'z'; 16]);
    }
    peer.raw(&frames).await;
    // They are all there before the client reads: another request on the connection is answered behind them.
    let mut other = gateway.client().await;
    other.send(GET).await;
    let second = peer.request().await;
    peer.headers(second, &[(":status", "204")], true).await;
    assert_eq!(other.response().await.status(), 204);
    peer.data(stream, b"", true).await;
    assert_eq!(drain(&mut body).await, COUNT * 16);
}
