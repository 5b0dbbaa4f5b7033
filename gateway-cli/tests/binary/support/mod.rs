//! What the tests start and talk with: the gateway's binary, real peers, a plain client.

mod gateway;
mod http;
mod nginx;
mod peer;
mod postgres;
mod program;
mod tls;
mod websocket;

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::{Duration, Instant};

pub use gateway::{Gateway, run};
pub use http::{Client, Response, get};
pub use nginx::{Nginx, Site};
pub use peer::{Peer, curl, python, tool};
pub use postgres::Postgres;
pub use program::{Program, succeed};
pub use tls::Certificates;
pub use websocket::WebSocket;

/// Longer than anything here takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Looks again and again until `look` finds what it wants.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A port nobody listens on at this moment.
pub fn free_port() -> u16 {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
    socket.local_addr().expect("its address").port()
}

/// An address nobody listens on at this moment.
pub fn free_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}

/// The repository.
pub fn root() -> PathBuf {
    let mut root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.pop();
    root
}

/// A file of `gateway-cli/tests/peers`.
pub fn script(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/peers")
        .join(name)
}
