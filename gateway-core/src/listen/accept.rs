//! Accepting connections and dealing them out.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::watch;

use super::bind::Sockets;
use super::serve::{Accepted, serve};
use crate::gateway::{Connections, ListenerCell, Occupied, Room};
use crate::runtime::Worker;
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
    room: Arc<Room>,
}

impl Running {
    /// Changes how many connections may be open.
    pub(crate) fn limit(&self, max_connections: Option<usize>) {
        self.room.set_limit(max_connections);
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
    max_connections: Option<usize>,
    process: Arc<Room>,
) -> Running {
    let (stop, stopped) = watch::channel(false);
    let running = Running {
        local: sockets.local(),
        unlink: match &sockets {
            Sockets::Unix(_, path) => Some(path.clone()),
            Sockets::Tcp(_) => None,
        },
        connections: Arc::default(),
        stop,
        room: Arc::default(),
    };
    running.limit(max_connections);
    let cx = AcceptCx {
        cell,
        connections: running.connections.clone(),
        stopped,
        rooms: [running.room.clone(), process],
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
struct AcceptCx {
    cell: Arc<ListenerCell>,
    connections: Arc<Connections>,
    stopped: watch::Receiver<bool>,
    /// The listener's, then the process's.
    rooms: [Arc<Room>; 2],
}

/// The places of one connection.
type Places = [Occupied; 2];

impl AcceptCx {
    /// Accepts one connection and waits until there is room for it; `None` when the listener was stopped.
    ///
    /// The place is taken after accepting: workers that wait, each on its own socket, must not hold any.
    async fn next<T, F>(&mut self, accept: impl Fn() -> F) -> Option<(T, Places)>
    where
        F: Future<Output = io::Result<T>>,
    {
        loop {
            let accepted = tokio::select! {
                biased;
                _ = stopped(&mut self.stopped) => return self.last(accept),
                // A connection that waits for room when the listener stops is closed unserved.
                accepted = async {
                    let accepted = accept().await?;
                    let [listener, process] = &self.rooms;
                    Ok((accepted, [listener.enter().await, process.enter().await]))
                } => accepted,
            };
            match accepted {
                Ok(accepted) => return Some(accepted),
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
        F: Future<Output = io::Result<T>>,
    {
        let accepted = accept().now_or_never()?.ok()?;
        let [listener, process] = &self.rooms;
        let places = [
            listener.enter().now_or_never()?,
            process.enter().now_or_never()?,
        ];
        Some((accepted, places))
    }

    async fn serve(&self, accepted: Accepted, _places: Places) {
        serve(accepted, self.cell.clone(), self.connections.clone()).await;
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
        let Some(accepted) = tcp(stream, peer) else {
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
                && let Some(accepted) = tcp(stream, peer)
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
            if let Ok(stream) = tokio::net::UnixStream::from_std(stream) {
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

fn tcp(stream: TcpStream, peer: SocketAddr) -> Option<Accepted> {
    // A socket whose options fail is one whose client has gone.
    stream.set_nodelay(true).ok()?;
    let local = stream.local_addr().ok();
    Some(Accepted {
        io: Transport::from(stream),
        peer: Some(peer),
        local,
    })
}
