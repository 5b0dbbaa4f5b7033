use http::HeaderName;

use super::*;

const DATE: fn() -> ImfDate = || *b"Sun, 06 Nov 1994 08:49:37 GMT";

fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    fields
        .iter()
        .map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        })
        .collect()
}

fn request(
    method: Method,
    headers: &HeaderMap,
    framing: BodyFraming,
    connection: ConnectionDirective,
) -> String {
    let mut out = Vec::new();
    encode_request_head(&mut out, &method, "/p?q", headers, framing, connection).unwrap();
    String::from_utf8(out).unwrap()
}

/// Status line and `Date` are checked and cut off.
fn response(
    status: u16,
    method: Method,
    version: Version,
    framing: BodyFraming,
    connection: ConnectionDirective,
    headers: &HeaderMap,
) -> (String, EncodedResponse) {
    let mut out = Vec::new();
    let line = ResponseLine {
        status: StatusCode::from_u16(status).unwrap(),
        version,
        method: &method,
        framing,
        connection,
        trailers: true,
        date: DATE,
    };
    let encoded = encode_response_head(&mut out, &line, headers);
    let text = String::from_utf8(out).unwrap();
    let (first, rest) = text.split_once("\r\n").unwrap();
    assert!(first.starts_with(&format!("HTTP/1.1 {status} ")), "{first}");
    let rest = rest.replace("date: Sun, 06 Nov 1994 08:49:37 GMT\r\n", "");
    (rest, encoded)
}

