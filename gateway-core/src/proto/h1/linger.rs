//! Closing a connection so that the client gets to read the reply.
//!
//! A socket that is closed while data of the client is unread is reset, and a reset destroys what the
//! client has not read yet. So the write side is closed first, and what still comes is thrown away.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::AsyncWrite;

use super::server_conn::{ServerConn, Shared};
use crate::clock::Clock;
use crate::timer::LazyTimer;

/// How long a client may be silent before it counts as gone.
const SILENCE: Duration = Duration::from_secs(2);
/// How much of an unread request body is thrown away to keep a connection usable.
pub(super) const DISCARD_LIMIT: u64 = 256 * 1024;
/// How long the whole takes at most, however much the client sends.
const LONGEST: Duration = Duration::from_secs(15);

/// Closes the write side and waits until the client closes too, is silent, or time is up.
pub(super) async fn linger(shared: &Arc<Shared>) {
    let end = Clock.now() + LONGEST;
    let mut timer = LazyTimer::default();
    timer.set(Some(Clock.now() + SILENCE));
    let mut shut = false;
    poll_fn(|task| {
        let mut conn = shared.lock();
        loop {
            let step = if shut {
                poll_discard(&mut conn, task)
            } else {
                poll_shut(&mut conn, task)
            };
            match step {
                Poll::Ready(true) => {
                    shut = true;
                    timer.set(Some(end.min(Clock.now() + SILENCE)));
                }
                Poll::Ready(false) => return Poll::Ready(()),
                Poll::Pending => return timer.poll_elapsed(task),
            }
            if Clock.now() >= end {
                return Poll::Ready(());
            }
        }
    })
    .await;
}

/// Closes the write side of a connection on which nothing is under way.
pub(super) async fn shut(shared: &Arc<Shared>) {
    let mut timer = LazyTimer::default();
    timer.set(Some(Clock.now() + SILENCE));
    poll_fn(|task| {
        let mut conn = shared.lock();
        match poll_shut(&mut conn, task) {
            Poll::Ready(_) => Poll::Ready(()),
            Poll::Pending => timer.poll_elapsed(task),
        }
    })
    .await;
}

/// Throws away the little that is left of a request's body nobody wants, so that the connection can be kept; false
/// when that is more than a little, or does not come.
pub(super) async fn drain(shared: &Arc<Shared>) -> bool {
    let mut timer = LazyTimer::default();
    timer.set(Some(Clock.now() + SILENCE));
    let mut budget = DISCARD_LIMIT;
    poll_fn(|task| {
        let mut conn = shared.lock();
        loop {
            if conn.discard_arrived(&mut budget) {
                return Poll::Ready(true);
            }
            if budget == 0 || conn.body_error || conn.eof {
                return Poll::Ready(false);
            }
            match conn.poll_read_head(task) {
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(false),
                Poll::Pending => return timer.poll_elapsed(task).map(|()| false),
            }
        }
    })
    .await
}

/// Ends the gateway's direction of a tunnel and waits until the client's is over too.
pub(super) async fn end_tunnel(shared: &Arc<Shared>) {
    let mut shut = false;
    poll_fn(|task| {
        let mut conn = shared.lock();
        if !shut {
            // A client that takes no end has left; whoever reads from it will find out.
            let _ = ready!(poll_shut(&mut conn, task));
            shut = true;
        }
        if conn.body_dropped {
            return Poll::Ready(());
        }
        conn.tunnel_waker = Some(task.waker().clone());
        Poll::Pending
    })
    .await;
}

/// False when there is nobody left to wait for.
fn poll_shut(conn: &mut ServerConn, task: &mut Context<'_>) -> Poll<bool> {
    if ready!(conn.out.poll_flush(&mut conn.io, task)).is_err() {
        return Poll::Ready(false);
    }
    Poll::Ready(ready!(Pin::new(&mut conn.io).poll_shutdown(task)).is_ok())
}

/// False when there is nobody left to wait for.
fn poll_discard(conn: &mut ServerConn, task: &mut Context<'_>) -> Poll<bool> {
    if conn.eof {
        return Poll::Ready(false);
    }
    conn.rbuf.clear();
    Poll::Ready(ready!(conn.poll_read_head(task)).is_ok() && !conn.eof)
}
