//! Serving connections that are not HTTP.

mod copy;
mod forward;
pub(crate) mod proxy_protocol;
mod report;
mod route;
pub(crate) mod starttls;
mod table;
pub(crate) mod udp;

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use crate::config::ir::ProxyProtocol;
use crate::conn::ConnHandle;
use crate::error::BoxError;
use crate::exchange::ConnInfo;
use crate::handler::BoxFuture;
use crate::transport::Transport;

pub(crate) use forward::Stream;
pub(crate) use route::{Shares, StreamMetrics, TcpRoute};
pub(crate) use table::{Choice, Entry, Https, TcpTable, Tls};

/// What a listener does before HTTP.
#[derive(Debug, Default)]
pub(crate) struct Layer4 {
    /// Who may say on whose behalf it connects.
    pub(crate) proxy: Option<ProxyProtocol>,
    pub(crate) tcp: Option<TcpTable>,
    pub(crate) udp: Option<Arc<udp::UdpService>>,
}

/// Serves whole connections of a listener: the counterpart of [`Handler`](crate::Handler) below HTTP.
///
/// It is registered with `conn_handler` and named by a listener's `handler` key. The gateway accepts the
/// connection, agrees on TLS if the listener has it, and hands over the rest.
///
/// # Contract
/// - The future owns the connection; when it ends, the connection is closed.
/// - When [`DrainWatch::draining`] is ready, finish what is under way and end. What has not ended when the
///   drain time is over is cut.
///
/// # Cancel safety
/// The future is dropped when the gateway stops.
///
/// ```
/// use portcullis_core::handler::BoxFuture;
/// use portcullis_core::l4::{ClientConnection, ConnHandler, DrainWatch};
/// use portcullis_core::error::BoxError;
///
/// /// Sends back what it receives.
/// #[derive(Debug)]
/// struct Echo;
///
/// impl ConnHandler for Echo {
///     fn serve(&self, connection: ClientConnection, drain: DrainWatch) -> BoxFuture<'static, Result<(), BoxError>> {
///         Box::pin(async move {
///             let (mut read, mut write) = tokio::io::split(connection.transport);
///             tokio::select! {
///                 copied = tokio::io::copy(&mut read, &mut write) => copied.map(|_| ()).map_err(Into::into),
///                 () = drain.draining() => Ok(()),
///             }
///         })
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not serve connections",
    label = "this does not implement `ConnHandler`",
    note = "what serves HTTP requests implements `Handler` instead"
)]
pub trait ConnHandler: Send + Sync + fmt::Debug + 'static {
    /// Serves one connection until it ends.
    ///
    /// # Errors
    /// Why it broke; written to the log at debug level.
    fn serve(
        &self,
        connection: ClientConnection,
        drain: DrainWatch,
    ) -> BoxFuture<'static, Result<(), BoxError>>;
}

/// A connection that a client made.
#[derive(Debug)]
#[non_exhaustive]
pub struct ClientConnection {
    /// The byte stream, TLS taken off.
    pub transport: Transport,
    /// Addresses, TLS facts, and who the client proved to be.
    pub info: Arc<ConnInfo>,
}

impl ClientConnection {
    /// A connection, for tests of handlers.
    #[must_use]
    pub fn new(transport: Transport, info: Arc<ConnInfo>) -> Self {
        Self { transport, info }
    }
}

/// Tells a connection's handler when to come to an end.
#[derive(Clone, Debug, Default)]
pub struct DrainWatch(Arc<ConnHandle>);

impl DrainWatch {
    pub(crate) fn new(handle: Arc<ConnHandle>) -> Self {
        Self(handle)
    }

    /// Ready once the gateway drains. One task at a time may wait.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn draining(&self) {
        poll_fn(|task| {
            if self.0.poll_closing(task) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }
}
