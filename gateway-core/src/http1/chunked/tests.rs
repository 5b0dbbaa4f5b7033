use super::*;
use crate::http1::{BodyDecoder, BodyFraming};

const LIMITS: HeadLimits = HeadLimits {
    max_head_bytes: 2048,
    max_uri_bytes: 256,
    max_headers: 4,
    max_trailer_bytes: 128,
    max_chunk_extension_bytes: 32,
};

type Decoded = (Vec<u8>, Option<HeaderMap>, Vec<u8>);

/// Decodes `raw` in pieces of `piece` bytes: body, trailers, what is left over.
fn decode(raw: &[u8], piece: usize) -> Result<Decoded, BodyError> {
    let mut decoder = BodyDecoder::new(BodyFraming::Chunked, &LIMITS);
    let mut buf = BytesMut::new();
    let mut body = Vec::new();
    let mut pieces = raw.chunks(piece);
    loop {
        match decoder.decode(&mut buf, false)? {
            Chunk::Data(data) => {
                assert!(!data.is_empty());
                body.extend_from_slice(&data);
            }
            Chunk::End(trailers) => {
                assert!(decoder.is_done());
                for rest in pieces {
                    buf.extend_from_slice(rest);
                }
                return Ok((body, trailers, buf.to_vec()));
            }
            Chunk::NeedMore => {
                assert!(!decoder.is_done());
                match pieces.next() {
                    Some(more) => buf.extend_from_slice(more),
                    None => match decoder.decode(&mut buf, true)? {
                        Chunk::End(_) => panic!("ended without its last chunk"),
                        other => panic!("{other:?} at the end of input"),
                    },
                }
            }
        }
    }
}

#[test]
fn bodies_decode_alike_however_they_are_cut() {
    for (raw, body) in [
        ("0\r\n\r\nrest", ""),
        ("5\r\nhello\r\n0\r\n\r\nrest", "hello"),
        (
            "00000005\r\nhello\r\n6\r\n world\r\n000\r\n\r\nrest",
            "hello world",
        ),
        (
            "A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\nrest",
            "01234567890123456789",
        ),
        ("1;a\r\nx\r\n1;a=b;c=\"d;\\\"\r\ny\r\n0;q\r\n\r\nrest", "?"),
        ("1 ; a = \"b c\" ; d\r\nx\r\n0\r\n\r\nrest", "x"),
        ("1\t;\ta=b\r\n\r\r\n0\r\n\r\nrest", "\r"),
        ("2\r\n\r\n\r\n0\r\n\r\nrest", "\r\n"),
    ] {
        for piece in 1..=raw.len() {
            match decode(raw.as_bytes(), piece) {
                // The third extension is an unterminated string.
                Err(fault) => {
                    assert_eq!(body, "?");
                    assert_eq!(fault, BodyError::InvalidChunkExtension);
                }
                Ok((decoded, trailers, rest)) => {
                    assert_eq!(decoded, body.as_bytes(), "{raw:?} by {piece}");
                    assert_eq!(trailers, None);
                    assert_eq!(rest, b"rest", "{raw:?} by {piece}");
                }
            }
        }
    }
}

