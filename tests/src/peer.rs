//! One end of a connection, spoken to in raw HTTP/1.

use std::fmt;
use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use crate::within;

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// One end of a connection.
pub struct Peer {
    io: Box<dyn Io>,
    /// For resets: the socket below.
    socket: Option<socket2::Socket>,
    buf: Vec<u8>,
}

/// A message as it was on the wire.
#[derive(Clone, Debug, Default)]
pub struct Message {
    /// The request line or status line.
    pub line: String,
    /// Fields in wire order, names as they were written.
    pub headers: Vec<(String, String)>,
    /// The body, without its chunk framing.
    pub body: Vec<u8>,
    /// Fields behind the last chunk.
    pub trailers: Vec<(String, String)>,
    /// Whether the body was chunked.
    pub chunked: bool,
}

impl Message {
    /// The status of a response.
    #[must_use]
    pub fn status(&self) -> u16 {
        let status = self
            .line
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        status.unwrap_or_else(|| panic!("no status in {:?}", self.line))
    }

    /// The target of a request.
    #[must_use]
    pub fn target(&self) -> &str {
        self.line.split(' ').nth(1).unwrap_or_default()
    }

    /// The value of a field that is there once at most.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.all(name);
        assert!(
            found.len() < 2,
            "{name} is there {} times: {found:?}",
            found.len()
        );
        found.first().copied()
    }

    /// All values of a field.
    #[must_use]
    pub fn all(&self, name: &str) -> Vec<&str> {
        let fields = self.headers.iter();
        fields
            .filter(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
            .collect()
    }

    /// The value of a trailer field.
    #[must_use]
    pub fn trailer(&self, name: &str) -> Option<&str> {
        let found = self
            .trailers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Peer {
    /// Takes any stream.
    pub fn new(io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        Self {
            io: Box::new(io),
            socket: None,
            buf: Vec::new(),
        }
    }

    /// Takes a TCP connection.
    #[must_use]
    pub fn tcp(stream: TcpStream) -> Self {
        let socket = socket2::SockRef::from(&stream).try_clone().ok();
        stream.set_nodelay(true).unwrap();
        Self {
            socket,
            ..Self::new(stream)
        }
    }

    /// Connects over TCP.
    pub async fn connect(address: std::net::SocketAddr) -> Self {
        Self::tcp(
            within("connecting", TcpStream::connect(address))
                .await
                .unwrap(),
        )
    }

    /// Connects to a Unix socket.
    pub async fn unix(path: &std::path::Path) -> Self {
        Self::new(
            within("connecting", UnixStream::connect(path))
                .await
                .unwrap(),
        )
    }

    /// Makes the kernel buffers of the socket small, so that little is in flight.
    pub fn small_buffers(&self) {
        let socket = self.socket.as_ref().unwrap();
        socket.set_recv_buffer_size(16 * 1024).unwrap();
        socket.set_send_buffer_size(16 * 1024).unwrap();
    }

    /// Sends bytes as they are.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).await.unwrap();
    }

    /// Sends bytes; the other side may have gone.
    ///
    /// # Errors
    /// The other side does not take them.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        within("sending", async {
            self.io.write_all(bytes.as_ref()).await?;
            self.io.flush().await
        })
        .await
    }

    /// Writes `total` bytes in pieces as fast as the other side takes them, however long that is.
    ///
    /// # Errors
    /// The other side does not take them.
    pub async fn send_zeroes(&mut self, total: usize) -> io::Result<()> {
        let piece = vec![0u8; 64 * 1024];
        let mut left = total;
        while left > 0 {
            let step = left.min(piece.len());
            self.io.write_all(&piece[..step]).await?;
            left -= step;
        }
        self.io.flush().await
    }

    /// Writes as much as the other side takes without it reading on: until a write does not complete.
    pub async fn send_until_blocked(&mut self, limit: usize) -> usize {
        let piece = vec![b'x'; 16 * 1024];
        let mut sent = 0;
        while sent < limit {
            // The one place where silence is what is waited for.
            let pause = std::time::Duration::from_millis(400);
            match tokio::time::timeout(pause, self.io.write(&piece)).await {
                Ok(Ok(written)) => sent += written,
                Ok(Err(error)) => panic!("writing: {error}"),
                Err(_) => break,
            }
        }
        sent
    }

    /// Sends `text` over and over, a byte every `pause`, until the other side says something or closes.
    pub async fn drip(&mut self, text: &str, pause: std::time::Duration) {
        let mut ticks = tokio::time::interval(pause);
        let dripping = async {
            for byte in text.bytes().cycle() {
                tokio::select! {
                    _ = self.io.read_buf(&mut self.buf) => return,
                    _ = ticks.tick() => if self.io.write_all(&[byte]).await.is_err() { return },
                }
            }
        };
        within("the end of patience", dripping).await;
    }

    /// Sends a request and reads its response.
    pub async fn ask(&mut self, request: impl AsRef<[u8]>) -> Message {
        self.send(&request).await;
        let head_only = request.as_ref().starts_with(b"HEAD ");
        self.response_to(if head_only { "HEAD" } else { "GET" })
            .await
    }

    /// Reads one request with its body.
    pub async fn request(&mut self) -> Message {
        let mut message = self.head().await;
        self.body(&mut message, false).await;
        message
    }

    /// Reads one response with its body, interim ones included.
    pub async fn response(&mut self) -> Message {
        self.response_to("GET").await
    }

    /// Reads the response to a request of this method.
    pub async fn response_to(&mut self, method: &str) -> Message {
        let mut message = self.head().await;
        let status = message.status();
        if method != "HEAD" && status >= 200 && status != 204 && status != 304 {
            self.body(&mut message, true).await;
        }
        message
    }

    /// Reads one head and leaves its body.
    pub async fn head(&mut self) -> Message {
        let end = loop {
            if let Some(at) = find(&self.buf, b"\r\n\r\n") {
                break at;
            }
            assert!(
                self.fill().await,
                "the connection ended within a head: {:?}",
                self.arrived()
            );
        };
        let head = String::from_utf8_lossy(&self.buf[..end]).into_owned();
        self.buf.drain(..end + 4);
        let mut lines = head.split("\r\n");
        Message {
            line: lines.next().unwrap_or_default().to_owned(),
            headers: lines.map(field).collect(),
            ..Message::default()
        }
    }

    async fn body(&mut self, message: &mut Message, response: bool) {
        if message
            .header("transfer-encoding")
            .is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"))
        {
            message.chunked = true;
            while let Some(chunk) = self.chunk().await {
                message.body.extend_from_slice(&chunk);
            }
            loop {
                let line = self.line().await;
                if line.is_empty() {
                    break;
                }
                message.trailers.push(field(&line));
            }
        } else if let Some(length) = message.header("content-length") {
            let length = length.parse().unwrap();
            message.body = self.exactly(length).await;
        } else if response {
            message.body = self.rest().await;
        }
    }

    /// Reads one chunk; `None` for the last one, whose trailers are left.
    pub async fn chunk(&mut self) -> Option<Vec<u8>> {
        let size = self.line().await;
        let size =
            usize::from_str_radix(&size, 16).unwrap_or_else(|_| panic!("a chunk size: {size:?}"));
        if size == 0 {
            return None;
        }
        let data = self.exactly(size).await;
        assert_eq!(self.line().await, "", "a chunk ends with a line end");
        Some(data)
    }

    /// Reads one line, without its end.
    pub async fn line(&mut self) -> String {
        loop {
            if let Some(at) = find(&self.buf, b"\r\n") {
                let line = String::from_utf8_lossy(&self.buf[..at]).into_owned();
                self.buf.drain(..at + 2);
                return line;
            }
            assert!(
                self.fill().await,
                "the connection ended within a line: {:?}",
                self.arrived()
            );
        }
    }

    /// Reads so many bytes.
    pub async fn exactly(&mut self, length: usize) -> Vec<u8> {
        while self.buf.len() < length {
            assert!(
                self.fill().await,
                "the connection ended after {} of {length} bytes",
                self.buf.len()
            );
        }
        self.buf.drain(..length).collect()
    }

    /// Reads and throws away so many bytes, in constant memory.
    pub async fn swallow(&mut self, length: usize) {
        let mut left = length;
        while left > 0 {
            if self.buf.is_empty() {
                assert!(
                    self.fill().await,
                    "the connection ended {left} bytes too early"
                );
            }
            let step = left.min(self.buf.len());
            self.buf.drain(..step);
            left -= step;
        }
    }

    /// Reads to the end of the connection.
    pub async fn rest(&mut self) -> Vec<u8> {
        while self.fill().await {}
        std::mem::take(&mut self.buf)
    }

    /// Reads to the end of the connection, and says whether that was a reset.
    pub async fn ending(&mut self) -> (Vec<u8>, bool) {
        let ended = within("the end", self.io.read_to_end(&mut self.buf)).await;
        let reset = ended.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset);
        (std::mem::take(&mut self.buf), reset)
    }

    /// Waits until the other side has closed or reset the connection, and has sent nothing more.
    pub async fn closed(&mut self) {
        while self.fill().await {}
        assert!(
            self.buf.is_empty(),
            "unexpected bytes before the end: {:?}",
            self.arrived()
        );
    }

    /// What arrived and was not read yet.
    #[must_use]
    pub fn arrived(&self) -> String {
        String::from_utf8_lossy(&self.buf).into_owned()
    }

    /// Whether nothing was sent and the connection is open. Only a hint: looks once.
    pub async fn is_quiet(&mut self) -> bool {
        let mut space = [0u8; 1];
        let read = tokio::time::timeout(
            std::time::Duration::from_millis(50),
            self.io.read(&mut space),
        );
        self.buf.is_empty() && read.await.is_err()
    }

    /// Ends the sending direction.
    pub async fn finish(&mut self) {
        within("closing", self.io.shutdown()).await.unwrap();
    }

    /// Is gone from now on, as a host is that was switched off: everything that comes is dropped without an answer.
    #[cfg(target_os = "linux")]
    pub fn vanish(&self) {
        // BPF_RET with a constant: none of the packet is taken.
        let drop_all = socket2::SockFilter::new(0x06, 0, 0, 0);
        let socket = self.socket.as_ref().unwrap();
        socket.attach_filter(&[drop_all]).unwrap();
    }

    /// Closes with a reset.
    pub fn reset(self) {
        let socket = self.socket.as_ref().unwrap();
        socket.set_linger(Some(std::time::Duration::ZERO)).unwrap();
    }

    /// The stream, for clients that bring their own protocol.
    #[must_use]
    pub fn into_io(self) -> impl AsyncRead + AsyncWrite + Send + Unpin + 'static {
        assert!(self.buf.is_empty(), "bytes were read already");
        self.io
    }

    /// Whether the other side closed and everything it sent was read; waits without limit for either.
    pub(crate) async fn at_end(&mut self) -> bool {
        if !self.buf.is_empty() {
            return false;
        }
        !self
            .io
            .read_buf(&mut self.buf)
            .await
            .is_ok_and(|read| read > 0)
    }

    async fn fill(&mut self) -> bool {
        self.buf.reserve(64 * 1024);
        within("receiving", self.io.read_buf(&mut self.buf))
            .await
            .is_ok_and(|read| read > 0)
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer")
            .field("arrived", &self.arrived())
            .finish_non_exhaustive()
    }
}

fn field(line: &str) -> (String, String) {
    let (name, value) = line
        .split_once(':')
        .unwrap_or_else(|| panic!("a field line: {line:?}"));
    (name.to_owned(), value.trim().to_owned())
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}
