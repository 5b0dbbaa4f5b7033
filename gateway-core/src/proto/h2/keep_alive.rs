//! Finding out that an endpoint is gone although its connection looks open.

use std::task::{Context, Poll, ready};
use std::time::Duration;

use h2::{Ping, PingPong};

use super::connection::Use;
use super::gather::Gathered;
use crate::clock::Clock;
use crate::timer::LazyTimer;

/// How often it is looked at whether a connection in use is silent.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// How long the answer to a PING may take.
const ANSWER: Duration = Duration::from_secs(10);
/// A PING goes out at the first silent look and then at each of these: gRPC servers take more than one in
/// five minutes for an attack.
const PING_AT: u32 = 10;

/// Asks a silent endpoint whether it is still there. The first PING goes out with the first request: once it
/// is answered the endpoint's settings, which come before all else (RFC 9113 3.4), have been applied.
pub(super) struct KeepAlive {
    ping: PingPong,
    timer: LazyTimer,
    /// A PING is not answered yet.
    asked: bool,
    /// That was noticed, and the endpoint has little time left.
    doubted: bool,
    /// Silent looks in a row.
    silent: u32,
    opened: usize,
}

impl KeepAlive {
    /// Asks at once.
    pub(super) fn start(ping: PingPong) -> Self {
        let mut this = Self {
            ping,
            timer: LazyTimer::default(),
            asked: false,
            doubted: false,
            silent: 0,
            opened: 0,
        };
        this.ask();
        this.timer.set(Some(Clock.now() + LOOK_EVERY));
        this
    }

    fn ask(&mut self) {
        self.asked |= self.ping.send_ping(Ping::opaque()).is_ok();
    }

    /// Ready when the endpoint owes answers and has been silent for too long.
    pub(super) fn poll_gone(
        &mut self,
        task: &mut Context<'_>,
        gathered: &Gathered,
        use_: &Use,
    ) -> Poll<()> {
        if self.asked && self.ping.poll_pong(task).is_ready() {
            self.asked = false;
            use_.settle();
            // An answer shows that the endpoint is there, not that it has something to say.
            gathered.take_heard();
            if std::mem::take(&mut self.doubted) {
                self.timer.set(Some(Clock.now() + LOOK_EVERY));
            }
        }
        loop {
            ready!(self.timer.poll_elapsed(task));
            let opened = use_.opened();
            let used = std::mem::replace(&mut self.opened, opened) != opened;
            let mut next = LOOK_EVERY;
            if gathered.take_heard() || use_.streams() == 0 {
                self.silent = 0;
                self.doubted = false;
            } else if self.doubted {
                return Poll::Ready(());
            } else {
                self.silent = if used { 1 } else { self.silent + 1 };
                if !self.asked && self.silent % PING_AT == 1 {
                    self.ask();
                }
                if self.asked {
                    self.doubted = true;
                    next = ANSWER;
                }
            }
            self.timer.set(Some(Clock.now() + next));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::Version;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    use super::*;
    use crate::body::Body;
    use crate::error::{ErrorClass, GatewayError};
    use crate::exchange::Exchange;
    use crate::forward::AttemptCx;
    use crate::handler::{Request, Response};
    use crate::http1::HeadLimits;
    use crate::pool::{Pool, PoolLimits};
    use crate::proto::h2::{connect, send};
    use crate::transport::Transport;

    const PING: u8 = 6;

    /// A request without an answer, and the endpoint's side of its connection.
    async fn unanswered() -> (
        impl Future<Output = Result<Response, GatewayError>>,
        DuplexStream,
    ) {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let place = Arc::new(Pool::new(PoolLimits::default(), 1)).place();
        let limits = HeadLimits::default();
        let sender = connect(Transport::new(near), place.unwrap(), &limits, None);
        let sender = sender.await.unwrap();
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = "http://test/".parse().unwrap();
        *request.version_mut() = Version::HTTP_2;
        let asking = async move {
            let exchange = Exchange::new(Arc::default());
            let sent = send(sender, request, &AttemptCx::default(), &exchange).await;
            sent.map_err(|failure| failure.error)
        };
        (asking, far)
    }

    /// Reads frames and counts PINGs, and answers so many of them, until the connection ends.
    async fn answer(mut far: DuplexStream, mut answers: usize) -> usize {
        let mut preface = [0; 24];
        far.read_exact(&mut preface).await.unwrap();
        far.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
        let mut pings = 0;
        let mut head = [0; 9];
        while far.read_exact(&mut head).await.is_ok() {
            let mut payload = vec![0; usize::from(head[1]) * 256 + usize::from(head[2])];
            far.read_exact(&mut payload).await.unwrap();
            if head[3] == PING {
                pings += 1;
                if answers > 0 {
                    answers -= 1;
                    head[4] = 1;
                    let answer = [&head[..], &payload].concat();
                    far.write_all(&answer).await.unwrap();
                }
            }
        }
        pings
    }

    #[tokio::test(start_paused = true)]
    async fn an_endpoint_that_stops_answering_is_given_up() {
        for (answers, asked) in [(0, 1), (1, 2)] {
            let started = Clock.now();
            let (asking, far) = unanswered().await;
            let peer = tokio::spawn(answer(far, answers));
            let error = asking.await.unwrap_err();
            assert_eq!(error.class(), ErrorClass::UpstreamReset);
            let waited = Clock.since(started);
            assert!(
                waited >= LOOK_EVERY + ANSWER && waited <= 2 * LOOK_EVERY + ANSWER,
                "{waited:?}"
            );
            assert_eq!(peer.await.unwrap(), asked);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_endpoint_that_answers_is_waited_for_and_not_pestered() {
        let (asking, far) = unanswered().await;
        let peer = tokio::spawn(answer(far, usize::MAX));
        let minutes = Duration::from_secs(16 * 60);
        tokio::time::timeout(minutes, asking).await.unwrap_err();
        // One at the start, one at the first silent look, one in each five minutes after.
        assert_eq!(peer.await.unwrap(), 5);
    }
}
