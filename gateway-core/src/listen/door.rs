//! Who is let in: limits of connections, and what those hear that are not.

use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::clock::Clock;
use crate::config::ir;
use crate::config::raw::WhenFull;
use crate::gateway::{Addresses, Level, Occupied, Pressure, Refusal, Room, Visit};
use crate::http1::date;
use crate::hygiene::TrustedProxies;
use crate::settings::TcpKeepalive;
use crate::transport::Transport;

/// How many refused clients a listener talks to at a time; further ones are just closed.
const APOLOGIES: usize = 64;
/// How long a refused client may take to send its request, and again to read the reply.
const APOLOGY: Duration = Duration::from_secs(1);
/// How much of what a refused client sends is thrown away.
const DISCARDED: usize = 64 * 1024;

/// What a configuration says about the connections of a listener.
#[derive(Clone, Debug, Default)]
pub(crate) struct DoorPolicy {
    pub(crate) max_connections: Option<usize>,
    pub(crate) max_per_address: Option<usize>,
    /// Whose connections are not counted by address.
    pub(crate) trusted: TrustedProxies,
    pub(crate) when_full: WhenFull,
    pub(crate) keepalive: TcpKeepalive,
}

impl From<&ir::Listener> for DoorPolicy {
    fn from(listener: &ir::Listener) -> Self {
        Self {
            max_connections: listener.limits.max_connections,
            max_per_address: listener.max_connections_per_address,
            trusted: match &listener.proxy_protocol {
                Some(proxy) => listener.hygiene.trusted.and(&proxy.trusted),
                None => listener.hygiene.trusted.clone(),
            },
            when_full: listener.when_full,
            keepalive: listener.tcp_keepalive,
        }
    }
}

/// What all listeners share.
#[derive(Clone, Debug, Default)]
pub(crate) struct ProcessDoor {
    pub(crate) room: Arc<Room>,
    pub(crate) pressure: Arc<Pressure>,
}

/// The door of one listener.
#[derive(Debug)]
pub(super) struct Door {
    room: Arc<Room>,
    addresses: Arc<Addresses>,
    refuse_when_full: AtomicBool,
    process: ProcessDoor,
    apologies: Arc<Room>,
    keepalive: Keepalive,
}

/// Accepted sockets inherit the options of the listening one, unless a reload wants others.
#[derive(Debug)]
struct Keepalive {
    bound: TcpKeepalive,
    differs: AtomicBool,
    wanted: Mutex<TcpKeepalive>,
}

/// The places of one connection.
#[derive(Debug)]
pub(super) struct Places {
    _listener: Occupied,
    _process: Occupied,
    _visit: Visit,
}

impl Door {
    pub(super) fn new(policy: &DoorPolicy, process: ProcessDoor) -> Self {
        let door = Self {
            room: Arc::default(),
            addresses: Arc::default(),
            refuse_when_full: AtomicBool::new(false),
            process,
            apologies: Arc::default(),
            keepalive: Keepalive {
                bound: policy.keepalive,
                differs: AtomicBool::new(!cfg!(target_os = "linux")),
                wanted: Mutex::new(policy.keepalive),
            },
        };
        door.apologies.set_limit(Some(APOLOGIES));
        door.set(policy);
        door
    }

    /// Changes who is let in from now on.
    pub(super) fn set(&self, policy: &DoorPolicy) {
        self.addresses.set(policy.max_per_address, &policy.trusted);
        let refuse = policy.when_full == WhenFull::Refuse;
        self.refuse_when_full.store(refuse, Ordering::Relaxed);
        // Last, because it wakes those that wait.
        self.room.set_limit(policy.max_connections);
        let keepalive = &self.keepalive;
        *keepalive
            .wanted
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = policy.keepalive;
        let differs = policy.keepalive != keepalive.bound || !cfg!(target_os = "linux");
        keepalive.differs.store(differs, Ordering::Release);
    }

    /// Sets the options of an accepted socket that it has not inherited.
    pub(super) fn prepare(&self, stream: &tokio::net::TcpStream) -> io::Result<()> {
        if !cfg!(target_os = "linux") {
            stream.set_nodelay(true)?;
        }
        if self.keepalive.differs.load(Ordering::Acquire) {
            let wanted = *self
                .keepalive
                .wanted
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            wanted.apply(stream)?;
        }
        Ok(())
    }

    /// Takes the places of a connection. Waits only for those of the listener and the process, and only if the
    /// listener is to wait when it is full.
    pub(super) async fn enter(&self, peer: Option<IpAddr>) -> Result<Places, Refusal> {
        let visit = self.greet(peer)?;
        if self.refuse_when_full.load(Ordering::Relaxed) {
            return self.occupy(visit).ok_or(Refusal::Connections);
        }
        // A worker that waits must not hold a place of the process that another listener could use.
        let listener = self.room.enter().await;
        let process = self.process.room.enter().await;
        Ok(Places {
            _listener: listener,
            _process: process,
            _visit: visit,
        })
    }

    /// As [`enter`](Self::enter), without waiting.
    pub(super) fn enter_now(&self, peer: Option<IpAddr>) -> Result<Places, Refusal> {
        let visit = self.greet(peer)?;
        self.occupy(visit).ok_or(Refusal::Connections)
    }

    /// Counts a connection by the address that a trusted peer told; `None` when there are too many of it.
    pub(super) fn greet_told(&self, client: IpAddr) -> Option<Visit> {
        self.addresses.enter(Some(client))
    }

    fn greet(&self, peer: Option<IpAddr>) -> Result<Visit, Refusal> {
        if self.process.pressure.level() > Level::Calm {
            return Err(Refusal::ConnectionsForMemory);
        }
        self.addresses
            .enter(peer)
            .ok_or(Refusal::ConnectionsPerAddress)
    }

    fn occupy(&self, visit: Visit) -> Option<Places> {
        Some(Places {
            _listener: self.room.try_enter()?,
            _process: self.process.room.try_enter()?,
            _visit: visit,
        })
    }

    /// A place among those that are told why they are not let in, if there is one.
    pub(super) fn apology(&self) -> Option<Occupied> {
        self.apologies.try_enter()
    }
}

/// Tells a client that speaks HTTP/1 that there is no room for it. The reply is for its request, so that is waited for
/// a moment; and a socket that is closed while something of the client is unread is reset, which would
/// destroy the reply.
pub(super) async fn apologise(mut io: Transport, _place: Occupied) {
    let mut space = [0u8; 1024];
    if !matches!(
        tokio::time::timeout(APOLOGY, io.read(&mut space)).await,
        Ok(Ok(1..))
    ) {
        return;
    }
    let mut reply = b"HTTP/1.1 503 Service Unavailable\r\ndate: ".to_vec();
    reply.extend_from_slice(&date::cached(Clock.wall()));
    reply.extend_from_slice(
        b"\r\nretry-after: 1\r\nconnection: close\r\ncontent-type: text/plain; charset=utf-8\r\n\
          content-length: 24\r\n\r\n503 Service Unavailable\n",
    );
    let farewell = async {
        io.write_all(&reply).await?;
        io.shutdown().await?;
        let mut left = DISCARDED;
        while left > 0 {
            match io.read(&mut space).await? {
                0 => break,
                read => left = left.saturating_sub(read),
            }
        }
        io::Result::Ok(())
    };
    // Nobody is left who could be told of a failure.
    let _ = tokio::time::timeout(APOLOGY, farewell).await;
}
