//! Upstreams that follow a script.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::TcpListener;

use crate::{Message, Peer, within};

/// A listening socket whose connections the test takes one by one.
#[derive(Debug)]
pub struct Upstream {
    listener: TcpListener,
}

impl Upstream {
    /// Listens on a free port of the loopback address.
    pub async fn bind() -> Self {
        Self {
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// Takes the next connection.
    pub async fn accept(&self) -> Peer {
        let (stream, _) = within("a connection from the gateway", self.listener.accept())
            .await
            .unwrap();
        Peer::tcp(stream)
    }

    /// Takes the next connection, and says where it came from.
    pub async fn accept_from(&self) -> (Peer, SocketAddr) {
        let (stream, from) = within("a connection from the gateway", self.listener.accept())
            .await
            .unwrap();
        (Peer::tcp(stream), from)
    }

    /// Answers every request with what `answer` says, on as many connections as there are, until the test
    /// ends. The counter says how many connections there were.
    pub async fn answering<F, A>(answer: F) -> (SocketAddr, Arc<AtomicUsize>)
    where
        F: Fn(Message) -> A + Send + Sync + 'static,
        A: AsRef<[u8]> + Send + Sync,
    {
        let upstream = Self::bind().await;
        let address = upstream.addr();
        let count = Arc::new(AtomicUsize::new(0));
        let answer = Arc::new(answer);
        let counter = count.clone();
        tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = upstream.listener.accept().await else {
                    return;
                };
                counter.fetch_add(1, Ordering::SeqCst);
                let answer = answer.clone();
                tokio::spawn(async move {
                    let mut peer = Peer::tcp(stream);
                    while let Some(request) = peer.next_request().await {
                        if peer.try_send(answer(request)).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        (address, count)
    }

    /// Answers every request with these bytes.
    pub async fn fixed(answer: &'static str) -> SocketAddr {
        Self::answering(move |_| answer).await.0
    }

    /// Answers every request with its own line and headers as text, and its body behind an empty line.
    pub async fn mirror() -> SocketAddr {
        Self::answering(|request| mirrored(&request)).await.0
    }

    /// Runs `script` on the next connection, beside the test.
    pub fn script<F, S>(self, script: F) -> tokio::task::JoinHandle<S::Output>
    where
        F: FnOnce(Peer) -> S + Send + 'static,
        S: Future + Send + 'static,
        S::Output: Send,
    {
        tokio::spawn(async move { script(self.accept().await).await })
    }
}

fn mirrored(request: &Message) -> Vec<u8> {
    let mut text = format!("{}\n", request.line);
    for (name, value) in &request.headers {
        text.push_str(&format!("{}: {value}\n", name.to_ascii_lowercase()));
    }
    text.push('\n');
    let mut body = text.into_bytes();
    body.extend_from_slice(&request.body);
    let mut reply =
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len()).into_bytes();
    if !request.line.starts_with("HEAD ") {
        reply.extend_from_slice(&body);
    }
    reply
}

impl Peer {
    /// The next request, or `None` when the other side closes between two.
    pub async fn next_request(&mut self) -> Option<Message> {
        if self.at_end().await {
            None
        } else {
            Some(self.request().await)
        }
    }
}

/// A port of the loopback address on which nobody listens.
pub fn free_port() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}
