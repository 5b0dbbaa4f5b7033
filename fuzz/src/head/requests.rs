//! Requests.

use bytes::BytesMut;
use http::{HeaderMap, HeaderValue, Method, Uri, Version, header};
use portcullis_core::http1::{
    BodyFraming, ConnectionDirective, HeadLimits, RequestHead, ScanState, encode_request_head,
    parse_request,
};

use super::plain;
use super::stream::{End, Message, read_all, same_however_cut};

/// Reads requests at once and in pieces, and looks at those that are accepted.
pub(super) fn check(data: &[u8], limits: &HeadLimits) {
    for message in same_however_cut(data, |pieces| read(pieces, limits)) {
        accepted(
            &message.head,
            &data[message.start..message.head_end],
            limits,
        );
        comes_back(&message.head);
    }
}

pub(super) fn read(pieces: &[&[u8]], limits: &HeadLimits) -> (Vec<Message<RequestHead>>, End) {
    let mut scan = ScanState::default();
    read_all(
        pieces,
        limits,
        |buf| parse_request(buf, &mut scan, limits),
        |head| head.framing,
    )
}

/// What holds for every request that is accepted.
fn accepted(head: &RequestHead, bytes: &[u8], limits: &HeadLimits) {
    // Up to four empty lines may stand in front.
    assert!(bytes.len() <= limits.max_head_bytes + 8);
    let plain = plain::read(bytes);
    assert!(plain.fields.len() <= limits.max_headers);
    plain::assert_same(&plain.fields, &head.headers);

    let parts: Vec<&[u8]> = plain.first.split(|byte| *byte == b' ').collect();
    let [method, target, version] = parts[..] else {
        panic!("a request line of {} parts was accepted", parts.len());
    };
    assert_eq!(head.method.as_str().as_bytes(), method);
    assert!(plain::is_token(method) && method.len() <= 32);
    assert!(target.len() <= limits.max_uri_bytes);
    assert!(
        target.iter().all(|byte| byte.is_ascii_graphic()) && !target.contains(&b'#'),
        "{target:?}"
    );
    assert_eq!(
        version,
        match head.version {
            Version::HTTP_11 => &b"HTTP/1.1"[..],
            Version::HTTP_10 => b"HTTP/1.0",
            other => panic!("{other:?} was accepted"),
        }
    );
    form(head, target);
    host(head);

    let framing = plain::announced(&head.headers, head.version);
    assert_eq!(head.framing, framing.unwrap_or(BodyFraming::Empty));
    assert!(plain::all(&head.headers, "content-length").len() < 2);

    let option = |name| plain::lists(&head.headers, "connection", name);
    let http_11 = head.version == Version::HTTP_11;
    assert_eq!(
        head.keep_alive,
        !option("close") && (http_11 || option("keep-alive"))
    );
    if head.upgrade {
        assert!(http_11 && option("upgrade") && !head.framing.has_body());
        assert!(head.headers.contains_key(header::UPGRADE));
        assert!(!plain::lists(&head.headers, "upgrade", "h2c"));
    }
    if head.expect_continue {
        assert!(http_11 && head.framing.has_body());
    }
}

/// The form of the target fits the method (RFC 9112, section 3.2).
fn form(head: &RequestHead, target: &[u8]) {
    let uri = &head.uri;
    if head.method == Method::CONNECT {
        let authority = uri.authority().expect("CONNECT names an authority");
        assert!(authority.port_u16().is_some() && uri.path_and_query().is_none());
        assert_eq!(authority.as_str().as_bytes(), target);
    } else if target == b"*" {
        assert_eq!((&head.method, uri.path()), (&Method::OPTIONS, "*"));
    } else if target.starts_with(b"/") {
        assert!(uri.authority().is_none() && uri.scheme().is_none());
        assert_eq!(uri.to_string().as_bytes(), target);
    } else {
        assert!(matches!(uri.scheme_str(), Some("http" | "https")));
        let authority = uri.authority().expect("an absolute target has a host");
        assert!(!authority.as_str().contains('@') && !authority.host().is_empty());
    }
}

