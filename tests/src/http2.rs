//! HTTP/2 on both ends of the gateway, on the `h2` crate.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

use crate::within;

/// A client connection.
#[derive(Clone, Debug)]
pub struct H2Client {
    /// Opens streams.
    pub sender: SendRequest<Bytes>,
}

/// A response that was read to its end.
#[derive(Debug)]
pub struct H2Reply {
    /// Status and fields.
    pub head: Response<()>,
    /// The body.
    pub body: Vec<u8>,
    /// The trailers.
    pub trailers: Option<HeaderMap>,
}

impl H2Reply {
    /// The status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.head.status().as_u16()
    }

    /// A field of the head.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head
            .headers()
            .get(name)
            .map(|value| value.to_str().unwrap())
    }

    /// A trailer field.
    #[must_use]
    pub fn trailer(&self, name: &str) -> Option<&str> {
        self.trailers
            .as_ref()?
            .get(name)
            .map(|value| value.to_str().unwrap())
    }
}

impl H2Client {
    /// Connects with prior knowledge.
    pub async fn connect(address: SocketAddr) -> Self {
        Self::on(
            within("connecting", TcpStream::connect(address))
                .await
                .unwrap(),
        )
        .await
    }

    /// Speaks HTTP/2 on a stream.
    pub async fn on(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        let (sender, connection) = within("the handshake", h2::client::handshake(io))
            .await
            .unwrap();
        tokio::spawn(connection);
        Self { sender }
    }

    /// Opens a stream; the body is sent by the caller unless `end`.
    pub async fn open(
        &self,
        request: Request<()>,
        end: bool,
    ) -> (h2::client::ResponseFuture, SendStream<Bytes>) {
        let mut sender = within("room for a stream", self.sender.clone().ready())
            .await
            .unwrap();
        sender.send_request(request, end).unwrap()
    }

    /// A request with a whole body.
    pub async fn ask(&self, request: Request<&'static str>) -> H2Reply {
        self.try_ask(request).await.unwrap()
    }

    /// A request with a whole body.
    ///
    /// # Errors
    /// The stream was reset.
    pub async fn try_ask(&self, request: Request<&'static str>) -> Result<H2Reply, h2::Error> {
        let (parts, body) = request.into_parts();
        let (response, mut send) = self
            .open(Request::from_parts(parts, ()), body.is_empty())
            .await;
        if !body.is_empty() {
            send.send_data(Bytes::from_static(body.as_bytes()), true)?;
        }
        let response = within("a response", response).await?;
        Self::read(response).await
    }

    /// Reads a response to its end.
    ///
    /// # Errors
    /// The stream was reset.
    pub async fn read(response: Response<RecvStream>) -> Result<H2Reply, h2::Error> {
        let (parts, mut stream) = response.into_parts();
        let mut body = Vec::new();
        while let Some(data) = within("data", stream.data()).await {
            let data = data?;
            let _ = stream.flow_control().release_capacity(data.len());
            body.extend_from_slice(&data);
        }
        let trailers = within("trailers", stream.trailers()).await?;
        Ok(H2Reply {
            head: Response::from_parts(parts, ()),
            body,
            trailers,
        })
    }
}

/// Serves HTTP/2 with prior knowledge; `answer` is run for each stream. The counter counts connections.
pub async fn h2_upstream<F, A>(answer: F) -> (SocketAddr, Arc<AtomicUsize>)
where
    F: Fn(Request<RecvStream>, h2::server::SendResponse<Bytes>) -> A
        + Send
        + Sync
        + Clone
        + 'static,
    A: Future<Output = ()> + Send + 'static,
{
    h2_upstream_with(h2::server::Builder::new(), answer).await
}

/// The same with settings of the test's own.
pub async fn h2_upstream_with<F, A>(
    settings: h2::server::Builder,
    answer: F,
) -> (SocketAddr, Arc<AtomicUsize>)
where
    F: Fn(Request<RecvStream>, h2::server::SendResponse<Bytes>) -> A
        + Send
        + Sync
        + Clone
        + 'static,
    A: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let counter = count.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::SeqCst);
            let (answer, settings) = (answer.clone(), settings.clone());
            tokio::spawn(async move {
                let Ok(mut connection) = settings.handshake(stream).await else {
                    return;
                };
                while let Some(Ok((request, respond))) = connection.accept().await {
                    tokio::spawn(answer(request, respond));
                }
            });
        }
    });
    (address, count)
}
