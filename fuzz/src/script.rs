//! Byte streams that say what they were told to.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes};
use portcullis_core::transport::Transport;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The other end of a [`Transport`].
#[derive(Clone, Default)]
pub(crate) struct Script(Arc<Mutex<State>>);

#[derive(Default)]
pub(crate) struct State {
    /// What is still to be said.
    pub(crate) reads: VecDeque<Bytes>,
    /// Whether it ends its side afterwards instead of keeping silent.
    pub(crate) closes: bool,
    /// Whether nothing is there each other time that it is looked for.
    pub(crate) pauses: bool,
    /// Everything that was written.
    pub(crate) written: Vec<u8>,
    /// Asked for more to say when something is written and nothing is left to be said.
    pub(crate) answers: Option<Answers>,
    pub(crate) paused: bool,
    pub(crate) reader: Option<Waker>,
}

/// Gives what is said next; `None` for closing.
pub(crate) type Answers = Box<dyn FnMut() -> Option<Vec<Bytes>> + Send>;

impl State {
    /// Says `reads`, and then nothing, or that this was all.
    pub(crate) fn saying(reads: &[&[u8]], closes: bool) -> Self {
        Self {
            reads: reads
                .iter()
                .map(|read| Bytes::copy_from_slice(read))
                .collect(),
            closes,
            ..Self::default()
        }
    }
}

impl Script {
    pub(crate) fn new(state: State) -> Self {
        Self(Arc::new(Mutex::new(state)))
    }

    pub(crate) fn transport(&self) -> Transport {
        Transport::new(End(self.clone()))
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nothing panicked")
    }
}

struct End(Script);

impl AsyncRead for End {
    fn poll_read(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.0.state();
        while state.reads.front().is_some_and(Bytes::is_empty) {
            state.reads.pop_front();
        }
        // Not woken for nothing: two that are would wake each other's reader for ever, and paused time would stand.
        if state.reads.is_empty() && !state.closes {
            state.reader = Some(task.waker().clone());
            return Poll::Pending;
        }
        if state.pauses {
            state.paused = !state.paused;
            if state.paused {
                task.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        let Some(next) = state.reads.front_mut() else {
            return Poll::Ready(Ok(()));
        };
        let part = next.len().min(buf.remaining());
        buf.put_slice(&next[..part]);
        next.advance(part);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for End {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.0.state();
        state.written.extend_from_slice(data);
        if state.reads.iter().all(Bytes::is_empty)
            && let Some(mut answers) = state.answers.take()
        {
            match answers() {
                Some(reads) => {
                    state.reads = reads.into();
                    state.answers = Some(answers);
                }
                None => state.closes = true,
            }
            if let Some(reader) = state.reader.take() {
                reader.wake();
            }
        }
        Poll::Ready(Ok(data.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
