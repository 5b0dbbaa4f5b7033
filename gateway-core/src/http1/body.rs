//! Bodies of any framing, receiving side.

use bytes::BytesMut;

use super::chunked::{Chunk, ChunkedDecoder, take};
use super::{BodyError, BodyFraming, HeadLimits};

/// Decodes a body whose length is known.
#[derive(Clone, Debug)]
pub struct LengthDecoder {
    left: u64,
}

impl LengthDecoder {
    /// A decoder for `length` bytes.
    #[must_use]
    pub fn new(length: u64) -> Self {
        Self { left: length }
    }

    /// Takes the next piece of the body off `buf`; bytes behind the body stay there.
    pub fn decode(&mut self, buf: &mut BytesMut) -> Chunk {
        if self.left == 0 {
            Chunk::End(None)
        } else if buf.is_empty() {
            Chunk::NeedMore
        } else {
            Chunk::Data(take(buf, &mut self.left))
        }
    }

    /// Bytes still to come.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        self.left
    }
}

/// Decodes one body, however it is framed.
#[derive(Debug)]
#[non_exhaustive]
pub enum BodyDecoder {
    /// Nothing follows.
    Empty,
    /// A known number of bytes follows.
    Length(LengthDecoder),
    /// Chunks follow.
    Chunked(ChunkedDecoder),
    /// Everything until the connection closes follows.
    UntilClose {
        /// Whether that has happened and all data has been taken.
        closed: bool,
    },
}

impl BodyDecoder {
    /// The decoder for a body with `framing`.
    #[must_use]
    pub fn new(framing: BodyFraming, limits: &HeadLimits) -> Self {
        match framing {
            BodyFraming::Empty => Self::Empty,
            BodyFraming::Length(length) => Self::Length(LengthDecoder::new(length)),
            BodyFraming::Chunked => Self::Chunked(ChunkedDecoder::new(limits)),
            BodyFraming::UntilClose => Self::UntilClose { closed: false },
        }
    }

    /// Takes the next piece of the body off `buf`. `eof` says that the peer has closed its side and
    /// `buf` holds all that is left.
    ///
    /// # Errors
    /// The body breaks its coding, or ends early: `UnexpectedEof`.
    pub fn decode(&mut self, buf: &mut BytesMut, eof: bool) -> Result<Chunk, BodyError> {
        let chunk = match self {
            Self::Empty => Chunk::End(None),
            Self::Length(length) => length.decode(buf),
            Self::Chunked(chunked) => chunked.decode(buf)?,
            Self::UntilClose { closed } => {
                if !buf.is_empty() {
                    return Ok(Chunk::Data(buf.split().freeze()));
                }
                *closed |= eof;
                return Ok(if *closed {
                    Chunk::End(None)
                } else {
                    Chunk::NeedMore
                });
            }
        };
        if eof && matches!(chunk, Chunk::NeedMore) {
            return Err(BodyError::UnexpectedEof);
        }
        Ok(chunk)
    }

    /// Whether all of the body has been taken. A chunked body is done only when `decode` has returned
    /// its end.
    #[must_use]
    pub fn is_done(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Length(length) => length.left == 0,
            Self::Chunked(chunked) => chunked.is_done(),
            Self::UntilClose { closed } => *closed,
        }
    }

    /// Bytes of body still to come, where the framing tells.
    #[must_use]
    pub fn remaining_hint(&self) -> Option<u64> {
        match self {
            Self::Empty => Some(0),
            Self::Length(length) => Some(length.left),
            Self::Chunked(_) | Self::UntilClose { .. } => self.is_done().then_some(0),
        }
    }
}
