//! Chunked bodies.

use http::HeaderMap;
use portcullis_core::http1::{BodyFraming, HeadLimits, encode_chunk, encode_last_chunk};

use super::plain;
use super::stream::{Body, End, Wire};
use crate::cut::{Dice, cut};

/// Reads a chunked body at once and in pieces.
pub(super) fn check(data: &[u8], limits: &HeadLimits) {
    let (whole, used) = read(&[data], limits);
    let (pieces, used_of_pieces) = read(&cut(data, &mut Dice::of(data)), limits);
    assert_eq!(whole, pieces);
    let Ok(body) = whole else { return };
    assert_eq!(used, used_of_pieces);
    let (plain, end) = plainly(&data[..used]);
    assert_eq!((&body.data, used), (&plain, end));
    if let Some(trailers) = &body.trailers {
        assert!(!trailers.is_empty() && trailers.len() <= limits.max_headers);
        plain::assert_clean(trailers);
        for name in [
            "connection",
            "content-length",
            "cookie",
            "host",
            "te",
            "trailer",
            "transfer-encoding",
            "upgrade",
            "x-forwarded-for",
        ] {
            assert!(!trailers.contains_key(name), "`{name}` came as a trailer");
        }
    }
    comes_back(&body);
}

fn read(pieces: &[&[u8]], limits: &HeadLimits) -> (Result<Body, End>, usize) {
    let mut wire = Wire::new(pieces);
    let body = wire.body(BodyFraming::Chunked, limits);
    (body, wire.position())
}

/// The data of an accepted body and where it ends, read in the plainest way (RFC 9112, section 7.1).
fn plainly(bytes: &[u8]) -> (Vec<u8>, usize) {
    let mut data = Vec::new();
    let mut at = 0;
    let line_end = |at: usize| {
        let line = bytes[at..].windows(2).position(|pair| pair == b"\r\n");
        at + line.expect("a line ends")
    };
    loop {
        let end = line_end(at);
        let line = &bytes[at..end];
        assert!(!line.contains(&b'\n') && !line.contains(&b'\r') && !line.contains(&0));
        let digits = line
            .iter()
            .position(|byte| !byte.is_ascii_hexdigit())
            .unwrap_or(line.len());
        assert!(
            digits == line.len() || matches!(line[digits], b';' | b' ' | b'\t'),
            "a size of {} was accepted",
            line.escape_ascii()
        );
        let size = std::str::from_utf8(&line[..digits]).expect("digits are ASCII");
        let size = usize::from_str_radix(size, 16).expect("the size was accepted");
        at = end + 2;
        if size == 0 {
            break;
        }
        data.extend_from_slice(&bytes[at..at + size]);
        assert_eq!(&bytes[at + size..at + size + 2], b"\r\n");
        at += size + 2;
    }
    loop {
        let end = line_end(at);
        let line = &bytes[at..end];
        at = end + 2;
        if line.is_empty() {
            return (data, at);
        }
    }
}

/// The body as the gateway passes it on.
fn comes_back(body: &Body) {
    let mut out = Vec::new();
    for part in body.data.chunks(7) {
        encode_chunk(&mut out, part);
    }
    let none = HeaderMap::new();
    encode_last_chunk(&mut out, body.trailers.as_ref().or(Some(&none)));
    let limits = HeadLimits {
        max_headers: usize::MAX >> 16,
        max_trailer_bytes: usize::MAX,
        ..HeadLimits::default()
    };
    let (again, used) = read(&[&out], &limits);
    assert_eq!((again.as_ref(), used), (Ok(body), out.len()));
}
