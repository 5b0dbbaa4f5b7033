use super::*;

const LIMITS: HeadLimits = HeadLimits {
    max_head_bytes: 2048,
    max_uri_bytes: 256,
    max_headers: 16,
    max_trailer_bytes: 512,
    max_chunk_extension_bytes: 64,
};

fn parse_all(raw: &[u8]) -> Result<Option<RequestHead>, HeadError> {
    let mut buf = BytesMut::from(raw);
    parse_request(&mut buf, &mut ScanState::default(), &LIMITS)
}

fn head(raw: &str) -> RequestHead {
    parse_all(raw.as_bytes()).unwrap().unwrap()
}

/// Parses `raw` in two reads, cut at `cut`, then byte by byte from there.
fn parse_cut(raw: &[u8], cut: usize) -> Result<Option<RequestHead>, HeadError> {
    let mut buf = BytesMut::from(&raw[..cut]);
    let mut state = ScanState::default();
    let mut got = parse_request(&mut buf, &mut state, &LIMITS)?;
    for byte in &raw[cut..] {
        if got.is_some() {
            break;
        }
        buf.extend_from_slice(&[*byte]);
        got = parse_request(&mut buf, &mut state, &LIMITS)?;
    }
    Ok(got)
}

/// Everything that must be refused: bytes, and why.
#[rustfmt::skip]
fn refused() -> Vec<(Vec<u8>, HeadError)> {
    use HeadError::*;
    let rows: &[(&str, HeadError)] = &[
        // line ends and control bytes
        ("GET / HTTP/1.1\nHost: a\n\n", BareLf),
        ("GET / HTTP/1.1\r\nHost: a\n\r\n", BareLf),
        ("GET / HTTP/1.1\r\nHost: a\r\n\n", BareLf),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: a\nY: b\r\n\r\n", BareLf),
        ("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", BareLf),
        ("GET / HTTP/1.1\rHost: a\r\n\r\n", BareCr),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: 1\rY: 2\r\n\r\n", BareCr),
        ("GET / HTTP/1.1\r\nHost: a\r\nX:\rTransfer-Encoding: chunked\r\n\r\n", BareCr),
        ("GET / HTTP/1.1\r\nHost: a\r\n\rZ: 1\r\n\r\n", BareCr),
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\r\n\r\n", BareCr),
        ("\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", BareCr),
        ("GET /\r HTTP/1.1\r\nHost: a\r\n\r\n", BareCr),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n", ControlByte),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: \x0b\r\n\r\n", ControlByte),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: \x7f\r\n\r\n", ControlByte),
        ("GET / HTTP/1.1\r\nHost: a\r\nX\0: 1\r\n\r\n", ControlByte),
        ("GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", ControlByte),
        ("\x16\x03\x01\x02\0\x01\0\x01", ControlByte),
        ("\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", EmptyLines),
        // request line
        (" GET / HTTP/1.1\r\nHost: a\r\n\r\n", InvalidMethod),
        ("GE(T / HTTP/1.1\r\nHost: a\r\n\r\n", InvalidMethod),
        ("GET\r\nHost: a\r\n\r\n", InvalidMethod),
        ("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", InvalidMethod),
        ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", InvalidVersion),
        ("GET  HTTP/1.1\r\nHost: a\r\n\r\n", InvalidTarget),
        ("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", InvalidTarget),
        ("GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n", InvalidTarget),
        ("GET /\ta HTTP/1.1\r\nHost: a\r\n\r\n", InvalidTarget),
        ("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", InvalidVersion),
        ("GET /\r\n", MissingVersion),
        ("GET /\r\n\r\n", MissingVersion),
        ("GET / HTTP/0.9\r\n\r\n", UnsupportedVersion),
        ("GET / HTTP/1.2\r\nHost: a\r\n\r\n", UnsupportedVersion),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", UnsupportedVersion),
        ("GET / http/1.1\r\nHost: a\r\n\r\n", InvalidVersion),
        ("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", InvalidVersion),
        ("GET / HTTP/1.10\r\nHost: a\r\n\r\n", InvalidVersion),
        ("GET / HTTP/01.1\r\nHost: a\r\n\r\n", InvalidVersion),
        ("GET / ICE/1.0\r\nHost: a\r\n\r\n", InvalidVersion),
        ("GET / \r\nHost: a\r\n\r\n", InvalidVersion),
        // target forms
        ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", TargetForm),
        ("OPTIONS *x HTTP/1.1\r\nHost: a\r\n\r\n", TargetForm),
        ("GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n", TargetForm),
        ("GET index.html HTTP/1.1\r\nHost: a\r\n\r\n", TargetForm),
        ("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", TargetForm),
        ("GET ?a HTTP/1.1\r\nHost: a\r\n\r\n", TargetForm),
        ("CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n", TargetForm),
        ("CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n", TargetForm),
        ("CONNECT a:99999 HTTP/1.1\r\nHost: a\r\n\r\n", TargetForm),
        ("CONNECT http://a:80/ HTTP/1.1\r\nHost: a\r\n\r\n", TargetForm),
        ("GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", InvalidHost),
        ("GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", InvalidTarget),
        // field lines
        ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", ObsFold),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n", ObsFold),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n\t2\r\n\r\n", ObsFold),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n Content-Length: 3\r\n\r\n", ObsFold),
        ("GET / HTTP/1.1\r\nHost: a\r\n \r\n\r\n", ObsFold),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", SpaceBeforeColon),
        ("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding\t: chunked\r\n\r\n", SpaceBeforeColon),
        ("GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", MissingColon),
        ("GET / HTTP/1.1\r\nHost: a\r\nX\r\nY: 1\r\n\r\n", MissingColon),
        ("GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n", EmptyName),
        ("GET / HTTP/1.1\r\nHost: a\r\nFo@: x\r\n\r\n", InvalidName),
        ("GET / HTTP/1.1\r\nHost: a\r\nA B: x\r\n\r\n", InvalidName),
        ("GET / HTTP/1.1\r\nHost: a\r\nX\u{e9}: x\r\n\r\n", InvalidName),
        // host
        ("GET / HTTP/1.1\r\n\r\n", MissingHost),
        ("GET http://a/ HTTP/1.1\r\n\r\n", MissingHost),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", DuplicateHost),
        ("GET / HTTP/1.0\r\nHost: a\r\nhost: b\r\n\r\n", DuplicateHost),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n", InvalidHost),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", InvalidHost),
        ("GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", InvalidHost),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", InvalidHost),
        ("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", InvalidHost),
        ("GET / HTTP/1.1\r\nHost: a%62\r\n\r\n", InvalidHost),
        ("GET / HTTP/1.1\r\nHost: a%\r\n\r\n", InvalidHost),
        ("GET / HTTP/1.1\r\nHost: http://a\r\n\r\n", InvalidHost),
        ("GET / HTTP/1.1\r\nHost: a:\r\n\r\n", InvalidHost),
        ("GET / HTTP/1.1\r\nHost: a:x\r\n\r\n", InvalidHost),
        ("GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n", InvalidHost),
        ("GET / HTTP/1.1\r\nHost: a:-1\r\n\r\n", InvalidHost),
        ("GET / HTTP/1.1\r\nHost: :80\r\n\r\n", InvalidHost),
        ("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", InvalidHost),
        ("GET / HTTP/1.1\r\nHost: [a]\r\n\r\n", InvalidHost),
        ("GET / HTTP/1.1\r\nHost: [::1]a\r\n\r\n", InvalidHost),
        ("GET / HTTP/1.1\r\nHost: ::1\r\n\r\n", InvalidHost),
        ("GET / HTTP/1.1\r\nHost: \u{e9}\r\n\r\n", InvalidHost),
        ("GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n", HostMismatch),
        ("GET http://a/ HTTP/1.1\r\nHost: a:8080\r\n\r\n", HostMismatch),
        ("GET https://a/ HTTP/1.1\r\nHost: a:80\r\n\r\n", HostMismatch),
        ("CONNECT a:443 HTTP/1.1\r\nHost: b:443\r\n\r\n", HostMismatch),
        ("CONNECT a:443 HTTP/1.1\r\nHost: a:80\r\n\r\n", HostMismatch),
    ];
    rows.iter()
        .map(|(raw, fault)| (raw.as_bytes().to_vec(), *fault))
        .collect()
}

