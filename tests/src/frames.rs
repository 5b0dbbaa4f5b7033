//! HTTP/2 that is written frame by frame, for what no library would send.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::{Peer, TestGateway, within};

/// Frame types (RFC 9113 6).
#[expect(missing_docs, reason = "the names of the RFC")]
pub mod kind {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// A frame as it was on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields of the RFC")]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    /// The first number of the payload: the error code of a reset, the increment of a window.
    #[must_use]
    pub fn number(&self) -> u32 {
        u32::from_be_bytes(self.payload[..4].try_into().unwrap())
    }

    /// The error code of a reset.
    #[must_use]
    pub fn reason(&self) -> h2::Reason {
        self.number().into()
    }
}

/// The bytes of a frame.
#[must_use]
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A client's connection on which both sides know the other's settings.
pub async fn http2_client(gateway: &TestGateway) -> Peer {
    let mut client = gateway.client().await;
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    client.send(frame(kind::SETTINGS, 0, 0, &[])).await;
    loop {
        let next = next_frame(&mut client).await;
        if next.kind == kind::SETTINGS && next.flags & ACK == 0 {
            break;
        }
    }
    client.send(frame(kind::SETTINGS, ACK, 0, &[])).await;
    client
}

/// The next frame that a client gets.
pub async fn next_frame(client: &mut Peer) -> Frame {
    let head = client.exactly(9).await;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    Frame {
        kind: head[3],
        flags: head[4],
        stream: u32::from_be_bytes(head[5..].try_into().unwrap()) & 0x7fff_ffff,
        payload: client.exactly(length as usize).await,
    }
}

/// Reads up to the farewell, and on to the end. Returns the error code.
pub async fn farewell(client: &mut Peer) -> u8 {
    loop {
        let next = next_frame(client).await;
        if next.kind == kind::GOAWAY {
            client.rest().await;
            return next.payload[7];
        }
    }
}

/// The server's end of a connection.
#[derive(Debug)]
pub struct FramePeer {
    io: TcpStream,
}

impl FramePeer {
    /// Takes the next connection up to the client's preface, and says nothing yet.
    pub async fn accept(listener: &TcpListener) -> Self {
        let (mut io, _) = within("a connection", listener.accept()).await.unwrap();
        io.set_nodelay(true).unwrap();
        let mut preface = [0; 24];
        within("the preface", io.read_exact(&mut preface))
            .await
            .unwrap();
        assert_eq!(&preface, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        Self { io }
    }

    /// Takes the next connection and sends these settings.
    pub async fn serve(listener: &TcpListener, settings: &[(u16, u32)]) -> Self {
        let mut this = Self::accept(listener).await;
        this.settings(settings).await;
        this
    }

    /// Sends SETTINGS.
    pub async fn settings(&mut self, settings: &[(u16, u32)]) {
        let mut payload = Vec::new();
        for (id, value) in settings {
            payload.extend_from_slice(&id.to_be_bytes());
            payload.extend_from_slice(&value.to_be_bytes());
        }
        self.send(kind::SETTINGS, 0, 0, &payload).await;
    }

    /// Sends a frame.
    pub async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.raw(&frame(kind, flags, stream, payload)).await;
    }

    /// Sends bytes as they are.
    pub async fn raw(&mut self, bytes: &[u8]) {
        within("sending", self.io.write_all(bytes)).await.unwrap();
    }

    /// The next frame, or `None` at the end of the connection.
    pub async fn frame(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        within("a frame", self.io.read_exact(&mut head))
            .await
            .ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        within("a payload", self.io.read_exact(&mut payload))
            .await
            .ok()?;
        Some(Frame {
            kind: head[3],
            flags: head[4],
            stream: u32::from_be_bytes(head[5..].try_into().unwrap()) & 0x7fff_ffff,
            payload,
        })
    }

    /// The next frame of this type. SETTINGS and PINGs on the way are acknowledged.
    pub async fn next(&mut self, wanted: u8) -> Frame {
        loop {
            let frame = self.frame().await.expect("the connection ended");
            if frame.flags & ACK == 0 && matches!(frame.kind, kind::SETTINGS | kind::PING) {
                let payload: &[u8] = if frame.kind == kind::PING {
                    &frame.payload
                } else {
                    &[]
                };
                self.send(frame.kind, ACK, 0, payload).await;
            }
            if frame.kind == wanted {
                return frame;
            }
        }
    }

    /// The stream of the next request.
    pub async fn request(&mut self) -> u32 {
        self.next(kind::HEADERS).await.stream
    }

    /// Sends a header block of these fields, in as many frames as it takes.
    pub async fn headers(&mut self, stream: u32, fields: &[(&str, &str)], end: bool) {
        let mut block = Vec::new();
        for (name, value) in fields {
            // A literal without indexing and a new name (RFC 7541 6.2.2).
            block.push(0);
            for text in [name, value] {
                assert!(text.len() < 127, "a short string");
                block.push(u8::try_from(text.len()).unwrap());
                block.extend_from_slice(text.as_bytes());
            }
        }
        let end = if end { END_STREAM } else { 0 };
        let mut parts = block.chunks(16_384).peekable();
        let mut next = kind::HEADERS;
        while let Some(part) = parts.next() {
            let last = if parts.peek().is_none() {
                END_HEADERS
            } else {
                0
            };
            let end = if next == kind::HEADERS { end } else { 0 };
            self.send(next, last | end, stream, part).await;
            next = kind::CONTINUATION;
        }
    }

    /// Sends data.
    pub async fn data(&mut self, stream: u32, data: &[u8], end: bool) {
        let flags = if end { END_STREAM } else { 0 };
        self.send(kind::DATA, flags, stream, data).await;
    }

    /// Resets a stream.
    pub async fn reset(&mut self, stream: u32, reason: h2::Reason) {
        let code = u32::from(reason).to_be_bytes();
        self.send(kind::RST_STREAM, 0, stream, &code).await;
    }

    /// Says that streams above `last` are not looked at.
    pub async fn go_away(&mut self, last: u32, reason: h2::Reason) {
        let mut payload = last.to_be_bytes().to_vec();
        payload.extend_from_slice(&u32::from(reason).to_be_bytes());
        self.send(kind::GOAWAY, 0, 0, &payload).await;
    }
}