/// One host, well-formed, and the one of the target (RFC 9112, section 3.2).
fn host(head: &RequestHead) {
    let hosts = plain::all(&head.headers, "host");
    assert!(hosts.len() < 2, "{} hosts were accepted", hosts.len());
    let Some(host) = hosts.first() else {
        assert_eq!(head.version, Version::HTTP_10, "no host in HTTP/1.1");
        return;
    };
    let text = std::str::from_utf8(host).expect("a host is ASCII");
    assert!(
        !text.contains([
            '@', '/', '?', '#', ',', ' ', '\t', '"', '\\', '<', '>', '^', '`', '|'
        ]),
        "{text}"
    );
    let named: http::uri::Authority = text.parse().expect("a host is an authority");
    assert!(!named.host().is_empty());
    assert_eq!(
        named.port().is_some(),
        !text.ends_with(']') && text.contains(':') && { text.rfind(':') > text.rfind(']') }
    );
    if let Some(authority) = head.uri.authority() {
        assert!(named.host().eq_ignore_ascii_case(authority.host()));
    }
    let told = head.authority().expect("it names a host");
    assert_eq!(
        told,
        head.uri
            .authority()
            .map_or(text, |authority| authority.as_str())
    );
}

/// What was accepted is accepted again when the gateway writes it, and means the same.
fn comes_back(head: &RequestHead) {
    // Without a host the gateway writes an empty one, which only upstreams have to take.
    if !head.headers.contains_key(header::HOST) {
        return;
    }
    for connection in [
        ConnectionDirective::KeepAlive,
        ConnectionDirective::Close,
        ConnectionDirective::Upgrade,
    ] {
        let mut out = Vec::new();
        let target = target_of(&head.uri);
        encode_request_head(
            &mut out,
            &head.method,
            &target,
            &head.headers,
            head.framing,
            connection,
        )
        .expect("an accepted request can be written");
        let again = parse_alone(&out);
        assert_eq!(again.method, head.method);
        assert_eq!(target_of(&again.uri), target);
        assert_eq!(again.framing, written_framing(head));
        assert_eq!(
            again.keep_alive,
            connection != ConnectionDirective::Close,
            "{connection:?}"
        );
        let upgraded = connection == ConnectionDirective::Upgrade;
        assert_eq!(end_to_end(&again.headers, upgraded), {
            let mut sent = end_to_end(&head.headers, upgraded);
            if head.framing != BodyFraming::Chunked {
                sent.remove(header::TRAILER);
            }
            sent
        });
    }
}

/// Parses a head that the gateway wrote.
pub(super) fn parse_alone(bytes: &[u8]) -> RequestHead {
    // As written, a head may be longer than as it came: `host:a` becomes `host: a`.
    let limits = HeadLimits {
        max_head_bytes: usize::MAX,
        max_headers: usize::MAX >> 16,
        ..HeadLimits::default()
    };
    let mut buf = BytesMut::from(bytes);
    let parsed = parse_request(&mut buf, &mut ScanState::default(), &limits)
        .unwrap_or_else(|fault| panic!("{fault}: {}", bytes.escape_ascii()));
    assert!(
        buf.is_empty(),
        "the head ends early: {}",
        bytes.escape_ascii()
    );
    parsed.expect("a written head is whole")
}

fn written_framing(head: &RequestHead) -> BodyFraming {
    let asks = matches!(head.method, Method::POST | Method::PUT | Method::PATCH);
    match head.framing {
        BodyFraming::Empty if asks => BodyFraming::Length(0),
        other => other,
    }
}

/// What a request line says; `http` prints absolute targets without path with one.
fn target_of(uri: &Uri) -> String {
    uri.to_string()
}

/// Fields that are not about framing or about one connection.
fn end_to_end(headers: &HeaderMap, upgraded: bool) -> HeaderMap {
    let mut kept = headers.clone();
    for name in [
        "connection",
        "content-length",
        "http2-settings",
        "keep-alive",
        "proxy-connection",
        "transfer-encoding",
    ] {
        kept.remove(name);
    }
    if !upgraded {
        kept.remove(header::UPGRADE);
    }
    let trailers = kept
        .get_all(header::TE)
        .iter()
        .any(|value| value.as_bytes().eq_ignore_ascii_case(b"trailers"));
    kept.remove(header::TE);
    if trailers {
        kept.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    kept
}
