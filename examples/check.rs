//! What the self-checks of all examples share: an upstream, a tiny client, a comparison.
#![allow(dead_code, reason = "not every example needs all of it")]

use std::net::SocketAddr;

use portcullis::gateway::GatewayBuilder;
use portcullis::{Gateway, GatewayHandle, StartError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(crate) type CheckResult = Result<(), Box<dyn std::error::Error>>;

/// Whether the example was started with this option.
pub(crate) fn asked_for(option: &str) -> bool {
    std::env::args().any(|argument| argument == option)
}

/// An upstream that answers every request with `text`: another gateway, whose only route replies by itself.
pub(crate) async fn upstream(text: &str) -> Result<(SocketAddr, GatewayHandle), StartError> {
    let config = format!(
        "listeners: [{{ name: web, bind: '127.0.0.1:0' }}]\n\
         routes: [{{ name: all, filters: [{{ type: respond, body: '{text}' }}] }}]\n"
    );
    let builder = Gateway::builder(portcullis::registry().build()?).yaml(config);
    start(builder).await
}

/// Starts a gateway on a free port and says where its listener `web` is.
pub(crate) async fn start(
    builder: GatewayBuilder,
) -> Result<(SocketAddr, GatewayHandle), StartError> {
    let builder = builder
        .listen("web", "127.0.0.1:0")
        .without_admin()
        .workers(1);
    let handle = builder.build()?.start().await?;
    match handle.local_addr("web") {
        Some(address) => Ok((address, handle)),
        None => Err(StartError::NoListener("web".into())),
    }
}

/// Sends a GET, with further header lines, and returns the reply's head and body as text.
pub(crate) async fn get(to: SocketAddr, path: &str, headers: &str) -> std::io::Result<String> {
    send(to, &format!("GET {path} HTTP/1.1\r\n{headers}"), "").await
}

/// Sends a request of these first lines, each ended by a line break, with this body.
pub(crate) async fn send(to: SocketAddr, head: &str, body: &str) -> std::io::Result<String> {
    let length = body.len();
    let host = if head.contains("\r\nhost: ") {
        ""
    } else {
        "host: check.example\r\n"
    };
    let request =
        format!("{head}{host}connection: close\r\ncontent-length: {length}\r\n\r\n{body}");
    let mut stream = TcpStream::connect(to).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).await?;
    Ok(String::from_utf8_lossy(&reply).into_owned())
}

/// Fails unless `part` stands in the reply.
pub(crate) fn expect(reply: &str, part: &str) -> Result<(), Wrong> {
    if reply.contains(part) {
        return Ok(());
    }
    Err(Wrong(format!("expected `{part}` in this reply:\n{reply}")))
}

/// A wrong answer. `main` prints the `Debug` form of its error, so that is the message itself.
pub(crate) struct Wrong(pub(crate) String);

impl std::fmt::Debug for Wrong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::fmt::Display for Wrong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Wrong {}
