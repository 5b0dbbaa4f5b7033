//! UDP: sessions between clients and endpoints.

use std::collections::HashMap;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{Interest, Ready};
use tokio::net::UdpSocket;
use tokio::sync::Notify;

use super::copy::with_scratch;
use super::report::Report;
use super::route::{End, Shares, StreamMetrics, pick};
use crate::clock::{Clock, Instant};
use crate::conn::ConnHandle;
use crate::exchange::ConnInfo;
use crate::forward::UpstreamClient;
use crate::gateway::{Room, Telemetry};
use crate::observe::{Counter, Metrics};
use crate::upstream::{Endpoint, EndpointAddress, InFlight, Outcome};

/// Larger than any datagram, so that none is cut off unnoticed.
pub(crate) const BUFFER: usize = 64 * 1024;
/// How long a session may be quiet while the gateway drains.
const DRAINING: Duration = Duration::from_secs(1);
/// Datagrams of one session that are passed on before others have their turn.
const TURNS: usize = 32;

/// Where the datagrams of a route go. Kept across reloads that leave it alone.
pub(crate) struct UdpRoute {
    pub(crate) name: Arc<str>,
    pub(crate) idle: Duration,
    pub(crate) max_datagram: usize,
    pub(crate) backends: Shares,
    pub(crate) room: Arc<Room>,
    pub(crate) metrics: StreamMetrics,
}

impl fmt::Debug for UdpRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UdpRoute")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// What a UDP listener does with datagrams.
#[derive(Debug)]
pub(crate) struct UdpService {
    /// `None`: it drops all of them.
    pub(crate) route: Option<Arc<UdpRoute>>,
    pub(crate) drops: DatagramDrops,
}

/// Why a datagram was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DatagramDrop {
    Oversized,
    Sessions,
    Refused,
    NoRoute,
    NoEndpoint,
    Busy,
}

impl DatagramDrop {
    pub(crate) const ALL: [Self; 6] = [
        Self::Oversized,
        Self::Sessions,
        Self::Refused,
        Self::NoRoute,
        Self::NoEndpoint,
        Self::Busy,
    ];

    /// The reason code.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Oversized => "oversized",
            Self::Sessions => "max_sessions",
            Self::Refused => "limit",
            Self::NoRoute => "no_route",
            Self::NoEndpoint => "no_healthy_endpoint",
            Self::Busy => "busy",
        }
    }
}

/// Counts the datagrams that a listener dropped.
#[derive(Debug)]
pub(crate) struct DatagramDrops([Counter; DatagramDrop::ALL.len()]);

impl DatagramDrops {
    pub(crate) fn new(metrics: &Metrics, listener: &str) -> Self {
        Self(DatagramDrop::ALL.map(|drop| {
            metrics.counter(
                "portcullis_datagrams_dropped_total",
                "Datagrams that were dropped.",
                &[("listener", listener), ("reason", drop.reason())],
            )
        }))
    }

    pub(crate) fn count(&self, drop: DatagramDrop) {
        self.0[drop as usize].inc();
    }
}

/// The sessions of one socket. Only tasks of its worker take the lock.
#[derive(Debug, Default)]
pub(crate) struct Sessions(Mutex<HashMap<SocketAddr, Arc<Session>>>);

impl Sessions {
    pub(crate) fn find(&self, client: SocketAddr) -> Option<Arc<Session>> {
        self.lock().get(&client).cloned()
    }

    /// Lists a session, which takes itself off when it is over.
    pub(crate) fn insert(&self, client: SocketAddr, session: Arc<Session>) {
        self.lock().insert(client, session);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SocketAddr, Arc<Session>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A client's session: its endpoint and the socket that the endpoint answers to.
#[derive(Debug)]
pub(crate) struct Session {
    route: Arc<UdpRoute>,
    upstream: Arc<UpstreamClient>,
    endpoint: Arc<Endpoint>,
    socket: UdpSocket,
    began: Instant,
    /// When something moved last, in nanoseconds since it began.
    last: AtomicU64,
    received: AtomicU64,
    /// The endpoint refused what was sent before.
    refused: Notify,
}

impl Session {
    /// Opens a session of `client` with an endpoint of the route's choice.
    pub(crate) fn open(
        route: &Arc<UdpRoute>,
        client: SocketAddr,
    ) -> Result<Arc<Self>, DatagramDrop> {
        let chosen = route.backends.choose().and_then(|upstream| {
            let endpoint = pick(upstream, Some(client.ip()), &[])?;
            Some((upstream.clone(), endpoint))
        });
        let (upstream, endpoint) = chosen.ok_or(DatagramDrop::NoEndpoint)?;
        if upstream.is_full() || upstream.is_endpoint_full(&endpoint) {
            return Err(DatagramDrop::Refused);
        }
        let EndpointAddress::Socket(address) = endpoint.address() else {
            return Err(DatagramDrop::NoEndpoint);
        };
        // Out of descriptors or of ports.
        let socket = connect(*address).map_err(|_| DatagramDrop::Refused)?;
        Ok(Arc::new(Self {
            route: route.clone(),
            upstream,
            endpoint,
            socket,
            began: Clock.now(),
            last: AtomicU64::new(0),
            received: AtomicU64::new(0),
            refused: Notify::new(),
        }))
    }

    /// Sends a datagram of the client on.
    pub(crate) fn send(&self, datagram: &[u8]) -> Result<(), DatagramDrop> {
        if datagram.len() > self.route.max_datagram {
            return Err(DatagramDrop::Oversized);
        }
        self.touch();
        // Not by way of the poller, which knows nothing yet of a socket that was just made.
        match SockRef::from(&self.socket).send(datagram) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(DatagramDrop::Busy);
            }
            Err(error) if is_too_large(&error) => return Err(DatagramDrop::Oversized),
            // It is about what was sent before, and told only once.
            Err(_) => {
                self.refused.notify_one();
                return Ok(());
            }
        }
        let length = datagram.len() as u64;
        self.received.fetch_add(length, Ordering::Relaxed);
        self.route.metrics.received.add(length);
        Ok(())
    }

