//! Reading a stream of messages that arrives in pieces.

use std::fmt::Debug;

use bytes::BytesMut;
use http::HeaderMap;
use portcullis_core::http1::{BodyDecoder, BodyError, BodyFraming, Chunk, HeadError, HeadLimits};

use crate::cut::{Dice, cut};

/// A body and how it ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Body {
    pub(super) data: Vec<u8>,
    pub(super) trailers: Option<HeaderMap>,
}

/// A message that arrived whole.
#[derive(Debug)]
pub(super) struct Message<H> {
    pub(super) head: H,
    pub(super) body: Body,
    /// Where the head begins and ends, and where the body ends, in the bytes read.
    pub(super) start: usize,
    pub(super) head_end: usize,
}

/// Why reading stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Nothing is left.
    Done,
    /// A head is not complete.
    InHead,
    /// A head was refused.
    Head(HeadError),
    /// A body was refused, or broke off; this much came before.
    Body(BodyError, Vec<u8>),
}

/// What arrives, piece by piece.
pub(super) struct Wire<'p> {
    pieces: std::slice::Iter<'p, &'p [u8]>,
    pub(super) buf: BytesMut,
    arrived: usize,
}

impl<'p> Wire<'p> {
    pub(super) fn new(pieces: &'p [&'p [u8]]) -> Self {
        Self {
            pieces: pieces.iter(),
            buf: BytesMut::new(),
            arrived: 0,
        }
    }

    /// Reads once more; false at the end.
    pub(super) fn read(&mut self) -> bool {
        let Some(piece) = self.pieces.next() else {
            return false;
        };
        self.buf.extend_from_slice(piece);
        self.arrived += piece.len();
        true
    }

    /// How much was taken.
    pub(super) fn position(&self) -> usize {
        self.arrived - self.buf.len()
    }

    /// Reads a body.
    pub(super) fn body(&mut self, framing: BodyFraming, limits: &HeadLimits) -> Result<Body, End> {
        let mut decoder = BodyDecoder::new(framing, limits);
        let mut body = Body::default();
        let mut eof = false;
        loop {
            let hint = decoder.remaining_hint();
            match decoder.decode(&mut self.buf, eof) {
                Ok(Chunk::Data(data)) => {
                    assert!(!data.is_empty(), "an empty piece of a body");
                    if let (Some(before), Some(after)) = (hint, decoder.remaining_hint()) {
                        assert_eq!(before - after, data.len() as u64);
                    }
                    body.data.extend_from_slice(&data);
                }
                Ok(Chunk::NeedMore) => {
                    assert!(!eof, "more is wanted behind the end");
                    let expected = !matches!(framing, BodyFraming::Empty | BodyFraming::Length(0));
                    assert!(expected, "{framing:?} wants data");
                    eof = !self.read();
                }
                Ok(Chunk::End(trailers)) => {
                    assert!(decoder.is_done(), "the end came before the end");
                    assert_eq!(decoder.remaining_hint(), Some(0));
                    body.trailers = trailers;
                    return Ok(body);
                }
                Err(error) => return Err(End::Body(error, body.data)),
            }
        }
    }
}

/// Reads messages until `one` finds no further head. `framing` tells how the body behind a head ends.
pub(super) fn read_all<H>(
    pieces: &[&[u8]],
    limits: &HeadLimits,
    mut one: impl FnMut(&mut BytesMut) -> Result<Option<H>, HeadError>,
    framing: impl Fn(&H) -> BodyFraming,
) -> (Vec<Message<H>>, End) {
    let mut wire = Wire::new(pieces);
    let mut messages = Vec::new();
    let end = loop {
        let start = wire.position();
        let head = loop {
            match one(&mut wire.buf) {
                Ok(Some(head)) => break Ok(head),
                Ok(None) if wire.read() => {}
                Ok(None) if wire.buf.is_empty() => break Err(End::Done),
                Ok(None) => break Err(End::InHead),
                Err(error) => break Err(End::Head(error)),
            }
        };
        let head = match head {
            Ok(head) => head,
            Err(end) => break end,
        };
        let head_end = wire.position();
        match wire.body(framing(&head), limits) {
            Ok(body) => messages.push(Message {
                head,
                body,
                start,
                head_end,
            }),
            Err(end) => break end,
        }
    };
    (messages, end)
}

/// Reads `data` at once and in pieces, which must not make a difference, and gives the messages.
pub(super) fn same_however_cut<H: Debug>(
    data: &[u8],
    mut read: impl FnMut(&[&[u8]]) -> (Vec<Message<H>>, End),
) -> Vec<Message<H>> {
    let (whole, end) = read(&[data]);
    let (pieces, cut_end) = read(&cut(data, &mut Dice::of(data)));
    assert_eq!(
        whole.len(),
        pieces.len(),
        "{end:?} at once, {cut_end:?} in pieces"
    );
    for (one, other) in whole.iter().zip(&pieces) {
        assert_eq!(format!("{one:?}"), format!("{other:?}"));
    }
    assert!(
        is_same_end(&end, &cut_end),
        "{end:?} at once, {cut_end:?} in pieces"
    );
    whole
}

/// Whether two readings of the same bytes came to the same end. A line that is too long and has another fault behind
/// that length is refused for either, and for which depends on how much of it is there.
fn is_same_end(whole: &End, cut: &End) -> bool {
    let long = |end: &End| {
        matches!(
            end,
            End::Head(HeadError::MethodTooLong | HeadError::UriTooLong)
        )
    };
    let refused = |end: &End| matches!(end, End::Head(_));
    whole == cut || (long(whole) || long(cut)) && refused(whole) && refused(cut)
}
