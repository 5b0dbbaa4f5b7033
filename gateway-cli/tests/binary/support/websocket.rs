//! The client's side of a WebSocket, for short text messages.

use std::io::{self, Read, Write};
use std::net::SocketAddr;

use super::Client;

/// An open WebSocket.
pub struct WebSocket(Client);

impl WebSocket {
    pub fn connect(address: SocketAddr, path: &str) -> io::Result<Self> {
        let mut client = Client::connect(address)?;
        let fields = [
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        client.begin("GET", path, &fields, b"")?;
        match client.head()? {
            (101, _) => Ok(Self(client)),
            (status, _) => Err(io::Error::other(format!("refused with {status}"))),
        }
    }

    /// Sends a message of less than 126 bytes and returns the answer.
    pub fn ask(&mut self, text: &str) -> io::Result<String> {
        let length = u8::try_from(text.len()).map_err(io::Error::other)?;
        // Masked, as it must be, with a mask that changes nothing.
        let mut frame = vec![0x81, 0x80 | length, 0, 0, 0, 0];
        frame.extend_from_slice(text.as_bytes());
        self.0.stream.get_mut().write_all(&frame)?;
        let mut head = [0; 2];
        self.0.stream.read_exact(&mut head)?;
        if head[0] != 0x81 {
            return Err(io::Error::other(format!(
                "a frame that begins with {:#x}",
                head[0]
            )));
        }
        let mut answer = vec![0; head[1].into()];
        self.0.stream.read_exact(&mut answer)?;
        String::from_utf8(answer).map_err(io::Error::other)
    }
}