    /// Passes on what the endpoint sends, until nothing has moved for long enough or the endpoint refuses.
    #[expect(clippy::too_many_arguments, reason = "what a task owns")]
    pub(crate) async fn run(
        self: Arc<Self>,
        client: SocketAddr,
        listener: Arc<UdpSocket>,
        sessions: Arc<Sessions>,
        info: ConnInfo,
        telemetry: Arc<Telemetry>,
        drops: Arc<UdpService>,
        handle: Arc<ConnHandle>,
    ) {
        let _listed = Listed(&sessions, client);
        let route = &self.route;
        let report = Report::new("UDP", &route.name, &route.metrics, &telemetry, &info);
        let mut running = Running {
            session: &self,
            report,
            in_flight: self.endpoint.clone().begin(),
            answered: false,
        };
        running.report.upstream = Some(self.upstream.clone());
        running.report.endpoint = Some(self.endpoint.clone());
        running.report.attempts = 1;
        let mut idle = route.idle;
        loop {
            let deadline = self.last() + idle;
            tokio::select! {
                // A refusal comes without anything to read.
                ready = self.socket.ready(Interest::READABLE | Interest::ERROR) => {
                    let passed = ready.and_then(|ready| {
                        self.check(ready)?;
                        running.pass(client, &listener, &drops)
                    });
                    if passed.is_err() {
                        running.refused();
                        return;
                    }
                }
                () = self.refused.notified() => {
                    running.refused();
                    return;
                }
                () = tokio::time::sleep_until(deadline) => {
                    if self.last() + idle <= Clock.now() {
                        running.report.end = End::Complete;
                        return;
                    }
                }
                () = closing(&handle), if idle > DRAINING => idle = DRAINING,
            }
        }
    }

    /// What the socket has to say against the endpoint.
    fn check(&self, ready: Ready) -> io::Result<()> {
        if !ready.is_error() {
            return Ok(());
        }
        match self.socket.take_error()? {
            Some(error) => Err(error),
            None => {
                // Nothing: forget that there was something.
                let forget = || -> io::Result<()> { Err(io::ErrorKind::WouldBlock.into()) };
                let _ = self.socket.try_io(Interest::ERROR, forget);
                Ok(())
            }
        }
    }

    fn touch(&self) {
        let since = u64::try_from(Clock.since(self.began).as_nanos()).unwrap_or(u64::MAX);
        self.last.store(since, Ordering::Relaxed);
    }

    fn last(&self) -> Instant {
        self.began + Duration::from_nanos(self.last.load(Ordering::Relaxed))
    }
}

/// A session while it lasts.
struct Running<'s> {
    session: &'s Session,
    report: Report<'s>,
    in_flight: InFlight,
    answered: bool,
}

impl Running<'_> {
    /// Passes on what has arrived from the endpoint.
    fn pass(
        &mut self,
        client: SocketAddr,
        listener: &UdpSocket,
        service: &UdpService,
    ) -> io::Result<()> {
        with_scratch(|space| self.pass_with(space, client, listener, service))
    }

    fn pass_with(
        &mut self,
        space: &mut [u8],
        client: SocketAddr,
        listener: &UdpSocket,
        service: &UdpService,
    ) -> io::Result<()> {
        for _ in 0..TURNS {
            let length = match self.session.socket.try_recv(space) {
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            self.session.touch();
            if !std::mem::replace(&mut self.answered, true) {
                let latency = Clock.since(self.session.began);
                self.in_flight.record(Outcome::Success, latency);
            }
            if length > self.session.route.max_datagram {
                service.drops.count(DatagramDrop::Oversized);
                tracing::debug!(route = %self.session.route.name, length, "a datagram of an endpoint was dropped: oversized");
                continue;
            }
            // A client that is gone, or a full queue: datagrams may get lost.
            match listener.try_send_to(&space[..length], client) {
                Ok(_) => {
                    self.report.moved.1 += length as u64;
                    self.session.route.metrics.sent.add(length as u64);
                }
                Err(_) => service.drops.count(DatagramDrop::Busy),
            }
        }
        Ok(())
    }

    fn refused(&mut self) {
        self.report.end = End::Connect;
        let latency = Clock.since(self.session.began);
        self.in_flight.record(Outcome::ConnectFailure, latency);
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.report.moved.0 = self.session.received.load(Ordering::Relaxed);
    }
}

/// Takes a session off the list when it is over.
struct Listed<'l>(&'l Sessions, SocketAddr);

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        let mut sessions = self.0.lock();
        sessions.remove(&self.1);
        // What a wave of clients left behind.
        if sessions.is_empty() {
            sessions.shrink_to(64);
        }
    }
}

async fn closing(handle: &ConnHandle) {
    poll_fn(|task| {
        if handle.poll_closing(task) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

fn connect(address: SocketAddr) -> io::Result<UdpSocket> {
    let any: SocketAddr = if address.is_ipv4() {
        (Ipv4Addr::UNSPECIFIED, 0).into()
    } else {
        (Ipv6Addr::UNSPECIFIED, 0).into()
    };
    let socket = std::net::UdpSocket::bind(any)?;
    socket.connect(address)?;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}

/// More than the system sends in one datagram (`EMSGSIZE`).
fn is_too_large(error: &io::Error) -> bool {
    const EMSGSIZE: i32 = 90;
    cfg!(target_os = "linux") && error.raw_os_error() == Some(EMSGSIZE)
}
