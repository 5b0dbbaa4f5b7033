//! A budget for frames that cost work and move no request: the floods that the HTTP/2 engine itself lets pass.
//!
//! The engine bounds empty and tiny DATA frames, CONTINUATION frames, and streams that are reset before it hands
//! them out. PING and SETTINGS frames, each of which wants an answer, WINDOW_UPDATE, PRIORITY and unknown frames, and
//! streams that are reset a moment later it takes without end (RFC 9113 10.5 leaves it to "use of resources").
//! This transport looks at the heads of the frames that pass, in both directions, and stops reading when a
//! client has sent too many that are of no use to it.
//!
//! | frame | tokens |
//! | --- | --- |
//! | PING, SETTINGS, WINDOW_UPDATE, PRIORITY, unknown, empty DATA | -1 |
//! | RST_STREAM | -10 |
//! | HEADERS from the client | +5 |
//! | DATA from the client, HEADERS and DATA to it | +4 |
//! | every second | +500 (`frame_rate`) |
//!
//! So a client may reset every second stream that it opens, answer each DATA frame with two WINDOW_UPDATEs, and
//! has 5000 tokens (`frame_burst`) for what goes beyond.
//!
//! It also tells whether a client is in the middle of the fields of a message, or of any other frame but DATA, for the
//! deadline of heads.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::clock::{Clock, Instant};
use crate::settings::Http2Settings;
use crate::timer::LazyTimer;

const RESET: i64 = 10;
const OPENED: i64 = 5;
const MOVED: i64 = 4;
/// Bytes that a client sends before its first frame (RFC 9113 3.4).
const PREFACE: usize = 24;

const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const RST_STREAM: u8 = 0x3;
const SETTINGS: u8 = 0x4;
const PING: u8 = 0x6;
const GOAWAY: u8 = 0x7;
const CONTINUATION: u8 = 0x9;
/// Of HEADERS and CONTINUATION: the last one of a message's fields.
const END_HEADERS: u8 = 0x4;
/// Of DATA and HEADERS: the last one. Of SETTINGS and PING: an answer.
const END_OR_ACK: u8 = 0x1;

/// What was seen of a client.
#[derive(Clone, Debug, Default)]
pub(super) struct Watch(Arc<Seen>);

#[derive(Debug, Default)]
struct Seen {
    flooded: AtomicBool,
    unfinished: AtomicU64,
}

impl Watch {
    /// Whether the client has used up its budget. Nothing more is read from then on.
    pub(super) fn is_flooded(&self) -> bool {
        self.0.flooded.load(Ordering::Relaxed)
    }

    /// Which frame, or sequence of frames with fields, is there in part; 0 for none. DATA is not told of.
    pub(super) fn unfinished(&self) -> u64 {
        self.0.unfinished.load(Ordering::Relaxed)
    }
}

/// The deadline of the fields that are coming in, from their first byte to their last.
#[derive(Default)]
pub(super) struct HeadDeadline {
    /// Which of the connection's frames it is for; 0 for none.
    frame: u64,
    timer: LazyTimer,
}

impl HeadDeadline {
    /// Ready when the client has not finished in time what it began.
    pub(super) fn poll_missed(
        &mut self,
        watch: &Watch,
        limit: Duration,
        task: &mut Context<'_>,
    ) -> Poll<()> {
        let frame = watch.unfinished();
        if frame != self.frame {
            self.frame = frame;
            self.timer.set((frame > 0).then(|| Clock.now() + limit));
        }
        self.timer.poll_elapsed(task)
    }
}

/// A client's transport with the budget.
pub(super) struct Guarded<I> {
    io: I,
    // Apart, because the engine moves its transport from future to future.
    guard: Box<Guard>,
}

struct Guard {
    inbound: Frames,
    outbound: Frames,
    budget: Budget,
    watch: Watch,
}

impl<I> Guarded<I> {
    /// Guards a connection whose preface has not been read.
    pub(super) fn new(io: I, settings: &Http2Settings) -> (Self, Watch) {
        let watch = Watch::default();
        let guarded = Self {
            io,
            guard: Box::new(Guard {
                inbound: Frames::after(PREFACE),
                outbound: Frames::after(0),
                budget: Budget::new(settings),
                watch: watch.clone(),
            }),
        };
        (guarded, watch)
    }
}

/// Tokens left.
#[derive(Debug)]
struct Budget {
    left: i64,
    /// Tokens of a new connection, and the most that are saved.
    most: i64,
    per_second: i64,
    /// When time was last turned into tokens.
    paid: Instant,
}

