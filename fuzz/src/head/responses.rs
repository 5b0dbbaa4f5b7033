//! Responses.

use bytes::BytesMut;
use http::{HeaderMap, Method, StatusCode, Version, header};
use portcullis_core::http1::{
    BodyFraming, ConnectionDirective, HeadLimits, ResponseHead, ResponseLine, ScanState,
    encode_response_head, parse_response,
};

use super::plain;
use super::stream::{End, Message, read_all, same_however_cut};

/// Methods whose answers are framed in ways of their own.
const METHODS: [Method; 3] = [Method::GET, Method::HEAD, Method::CONNECT];

/// Reads responses at once and in pieces, and looks at those that are accepted.
pub(super) fn check(data: &[u8], limits: &HeadLimits) {
    for method in METHODS {
        for message in same_however_cut(data, |pieces| read(pieces, &method, limits)) {
            let bytes = &data[message.start..message.head_end];
            accepted(&message.head, bytes, &method, limits);
            comes_back(&message.head, &method);
        }
    }
}

fn read(
    pieces: &[&[u8]],
    method: &Method,
    limits: &HeadLimits,
) -> (Vec<Message<ResponseHead>>, End) {
    let mut scan = ScanState::default();
    read_all(
        pieces,
        limits,
        |buf| parse_response(buf, &mut scan, method, limits),
        |head| head.framing,
    )
}

/// What holds for every response that is accepted.
fn accepted(head: &ResponseHead, bytes: &[u8], method: &Method, limits: &HeadLimits) {
    assert!(bytes.len() <= limits.max_head_bytes);
    let plain = plain::read(bytes);
    assert!(plain.fields.len() <= limits.max_headers);
    plain::assert_same(&plain.fields, &head.headers);

    let mut parts = plain.first.splitn(3, |byte| *byte == b' ');
    assert_eq!(
        parts.next(),
        Some(match head.version {
            Version::HTTP_11 => &b"HTTP/1.1"[..],
            Version::HTTP_10 => b"HTTP/1.0",
            other => panic!("{other:?} was accepted"),
        })
    );
    assert_eq!(parts.next(), Some(head.status.as_str().as_bytes()));

    let announced = plain::announced(&head.headers, head.version);
    let tunnel = head.status == StatusCode::SWITCHING_PROTOCOLS
        || *method == Method::CONNECT && head.status.is_success();
    let expected = if tunnel {
        BodyFraming::UntilClose
    } else if has_no_body(head.status, method) {
        BodyFraming::Empty
    } else {
        announced.unwrap_or(BodyFraming::UntilClose)
    };
    assert_eq!(head.framing, expected);
    if head.keep_alive {
        assert_ne!(head.framing, BodyFraming::UntilClose);
        assert!(!plain::lists(&head.headers, "connection", "close"));
    }
}

fn has_no_body(status: StatusCode, method: &Method) -> bool {
    *method == Method::HEAD || status.is_informational() || matches!(status.as_u16(), 204 | 304)
}

/// What was accepted from an upstream is accepted again when the gateway writes it to a client.
fn comes_back(head: &ResponseHead, method: &Method) {
    // Interim ones are written in another way; 101 is one that ends HTTP.
    if head.status.is_informational() && head.status != StatusCode::SWITCHING_PROTOCOLS {
        return;
    }
    let limits = HeadLimits {
        max_head_bytes: usize::MAX,
        max_headers: usize::MAX >> 16,
        ..HeadLimits::default()
    };
    for version in [Version::HTTP_11, Version::HTTP_10] {
        let line = ResponseLine {
            status: head.status,
            version,
            method,
            framing: head.framing,
            connection: ConnectionDirective::KeepAlive,
            trailers: true,
            date: || *b"Sun, 06 Nov 1994 08:49:37 GMT",
        };
        let mut out = Vec::new();
        let encoded = encode_response_head(&mut out, &line, &head.headers);
        let mut buf = BytesMut::from(&out[..]);
        let again = parse_response(&mut buf, &mut ScanState::default(), method, &limits)
            .unwrap_or_else(|fault| panic!("{fault}: {}", out.escape_ascii()))
            .expect("a written head is whole");
        assert!(
            buf.is_empty(),
            "the head ends early: {}",
            out.escape_ascii()
        );
        assert_eq!(
            (again.status, again.version),
            (head.status, Version::HTTP_11)
        );
        assert_eq!(again.keep_alive, encoded.keep_alive);
        let expected = match encoded.framing {
            BodyFraming::Empty if !has_no_body(head.status, method) => BodyFraming::Length(0),
            other => other,
        };
        assert_eq!(again.framing, expected, "{}", out.escape_ascii());
        let mut sent = end_to_end(&head.headers);
        sent.entry(header::DATE)
            .or_insert(http::HeaderValue::from_static(
                "Sun, 06 Nov 1994 08:49:37 GMT",
            ));
        assert_eq!(end_to_end(&again.headers), sent);
    }
}

/// Fields that are neither about framing nor about one connection.
fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    let mut kept = headers.clone();
    for name in [
        "connection",
        "content-length",
        "host",
        "http2-settings",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ] {
        kept.remove(name);
    }
    kept
}
