//! From an accepted socket to served requests.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::BytesMut;
use rustls::ProtocolVersion;

use super::accept::AcceptCx;
use super::detect::{Spoken, detect};
use super::layer4;
use crate::clock::{Clock, Instant};
use crate::conn::ConnCx;
use crate::error::chain;
use crate::exchange::{ConnInfo, TlsInfo};
use crate::gateway::{ListenerCell, Telemetry};
use crate::l4::{ClientConnection, ConnHandler, DrainWatch, Stream};
use crate::observe::Event;
use crate::observe::event::TlsOutcome;
use crate::principal::Principal;
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
pub(super) async fn serve(accepted: Accepted, cx: &AcceptCx) {
    let listener = &cx.cell;
    let place = cx.connections.enter();
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
    let layer4 = entry.layer4.clone();
    // Its place among those of the client's address, where a proxy told that.
    let mut visit = None;
    // The entry must not be pinned for as long as the connection lives.
    drop(entry);
    // Each phase has a box of its own: a connection that serves does not hold the room that its handshake took,
    // and an idle one is small.
    let greeted = match (layer4, tls) {
        (Some(layer4), tls) => {
            let greeting = layer4::greet(
                accepted,
                layer4,
                tls,
                listener,
                &place.handle,
                other,
                &cx.door,
                &mut visit,
            );
            Box::pin(greeting).await
        }
        (None, Some(tls)) => {
            let greeting = greet_tls(accepted, tls, listener, &place.handle, other);
            Box::pin(greeting).await
        }
        (None, None) => {
            let greeting = greet_plain(accepted, BytesMut::new(), listener, &place.handle, other);
            Box::pin(greeting).await
        }
    };
    match greeted {
        Greeted::Nothing => {}
        Greeted::Http1(io, first, cx) => {
            Box::pin(h1::serve(io, first, &cx)).await;
        }
        Greeted::Http2(io, cx) => Box::pin(h2::serve(io, cx)).await,
        Greeted::Other(io, info, other) => {
            Box::pin(serve_other(&*other, io, info, &place.handle)).await;
        }
        Greeted::Stream(stream) => Box::pin(stream.serve(&telemetry)).await,
    }
    if !telemetry.observers.is_empty() {
        telemetry.observers.emit(&Event::ConnectionClosed {
            listener: listener.name(),
            peer,
            duration: Clock.since(began),
        });
    }
}

pub(super) type Handle = Arc<crate::conn::ConnHandle>;

/// What a connection turned out to speak.
pub(super) enum Greeted {
    /// It closed, failed, or said nothing in time.
    Nothing,
    Http1(Transport, BytesMut, Box<ConnCx>),
    Http2(Transport, Arc<ConnCx>),
    Other(Transport, ConnInfo, Arc<dyn ConnHandler>),
    /// It belongs to a TCP route.
    Stream(Box<Stream>),
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

/// `seen` was read of it already.
pub(super) async fn greet_plain(
    mut accepted: Accepted,
    mut seen: BytesMut,
    listener: &Arc<ListenerCell>,
    handle: &Handle,
    other: Option<Arc<dyn ConnHandler>>,
) -> Greeted {
    let info = ConnInfo::accepted(
        listener.name().clone(),
        accepted.peer,
        accepted.local,
        None,
        None,
    );
    if let Some(other) = other {
        return Greeted::Other(Transport::rewound(seen, accepted.io), info, other);
    }
    let cx = ConnCx::new(Arc::new(info), listener.clone(), handle.clone());
    let limit = cx.settings().timeouts.detect;
    let spoken = match cx.settings().protocol {
        Protocol::Http1 => Spoken::Http1(seen),
        Protocol::Http2 => Spoken::Http2(seen),
        Protocol::Auto => {
            let detecting = detect(&mut accepted.io, handle, &mut seen);
            match tokio::time::timeout(limit, detecting).await {
                Ok(Ok(spoken)) => spoken,
                Ok(Err(_)) => return Greeted::Nothing,
                // It may be the beginning of a method, for which HTTP/1 has a deadline and an answer.
                Err(_) if (1..=3).contains(&seen.len()) => Spoken::Http1(seen),
                Err(_) => return Greeted::Nothing,
            }
        }
    };
    match spoken {
        Spoken::Nothing => Greeted::Nothing,
        Spoken::Http1(first) => Greeted::Http1(accepted.io, first, Box::new(cx)),
        Spoken::Http2(first) => {
            Greeted::Http2(Transport::rewound(first, accepted.io), Arc::new(cx))
        }
    }
}

pub(super) async fn greet_tls(
    accepted: Accepted,
    tls: Arc<ServerTls>,
    listener: &Arc<ListenerCell>,
    handle: &Handle,
    other: Option<Arc<dyn ConnHandler>>,
) -> Greeted {
    let entry = listener.current();
    let until = Clock.now() + entry.settings.timeouts.detect;
    let telemetry = entry.telemetry.clone();
    drop(entry);
    let (peer, local) = (accepted.peer, accepted.local);
    let done = handshake(accepted, &tls, listener, &telemetry, until).await;
    let Some((io, facts, principal)) = done else {
        return Greeted::Nothing;
    };
    let http2 = facts.alpn.as_deref() == Some("h2");
    let facts = Some(Arc::new(facts));
    let info = ConnInfo::accepted(listener.name().clone(), peer, local, facts, principal);
    if let Some(other) = other {
        return Greeted::Other(io, info, other);
    }
    let cx = ConnCx::new(Arc::new(info), listener.clone(), handle.clone());
    if http2 {
        Greeted::Http2(io, Arc::new(cx))
    } else {
        Greeted::Http1(io, BytesMut::new(), Box::new(cx))
    }
}

/// Agrees on TLS with a client until then; a failure is counted and told.
pub(super) async fn handshake(
    accepted: Accepted,
    tls: &ServerTls,
    listener: &Arc<ListenerCell>,
    telemetry: &Telemetry,
    until: Instant,
) -> Option<(Transport, TlsInfo, Option<Principal>)> {
    let failed = |reason: &str| {
        telemetry.handshakes_failed.inc();
        tracing::debug!(listener = %listener.name(), reason, "a tls handshake failed");
        telemetry.observers.emit(&Event::TlsHandshake {
            listener: listener.name(),
            peer: accepted.peer,
            sni: None,
            outcome: TlsOutcome::Failed(reason),
        });
        None
    };
    let stream = match tokio::time::timeout_at(until, tls.acceptor().accept(accepted.io)).await {
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
    Some((Transport::tls_server(stream), facts, principal))
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
                of(|(accepted, cx): (Accepted, &'static AcceptCx)| serve(accepted, cx)),
                576,
            ),
            (
                "connection in HTTP/1",
                of(|(io, first, cx): Http1| h1::serve(io, first, cx)),
                1184,
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