#[test]
fn broken_codings_are_refused_however_they_are_cut() {
    use BodyError::*;
    let long_extension = format!("1;{}\r\nx\r\n0\r\n\r\n", "a".repeat(32));
    let many_extensions = "1;aaaaaaaaa\r\nx\r\n".repeat(4);
    let long_trailers = format!("0\r\na: {}\r\n\r\n", "b".repeat(128));
    let many_trailers = "0\r\na: 1\r\nb: 1\r\nc: 1\r\nd: 1\r\ne: 1\r\n\r\n";
    for (raw, fault) in [
        ("\r\n", InvalidChunkSize),
        (";a\r\n", InvalidChunkSize),
        (" 5\r\nhello", InvalidChunkSize),
        ("-5\r\nhello", InvalidChunkSize),
        ("+5\r\nhello", InvalidChunkSize),
        ("0x5\r\nhello", InvalidChunkSize),
        ("5_0\r\nhello", InvalidChunkSize),
        ("g\r\n", InvalidChunkSize),
        ("5\nhello\n0\n\n", InvalidChunkSize),
        ("5\rhello", InvalidChunkSize),
        ("5,5\r\nhello", InvalidChunkSize),
        ("5 \r\nhello", InvalidChunkExtension),
        ("5 5\r\nhello", InvalidChunkExtension),
        ("5;\r\nhello", InvalidChunkExtension),
        ("5;a=\r\nhello", InvalidChunkExtension),
        ("5;=b\r\nhello", InvalidChunkExtension),
        ("5;a \r\nhello", InvalidChunkExtension),
        ("5;a\nhello", InvalidChunkExtension),
        ("5;a=\"b\nc\"\r\nhello", InvalidChunkExtension),
        ("5;a=\"b\rc\"\r\nhello", InvalidChunkExtension),
        ("5;a=\"b\"c\r\nhello", InvalidChunkExtension),
        ("5;a\0\r\nhello", InvalidChunkExtension),
        ("5;a\rhello", InvalidChunkSize),
        (&long_extension, ChunkExtensionsTooLarge),
        (&many_extensions, ChunkExtensionsTooLarge),
        ("00000000000000005\r\nhello", ChunkSizeTooLarge),
        ("10000000000000000\r\n", ChunkSizeTooLarge),
        ("5\r\nhello!\r\n0\r\n\r\n", InvalidChunkEnd),
        ("5\r\nhello\n0\r\n\r\n", InvalidChunkEnd),
        ("5\r\nhello\r0\r\n\r\n", InvalidChunkEnd),
        ("5\r\nhello0\r\n\r\n", InvalidChunkEnd),
        (&long_trailers, TrailersTooLarge),
        (many_trailers, TrailersTooLarge),
        ("0\r\n\n", InvalidTrailers(HeadError::BareLf)),
        ("0\r\na: b\n\r\n", InvalidTrailers(HeadError::BareLf)),
        (
            "0\r\na: b\rc: d\r\n\r\n",
            InvalidTrailers(HeadError::BareCr),
        ),
        (
            "0\r\na\0: b\r\n\r\n",
            InvalidTrailers(HeadError::ControlByte),
        ),
        (
            "0\r\nage: \x01\r\n\r\n",
            InvalidTrailers(HeadError::ControlByte),
        ),
        ("0\r\n a: b\r\n\r\n", InvalidTrailers(HeadError::ObsFold)),
        (
            "0\r\na : b\r\n\r\n",
            InvalidTrailers(HeadError::SpaceBeforeColon),
        ),
        (
            "0\r\nGET / HTTP/1.1\r\n\r\n",
            InvalidTrailers(HeadError::MissingColon),
        ),
        ("0\r\n: b\r\n\r\n", InvalidTrailers(HeadError::EmptyName)),
        ("0\r\nContent-Length: 5\r\n\r\n", ForbiddenTrailer),
        ("0\r\nTransfer-Encoding: chunked\r\n\r\n", ForbiddenTrailer),
        ("0\r\na: b\r\nHOST: a\r\n\r\n", ForbiddenTrailer),
        ("0\r\nConnection: close\r\n\r\n", ForbiddenTrailer),
        ("0\r\nTrailer: a\r\n\r\n", ForbiddenTrailer),
        ("0\r\nUpgrade: h2c\r\n\r\n", ForbiddenTrailer),
        ("5\r\nhel", UnexpectedEof),
        ("5\r\nhello\r\n", UnexpectedEof),
        ("5\r\nhello\r\n0\r\n", UnexpectedEof),
        ("0\r\na: b\r\n", UnexpectedEof),
        ("5", UnexpectedEof),
    ] {
        for piece in 1..=raw.len() {
            assert_eq!(
                decode(raw.as_bytes(), piece).unwrap_err(),
                fault,
                "{raw:?} by {piece}"
            );
        }
    }
}