/// Field lines that make the framing of a POST doubtful.
#[rustfmt::skip]
fn refused_framing() -> Vec<(&'static str, HeadError)> {
    use HeadError::*;
    vec![
        ("Content-Length: 3\r\nTransfer-Encoding: chunked", LengthWithTransferEncoding),
        ("Transfer-Encoding: chunked\r\nContent-Length: 3", LengthWithTransferEncoding),
        ("Transfer-Encoding: x\r\nContent-Length: 0", LengthWithTransferEncoding),
        ("Content-Length: 3\r\nContent-Length: 3", DuplicateContentLength),
        ("Content-Length: 3\r\nContent-Length: 4", DuplicateContentLength),
        ("Content-Length: 3, 3", DuplicateContentLength),
        ("Content-Length: 3,4", DuplicateContentLength),
        ("Content-Length: 3,", InvalidContentLength),
        ("Content-Length: ,3", InvalidContentLength),
        ("Content-Length:", InvalidContentLength),
        ("Content-Length: +3", InvalidContentLength),
        ("Content-Length: -3", InvalidContentLength),
        ("Content-Length: 3 3", InvalidContentLength),
        ("Content-Length: 0x3", InvalidContentLength),
        ("Content-Length: 3a", InvalidContentLength),
        ("Content-Length: 3.0", InvalidContentLength),
        ("Content-Length: 3_0", InvalidContentLength),
        ("Content-Length: \"3\"", InvalidContentLength),
        ("Content-Length: \u{663}", InvalidContentLength),
        ("Content-Length: 18446744073709551616", InvalidContentLength),
        ("Content-Length: 99999999999999999999999999", InvalidContentLength),
        ("Transfer-Encoding:", InvalidTransferEncoding),
        ("Transfer-Encoding: identity", InvalidTransferEncoding),
        ("Transfer-Encoding: gzip", InvalidTransferEncoding),
        ("Transfer-Encoding: chunked, gzip", InvalidTransferEncoding),
        ("Transfer-Encoding: chunked, chunked", InvalidTransferEncoding),
        ("Transfer-Encoding: chunked, identity", InvalidTransferEncoding),
        ("Transfer-Encoding: identity, chunked", InvalidTransferEncoding),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", InvalidTransferEncoding),
        ("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked", InvalidTransferEncoding),
        ("Transfer-Encoding: xchunked", InvalidTransferEncoding),
        ("Transfer-Encoding: chunkedx", InvalidTransferEncoding),
        ("Transfer-Encoding: \"chunked\"", InvalidTransferEncoding),
        ("Transfer-Encoding: chunked;a=b", InvalidTransferEncoding),
        ("Transfer-Encoding: chunked,", InvalidTransferEncoding),
        ("Transfer-Encoding: ,chunked", InvalidTransferEncoding),
        ("Transfer-Encoding: chunk ed", InvalidTransferEncoding),
        ("Transfer-Encoding: \u{a0}chunked", InvalidTransferEncoding),
        ("Transfer-Encoding: \x0bchunked", ControlByte),
        ("Transfer-Encoding: gzip, chunked", UnsupportedTransferEncoding),
        ("Transfer-Encoding : chunked", SpaceBeforeColon),
        ("Transfer-Encoding\u{b}: chunked", ControlByte),
        ("X: y\r\n Transfer-Encoding: chunked", ObsFold),
        ("Transfer-Encoding:\r\n chunked", ObsFold),
    ]
}