impl Budget {
    fn new(settings: &Http2Settings) -> Self {
        Self {
            left: settings.frame_burst.into(),
            most: settings.frame_burst.into(),
            per_second: settings.frame_rate.into(),
            paid: Clock.recent(),
        }
    }

    fn earn(&mut self, tokens: i64) {
        self.left = self.left.saturating_add(tokens).min(self.most);
    }

    /// Whether it could be paid.
    fn spend(&mut self, tokens: i64) -> bool {
        self.left -= tokens;
        if self.left >= 0 {
            return true;
        }
        let now = Clock.now();
        let passed = now.saturating_duration_since(self.paid).as_millis();
        self.paid = now;
        let passed = i64::try_from(passed).unwrap_or(i64::MAX);
        self.earn(passed.saturating_mul(self.per_second) / 1000);
        self.left >= 0
    }

    /// Whether a frame of the client could be paid.
    fn received(&mut self, frame: Frame) -> bool {
        let answer = frame.flags & END_OR_ACK != 0;
        match frame.kind {
            HEADERS => self.earn(OPENED),
            DATA if frame.length > 0 => self.earn(MOVED),
            // The engine counts CONTINUATION frames itself, and GOAWAY ends the connection.
            CONTINUATION | GOAWAY => {}
            DATA | SETTINGS | PING if answer => {}
            RST_STREAM => return self.spend(RESET),
            _ => return self.spend(1),
        }
        true
    }

    fn sent(&mut self, frame: Frame) {
        if matches!(frame.kind, DATA | HEADERS) {
            self.earn(MOVED);
        }
    }
}

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Frame {
    length: usize,
    kind: u8,
    flags: u8,
}

/// Finds the heads of frames in a stream of bytes, however it is cut.
#[derive(Debug)]
struct Frames {
    head: [u8; 9],
    /// Bytes of `head` that are there.
    have: usize,
    /// Bytes that come before the next head.
    skip: usize,
    /// The kind of the frame whose payload they are, if they are one's.
    within: Option<u8>,
    /// More frames with fields of the same message follow.
    fields: bool,
    /// Frames, and sequences of those with fields, that are complete.
    finished: u64,
}

impl Frames {
    fn after(skip: usize) -> Self {
        Self {
            head: [0; 9],
            have: 0,
            skip,
            within: None,
            fields: false,
            finished: 0,
        }
    }

    /// Which frame is there in part; 0 for none. The payload of DATA may take its time.
    fn unfinished(&self) -> u64 {
        let within = self.within.is_some_and(|kind| kind != DATA);
        if self.have > 0 || self.fields || within {
            self.finished + 1
        } else {
            0
        }
    }