#[test]
fn host_comes_first_and_connection_fields_are_ours() {
    let headers = map(&[
        ("accept", "*/*"),
        ("connection", "close, x"),
        ("transfer-encoding", "gzip"),
        ("content-length", "99"),
        ("content-length", "100"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("http2-settings", "x"),
        ("upgrade", "h2c"),
        ("te", "gzip"),
        ("host", "a.test"),
        ("host", "b.test"),
        ("date", "today"),
    ]);
    assert_eq!(
        request(
            Method::GET,
            &headers,
            BodyFraming::Length(12345),
            ConnectionDirective::KeepAlive
        ),
        "GET /p?q HTTP/1.1\r\nhost: a.test\r\naccept: */*\r\ndate: today\r\n\
         content-length: 12345\r\n\r\n"
    );
}

#[test]
fn request_framing_and_connection_are_written_once() {
    let headers = map(&[("host", "a"), ("te", "trailers"), ("upgrade", "websocket")]);
    for (method, framing, connection, tail) in [
        (
            Method::GET,
            BodyFraming::Empty,
            ConnectionDirective::KeepAlive,
            "te: trailers\r\nconnection: te\r\n",
        ),
        (
            Method::GET,
            BodyFraming::Empty,
            ConnectionDirective::Close,
            "te: trailers\r\nconnection: close, te\r\n",
        ),
        (
            Method::GET,
            BodyFraming::Empty,
            ConnectionDirective::Upgrade,
            "upgrade: websocket\r\nte: trailers\r\nconnection: upgrade, te\r\n",
        ),
        (
            Method::POST,
            BodyFraming::Empty,
            ConnectionDirective::KeepAlive,
            "te: trailers\r\nconnection: te\r\ncontent-length: 0\r\n",
        ),
        (
            Method::PUT,
            BodyFraming::Chunked,
            ConnectionDirective::KeepAlive,
            "te: trailers\r\nconnection: te\r\ntransfer-encoding: chunked\r\n",
        ),
    ] {
        let expected = format!("{method} /p?q HTTP/1.1\r\nhost: a\r\n{tail}\r\n");
        assert_eq!(request(method, &headers, framing, connection), expected);
    }
    let bare = HeaderMap::new();
    assert_eq!(
        request(
            Method::GET,
            &bare,
            BodyFraming::Length(u64::MAX),
            ConnectionDirective::Close
        ),
        "GET /p?q HTTP/1.1\r\nhost: \r\nconnection: close\r\ncontent-length: 18446744073709551615\r\n\r\n"
    );
}

#[test]
fn ambiguous_requests_are_not_written() {
    let mut out = Vec::new();
    for target in ["", "/a b", "/a\r\nx: y", "/\0", "/a#b", "/\u{e9}", "/\t"] {
        let result = encode_request_head(
            &mut out,
            &Method::GET,
            target,
            &HeaderMap::new(),
            BodyFraming::Empty,
            ConnectionDirective::KeepAlive,
        );
        assert_eq!(result, Err(EncodeError::InvalidTarget), "{target:?}");
    }
    let result = encode_request_head(
        &mut out,
        &Method::PUT,
        "/",
        &HeaderMap::new(),
        BodyFraming::UntilClose,
        ConnectionDirective::Close,
    );
    assert_eq!(result, Err(EncodeError::UnboundedRequest));
    assert!(out.is_empty());
}

#[test]
fn response_framing_follows_method_status_and_version() {
    use BodyFraming::{Chunked, Empty, Length, UntilClose};
    use ConnectionDirective::{Close, KeepAlive, Upgrade};
    const V10: Version = Version::HTTP_10;
    const V11: Version = Version::HTTP_11;
    let hostile = map(&[
        ("content-length", "7"),
        ("transfer-encoding", "chunked"),
        ("connection", "keep-alive"),
        ("upgrade", "websocket"),
        ("te", "x"),
    ]);
    for (status, method, version, framing, connection, fields, sent, keep_alive) in [
        (
            200,
            Method::GET,
            V11,
            Length(3),
            KeepAlive,
            "content-length: 3\r\n",
            Length(3),
            true,
        ),
        (
            200,
            Method::GET,
            V11,
            Empty,
            KeepAlive,
            "content-length: 0\r\n",
            Empty,
            true,
        ),
        (
            200,
            Method::GET,
            V11,
            Chunked,
            KeepAlive,
            "transfer-encoding: chunked\r\n",
            Chunked,
            true,
        ),
        (
            200,
            Method::GET,
            V11,
            Chunked,
            Close,
            "transfer-encoding: chunked\r\nconnection: close\r\n",
            Chunked,
            false,
        ),
        (
            200,
            Method::GET,
            V11,
            UntilClose,
            KeepAlive,
            "connection: close\r\n",
            UntilClose,
            false,
        ),
        (
            200,
            Method::GET,
            V10,
            Chunked,
            KeepAlive,
            "connection: close\r\n",
            UntilClose,
            false,
        ),
        (
            200,
            Method::GET,
            V10,
            UntilClose,
            KeepAlive,
            "connection: close\r\n",
            UntilClose,
            false,
        ),
        (
            200,
            Method::GET,
            V10,
            Length(3),
            KeepAlive,
            "content-length: 3\r\nconnection: keep-alive\r\n",
            Length(3),
            true,
        ),
        (
            200,
            Method::GET,
            V10,
            Length(3),
            Close,
            "content-length: 3\r\nconnection: close\r\n",
            Length(3),
            false,
        ),
        (
            200,
            Method::HEAD,
            V11,
            Length(3),
            KeepAlive,
            "content-length: 3\r\n",
            Empty,
            true,
        ),
        (
            200,
            Method::HEAD,
            V11,
            Empty,
            KeepAlive,
            "content-length: 7\r\n",
            Empty,
            true,
        ),
        (
            200,
            Method::HEAD,
            V11,
            Chunked,
            KeepAlive,
            "transfer-encoding: chunked\r\n",
            Empty,
            true,
        ),
        (
            200,
            Method::HEAD,
            V10,
            Chunked,
            KeepAlive,
            "connection: keep-alive\r\n",
            Empty,
            true,
        ),
        (
            200,
            Method::HEAD,
            V11,
            UntilClose,
            KeepAlive,
            "",
            Empty,
            true,
        ),
        (
            304,
            Method::GET,
            V11,
            Empty,
            KeepAlive,
            "content-length: 7\r\n",
            Empty,
            true,
        ),
        (204, Method::GET, V11, Length(3), KeepAlive, "", Empty, true),
        (
            204,
            Method::GET,
            V11,
            Empty,
            Close,
            "connection: close\r\n",
            Empty,
            false,
        ),
        (
            101,
            Method::GET,
            V11,
            UntilClose,
            Upgrade,
            "upgrade: websocket\r\nconnection: upgrade\r\n",
            UntilClose,
            false,
        ),
        (
            200,
            Method::CONNECT,
            V11,
            Empty,
            KeepAlive,
            "",
            UntilClose,
            false,
        ),
        (
            403,
            Method::CONNECT,
            V11,
            Length(1),
            KeepAlive,
            "content-length: 1\r\n",
            Length(1),
            true,
        ),
        (
            426,
            Method::GET,
            V11,
            Length(0),
            KeepAlive,
            "upgrade: websocket\r\ncontent-length: 0\r\nconnection: upgrade\r\n",
            Length(0),
            true,
        ),
        (
            426,
            Method::GET,
            V11,
            Length(0),
            Close,
            "upgrade: websocket\r\ncontent-length: 0\r\nconnection: close, upgrade\r\n",
            Length(0),
            false,
        ),
    ] {
        let name = format!("{status} {method} {version:?} {framing:?} {connection:?}");
        let (text, encoded) = response(status, method, version, framing, connection, &hostile);
        assert_eq!(text, format!("{fields}\r\n"), "{name}");
        assert_eq!(
            encoded,
            EncodedResponse {
                framing: sent,
                keep_alive
            },
            "{name}"
        );
    }
}

#[test]
fn a_date_is_added_only_where_there_is_none() {
    for (headers, dates) in [(map(&[]), 1), (map(&[("date", "then")]), 1)] {
        let mut out = Vec::new();
        let line = ResponseLine {
            status: StatusCode::OK,
            version: Version::HTTP_11,
            method: &Method::GET,
            framing: BodyFraming::Empty,
            connection: ConnectionDirective::KeepAlive,
            trailers: true,
            date: DATE,
        };
        encode_response_head(&mut out, &line, &headers);
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.matches("date: ").count(), dates);
        assert_eq!(text.contains("date: then"), headers.contains_key("date"));
    }
}