fn all_refused() -> Vec<(Vec<u8>, HeadError)> {
    let mut rows = refused();
    for (fields, fault) in refused_framing() {
        let raw = format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
        rows.push((raw.into_bytes(), fault));
    }
    let old = "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
    rows.push((old.into(), HeadError::TransferEncodingOnHttp10));
    let uri = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(256));
    rows.push((uri.into_bytes(), HeadError::UriTooLong));
    let method = format!("{} / HTTP/1.1\r\nHost: a\r\n\r\n", "A".repeat(33));
    rows.push((method.into_bytes(), HeadError::MethodTooLong));
    let large = format!(
        "GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
        "a".repeat(2048)
    );
    rows.push((large.into_bytes(), HeadError::HeadTooLarge));
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: 1\r\n".repeat(16));
    rows.push((many.into_bytes(), HeadError::TooManyHeaders));
    rows
}

#[test]
fn each_hostile_head_is_refused_for_its_reason() {
    for (raw, fault) in all_refused() {
        let shown = String::from_utf8_lossy(&raw).into_owned();
        assert_eq!(parse_all(&raw).unwrap_err(), fault, "{shown:?}");
    }
}

#[test]
fn the_reason_does_not_depend_on_how_the_head_is_cut() {
    for (raw, fault) in all_refused() {
        for cut in 0..=raw.len() {
            let shown = String::from_utf8_lossy(&raw).into_owned();
            assert_eq!(
                parse_cut(&raw, cut).unwrap_err(),
                fault,
                "{shown:?} cut at {cut}"
            );
        }
    }
}

