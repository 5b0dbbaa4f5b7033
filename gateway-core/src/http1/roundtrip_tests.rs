//! What is encoded is parsed back alike, and nothing that arrives makes a parser panic.

use bytes::BytesMut;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// Names that no part of the codec treats in a special way.
fn plain_name() -> impl Strategy<Value = HeaderName> {
    "x-[a-eA-E0-9!#$%&'*+.^_`|~-]{1,70}"
        .prop_map(|name| HeaderName::from_bytes(name.as_bytes()).unwrap())
}

/// Values as they come back: without white space around them.
fn plain_value() -> impl Strategy<Value = HeaderValue> {
    vec(prop_oneof![Just(b'\t'), 0x20u8..0x7f, 0x80u8..=0xff], 0..40).prop_map(|bytes| {
        let trimmed = fields::trim_end(fields::trim_start(&bytes));
        HeaderValue::from_bytes(trimmed).unwrap()
    })
}

fn headers() -> impl Strategy<Value = HeaderMap> {
    vec((plain_name(), plain_value()), 0..12).prop_map(|fields| {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(name, value);
        }
        map
    })
}

fn request_framing() -> impl Strategy<Value = BodyFraming> {
    prop_oneof![
        Just(BodyFraming::Empty),
        (0..=framing::MAX_LENGTH).prop_map(BodyFraming::Length),
        Just(BodyFraming::Chunked),
    ]
}

fn response_framing() -> impl Strategy<Value = BodyFraming> {
    prop_oneof![request_framing(), Just(BodyFraming::UntilClose)]
}

fn directive() -> impl Strategy<Value = ConnectionDirective> {
    prop_oneof![
        Just(ConnectionDirective::KeepAlive),
        Just(ConnectionDirective::Close)
    ]
}

fn method() -> impl Strategy<Value = Method> {
    prop_oneof![
        Just(Method::GET),
        Just(Method::HEAD),
        Just(Method::POST),
        Just(Method::CONNECT),
        "[A-Z]{1,32}".prop_map(|name| Method::from_bytes(name.as_bytes()).unwrap()),
    ]
}

