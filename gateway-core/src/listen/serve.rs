//! From an accepted socket to served requests.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::BytesMut;
use rustls::ProtocolVersion;

use super::detect::{Spoken, detect};
use super::rewind::Rewind;
use crate::clock::Clock;
use crate::conn::ConnCx;
use crate::error::chain;
use crate::exchange::{ConnInfo, TlsInfo};
use crate::gateway::{Connections, ListenerCell};
use crate::l4::{ClientConnection, ConnHandler, DrainWatch};
use crate::observe::Event;
use crate::observe::event::TlsOutcome;
use crate::proto::{h1, h2};
use crate::settings::Protocol;
use crate::tls::{HandshakeFailure, ServerTls, peer_identity};
use crate::transport::Transport;

/// One accepted connection.
pub(super) struct Accepted {
    pub(super) io: Transport,
    pub(super) peer: Option<SocketAddr>,
    pub(super) local: Option<SocketAddr>,
}

/// Serves a connection until it ends.
pub(super) async fn serve(
    accepted: Accepted,
    listener: Arc<ListenerCell>,
    connections: Arc<Connections>,
) {
    let place = connections.enter();
    let entry = listener.current();
    let telemetry = entry.telemetry.clone();
    telemetry.connections.inc();
    let began = Clock.now();
    let peer = accepted.peer;
    if !telemetry.observers.is_empty() {
        telemetry.observers.emit(&Event::ConnectionAccepted {
            listener: listener.name(),
            peer,
        });
    }
    let (tls, other) = (entry.tls.clone(), entry.handler.clone());
    // The entry must not be pinned for as long as the connection lives.
    drop(entry);
    match (tls, other) {
        (Some(tls), other) => {
            serve_tls(accepted, tls, listener.clone(), &place.handle, other).await
        }
        (None, Some(other)) => {
            let info = plain_info(&accepted, &listener);
            serve_other(&*other, accepted.io, info, &place.handle).await;
        }
        (None, None) => serve_plain(accepted, listener.clone(), &place.handle).await,
    }
    if !telemetry.observers.is_empty() {
        telemetry.observers.emit(&Event::ConnectionClosed {
            listener: listener.name(),
            peer,
            duration: Clock.since(began),
        });
    }
}

type Handle = Arc<crate::conn::ConnHandle>;

fn plain_info(accepted: &Accepted, listener: &ListenerCell) -> ConnInfo {
    ConnInfo::accepted(
        listener.name().clone(),
        accepted.peer,
        accepted.local,
        None,
        None,
    )
}

/// Hands a connection to a handler that is not HTTP's.
async fn serve_other(other: &dyn ConnHandler, io: Transport, info: ConnInfo, handle: &Handle) {
    let listener = info.listener.clone();
    let connection = ClientConnection::new(io, Arc::new(info));
    if let Err(error) = other
        .serve(connection, DrainWatch::new(handle.clone()))
        .await
    {
        tracing::debug!(%listener, error = chain(&*error), "a connection broke");
    }
}

async fn serve_plain(mut accepted: Accepted, listener: Arc<ListenerCell>, handle: &Handle) {
    let info = plain_info(&accepted, &listener);
    let cx = ConnCx::new(Arc::new(info), listener, handle.clone());
    let limit = cx.settings().timeouts.detect;
    let spoken = match cx.settings().protocol {
        Protocol::Http1 => Spoken::Http1(BytesMut::new()),
        Protocol::Http2 => Spoken::Http2(BytesMut::new()),
        Protocol::Auto => match tokio::time::timeout(limit, detect(&mut accepted.io, handle)).await
        {
            Ok(Ok(spoken)) => spoken,
            Ok(Err(_)) | Err(_) => return,
        },
    };
    match spoken {
        Spoken::Nothing => {}
        Spoken::Http1(first) => {
            h1::serve(accepted.io, first, &cx).await;
        }
        Spoken::Http2(first) if first.is_empty() => {
            Box::pin(h2::serve(accepted.io, Arc::new(cx))).await
        }
        Spoken::Http2(first) => {
            let io = Transport::new(Rewind::new(first, accepted.io));
            Box::pin(h2::serve(io, Arc::new(cx))).await;
        }
    }
}

async fn serve_tls(
    accepted: Accepted,
    tls: Arc<ServerTls>,
    listener: Arc<ListenerCell>,
    handle: &Handle,
    other: Option<Arc<dyn ConnHandler>>,
) {
    let entry = listener.current();
    let limit = entry.settings.timeouts.detect;
    let telemetry = entry.telemetry.clone();
    drop(entry);
    let failed = |reason: &str| {
        telemetry.handshakes_failed.inc();
        tracing::debug!(listener = %listener.name(), reason, "a tls handshake failed");
        telemetry.observers.emit(&Event::TlsHandshake {
            listener: listener.name(),
            peer: accepted.peer,
            sni: None,
            outcome: TlsOutcome::Failed(reason),
        });
    };
    let stream =
        match tokio::time::timeout(limit, Box::pin(tls.acceptor().accept(accepted.io))).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return failed(HandshakeFailure::from_io(&error).kind().code()),
            Err(_) => return failed("timeout"),
        };
    let session = stream.get_ref().1;
    let principal = match peer_identity(session, Clock.wall()) {
        Ok(identity) => identity.map(|identity| identity.principal),
        // A certificate whose identity cannot be told must not pass for none.
        Err(error) => return failed(&error.to_string()),
    };
    let http2 = session.alpn_protocol() == Some(b"h2");
    let facts = TlsInfo {
        server_name: session.server_name().map(Into::into),
        version: match session.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
            _ => "TLSv1.2",
        },
        alpn: session
            .alpn_protocol()
            .map(|name| String::from_utf8_lossy(name).into()),
    };
    telemetry.observers.emit(&Event::TlsHandshake {
        listener: listener.name(),
        peer: accepted.peer,
        sni: facts.server_name.as_deref(),
        outcome: TlsOutcome::Established(facts.version),
    });
    let info = ConnInfo::accepted(
        listener.name().clone(),
        accepted.peer,
        accepted.local,
        Some(Arc::new(facts)),
        principal,
    );
    let io = Transport::tls_server(stream);
    if let Some(other) = other {
        return serve_other(&*other, io, info, handle).await;
    }
    let cx = ConnCx::new(Arc::new(info), listener, handle.clone());
    if http2 {
        Box::pin(h2::serve(io, Arc::new(cx))).await;
    } else {
        h1::serve(io, BytesMut::new(), &cx).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::future_sizes::{assert_within, of};

    type Http1 = (Transport, BytesMut, &'static ConnCx);

    #[test]
    fn connection_futures_stay_within_their_budgets() {
        assert_within(&[
            (
                "connection",
                of(|(accepted, cell, open)| serve(accepted, cell, open)),
                4608,
            ),
            (
                "connection in HTTP/1",
                of(|(io, first, cx): Http1| h1::serve(io, first, cx)),
                2304,
            ),
            // In a box of its own, so that HTTP/1 connections do not pay for it.
            (
                "connection in HTTP/2",
                of(|(io, cx)| h2::serve(io, cx)),
                8704,
            ),
        ]);
    }
}