    /// Passes the head of each frame that is complete with `bytes` to `see`.
    fn feed(&mut self, mut bytes: &[u8], mut see: impl FnMut(Frame)) {
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            if self.skip > 0 {
                return;
            }
            if self.within.take().is_some() && !self.fields {
                self.finished += 1;
            }
            let taken = (self.head.len() - self.have).min(bytes.len());
            if taken == 0 {
                return;
            }
            self.head[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
            self.have += taken;
            bytes = &bytes[taken..];
            if self.have < self.head.len() {
                return;
            }
            let [high, middle, low, kind, flags, ..] = self.head;
            let length = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
            self.have = 0;
            self.skip = length;
            self.within = Some(kind);
            if matches!(kind, HEADERS | CONTINUATION) {
                self.fields = flags & END_HEADERS == 0;
            }
            see(Frame {
                length,
                kind,
                flags,
            });
        }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Guarded<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let guard = &mut *this.guard;
        if guard.watch.is_flooded() {
            // Whoever drives the connection is about to end it.
            return Poll::Pending;
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
        let budget = &mut guard.budget;
        let mut paid = true;
        guard.inbound.feed(&buf.filled()[before..], |frame| {
            paid &= budget.received(frame)
        });
        let seen = &guard.watch.0;
        let unfinished = guard.inbound.unfinished();
        seen.unfinished.store(unfinished, Ordering::Relaxed);
        if !paid {
            seen.flooded.store(true, Ordering::Relaxed);
            buf.set_filled(before);
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Guarded<I> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let written = ready!(Pin::new(&mut this.io).poll_write_vectored(cx, bufs))?;
        let guard = &mut *this.guard;
        let mut left = written;
        for buf in bufs {
            let part = left.min(buf.len());
            left -= part;
            let budget = &mut guard.budget;
            guard
                .outbound
                .feed(&buf[..part], |frame| budget.sent(frame));
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: i64 = 5000;

    fn frame(length: usize, kind: u8, flags: u8) -> Frame {
        Frame {
            length,
            kind,
            flags,
        }
    }

    #[test]
    fn heads_are_found_however_the_stream_is_cut() {
        let mut bytes = vec![b'P'; PREFACE];
        let mut expected = Vec::new();
        for (length, kind) in [(0u8, SETTINGS), (200, DATA), (8, PING), (0, 0x77)] {
            bytes.extend([0, 0, length, kind, END_OR_ACK, 0, 0, 0, 1]);
            bytes.extend(vec![0xff; usize::from(length)]);
            expected.push(frame(usize::from(length), kind, END_OR_ACK));
        }
        for piece in 1..=bytes.len() {
            let mut frames = Frames::after(PREFACE);
            let mut seen = Vec::new();
            for part in bytes.chunks(piece) {
                frames.feed(part, |frame| seen.push(frame));
            }
            assert_eq!(seen, expected, "{piece}");
        }
    }

    #[test]
    fn a_frame_that_is_there_in_part_is_told_of_unless_it_is_data() {
        let head = |length: u8, kind: u8, flags: u8| vec![0, 0, length, kind, flags, 0, 0, 0, 1];
        let mut frames = Frames::after(0);
        let mut feed = |bytes: &[u8]| {
            frames.feed(bytes, |_| {});
            frames.unfinished()
        };
        assert_eq!(feed(&[]), 0);
        assert_eq!(feed(&head(2, HEADERS, 0)[..3]), 1);
        assert_eq!(feed(&head(2, HEADERS, 0)[3..]), 1);
        // The fields go on in other frames.
        assert_eq!(feed(b"ab"), 1);
        assert_eq!(feed(&head(1, CONTINUATION, 0)), 1);
        assert_eq!(feed(b"a"), 1);
        assert_eq!(feed(&head(1, CONTINUATION, END_HEADERS)), 1);
        assert_eq!(feed(b"a"), 0);
        assert_eq!(feed(&head(3, DATA, 0)), 0);
        assert_eq!(feed(b"ab"), 0);
        // The end of one and the beginning of another.
        assert_eq!(feed(&[b"a", &head(8, PING, 0)[..]].concat()), 3);
        assert_eq!(
            feed(&[&[0; 8], &head(1, HEADERS, END_HEADERS)[..]].concat()),
            4
        );
        assert_eq!(feed(b"a"), 0);
    }

    /// How many rounds of frames a client may send at once; `None` if there is no end to it.
    fn rounds(received: &[Frame], sent: &[Frame]) -> Option<i64> {
        let mut budget = Budget::new(&Http2Settings::default());
        (0..MOST * 4).find(|_| {
            sent.iter().for_each(|&frame| budget.sent(frame));
            !received.iter().all(|&frame| budget.received(frame))
        })
    }

    #[tokio::test(start_paused = true)]
    async fn what_moves_requests_pays_for_what_does_not() {
        let ping = frame(8, PING, 0);
        let open = frame(20, HEADERS, END_OR_ACK);
        let reset = frame(4, RST_STREAM, 0);
        let window = frame(4, 0x8, 0);
        let data = frame(1000, DATA, 0);
        assert_eq!(rounds(&[ping], &[]), Some(MOST));
        assert_eq!(rounds(&[frame(8, PING, END_OR_ACK)], &[]), None);
        assert_eq!(rounds(&[frame(0, SETTINGS, 0)], &[]), Some(MOST));
        assert_eq!(rounds(&[frame(0, DATA, 0)], &[]), Some(MOST));
        assert_eq!(rounds(&[frame(0, DATA, END_OR_ACK)], &[]), None);
        let costs = RESET - OPENED;
        // What is earned first counts for nothing while the budget is full.
        assert_eq!(rounds(&[open, reset], &[]), Some(MOST / costs - 1));
        assert_eq!(rounds(&[open, open, reset], &[]), None);
        assert_eq!(rounds(&[window, window], &[data]), None);
        assert_eq!(rounds(&[data, ping, ping], &[]), None);
    }

    #[tokio::test(start_paused = true)]
    async fn time_pays_too() {
        let ping = frame(8, PING, 0);
        let mut budget = Budget::new(&Http2Settings::default());
        assert!((0..MOST).all(|_| budget.received(ping)));
        assert!(!budget.received(ping));
        tokio::time::advance(Duration::from_secs(1)).await;
        // One token short since the last refusal.
        assert!((1..500).all(|_| budget.received(ping)));
        assert!(!budget.received(ping));
        tokio::time::advance(Duration::from_secs(3600)).await;
        // Time pays for the frame at hand, and then to the full.
        assert!((0..=MOST).all(|_| budget.received(ping)));
        assert!(!budget.received(ping));
    }
}
