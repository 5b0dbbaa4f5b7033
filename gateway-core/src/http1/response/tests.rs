use super::*;

fn parse_all(raw: &[u8], method: &Method) -> Result<Option<ResponseHead>, HeadError> {
    let mut buf = BytesMut::from(raw);
    parse_response(
        &mut buf,
        &mut ScanState::default(),
        method,
        &HeadLimits::default(),
    )
}

fn parse_cut(raw: &[u8], cut: usize) -> Result<Option<ResponseHead>, HeadError> {
    let limits = HeadLimits::default();
    let mut buf = BytesMut::from(&raw[..cut]);
    let mut state = ScanState::default();
    let mut got = parse_response(&mut buf, &mut state, &Method::GET, &limits)?;
    for byte in &raw[cut..] {
        if got.is_some() {
            break;
        }
        buf.extend_from_slice(&[*byte]);
        got = parse_response(&mut buf, &mut state, &Method::GET, &limits)?;
    }
    Ok(got)
}

fn refused() -> Vec<(&'static str, HeadError)> {
    use HeadError::*;
    vec![
        ("HTP/1.1 200 OK\r\n\r\n", InvalidStatusLine),
        ("HTTP/01.1 200 OK\r\n\r\n", InvalidStatusLine),
        ("HTTP/11.1 200 OK\r\n\r\n", InvalidStatusLine),
        ("HTTP/1.01 200 OK\r\n\r\n", InvalidStatusLine),
        ("HTTP/1.1\t200 OK\r\n\r\n", InvalidStatusLine),
        ("HTTP/1.1  200 OK\r\n\r\n", InvalidStatusLine),
        ("HTTP/1.1 20 OK\r\n\r\n", InvalidStatusLine),
        ("HTTP/1.1 2000 OK\r\n\r\n", InvalidStatusLine),
        ("HTTP/1.1 099 OK\r\n\r\n", InvalidStatusLine),
        ("HTTP/1.1 +20 OK\r\n\r\n", InvalidStatusLine),
        ("HTTP/1.1 200OK\r\n\r\n", InvalidStatusLine),
        ("HTTP/1.1\r\n\r\n", InvalidStatusLine),
        ("\r\nHTTP/1.1 200 OK\r\n\r\n", InvalidStatusLine),
        ("http/1.1 200 OK\r\n\r\n", InvalidStatusLine),
        ("SSH-2.0-x\r\n", InvalidStatusLine),
        ("HTTP/2.0 200 OK\r\n\r\n", UnsupportedVersion),
        ("HTTP/0.9 200 OK\r\n\r\n", UnsupportedVersion),
        ("HTTP/1.1 200 O\x01K\r\n\r\n", ControlByte),
        ("HTTP/1.1 200 OK\nA: b\r\n\r\n", BareLf),
        ("HTTP/1.1 200 OK\rA: b\r\n\r\n", BareCr),
        ("HTTP/1.1 200 OK\r\nA: b\rC: d\r\n\r\n", BareCr),
        ("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", ObsFold),
        ("HTTP/1.1 200 OK\r\nA : b\r\n\r\n", SpaceBeforeColon),
        ("HTTP/1.1 200 OK\r\nA\r\n\r\n", MissingColon),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            LengthWithTransferEncoding,
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            DuplicateContentLength,
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\n",
            DuplicateContentLength,
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 1x\r\n\r\n",
            InvalidContentLength,
        ),
        (
            "HTTP/1.1 204 OK\r\nContent-Length: 1x\r\n\r\n",
            InvalidContentLength,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            InvalidTransferEncoding,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            UnsupportedTransferEncoding,
        ),
        (
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            TransferEncodingOnHttp10,
        ),
    ]
}

#[test]
fn each_bad_head_is_refused_for_its_reason_however_it_is_cut() {
    for (raw, fault) in refused() {
        assert_eq!(
            parse_all(raw.as_bytes(), &Method::GET).unwrap_err(),
            fault,
            "{raw:?}"
        );
        for cut in 0..=raw.len() {
            assert_eq!(
                parse_cut(raw.as_bytes(), cut).unwrap_err(),
                fault,
                "{raw:?} at {cut}"
            );
        }
    }
}

