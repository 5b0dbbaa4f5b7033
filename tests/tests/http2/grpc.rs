//! gRPC calls: trailers, streams, errors, deadlines.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use portcullis_tests::{H2Client, TestGateway, free_port, h2_upstream, listener, route_to, within};

use crate::over_http2;

fn grpc(path: &str) -> Request<()> {
    Request::post(format!("http://test{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .unwrap()
}

/// A gRPC-like server: echoes frames, then says OK in trailers.
async fn grpc_server() -> SocketAddr {
    let (address, _) = h2_upstream(|request, mut respond| async move {
        assert_eq!(request.headers()["te"], "trailers");
        if request.uri().path() == "/silent" {
            std::future::pending::<()>().await;
        }
        let mut body = request.into_body();
        let head = Response::builder()
            .header("content-type", "application/grpc")
            .body(())
            .unwrap();
        let mut send = respond.send_response(head, false).unwrap();
        while let Some(Ok(data)) = body.data().await {
            let _ = body.flow_control().release_capacity(data.len());
            let _ = send.send_data(data, false);
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        let _ = send.send_trailers(trailers);
    })
    .await;
    address
}

#[tokio::test]
async fn a_unary_grpc_call_gets_its_trailers() {
    let gateway = TestGateway::start(over_http2(grpc_server().await)).await;
    let client = H2Client::connect(gateway.addr()).await;
    let (response, mut send) = client.open(grpc("/a.B/C"), false).await;
    send.send_data(Bytes::from_static(b"\0\0\0\0\x02hi"), true)
        .unwrap();
    let reply = H2Client::read(within("a response", response).await.unwrap())
        .await
        .unwrap();
    assert_eq!(reply.header("content-type"), Some("application/grpc"));
    assert_eq!(reply.body, b"\0\0\0\0\x02hi");
    assert_eq!(reply.trailer("grpc-status"), Some("0"));
}

#[tokio::test]
async fn a_bidirectional_grpc_stream_flows_message_by_message() {
    let gateway = TestGateway::start(over_http2(grpc_server().await)).await;
    let client = H2Client::connect(gateway.addr()).await;
    let (response, mut send) = client.open(grpc("/a.B/Talk"), false).await;
    let mut body = within("the head", response).await.unwrap().into_body();
    for word in ["one", "two", "three"] {
        send.send_data(Bytes::from_static(word.as_bytes()), false)
            .unwrap();
        assert_eq!(
            within("the echo", body.data()).await.unwrap().unwrap(),
            word
        );
    }
    send.send_data(Bytes::new(), true).unwrap();
    while let Some(data) = within("the end", body.data()).await {
        assert!(data.unwrap().is_empty());
    }
    assert_eq!(
        within("trailers", body.trailers()).await.unwrap().unwrap()["grpc-status"],
        "0"
    );
}

#[tokio::test]
async fn grpc_errors_of_the_gateway_are_trailers_only() {
    for (yaml, code) in [
        (over_http2(free_port()), "14"),
        (route_to(free_port(), "", ""), "14"),
        (format!("{}routes: []\n", listener("")), "12"),
    ] {
        let gateway = TestGateway::start(yaml).await;
        let client = H2Client::connect(gateway.addr()).await;
        let (response, _) = client.open(grpc("/a.B/C"), true).await;
        let response = within("a response", response).await.unwrap();
        assert!(response.body().is_end_stream());
        assert_eq!(
            (
                response.status().as_u16(),
                &response.headers()["grpc-status"]
            ),
            (200, &code.parse().unwrap())
        );
        assert_eq!(response.headers()["content-type"], "application/grpc");
    }
}

#[tokio::test]
async fn a_grpc_deadline_is_kept() {
    let gateway = TestGateway::start(over_http2(grpc_server().await)).await;
    let client = H2Client::connect(gateway.addr()).await;
    let mut request = grpc("/silent");
    request
        .headers_mut()
        .insert("grpc-timeout", HeaderValue::from_static("200m"));
    let (response, _) = client.open(request, true).await;
    let response = within("a response", response).await.unwrap();
    assert_eq!(response.headers()["grpc-status"], "4");
    assert_eq!(gateway.ended().await.reason, "upstream_timeout");
}

#[tokio::test]
async fn a_steady_stream_of_messages_upwards_is_not_silence() {
    let (address, _) = h2_upstream(|request, mut respond| async move {
        // As a server of a client stream does: no head before the last message.
        let mut body = request.into_body();
        let mut count = 0;
        while let Some(Ok(data)) = body.data().await {
            count += data.len();
        }
        let head = Response::builder()
            .header("x-count", count)
            .body(())
            .unwrap();
        respond.send_response(head, true).unwrap();
    })
    .await;
    let gateway = TestGateway::start(route_to(
        address,
        "timeouts: { idle: 300ms }",
        "protocol: http2",
    ))
    .await;
    let client = H2Client::connect(gateway.addr()).await;
    let (response, mut send) = client.open(grpc("/up"), false).await;
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    for _ in 0..8 {
        ticks.tick().await;
        send.send_data(Bytes::from_static(b"x"), false).unwrap();
    }
    send.send_data(Bytes::new(), true).unwrap();
    let response = within("a response", response).await.unwrap();
    assert_eq!(
        response.headers().get("x-count"),
        Some(&HeaderValue::from_static("8"))
    );
}

#[tokio::test]
async fn a_call_is_made_again_for_the_codes_that_are_listed() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = calls.clone();
    let (address, _) = h2_upstream(move |request, mut respond| {
        let first = counter.fetch_add(1, Ordering::SeqCst) == 0;
        async move {
            let mut body = request.into_body();
            let mut said = Vec::new();
            while let Some(Ok(data)) = body.data().await {
                said.extend_from_slice(&data);
            }
            assert_eq!(said, b"\0\0\0\0\x02hi");
            let code = if first { "14" } else { "5" };
            let head = Response::builder()
                .header("content-type", "application/grpc")
                .header("grpc-status", code);
            respond.send_response(head.body(()).unwrap(), true).unwrap();
        }
    })
    .await;
    let route = "retry: { attempts: 3, on: [grpc-unavailable] }";
    let gateway = TestGateway::start(route_to(address, route, "protocol: http2")).await;
    let client = H2Client::connect(gateway.addr()).await;
    let (response, mut send) = client.open(grpc("/a.B/C"), false).await;
    send.send_data(Bytes::from_static(b"\0\0\0\0\x02hi"), true)
        .unwrap();
    let response = within("a response", response).await.unwrap();
    assert_eq!(response.headers()["grpc-status"], "5");
    assert_eq!(calls.load(Ordering::SeqCst), 2);
    assert_eq!(gateway.ended().await.attempts, 2);
}