/// Bytes that look enough like HTTP to get past the first checks.
fn nearly_http() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        3 => prop_oneof![
            Just("GET / HTTP/1.1\r\n"), Just("HTTP/1.1 200 OK\r\n"), Just("host: a\r\n"), Just("\r\n"),
            Just("content-length: "), Just("transfer-encoding: "), Just("chunked"), Just("connection: "),
            Just("upgrade: "), Just("close"), Just("0"), Just("5"), Just(";a=\""), Just(":"), Just(" "),
            Just(","), Just("\n"), Just("\r"), Just("http://"), Just("["), Just("*"), Just("ffffffffffffffff"),
        ].prop_map(|text| text.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..6),
    ];
    vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn requests_come_back(
        method in method().prop_filter("another target", |method| *method != Method::CONNECT), path in "/[!$-;=@-_a-z|~]{0,20}([?][!$-;=?-~]{0,20})?", mut map in headers(),
        framing in request_framing(), connection in directive(), cut in any::<prop::sample::Index>(),
    ) {
        map.insert("host", HeaderValue::from_static("a.test"));
        let mut out = Vec::new();
        let limits = HeadLimits::default();
        encode_request_head(&mut out, &method, &path, &map, framing, connection).unwrap();
        let mut state = ScanState::default();
        let cut = cut.index(out.len());
        let mut buf = BytesMut::from(&out[..cut]);
        prop_assert!(parse_request(&mut buf, &mut state, &limits).unwrap().is_none());
        buf.extend_from_slice(&out[cut..]);
        let head = parse_request(&mut buf, &mut state, &limits).unwrap().unwrap();
        prop_assert!(buf.is_empty());
        prop_assert_eq!(&head.method, &method);
        prop_assert_eq!(head.uri.to_string(), path);
        prop_assert_eq!(head.keep_alive, connection == ConnectionDirective::KeepAlive);
        let writes_zero = [Method::POST, Method::PUT, Method::PATCH].contains(&method);
        let expected = if framing == BodyFraming::Empty && writes_zero { BodyFraming::Length(0) } else { framing };
        prop_assert_eq!(head.framing, expected);
        let mut received = head.headers;
        for name in ["content-length", "transfer-encoding", "connection"] {
            received.remove(name);
        }
        prop_assert_eq!(received, map);
    }

    #[test]
    fn responses_come_back(
        code in 200u16..1000, method in method(), old in any::<bool>(), mut map in headers(),
        framing in response_framing(), connection in directive(), cut in any::<prop::sample::Index>(),
    ) {
        let status = StatusCode::from_u16(code).unwrap();
        let line = ResponseLine {
            status,
            version: if old { Version::HTTP_10 } else { Version::HTTP_11 },
            method: &method,
            framing,
            connection,
            trailers: true,
            date: || *b"Sun, 06 Nov 1994 08:49:37 GMT",
        };
        let mut out = Vec::new();
        let encoded = encode_response_head(&mut out, &line, &map);
        let limits = HeadLimits::default();
        let mut state = ScanState::default();
        let cut = cut.index(out.len());
        let mut buf = BytesMut::from(&out[..cut]);
        prop_assert!(parse_response(&mut buf, &mut state, &method, &limits).unwrap().is_none());
        buf.extend_from_slice(&out[cut..]);
        let head = parse_response(&mut buf, &mut state, &method, &limits).unwrap().unwrap();
        prop_assert!(buf.is_empty());
        prop_assert_eq!(head.status, status);
        let expected = match encoded.framing {
            BodyFraming::Empty if !framing::has_no_body(status, &method) => BodyFraming::Length(0),
            other => other,
        };
        prop_assert_eq!(head.framing, expected);
        prop_assert_eq!(head.keep_alive, encoded.keep_alive);
        let mut received = head.headers;
        for name in ["content-length", "transfer-encoding", "connection"] {
            received.remove(name);
        }
        map.insert("date", HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT"));
        prop_assert_eq!(received, map);
    }

    #[test]
    fn chunked_bodies_come_back(
        chunks in vec(vec(any::<u8>(), 0..300), 0..8), trailers in headers(), piece in 1usize..64,
    ) {
        let mut out = Vec::new();
        for chunk in &chunks {
            encode_chunk(&mut out, chunk);
        }
        encode_last_chunk(&mut out, Some(&trailers));
        out.extend_from_slice(b"next");
        let mut decoder = BodyDecoder::new(BodyFraming::Chunked, &HeadLimits::default());
        let mut buf = BytesMut::new();
        let mut body = Vec::new();
        let mut pieces = out.chunks(piece);
        let received = loop {
            match decoder.decode(&mut buf, false).unwrap() {
                Chunk::Data(data) => body.extend_from_slice(&data),
                Chunk::NeedMore => buf.extend_from_slice(pieces.next().unwrap()),
                Chunk::End(received) => break received,
            }
        };
        pieces.for_each(|rest| buf.extend_from_slice(rest));
        prop_assert_eq!(body, chunks.concat());
        prop_assert_eq!(received.unwrap_or_default(), trailers);
        prop_assert_eq!(&buf[..], b"next");
    }

    #[test]
    fn nothing_panics_and_cuts_do_not_matter(
        raw in prop_oneof![nearly_http(), vec(any::<u8>(), 0..200)], at in any::<prop::sample::Index>(),
    ) {
        let limits = HeadLimits { max_head_bytes: 120, max_uri_bytes: 40, max_headers: 6, ..HeadLimits::default() };
        let cut = at.index(raw.len() + 1);
        let mut whole = BytesMut::from(&raw[..]);
        let at_once = parse_request(&mut whole, &mut ScanState::default(), &limits);
        let mut buf = BytesMut::from(&raw[..cut]);
        let mut state = ScanState::default();
        let in_two = match parse_request(&mut buf, &mut state, &limits) {
            Ok(None) => {
                buf.extend_from_slice(&raw[cut..]);
                parse_request(&mut buf, &mut state, &limits)
            }
            other => other,
        };
        let shown = |result: &Result<Option<RequestHead>, HeadError>| {
            result.as_ref().map(|head| head.as_ref().map(|head| format!("{head:?}"))).map_err(|fault| *fault)
        };
        // A line that is too long and has another fault behind that is refused for either.
        let long = |fault: HeadError| matches!(fault, HeadError::MethodTooLong | HeadError::UriTooLong);
        match (shown(&at_once), shown(&in_two)) {
            (Err(one), Err(two)) if long(one) || long(two) => {}
            (one, two) => prop_assert_eq!(one, two),
        }

        let mut buf = BytesMut::from(&raw[..]);
        let _ = parse_response(&mut buf, &mut ScanState::default(), &Method::GET, &limits);
        let mut buf = BytesMut::from(&raw[..]);
        let mut decoder = BodyDecoder::new(BodyFraming::Chunked, &limits);
        while let Ok(Chunk::Data(_)) = decoder.decode(&mut buf, true) {}
    }
}
