//! A strict HTTP/1.1 codec (RFC 9112) that does no I/O.
//!
//! Both sides of a proxy use it: the server side parses requests and encodes responses, the client side
//! encodes requests and parses responses. All functions take bytes from, or append bytes to, a buffer
//! of the caller; when to read and write is the caller's business.
//!
//! A gateway that reads a message in another way than the peer behind it lets requests be smuggled.
//! Therefore nothing ambiguous is repaired: bare CR or LF, control bytes, folded lines, white space
//! around field names, doubtful framing and doubtful `Host` fields are errors, and the encoder writes
//! the framing fields itself instead of copying them.
//!
//! ```
//! use bytes::BytesMut;
//! use portcullis_core::http1::{BodyDecoder, Chunk, HeadLimits, ScanState, parse_request};
//!
//! let limits = HeadLimits::default();
//! let mut state = ScanState::default();
//! let mut buf = BytesMut::from("POST /a HTTP/1.1\r\nhost: a.test\r\ncontent-length: 2\r\n\r\nhi");
//! let head = parse_request(&mut buf, &mut state, &limits)?.ok_or("incomplete")?;
//! assert_eq!(head.uri.path(), "/a");
//!
//! let mut body = BodyDecoder::new(head.framing, &limits);
//! assert!(matches!(body.decode(&mut buf, false)?, Chunk::Data(data) if data == "hi"));
//! assert!(body.is_done());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod body;
mod chunked;
pub mod date;
mod encode;
mod error;
mod facts;
mod fields;
mod find;
mod framing;
mod known;
mod limits;
mod request;
mod response;
mod scan;
mod target;
mod trailers;

pub use self::body::{BodyDecoder, LengthDecoder};
pub use self::chunked::{Chunk, ChunkedDecoder};
pub use self::encode::{
    CHUNK_FOOTER, ConnectionDirective, EncodeError, EncodedResponse, ResponseLine, encode_chunk,
    encode_chunk_header, encode_interim, encode_last_chunk, encode_request_head,
    encode_response_head,
};
pub use self::error::{BodyError, HeadError};
pub use self::framing::BodyFraming;
pub(crate) use self::framing::decimal;
pub use self::limits::HeadLimits;
pub use self::request::{RequestHead, parse_request};
pub use self::response::{ResponseHead, parse_response};
pub use self::scan::ScanState;
pub(crate) use self::target::is_authority;

#[cfg(test)]
mod roundtrip_tests;