#[test]
fn every_status_line_is_well_formed() {
    for code in 100..1000 {
        let status = StatusCode::from_u16(code).unwrap();
        let mut out = Vec::new();
        status_line(&mut out, status);
        let reason = status.canonical_reason().unwrap_or_default();
        assert_eq!(out, format!("HTTP/1.1 {code} {reason}\r\n").as_bytes());
    }
}

#[test]
fn interim_responses_carry_no_framing() {
    let mut out = Vec::new();
    let headers = map(&[
        ("link", "</a>"),
        ("content-length", "3"),
        ("connection", "x"),
    ]);
    encode_interim(&mut out, StatusCode::EARLY_HINTS, &headers);
    assert_eq!(out, b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n");
}

#[test]
fn chunks_are_written_with_their_size() {
    let mut out = Vec::new();
    encode_chunk(&mut out, b"");
    encode_chunk(&mut out, b"hello");
    encode_chunk(&mut out, &[b'x'; 16]);
    encode_last_chunk(&mut out, None);
    assert_eq!(out, b"5\r\nhello\r\n10\r\nxxxxxxxxxxxxxxxx\r\n0\r\n\r\n");
    out.clear();
    encode_chunk_header(&mut out, NonZeroUsize::MAX);
    assert_eq!(out, format!("{:x}\r\n", usize::MAX).as_bytes());
    out.clear();
    let trailers = map(&[("a", "b"), ("content-length", "3"), ("set-cookie", "x")]);
    encode_last_chunk(&mut out, Some(&trailers));
    assert_eq!(out, b"0\r\na: b\r\n\r\n");
}
