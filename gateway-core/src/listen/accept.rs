//! Accepting connections and dealing them out.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::net::{TcpListener, TcpStream, UdpSocket, UnixListener, UnixStream};
use tokio::sync::watch;

use super::bind::Sockets;
use super::door::{Door, DoorPolicy, Places, ProcessDoor, apologise};
use super::serve::{Accepted, serve};
use super::udp::receive;
use crate::gateway::{Connections, ListenerCell, Refusal};
use crate::observe::Event;
use crate::runtime::Worker;
use crate::settings::Protocol;
use crate::spawn::spawn;
use crate::transport::Transport;

/// After running out of descriptors or memory the accept loop pauses this long instead of spinning.
const BACK_OFF: Duration = Duration::from_millis(50);

/// A listener that accepts.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) connections: Arc<Connections>,
    pub(crate) local: Option<SocketAddr>,
    stop: watch::Sender<bool>,
    unlink: Option<PathBuf>,
    door: Arc<Door>,
}

impl Running {
    /// Changes which connections are let in from now on.
    pub(crate) fn limit(&self, policy: &DoorPolicy) {
        self.door.set(policy);
    }

    /// Stops accepting; open connections go on.
    pub(crate) fn stop_accepting(&self) {
        self.stop.send_replace(true);
        if let Some(path) = &self.unlink {
            // A file that is gone already is what was wanted.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Starts accepting on `sockets`; connections are served by `workers` and take places in `process`.
pub(crate) fn start(
    sockets: Sockets,
    cell: Arc<ListenerCell>,
    workers: &[Worker],
    policy: &DoorPolicy,
    process: ProcessDoor,
) -> Running {
    let (stop, stopped) = watch::channel(false);
    let running = Running {
        local: sockets.local(),
        unlink: match &sockets {
            Sockets::Unix(_, path) => Some(path.clone()),
            Sockets::Tcp(_) | Sockets::Udp(_) => None,
        },
        connections: Arc::default(),
        stop,
        door: Arc::new(Door::new(policy, process)),
    };
    let cx = AcceptCx {
        cell,
        connections: running.connections.clone(),
        stopped,
        door: running.door.clone(),
    };
    match sockets {
        // One socket each: a worker serves what it accepts and no connection changes threads.
        Sockets::Tcp(listeners) if listeners.len() == workers.len() => {
            for (listener, worker) in listeners.into_iter().zip(workers) {
                let cx = cx.clone();
                worker.spawn(async move {
                    if let Ok(listener) = TcpListener::from_std(listener) {
                        accept_here(listener, cx).await;
                    }
                });
            }
        }
        Sockets::Tcp(listeners) => {
            for listener in listeners {
                let (cx, workers) = (cx.clone(), workers.to_vec());
                deal(&workers.clone(), async move {
                    if let Ok(listener) = TcpListener::from_std(listener) {
                        accept_tcp_for(listener, cx, workers).await;
                    }
                });
            }
        }
        Sockets::Udp(sockets) => {
            // One each, or one for all; the first worker has it then.
            for (socket, worker) in sockets.into_iter().zip(workers) {
                let cx = cx.clone();
                worker.spawn(async move {
                    if let Ok(socket) = UdpSocket::from_std(socket) {
                        receive(socket, cx).await;
                    }
                });
            }
        }
        Sockets::Unix(listener, _) => {
            let (cx, workers) = (cx, workers.to_vec());
            deal(&workers.clone(), async move {
                if let Ok(listener) = UnixListener::from_std(listener) {
                    accept_unix_for(listener, cx, workers).await;
                }
            });
        }
    }
    running
}

fn deal(workers: &[Worker], task: impl Future<Output = ()> + Send + 'static) {
    if let Some(worker) = workers.first() {
        worker.spawn(task);
    }
}

#[derive(Clone)]
pub(super) struct AcceptCx {
    pub(super) cell: Arc<ListenerCell>,
    pub(super) connections: Arc<Connections>,
    pub(super) stopped: watch::Receiver<bool>,
    pub(super) door: Arc<Door>,
}

/// A connection that was just accepted.
trait Incoming {
    fn peer(&self) -> Option<SocketAddr>;

    fn into_transport(self) -> Transport;
}

impl Incoming for (TcpStream, SocketAddr) {
    fn peer(&self) -> Option<SocketAddr> {
        Some(self.1)
    }

    fn into_transport(self) -> Transport {
        Transport::from(self.0)
    }
}

impl Incoming for (UnixStream, tokio::net::unix::SocketAddr) {
    fn peer(&self) -> Option<SocketAddr> {
        None
    }

    fn into_transport(self) -> Transport {
        Transport::from(self.0)
    }
}

impl AcceptCx {
    /// Accepts one connection that is let in, and waits until there is room for it if the listener is to wait; `None`
    /// when the listener was stopped.
    ///
    /// The place is taken after accepting: workers that wait, each on its own socket, must not hold any.
    async fn next<T, F>(&mut self, accept: impl Fn() -> F) -> Option<(T, Places)>
    where
        T: Incoming,
        F: Future<Output = io::Result<T>>,
    {
        loop {
            let accepted = tokio::select! {
                biased;
                _ = stopped(&mut self.stopped) => return self.last(accept),
                // A connection that waits for room when the listener stops is closed unserved.
                accepted = async {
                    let accepted = accept().await?;
                    let peer = accepted.peer().map(|peer| peer.ip());
                    let entered = self.door.enter(peer).await;
                    Ok((accepted, entered))
                } => accepted,
            };
            match accepted {
                Ok((accepted, Ok(places))) => return Some((accepted, places)),
                Ok((accepted, Err(refusal))) => self.refuse(accepted, refusal),
                Err(error) if is_about_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(listener = %self.cell.name(), %error, "accepting failed; trying again soon");
                    tokio::time::sleep(BACK_OFF).await;
                }
            }
        }
    }

    /// After the stop: a connection that was made before it and waits to be accepted. It would be reset when
    /// the socket is closed, so it is served like any other that is open when the listener drains.
    fn last<T, F>(&self, accept: impl Fn() -> F) -> Option<(T, Places)>
    where
        T: Incoming,
        F: Future<Output = io::Result<T>>,
    {
        let accepted = accept().now_or_never()?.ok()?;
        let peer = accepted.peer().map(|peer| peer.ip());
        let places = self.door.enter_now(peer).ok()?;
        Some((accepted, places))
    }

    /// Closes a connection that is not let in. Never waits: one that speaks HTTP/1 without TLS is told why by a task of
    /// its own.
    fn refuse(&self, accepted: impl Incoming, refusal: Refusal) {
        let entry = self.cell.current();
        let telemetry = &entry.telemetry;
        telemetry.refused.count(refusal);
        if !telemetry.observers.is_empty() {
            telemetry.observers.emit(&Event::ConnectionRefused {
                listener: self.cell.name(),
                peer: accepted.peer(),
                reason: refusal.reason(),
            });
        }
        let speaks = entry.tls.is_none()
            && entry.handler.is_none()
            && entry.http
            && entry.settings.protocol != Protocol::Http2;
        if speaks && let Some(place) = self.door.apology() {
            spawn(apologise(accepted.into_transport(), place));
        }
    }

    async fn serve(&self, accepted: Accepted, _places: Places) {
        serve(accepted, self).await;
    }
}

/// Waits until the listener is stopped; its end counts as that too.
async fn stopped(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

/// The connection that failed was the client's, not the listener's, trouble.
fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

async fn accept_here(listener: TcpListener, mut cx: AcceptCx) {
    while let Some(((stream, peer), places)) = cx.next(|| listener.accept()).await {
        let Some(accepted) = tcp(stream, peer, &cx.door) else {
            continue;
        };
        let cx = cx.clone();
        spawn(async move { cx.serve(accepted, places).await });
    }
}

async fn accept_tcp_for(listener: TcpListener, mut cx: AcceptCx, workers: Vec<Worker>) {
    while let Some(((stream, peer), places)) = cx.next(|| listener.accept()).await {
        // The socket leaves this runtime's poller and joins that of the worker that serves it.
        let Ok(stream) = stream.into_std() else {
            continue;
        };
        let cx = cx.clone();
        hand_over(&workers, async move {
            if let Ok(stream) = TcpStream::from_std(stream)
                && let Some(accepted) = tcp(stream, peer, &cx.door)
            {
                cx.serve(accepted, places).await;
            }
        });
    }
}

async fn accept_unix_for(listener: UnixListener, mut cx: AcceptCx, workers: Vec<Worker>) {
    while let Some(((stream, _), places)) = cx.next(|| listener.accept()).await {
        let Ok(stream) = stream.into_std() else {
            continue;
        };
        let cx = cx.clone();
        hand_over(&workers, async move {
            if let Ok(stream) = UnixStream::from_std(stream) {
                cx.serve(
                    Accepted {
                        io: Transport::from(stream),
                        peer: None,
                        local: None,
                    },
                    places,
                )
                .await;
            }
        });
    }
}

/// Gives a connection to the worker that has the fewest.
fn hand_over(workers: &[Worker], serving: impl Future<Output = ()> + Send + 'static) {
    let Some(worker) = workers
        .iter()
        .min_by_key(|worker| worker.load.load(Ordering::Relaxed))
    else {
        return;
    };
    let load = worker.load.clone();
    load.fetch_add(1, Ordering::Relaxed);
    let serving = Box::pin(serving);
    worker.spawn(async move {
        serving.await;
        load.fetch_sub(1, Ordering::Relaxed);
    });
}

fn tcp(stream: TcpStream, peer: SocketAddr, door: &Door) -> Option<Accepted> {
    // A socket whose options fail is one whose client has gone.
    door.prepare(&stream).ok()?;
    let local = stream.local_addr().ok();
    Some(Accepted {
        io: Transport::from(stream),
        peer: Some(peer),
        local,
    })
}