#[test]
fn statuses_are_exact() {
    for (fault, status) in [
        (HeadError::BareLf, 400),
        (HeadError::UriTooLong, 414),
        (HeadError::HeadTooLarge, 431),
        (HeadError::TooManyHeaders, 431),
        (HeadError::UnsupportedVersion, 505),
        (HeadError::MissingVersion, 400),
        (HeadError::MethodTooLong, 501),
        (HeadError::UnsupportedTransferEncoding, 501),
        (HeadError::InvalidTransferEncoding, 400),
    ] {
        assert_eq!(fault.status(), status, "{}", fault.reason());
    }
}

#[test]
fn a_head_parses_alike_however_it_is_cut() {
    let raw = b"\r\nPUT /a/b?c=d HTTP/1.1\r\nHost: a.test:8080\r\nX-A: \t b c \t\r\nx-a: \xe9\r\nEmpty:\r\n\
        Content-Length: 3\r\n\r\nabc";
    for cut in 0..=raw.len() - 3 {
        let request = parse_cut(raw, cut).unwrap().unwrap();
        assert_eq!(request.method, Method::PUT);
        assert_eq!(request.uri, "/a/b?c=d");
        assert_eq!(request.version, Version::HTTP_11);
        assert_eq!(request.framing, BodyFraming::Length(3));
        assert_eq!(request.authority(), Some("a.test:8080"));
        let values: Vec<_> = request.headers.get_all("x-a").iter().collect();
        assert_eq!(values, [&b"b c"[..], b"\xe9"]);
        assert_eq!(request.headers["empty"], "");
        assert_eq!(request.headers.len(), 5);
    }
    let mut buf = BytesMut::from(&raw[..]);
    parse_request(&mut buf, &mut ScanState::default(), &LIMITS).unwrap();
    assert_eq!(&buf[..], b"abc");
}

#[test]
fn pipelined_requests_come_off_one_by_one() {
    let one = "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n";
    let two = "\r\nGET /2 HTTP/1.0\r\n\r\n";
    let mut buf = BytesMut::from(format!("{one}{two}GET /3").as_str());
    let mut state = ScanState::default();
    let mut paths = Vec::new();
    while let Some(request) = parse_request(&mut buf, &mut state, &LIMITS).unwrap() {
        paths.push(request.uri.path().to_owned());
    }
    assert_eq!(paths, ["/1", "/2"]);
    assert_eq!(&buf[..], b"GET /3");
}

#[test]
fn all_target_forms_are_understood() {
    for (line, uri, authority) in [
        ("GET / HTTP/1.1\r\nHost: a", "/", "a"),
        ("GET //b/c HTTP/1.1\r\nHost: a", "//b/c", "a"),
        (
            "GET /a|b[]{}\\?q=`'|^{} HTTP/1.1\r\nHost: a",
            "/a|b[]{}\\?q=`'|^{}",
            "a",
        ),
        ("OPTIONS * HTTP/1.1\r\nHost: a", "*", "a"),
        ("OPTIONS /x HTTP/1.1\r\nHost: a", "/x", "a"),
        (
            "GET http://A.test/x HTTP/1.1\r\nHost: a.test",
            "http://A.test/x",
            "A.test",
        ),
        (
            "GET HTTP://a:80/ HTTP/1.1\r\nHost: a",
            "http://a:80/",
            "a:80",
        ),
        ("GET https://a/ HTTP/1.1\r\nHost: a:443", "https://a/", "a"),
        ("GET http://a?q HTTP/1.1\r\nHost: a", "http://a/?q", "a"),
        ("GET http://a/ HTTP/1.0", "http://a/", "a"),
        ("CONNECT a:443 HTTP/1.1\r\nHost: a:443", "a:443", "a:443"),
        ("CONNECT a:443 HTTP/1.1\r\nHost: a", "a:443", "a:443"),
        (
            "CONNECT [::1]:443 HTTP/1.1\r\nHost: [::1]:443",
            "[::1]:443",
            "[::1]:443",
        ),
        ("GET / HTTP/1.1\r\nHost: [fe80::1]", "/", "[fe80::1]"),
        ("GET / HTTP/1.1\r\nHost: x_y.test.:1", "/", "x_y.test.:1"),
    ] {
        let request = head(&format!("{line}\r\n\r\n"));
        assert_eq!(request.uri.to_string(), uri, "{line}");
        assert_eq!(request.authority(), Some(authority), "{line}");
    }
    assert_eq!(head("GET / HTTP/1.0\r\n\r\n").authority(), None);
}

