//! Parsing and writing the heads of HTTP/1 messages.

use std::hint::black_box;
use std::time::UNIX_EPOCH;

use bytes::BytesMut;
use gungraun::prelude::*;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use portcullis::testing::bench::end_headers;
use portcullis::testing::bench::http1::{
    BodyFraming, ConnectionDirective, HeadLimits, RequestHead, ResponseHead, ResponseLine,
    ScanState, date, encode_request_head, encode_response_head, parse_request as parse,
    parse_response as parse_reply,
};

/// What the simplest client sends.
const SMALL: &str = "GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n";

/// What a browser sends: twelve fields.
const BROWSER: &str = "GET /orders/7?page=2 HTTP/1.1\r\n\
    Host: shop.example\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
    Accept-Language: en-GB,en;q=0.5\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Referer: https://shop.example/orders\r\n\
    Connection: keep-alive\r\n\
    Cookie: session=4f1f7f6ae2f14d9a; theme=dark\r\n\
    Upgrade-Insecure-Requests: 1\r\n\
    Sec-Fetch-Dest: document\r\n\
    Sec-Fetch-Mode: navigate\r\n\
    Sec-Fetch-Site: same-origin\r\n\r\n";

/// What a small server answers.
const REPLY: &str = "HTTP/1.1 200 OK\r\n\
    Server: app\r\n\
    Content-Type: application/json\r\n\
    Content-Length: 1024\r\n\r\n";

/// What an application behind a framework answers: twelve fields.
const RICH: &str = "HTTP/1.1 200 OK\r\n\
    Server: nginx/1.22.1\r\n\
    Date: Mon, 05 Jan 2026 10:00:00 GMT\r\n\
    Content-Type: text/html; charset=utf-8\r\n\
    Content-Length: 1024\r\n\
    Connection: keep-alive\r\n\
    Cache-Control: max-age=0, private, must-revalidate\r\n\
    ETag: W/\"4a1f7f6ae2f14d9a\"\r\n\
    Set-Cookie: session=4f1f7f6ae2f14d9a; Path=/; HttpOnly; Secure\r\n\
    Strict-Transport-Security: max-age=63072000\r\n\
    Vary: Accept-Encoding\r\n\
    X-Content-Type-Options: nosniff\r\n\
    X-Frame-Options: SAMEORIGIN\r\n\r\n";

/// A head that comes for the first time.
fn new(head: &str) -> (BytesMut, ScanState, HeadLimits) {
    // The thread's memory for lines is made by the first that comes twice, and a map is there from the message before.
    for _ in 0..3 {
        let other = BytesMut::from("GET / HTTP/1.1\r\nHost: other.example\r\n\r\n");
        let head = take_request((other, ScanState::default(), HeadLimits::default()));
        end_headers(head.headers);
    }
    (
        BytesMut::from(head),
        ScanState::default(),
        HeadLimits::default(),
    )
}

/// A head that came before.
fn known(head: &str) -> (BytesMut, ScanState, HeadLimits) {
    for _ in 0..4 {
        end_headers(take_request(new(head)).headers);
    }
    new(head)
}

fn known_reply(head: &str) -> (BytesMut, ScanState, HeadLimits) {
    for _ in 0..4 {
        end_headers(take_reply(new(head)).headers);
    }
    new(head)
}

fn take_request((mut head, mut state, limits): (BytesMut, ScanState, HeadLimits)) -> RequestHead {
    parse(&mut head, &mut state, &limits).unwrap().unwrap()
}

fn take_reply((mut head, mut state, limits): (BytesMut, ScanState, HeadLimits)) -> ResponseHead {
    let head = parse_reply(&mut head, &mut state, &Method::GET, &limits);
    head.unwrap().unwrap()
}

#[library_benchmark]
#[bench::small(known(SMALL))]
#[bench::browser(known(BROWSER))]
#[bench::browser_first_time(new(BROWSER))]
fn parse_request(head: (BytesMut, ScanState, HeadLimits)) -> RequestHead {
    take_request(black_box(head))
}

#[library_benchmark]
#[bench::small(known_reply(REPLY))]
#[bench::rich(known_reply(RICH))]
#[bench::rich_first_time(new(RICH))]
fn parse_response(head: (BytesMut, ScanState, HeadLimits)) -> ResponseHead {
    take_reply(black_box(head))
}

/// The fields of a request as they are sent on: those of the client and those that the gateway adds.
fn sent_on(head: &str) -> (Vec<u8>, String, HeaderMap) {
    let head = take_request(known(head));
    let mut headers = head.headers;
    headers.remove("connection");
    for (name, value) in [
        ("x-forwarded-for", "192.0.2.7"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "shop.example"),
        ("x-forwarded-port", "8080"),
        ("x-request-id", "0197a3b4-5c6d-4e8f-90a1-b2c3d4e5f607"),
    ] {
        headers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    (Vec::with_capacity(8192), head.uri.to_string(), headers)
}

/// The fields of a reply as they are sent on.
fn sent_back(head: &str) -> (Vec<u8>, HeaderMap) {
    let mut headers = take_reply(known_reply(head)).headers;
    headers.remove("connection");
    headers.remove("content-length");
    headers.insert(
        "x-request-id",
        HeaderValue::from_static("0197a3b4-5c6d-4e8f-90a1-b2c3d4e5f607"),
    );
    (Vec::with_capacity(8192), headers)
}

#[library_benchmark]
#[bench::small(sent_on(SMALL))]
#[bench::browser(sent_on(BROWSER))]
fn write_request((mut out, target, headers): (Vec<u8>, String, HeaderMap)) -> Vec<u8> {
    let written = encode_request_head(
        &mut out,
        &Method::GET,
        &target,
        black_box(&headers),
        BodyFraming::Empty,
        ConnectionDirective::KeepAlive,
    );
    written.unwrap();
    // Their end is none of this bench's work.
    std::mem::forget((target, headers));
    out
}

#[library_benchmark]
#[bench::small(sent_back(REPLY))]
#[bench::rich(sent_back(RICH))]
fn write_response((mut out, headers): (Vec<u8>, HeaderMap)) -> Vec<u8> {
    let line = ResponseLine {
        status: StatusCode::OK,
        version: Version::HTTP_11,
        method: &Method::GET,
        framing: BodyFraming::Length(1024),
        connection: ConnectionDirective::KeepAlive,
        trailers: false,
        date: || date::cached(UNIX_EPOCH),
    };
    encode_response_head(&mut out, &line, black_box(&headers));
    std::mem::forget(headers);
    out
}

library_benchmark_group!(
    name = heads,
    benchmarks = [parse_request, parse_response, write_request, write_response]
);
