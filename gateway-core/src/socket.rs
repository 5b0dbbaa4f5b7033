//! Options of TCP sockets.

use std::io;
use std::time::Duration;

use socket2::SockRef;

/// How the system finds out that the other end of a connection is gone without a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TcpKeepalive {
    /// Silence after which the first probe is sent; `None` for no probes.
    pub idle: Option<Duration>,
    /// Time between two probes.
    pub interval: Duration,
    /// Probes without an answer after which the connection is broken.
    pub probes: u32,
    /// How long sent data may stay without acknowledgement, or without room at the other end (`TCP_USER_TIMEOUT` of
    /// Linux); `None` for what the system thinks right.
    pub user_timeout: Option<Duration>,
}

impl Default for TcpKeepalive {
    fn default() -> Self {
        Self {
            idle: Some(Duration::from_secs(60)),
            interval: Duration::from_secs(15),
            probes: 4,
            user_timeout: None,
        }
    }
}

impl TcpKeepalive {
    /// How long it takes at most until a silent end counts as gone; `None` without probes.
    #[must_use]
    pub fn patience(&self) -> Option<Duration> {
        Some(self.idle? + self.interval * self.probes)
    }

    /// Sets the options of a socket. Sockets that a listening one accepts inherit them (Linux).
    pub(crate) fn apply<'s>(&self, socket: impl Into<SockRef<'s>>) -> io::Result<()> {
        let socket = socket.into();
        match self.idle {
            Some(idle) => socket.set_tcp_keepalive(
                &socket2::TcpKeepalive::new()
                    .with_time(idle)
                    .with_interval(self.interval)
                    .with_retries(self.probes),
            )?,
            None => socket.set_keepalive(false)?,
        }
        #[cfg(target_os = "linux")]
        socket.set_tcp_user_timeout(self.user_timeout)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_a_listening_socket_are_those_of_accepted_ones() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let keepalive = TcpKeepalive {
            idle: Some(Duration::from_secs(7)),
            interval: Duration::from_secs(3),
            probes: 2,
            user_timeout: Some(Duration::from_millis(1300)),
        };
        keepalive.apply(&listener).unwrap();
        SockRef::from(&listener).set_tcp_nodelay(true).unwrap();
        let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let socket = SockRef::from(&accepted);
        assert!(socket.keepalive().unwrap());
        assert!(socket.tcp_nodelay().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap().as_secs(), 7);
        assert_eq!(socket.tcp_keepalive_interval().unwrap().as_secs(), 3);
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), 2);
        assert_eq!(
            socket.tcp_user_timeout().unwrap(),
            Some(Duration::from_millis(1300))
        );

        let off = TcpKeepalive {
            idle: None,
            user_timeout: None,
            ..keepalive
        };
        off.apply(&accepted).unwrap();
        assert!(!socket.keepalive().unwrap());
        assert_eq!(socket.tcp_user_timeout().unwrap(), None);
        assert_eq!(
            (off.patience(), keepalive.patience()),
            (None, Some(Duration::from_secs(13)))
        );
    }
}
