//! Finds the end of a head in a growing buffer, looking at each byte once.
//!
//! A complete head is handed to the parser at once; the parser notices every forbidden byte by itself.
//! Only an incomplete head is checked here as it arrives, so that a peer that speaks another protocol
//! or uses bare line feeds is answered at once instead of when a deadline passes. The same check names
//! the fault of a complete head, so that the answer does not depend on how the head was cut into reads
//! (but for a request line that is both too long and otherwise wrong behind that length).

use std::ops::ControlFlow;

use bytes::{Bytes, BytesMut};
use memchr::memchr;

use super::find::{each, find};
use super::{HeadError, HeadLimits, request, response};

/// Lines of a head whose ends are noted while the end of the head is searched for.
const NOTED_LINES: usize = 32;

/// Where the search for the end of a head stopped. One per connection and direction; a parser resets
/// it when it returns a head.
#[derive(Clone, Debug, Default)]
pub struct ScanState {
    /// Bytes searched for line feeds.
    searched: usize,
    /// Where the unfinished line starts.
    line_start: usize,
    /// Complete lines before `line_start`.
    lines: usize,
    /// Bytes known to be free of lexical faults.
    checked: usize,
    /// Whether the first line has been judged.
    line_checked: bool,
    /// Empty lines dropped in front of the head.
    pub(super) empty_lines: u8,
}

/// What stands in front of the field lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    Request,
    Response,
    Trailers,
}

/// A complete head, cut off the buffer.
pub(super) struct RawHead {
    /// From the first line to the empty line, both included.
    pub(super) bytes: Bytes,
    /// Lines in it, the empty one not counted.
    pub(super) lines: usize,
}

/// Where the line feeds of a head stand, as far as it was noted; 0 where it was not.
#[derive(Default)]
pub(super) struct LineEnds([u32; NOTED_LINES]);

impl LineEnds {
    /// Line `number` of `head`, which starts at `start`, without its end.
    ///
    /// # Errors
    /// `BareLf` for a line that does not end with CRLF. A carriage return elsewhere in it is left to who reads it.
    #[inline(always)]
    pub(super) fn line<'a>(
        &self,
        head: &'a [u8],
        number: usize,
        start: usize,
    ) -> Result<&'a [u8], HeadError> {
        let feed = match self.0.get(number) {
            Some(&noted) if noted != 0 => Some(noted as usize),
            _ => head
                .get(start..)
                .and_then(find::<b'\n'>)
                .map(|offset| start + offset),
        };
        feed.and_then(|feed| head.get(start..feed)?.strip_suffix(b"\r"))
            .ok_or(HeadError::BareLf)
    }

    fn note(&mut self, number: usize, feed: usize) {
        if let (Some(place), Ok(feed)) = (self.0.get_mut(number), u32::try_from(feed)) {
            *place = feed;
        }
    }
}

impl ScanState {
    /// Takes the next head off `buf`, or `None` while it is incomplete. The ends of lines that this call finds are
    /// noted in `ends`.
    ///
    /// # Errors
    /// `HeadTooLarge` beyond `max` bytes, and what is certainly wrong with an incomplete head.
    pub(super) fn take_head(
        &mut self,
        buf: &mut BytesMut,
        max: usize,
        section: Section,
        limits: &HeadLimits,
        ends: &mut LineEnds,
    ) -> Result<Option<RawHead>, HeadError> {
        match self.head_end(buf, ends) {
            Some(end) if end <= max => {
                let lines = self.lines;
                *self = Self::default();
                let bytes = buf.split_to(end).freeze();
                Ok(Some(RawHead { bytes, lines }))
            }
            _ => {
                let seen = buf.get(..max).unwrap_or(buf);
                self.check(seen, section, limits)?;
                if buf.len() > max {
                    return Err(HeadError::HeadTooLarge);
                }
                Ok(None)
            }
        }
    }

    /// Whether nothing has been looked at since the last head.
    pub(super) fn is_fresh(&self) -> bool {
        self.searched == 0
    }

    /// The length of the head, its empty line included.
    #[inline]
    fn head_end(&mut self, buf: &[u8], ends: &mut LineEnds) -> Option<usize> {
        let mut start = self.line_start;
        let mut lines = self.lines;
        let searched = self.searched;
        let end = each::<b'\n', _>(buf.get(searched..)?, |offset| {
            let feed = searched + offset;
            if feed == start + 1 && buf.get(start) == Some(&b'\r') {
                return ControlFlow::Break(feed + 1);
            }
            ends.note(lines, feed);
            lines += 1;
            start = feed + 1;
            ControlFlow::Continue(())
        });
        self.searched = buf.len();
        self.line_start = start;
        self.lines = lines;
        end.break_value()
    }

    /// Judges what has arrived of an incomplete head: the first line completely, once it is there, and
    /// the bytes of the rest.
    fn check(
        &mut self,
        seen: &[u8],
        section: Section,
        limits: &HeadLimits,
    ) -> Result<(), HeadError> {
        if !self.line_checked {
            let feed = seen
                .get(self.checked..)
                .and_then(|rest| memchr(b'\n', rest))
                .map(|offset| self.checked + offset);
            if let Some(feed) = feed {
                self.check_bytes(seen.get(..=feed).unwrap_or(seen))?;
                let line = seen.get(..feed.saturating_sub(1)).unwrap_or_default();
                match section {
                    Section::Request => request::RequestLine::parse(line, limits).map(drop)?,
                    Section::Response => response::StatusLine::parse(line).map(drop)?,
                    Section::Trailers => {}
                }
                self.line_checked = true;
            } else {
                self.check_bytes(seen)?;
                if section == Section::Request {
                    request::RequestLine::check_partial(seen, limits)?;
                }
                return Ok(());
            }
        }
        self.check_bytes(seen)
    }

    /// Looks for bytes that no head may hold, whatever the line they are in.
    fn check_bytes(&mut self, seen: &[u8]) -> Result<(), HeadError> {
        let mut before = self
            .checked
            .checked_sub(1)
            .and_then(|at| seen.get(at).copied());
        let mut at = self.checked;
        while let Some(&byte) = seen.get(at) {
            match byte {
                b'\n' if before != Some(b'\r') => return Err(HeadError::BareLf),
                b'\r' => match seen.get(at + 1) {
                    Some(b'\n') => {}
                    Some(_) => return Err(HeadError::BareCr),
                    None => break,
                },
                b'\n' | b'\t' => {}
                0..=0x1f | 0x7f => return Err(HeadError::ControlByte),
                _ => {}
            }
            before = Some(byte);
            at += 1;
        }
        self.checked = at;
        Ok(())
    }
}

/// The fault to report for a complete head in which the parser stumbled over `found`: the first one in
/// the order in which an incomplete head would have shown them.
#[cold]
pub(super) fn first_fault(
    head: &[u8],
    section: Section,
    limits: &HeadLimits,
    found: HeadError,
) -> HeadError {
    match ScanState::default().check(head, section, limits) {
        Err(fault) => fault,
        Ok(()) => found,
    }
}
