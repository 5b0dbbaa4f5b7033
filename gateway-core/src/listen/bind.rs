//! Binding sockets.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;

use socket2::{Domain, Protocol, Socket, Type};

use crate::config::values::BindAddress;
use crate::settings::TcpKeepalive;

/// How many connections may wait to be accepted.
const BACKLOG: i32 = 4096;

/// An address that could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("binding {address} of listener {listener}")]
pub struct BindError {
    pub(crate) listener: String,
    pub(crate) address: String,
    #[source]
    pub(crate) source: io::Error,
}

/// The bound sockets of one listener.
#[derive(Debug)]
pub(crate) enum Sockets {
    /// One for each worker, or a single one that is dealt out.
    Tcp(Vec<std::net::TcpListener>),
    Unix(std::os::unix::net::UnixListener, PathBuf),
    /// As those of TCP.
    Udp(Vec<std::net::UdpSocket>),
}

impl Sockets {
    /// The address that was bound; the port is the real one.
    pub(crate) fn local(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listeners) => listeners
                .first()
                .and_then(|listener| listener.local_addr().ok()),
            Self::Udp(sockets) => sockets.first().and_then(|socket| socket.local_addr().ok()),
            Self::Unix(..) => None,
        }
    }
}

/// Whether `[::]` takes IPv4 clients too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Families {
    /// It does: `:8080` means every address.
    Both,
    /// Another listener has `0.0.0.0` with the same port.
    Own,
}

impl Families {
    /// What `address` must take beside the other addresses of a configuration.
    pub(crate) fn beside<'a>(
        address: &BindAddress,
        mut others: impl Iterator<Item = &'a BindAddress>,
    ) -> Self {
        let BindAddress::Tcp(address) = address else {
            return Self::Both;
        };
        let shared = others.any(|other| {
            matches!(other, BindAddress::Tcp(other) if other.is_ipv4() && other.port() == address.port())
        });
        if shared { Self::Own } else { Self::Both }
    }
}

/// Binds an address: `workers` sockets that share it, or one.
pub(crate) fn bind(
    listener: &str,
    address: &BindAddress,
    workers: usize,
    reuse_port: bool,
    families: Families,
    keepalive: &TcpKeepalive,
) -> Result<Sockets, BindError> {
    let failed = |source| BindError {
        listener: listener.to_owned(),
        address: address.to_string(),
        source,
    };
    match address {
        BindAddress::Tcp(address) => {
            let count = if reuse_port { workers.max(1) } else { 1 };
            let mut listeners = Vec::with_capacity(count);
            let mut address = *address;
            for _ in 0..count {
                let socket = bind_tcp(address, reuse_port && count > 1, families, keepalive)
                    .map_err(failed)?;
                // With port 0 the first socket decides and the others join it.
                address = socket.local_addr().map_err(failed)?;
                listeners.push(socket);
            }
            Ok(Sockets::Tcp(listeners))
        }
        BindAddress::Unix(path) => {
            // A socket that a former process left behind is in the way; anything else stays.
            let stale =
                std::fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
            if stale && std::os::unix::net::UnixStream::connect(path).is_err() {
                std::fs::remove_file(path).map_err(failed)?;
            }
            let socket = std::os::unix::net::UnixListener::bind(path).map_err(failed)?;
            socket.set_nonblocking(true).map_err(failed)?;
            Ok(Sockets::Unix(socket, path.clone()))
        }
    }
}

/// As [`bind`], for datagrams.
pub(crate) fn bind_udp(
    listener: &str,
    address: &BindAddress,
    workers: usize,
    reuse_port: bool,
    families: Families,
) -> Result<Sockets, BindError> {
    let failed = |source| BindError {
        listener: listener.to_owned(),
        address: address.to_string(),
        source,
    };
    let BindAddress::Tcp(mut address) = *address else {
        return Err(failed(io::ErrorKind::Unsupported.into()));
    };
    let count = if reuse_port { workers.max(1) } else { 1 };
    let mut sockets = Vec::with_capacity(count);
    for _ in 0..count {
        let socket = open_udp(address, count > 1, families).map_err(failed)?;
        address = socket.local_addr().map_err(failed)?;
        sockets.push(socket);
    }
    Ok(Sockets::Udp(sockets))
}

fn open_udp(
    address: SocketAddr,
    reuse_port: bool,
    families: Families,
) -> io::Result<std::net::UdpSocket> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(families == Families::Own || !address.ip().is_unspecified())?;
    }
    if reuse_port {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

fn bind_tcp(
    address: SocketAddr,
    reuse_port: bool,
    families: Families,
    keepalive: &TcpKeepalive,
) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(families == Families::Own || !address.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    if reuse_port {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    // For the sockets that will be accepted.
    socket.set_tcp_nodelay(true)?;
    keepalive.apply(&socket)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