#[test]
fn the_largest_size_is_no_overflow() {
    let mut decoder = ChunkedDecoder::new(&LIMITS);
    let mut buf = BytesMut::from("7fffffffffffffff\r\nabc");
    assert!(matches!(decoder.decode(&mut buf), Ok(Chunk::Data(data)) if data == "abc"));
    assert!(matches!(decoder.decode(&mut buf), Ok(Chunk::NeedMore)));
    // One more would be negative to servers that count with signs.
    let mut decoder = ChunkedDecoder::new(&LIMITS);
    let mut buf = BytesMut::from("8000000000000000\r\nabc");
    assert_eq!(
        decoder.decode(&mut buf).unwrap_err(),
        BodyError::ChunkSizeTooLarge
    );
}

#[test]
fn trailers_arrive_without_those_that_came_too_late() {
    let raw =
        b"1\r\nx\r\n0\r\nX-Sum: 1\r\nAuthorization: y\r\nx-forwarded-for: z\r\nX-Sum: \xe9\r\n\r\n";
    for piece in 1..=raw.len() {
        let (_, trailers, _) = decode(raw, piece).unwrap();
        let trailers = trailers.unwrap();
        let sums: Vec<_> = trailers.get_all("x-sum").iter().collect();
        assert_eq!(sums, [&b"1"[..], b"\xe9"]);
        assert_eq!(trailers.len(), 2);
    }
    let (_, trailers, _) = decode(b"0\r\nCookie: a\r\n\r\n", 1).unwrap();
    assert_eq!(trailers, None);
}

#[test]
fn data_shares_the_memory_of_the_buffer() {
    let mut decoder = ChunkedDecoder::new(&LIMITS);
    let mut buf = BytesMut::from("5\r\nhello");
    let start = buf.as_ptr() as usize;
    let Chunk::Data(data) = decoder.decode(&mut buf).unwrap() else {
        panic!("no data");
    };
    assert_eq!(data.as_ptr() as usize - start, 3);
}

#[test]
fn a_known_length_ends_where_it_says() {
    let mut decoder = BodyDecoder::new(BodyFraming::Length(5), &LIMITS);
    let mut buf = BytesMut::from("hel");
    assert_eq!(decoder.remaining_hint(), Some(5));
    assert!(matches!(decoder.decode(&mut buf, false), Ok(Chunk::Data(data)) if data == "hel"));
    assert!(matches!(
        decoder.decode(&mut buf, false),
        Ok(Chunk::NeedMore)
    ));
    assert_eq!(
        decoder.decode(&mut buf, true).unwrap_err(),
        BodyError::UnexpectedEof
    );
    buf.extend_from_slice(b"lorest");
    assert!(matches!(decoder.decode(&mut buf, true), Ok(Chunk::Data(data)) if data == "lo"));
    assert!(decoder.is_done());
    assert!(matches!(
        decoder.decode(&mut buf, true),
        Ok(Chunk::End(None))
    ));
    assert_eq!(&buf[..], b"rest");
}

#[test]
fn a_body_without_length_ends_with_the_connection() {
    let mut decoder = BodyDecoder::new(BodyFraming::UntilClose, &LIMITS);
    let mut buf = BytesMut::new();
    assert!(matches!(
        decoder.decode(&mut buf, false),
        Ok(Chunk::NeedMore)
    ));
    buf.extend_from_slice(b"tail");
    assert!(matches!(decoder.decode(&mut buf, true), Ok(Chunk::Data(data)) if data == "tail"));
    assert!(!decoder.is_done());
    assert!(matches!(
        decoder.decode(&mut buf, true),
        Ok(Chunk::End(None))
    ));
    assert!(decoder.is_done());
}

#[test]
fn no_body_is_done_at_once() {
    let mut decoder = BodyDecoder::new(BodyFraming::Empty, &LIMITS);
    let mut buf = BytesMut::from("next");
    assert!(decoder.is_done());
    assert!(matches!(
        decoder.decode(&mut buf, false),
        Ok(Chunk::End(None))
    ));
    assert_eq!(&buf[..], b"next");
}