#[test]
fn a_head_parses_alike_however_it_is_cut() {
    let raw = b"HTTP/1.1 200 \xfc\tber alles\r\nContent-Length: 5\r\nServer: \xfc\r\n\r\n";
    for cut in 0..=raw.len() {
        let response = parse_cut(raw, cut).unwrap().unwrap();
        assert_eq!(response.status, StatusCode::OK);
        assert_eq!(response.framing, BodyFraming::Length(5));
        assert_eq!(response.headers["server"].as_bytes(), b"\xfc");
        assert!(response.keep_alive);
    }
}

#[test]
fn the_reason_phrase_is_optional() {
    for line in [
        "HTTP/1.1 200",
        "HTTP/1.1 200 ",
        "HTTP/1.0 200 Fine, thank you",
    ] {
        let raw = format!("{line}\r\n\r\n");
        let response = parse_all(raw.as_bytes(), &Method::GET).unwrap().unwrap();
        assert_eq!(response.status, StatusCode::OK, "{line}");
    }
}

#[test]
fn framing_follows_status_method_and_fields() {
    const LENGTH: &str = "Content-Length: 5\r\n";
    const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";
    for (method, status, fields, framing, keep_alive) in [
        ("GET", 200, "", BodyFraming::UntilClose, false),
        ("GET", 200, LENGTH, BodyFraming::Length(5), true),
        (
            "GET",
            200,
            "Content-Length: 0\r\n",
            BodyFraming::Length(0),
            true,
        ),
        (
            "GET",
            200,
            "Content-Length: 5\r\nContent-Length: 5\r\n",
            BodyFraming::Length(5),
            true,
        ),
        (
            "GET",
            200,
            "Content-Length: 5, 5\r\n",
            BodyFraming::Length(5),
            true,
        ),
        ("GET", 200, CHUNKED, BodyFraming::Chunked, true),
        ("HEAD", 200, LENGTH, BodyFraming::Empty, true),
        ("HEAD", 200, CHUNKED, BodyFraming::Empty, true),
        ("HEAD", 200, "", BodyFraming::Empty, true),
        ("GET", 304, LENGTH, BodyFraming::Empty, true),
        ("GET", 204, "", BodyFraming::Empty, true),
        (
            "GET",
            204,
            "Content-Length: 0\r\n",
            BodyFraming::Empty,
            true,
        ),
        ("GET", 204, LENGTH, BodyFraming::Empty, false),
        ("GET", 204, CHUNKED, BodyFraming::Empty, false),
        ("GET", 100, "", BodyFraming::Empty, true),
        ("GET", 103, "Link: x\r\n", BodyFraming::Empty, true),
        ("GET", 101, "", BodyFraming::UntilClose, false),
        ("CONNECT", 200, LENGTH, BodyFraming::UntilClose, false),
        ("CONNECT", 200, "", BodyFraming::UntilClose, false),
        ("CONNECT", 407, LENGTH, BodyFraming::Length(5), true),
        (
            "GET",
            200,
            "Content-Length: 5\r\nConnection: close\r\n",
            BodyFraming::Length(5),
            false,
        ),
        ("GET", 999, LENGTH, BodyFraming::Length(5), true),
    ] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let raw = format!("HTTP/1.1 {status} X\r\n{fields}\r\n");
        let response = parse_all(raw.as_bytes(), &method).unwrap().unwrap();
        assert_eq!(response.framing, framing, "{method} {status} {fields}");
        assert_eq!(
            response.keep_alive, keep_alive,
            "{method} {status} {fields}"
        );
    }
    for (connection, keep_alive) in [("keep-alive", true), ("x", false)] {
        let raw = format!("HTTP/1.0 200 OK\r\n{LENGTH}Connection: {connection}\r\n\r\n");
        let response = parse_all(raw.as_bytes(), &Method::GET).unwrap().unwrap();
        assert_eq!(response.keep_alive, keep_alive);
    }
}

#[test]
fn interim_heads_come_off_before_the_final_one() {
    let limits = HeadLimits::default();
    let mut buf = BytesMut::from(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n\
         HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
    );
    let mut state = ScanState::default();
    for status in [100, 103, 200] {
        let head = parse_response(&mut buf, &mut state, &Method::GET, &limits);
        assert_eq!(head.unwrap().unwrap().status, status);
    }
    assert_eq!(&buf[..], b"hi");
}
