//! The chunked coding, receiving side (RFC 9112 section 7.1).

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;

use super::fields::{is_token_byte, is_value_byte, parse_fields};
use super::framing::MAX_LENGTH;
use super::scan::{self, LineEnds, RawHead, ScanState, Section};
use super::trailers::Trailer;
use super::{BodyError, HeadError, HeadLimits};

/// 16 hexadecimal digits are 64 bits.
const MAX_SIZE_DIGITS: u8 = 16;

/// One step of decoding a body.
#[derive(Debug)]
pub enum Chunk {
    /// A piece of the body, never empty, sharing the memory of the buffer. Where pieces are cut says
    /// nothing about how the sender cut its chunks.
    Data(Bytes),
    /// The buffer holds nothing more of use: call again with more bytes.
    NeedMore,
    /// The body is complete, with its trailers if it has any that may be forwarded. What is left in the
    /// buffer belongs to the next message.
    End(Option<HeaderMap>),
}

/// Decodes one chunked body.
///
/// Sizes have at most 16 digits and fit 63 bits, line ends are CRLF, extensions are checked against the grammar and
/// dropped. Trailers that would frame or route a message (`Connection`, `Content-Length`, `Host`,
/// `Trailer`, `Transfer-Encoding`, `Upgrade`) are an error; others that RFC 9110 section 6.5.1 wants
/// ahead of the body (authentication, conditions, content format, control data) are dropped.
#[derive(Debug)]
pub struct ChunkedDecoder {
    state: State,
    /// Size being read, then data bytes to come.
    left: u64,
    digits: u8,
    extension_bytes: usize,
    scan: ScanState,
    limits: HeadLimits,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size,
    Extension(Extension),
    SizeLf,
    Data,
    DataCr,
    DataLf,
    Trailers,
    Done,
}

/// Position inside `*( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] )`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extension {
    /// After white space that only a semicolon may follow.
    Space,
    BeforeName,
    Name,
    SpaceAfterName,
    BeforeValue,
    Token,
    Quoted,
    Escaped,
    QuotedEnd,
}

impl ChunkedDecoder {
    /// A decoder at the first chunk-size line.
    #[must_use]
    pub fn new(limits: &HeadLimits) -> Self {
        Self {
            state: State::Size,
            left: 0,
            digits: 0,
            extension_bytes: 0,
            scan: ScanState::default(),
            limits: *limits,
        }
    }

    /// Takes the next piece of the body off `buf`.
    ///
    /// # Errors
    /// The body breaks the coding or a limit; the connection is to be closed.
    pub fn decode(&mut self, buf: &mut BytesMut) -> Result<Chunk, BodyError> {
        loop {
            match self.state {
                State::Data => {
                    if buf.is_empty() {
                        return Ok(Chunk::NeedMore);
                    }
                    let data = take(buf, &mut self.left);
                    if self.left == 0 {
                        self.state = State::DataCr;
                    }
                    return Ok(Chunk::Data(data));
                }
                State::Trailers => return self.trailers(buf),
                State::Done => return Ok(Chunk::End(None)),
                _ => {
                    let mut used = 0;
                    for &byte in buf.iter() {
                        self.step(byte)?;
                        used += 1;
                        if matches!(self.state, State::Data | State::Trailers) {
                            break;
                        }
                    }
                    buf.advance(used);
                    if !matches!(self.state, State::Data | State::Trailers) {
                        return Ok(Chunk::NeedMore);
                    }
                }
            }
        }
    }

    /// Whether the last chunk and the trailers have been read.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Advances by one byte of anything but data and trailers.
    fn step(&mut self, byte: u8) -> Result<(), BodyError> {
        self.state = match (self.state, byte) {
            (State::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                if self.digits == MAX_SIZE_DIGITS {
                    return Err(BodyError::ChunkSizeTooLarge);
                }
                self.digits += 1;
                self.left = (self.left << 4) | u64::from(hex_value(byte));
                if self.left > MAX_LENGTH {
                    return Err(BodyError::ChunkSizeTooLarge);
                }
                State::Size
            }
            (State::Size, _) if self.digits == 0 => return Err(BodyError::InvalidChunkSize),
            (State::Size, b'\r') => State::SizeLf,
            (State::Size, b';') => self.extension(Extension::BeforeName)?,
            (State::Size, b' ' | b'\t') => self.extension(Extension::Space)?,
            (State::Size, _) => return Err(BodyError::InvalidChunkSize),
            (State::SizeLf, b'\n') => {
                self.digits = 0;
                if self.left == 0 {
                    State::Trailers
                } else {
                    State::Data
                }
            }
            (State::SizeLf, _) => return Err(BodyError::InvalidChunkSize),
            (State::Extension(position), _) => match position.next(byte)? {
                Some(position) => self.extension(position)?,
                None => State::SizeLf,
            },
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size,
            (State::DataCr | State::DataLf, _) => return Err(BodyError::InvalidChunkEnd),
            (other, _) => other,
        };
        Ok(())
    }