#[test]
fn framing_follows_the_fields() {
    for (fields, framing) in [
        ("", BodyFraming::Empty),
        ("Content-Length: 0", BodyFraming::Length(0)),
        ("Content-Length: \t 007 ", BodyFraming::Length(7)),
        (
            "content-length: 9223372036854775807",
            BodyFraming::Length(i64::MAX.unsigned_abs()),
        ),
        ("Transfer-Encoding: chunked", BodyFraming::Chunked),
        ("TRANSFER-ENCODING:\tChunKED\t", BodyFraming::Chunked),
    ] {
        let end = if fields.is_empty() { "" } else { "\r\n" };
        let request = head(&format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}{end}\r\n"));
        assert_eq!(request.framing, framing, "{fields}");
    }
}

#[test]
fn persistence_follows_version_and_connection() {
    for (version, fields, keep_alive, names) in [
        ("1.1", "", true, false),
        ("1.1", "Connection: close\r\n", false, false),
        ("1.1", "Connection: x, CLOSE\r\n", false, true),
        (
            "1.1",
            "Connection: keep-alive\r\nConnection: close\r\n",
            false,
            false,
        ),
        ("1.1", "Connection: , te ,\r\n", true, true),
        ("1.0", "", false, false),
        ("1.0", "Connection: Keep-Alive\r\n", true, false),
        ("1.0", "Connection: keep-alive, close\r\n", false, false),
    ] {
        let request = head(&format!("GET / HTTP/{version}\r\nHost: a\r\n{fields}\r\n"));
        assert_eq!(request.keep_alive, keep_alive, "{version} {fields}");
        assert_eq!(request.names_hop_fields, names, "{version} {fields}");
    }
}

#[test]
fn upgrades_need_all_their_parts() {
    const BOTH: &str = "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n";
    for (version, fields, upgrade) in [
        ("1.1", BOTH, true),
        ("1.0", BOTH, false),
        ("1.1", "Upgrade: websocket\r\n", false),
        ("1.1", "Connection: upgrade\r\n", false),
        ("1.1", "Connection: upgrade\r\nUpgrade: ,\r\n", false),
        ("1.1", "Connection: upgrade\r\nUpgrade: h2c\r\n", false),
        (
            "1.1",
            "Connection: upgrade\r\nUpgrade: websocket, H2C\r\n",
            false,
        ),
        (
            "1.1",
            "Connection: upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n",
            false,
        ),
        (
            "1.1",
            "Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 1\r\n",
            false,
        ),
    ] {
        let request = head(&format!("GET / HTTP/{version}\r\nHost: a\r\n{fields}\r\n"));
        assert_eq!(request.upgrade, upgrade, "{version} {fields}");
    }
}

#[test]
fn only_a_waiting_client_expects_continue() {
    for (version, fields, expected) in [
        ("1.1", "Expect: 100-Continue\r\nContent-Length: 1\r\n", true),
        ("1.1", "Expect: 100-continue\r\n", false),
        ("1.1", "Expect: 200-ok\r\nContent-Length: 1\r\n", false),
        (
            "1.0",
            "Expect: 100-continue\r\nContent-Length: 1\r\n",
            false,
        ),
    ] {
        let request = head(&format!("PUT / HTTP/{version}\r\nHost: a\r\n{fields}\r\n"));
        assert_eq!(request.expect_continue, expected, "{version} {fields}");
    }
}

#[test]
fn limits_are_inclusive() {
    let prefix = "GET / HTTP/1.1\r\nHost: a\r\nX: ";
    let fill = 2048 - prefix.len() - 4;
    assert_eq!(
        head(&format!("{prefix}{}\r\n\r\n", "a".repeat(fill)))
            .headers
            .len(),
        2
    );
    head(&format!(
        "GET /{} HTTP/1.1\r\nHost: a\r\n\r\n",
        "a".repeat(255)
    ));
    head(&format!(
        "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
        "X: 1\r\n".repeat(15)
    ));
    // Over the limit before the end is in sight.
    let endless = format!("{prefix}{}", "a".repeat(fill + 5));
    assert_eq!(
        parse_all(endless.as_bytes()).unwrap_err(),
        HeadError::HeadTooLarge
    );
    let endless = format!("GET /{}", "a".repeat(256));
    assert_eq!(
        parse_all(endless.as_bytes()).unwrap_err(),
        HeadError::UriTooLong
    );
}

#[test]
fn values_share_the_memory_of_the_head() {
    let raw = "GET / HTTP/1.1\r\nHost: a\r\nX: some-value\r\n\r\n";
    let mut buf = BytesMut::from(raw);
    let start = buf.as_ptr() as usize;
    let request = parse_request(&mut buf, &mut ScanState::default(), &LIMITS)
        .unwrap()
        .unwrap();
    let value = request.headers["x"].as_bytes().as_ptr() as usize;
    assert_eq!(value - start, raw.find("some-value").unwrap());
}