    /// Enters `position`, charging the byte that led there to the limit.
    fn extension(&mut self, position: Extension) -> Result<State, BodyError> {
        self.extension_bytes += 1;
        if self.extension_bytes > self.limits.max_chunk_extension_bytes {
            return Err(BodyError::ChunkExtensionsTooLarge);
        }
        Ok(State::Extension(position))
    }

    fn trailers(&mut self, buf: &mut BytesMut) -> Result<Chunk, BodyError> {
        if self.scan.is_fresh() && buf.starts_with(b"\r\n") {
            buf.advance(2);
            self.state = State::Done;
            return Ok(Chunk::End(None));
        }
        let max = self.limits.max_trailer_bytes;
        let mut ends = LineEnds::default();
        let block = match self
            .scan
            .take_head(buf, max, Section::Trailers, &self.limits, &mut ends)
        {
            Ok(Some(block)) => block,
            Ok(None) => return Ok(Chunk::NeedMore),
            Err(HeadError::HeadTooLarge) => return Err(BodyError::TrailersTooLarge),
            Err(fault) => return Err(BodyError::InvalidTrailers(fault)),
        };
        let trailers = parse_trailers(&block, &ends, &self.limits)?;
        self.state = State::Done;
        Ok(Chunk::End(Some(trailers).filter(|map| !map.is_empty())))
    }
}

impl Extension {
    /// The position after `byte`; `None` after the CR that ends the line.
    fn next(self, byte: u8) -> Result<Option<Self>, BodyError> {
        let space = matches!(byte, b' ' | b'\t');
        Ok(Some(match (self, byte) {
            (Self::Name | Self::Token | Self::QuotedEnd, b'\r') => return Ok(None),
            (
                Self::Space | Self::Name | Self::SpaceAfterName | Self::Token | Self::QuotedEnd,
                b';',
            ) => Self::BeforeName,
            (Self::Name | Self::SpaceAfterName, b'=') => Self::BeforeValue,
            (Self::BeforeValue, b'"') => Self::Quoted,
            (Self::Quoted, b'"') => Self::QuotedEnd,
            (Self::Quoted, b'\\') => Self::Escaped,
            (Self::Quoted | Self::Escaped, byte) if is_value_byte(byte) => Self::Quoted,
            (Self::Space | Self::Token | Self::QuotedEnd, _) if space => Self::Space,
            (Self::BeforeName | Self::BeforeValue, _) if space => self,
            (Self::Name | Self::SpaceAfterName, _) if space => Self::SpaceAfterName,
            (Self::BeforeName | Self::Name, byte) if is_token_byte(byte) => Self::Name,
            (Self::BeforeValue | Self::Token, byte) if is_token_byte(byte) => Self::Token,
            _ => return Err(BodyError::InvalidChunkExtension),
        }))
    }
}

fn parse_trailers(
    block: &RawHead,
    ends: &LineEnds,
    limits: &HeadLimits,
) -> Result<HeaderMap, BodyError> {
    let mut refused = false;
    let mut trailers = HeaderMap::new();
    let parsed = parse_fields(
        block,
        ends,
        None,
        limits.max_headers,
        &mut trailers,
        |field| {
            let verdict = Trailer::of(&field.name.name);
            refused |= verdict == Trailer::Refuse;
            Ok(verdict == Trailer::Keep)
        },
    );
    match parsed {
        Err(HeadError::TooManyHeaders) => Err(BodyError::TrailersTooLarge),
        Err(found) => Err(BodyError::InvalidTrailers(scan::first_fault(
            &block.bytes,
            Section::Trailers,
            limits,
            found,
        ))),
        Ok(()) if refused => Err(BodyError::ForbiddenTrailer),
        Ok(()) => Ok(trailers),
    }
}

/// Takes up to `left` bytes off `buf` and counts them down.
pub(super) fn take(buf: &mut BytesMut, left: &mut u64) -> Bytes {
    let count = usize::try_from(*left).map_or(buf.len(), |left| left.min(buf.len()));
    *left -= count as u64;
    buf.split_to(count).freeze()
}

/// The value of a digit that is known to be one.
fn hex_value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

#[cfg(test)]
mod tests;
