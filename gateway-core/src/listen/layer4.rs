//! What comes before HTTP on listeners that have it: the PROXY protocol, and TCP routes.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};

use super::door::Door;
use super::serve::{Accepted, Greeted, Handle, greet_plain, greet_tls, handshake};
use crate::clock::{Clock, Instant};
use crate::exchange::ConnInfo;
use crate::gateway::{Dropped, ListenerCell, Telemetry, Visit};
use crate::l4::ConnHandler;
use crate::l4::proxy_protocol::{self, Told};
use crate::l4::starttls::{self, Asked};
use crate::l4::{Choice, Entry, Layer4, Stream, TcpTable, Tls};
use crate::observe::{AccessRecord, Event};
use crate::tls::ServerTls;
use crate::tls::client_hello::{ClientHello, Inspection, MAX_PEEK, inspect};
use crate::transport::Transport;

/// How much one read asks for while a connection is looked at.
const READ: usize = 4096;

/// A connection that is still looked at.
struct Greeting<'g> {
    accepted: Accepted,
    /// What was read of it and not used up.
    seen: BytesMut,
    until: Instant,
    handle: &'g Handle,
}

/// Why a look at a connection ended without a result.
enum Stop {
    Dropped(Dropped),
    /// It ended, or the gateway does, before it said anything.
    Quiet,
}

/// What reading came to.
enum Read {
    More,
    Ended,
    Late,
}

/// What the first bytes mean for the choice of a route.
enum Spoken {
    /// No TLS; with nothing seen, nothing was said in time.
    Plain,
    Tls(ClientHello, bool),
}

/// Greets a connection of a listener with TCP routes or the PROXY protocol.
#[expect(
    clippy::too_many_arguments,
    reason = "the parts of one listener's entry"
)]
pub(super) async fn greet(
    accepted: Accepted,
    layer4: Arc<Layer4>,
    tls: Option<Arc<ServerTls>>,
    listener: &Arc<ListenerCell>,
    handle: &Handle,
    other: Option<Arc<dyn ConnHandler>>,
    door: &Door,
    visit: &mut Option<Box<Visit>>,
) -> Greeted {
    let entry = listener.current();
    let telemetry = entry.telemetry.clone();
    let until = Clock.now() + entry.settings.timeouts.detect;
    drop(entry);
    let mut greeting = Greeting {
        accepted,
        seen: BytesMut::new(),
        until,
        handle,
    };
    let chosen = match greeting.be_told(&layer4, door, visit).await {
        Ok(()) => match &layer4.tcp {
            Some(table) => greeting.choose(table).await,
            None => Ok(Chosen::Http),
        },
        Err(stop) => Err(stop),
    };
    match chosen {
        Ok(Chosen::Http) => {
            let Greeting { accepted, seen, .. } = greeting;
            match tls {
                Some(tls) => {
                    let accepted = Accepted {
                        io: Transport::rewound(seen, accepted.io),
                        ..accepted
                    };
                    greet_tls(accepted, tls, listener, handle, other).await
                }
                None => greet_plain(accepted, seen, listener, handle, other).await,
            }
        }
        Ok(Chosen::Tcp(entry, hello, asked)) => {
            greeting
                .enter(entry, hello, asked, listener, &telemetry)
                .await
        }
        Err(Stop::Quiet) => Greeted::Nothing,
        Err(Stop::Dropped(reason)) => {
            drop_connection(&greeting.accepted, reason, &telemetry);
            Greeted::Nothing
        }
    }
}

enum Chosen<'t> {
    Http,
    Tcp(&'t Entry, Option<ClientHello>, bool),
}

impl Greeting<'_> {
    /// Finds out on whose behalf the peer connects.
    async fn be_told(
        &mut self,
        layer4: &Layer4,
        door: &Door,
        visit: &mut Option<Box<Visit>>,
    ) -> Result<(), Stop> {
        let Some(policy) = &layer4.proxy else {
            return Ok(());
        };
        // Who may open a Unix socket is what its file says.
        let peer = self.accepted.peer.map(|peer| peer.ip());
        let trusted = peer.is_none_or(|peer| policy.trusted.contains(peer));
        if policy.required && !trusted {
            return Err(Stop::Dropped(Dropped::ProxyUntrusted));
        }
        let told = loop {
            let told = proxy_protocol::read(&self.seen);
            if told != Told::Partial {
                break told;
            }
            match self.read_more().await? {
                Read::More => {}
                Read::Ended if self.seen.is_empty() => return Err(Stop::Quiet),
                Read::Ended => break Told::Absent,
                Read::Late if self.seen.is_empty() && !policy.required => break Told::Absent,
                Read::Late => return Err(Stop::Dropped(Dropped::Timeout)),
            }
        };
        match told {
            Told::Absent | Told::Partial if policy.required => {
                Err(Stop::Dropped(Dropped::ProxyMissing))
            }
            Told::Absent | Told::Partial => Ok(()),
            Told::Header(..) | Told::Malformed if !trusted => {
                Err(Stop::Dropped(Dropped::ProxyUntrusted))
            }
            Told::Malformed => Err(Stop::Dropped(Dropped::ProxyMalformed)),
            Told::Header(length, addresses) => {
                self.seen.advance(length);
                if let Some(addresses) = addresses {
                    self.accepted.peer = Some(addresses.source);
                    self.accepted.local = Some(addresses.destination);
                    let Some(place) = door.greet_told(addresses.source.ip()) else {
                        return Err(Stop::Dropped(Dropped::PerAddress));
                    };
                    *visit = Some(Box::new(place));
                }
                Ok(())
            }
        }
    }

    /// Chooses what serves it.
    async fn choose<'t>(&mut self, table: &'t TcpTable) -> Result<Chosen<'t>, Stop> {
        let (peer, local) = (self.accepted.peer, self.accepted.local);
        let spoken = if table.waits() {
            self.listen(table.has_starttls()).await?
        } else {
            Spoken::Plain
        };
        let silent = table.waits() && self.seen.is_empty();
        let (choice, hello, asked) = match spoken {
            Spoken::Plain => (table.plain(peer, local), None, false),
            Spoken::Tls(hello, asked) => {
                (table.tls(&hello, peer, local, asked), Some(hello), asked)
            }
        };
        match choice {
            Choice::Tcp(entry) => Ok(Chosen::Tcp(entry, hello, asked)),
            _ if silent => Err(Stop::Dropped(Dropped::Timeout)),
            Choice::Http => Ok(Chosen::Http),
            Choice::Nothing => Err(Stop::Dropped(Dropped::NoRoute)),
        }
    }

    /// Reads until it is clear whether the client speaks TLS, and for whom.
    async fn listen(&mut self, starttls: bool) -> Result<Spoken, Stop> {
        let mut asked = false;
        loop {
            if starttls && !asked {
                match starttls::read(&self.seen) {
                    Asked::Other | Asked::Partial => {}
                    Asked::Early => return Err(Stop::Dropped(Dropped::StartTls)),
                    Asked::Gss => self.answer(starttls::NO).await?,
                    Asked::Tls => {
                        self.answer(starttls::YES).await?;
                        asked = true;
                    }
                }
            }
            if !begins_like_tls(&self.seen) {
                if asked {
                    return Err(Stop::Dropped(Dropped::ClientHello));
                }
                if !starttls || starttls::read(&self.seen) != Asked::Partial {
                    return Ok(Spoken::Plain);
                }
            }
            match inspect(&self.seen) {
                Inspection::Hello(hello) => return Ok(Spoken::Tls(hello, asked)),
                Inspection::NotTls if self.seen.len() >= 3 && begins_like_tls(&self.seen) => {
                    return Err(Stop::Dropped(Dropped::ClientHello));
                }
                _ if self.seen.len() >= MAX_PEEK => {
                    return Err(Stop::Dropped(Dropped::ClientHello));
                }
                _ => {}
            }
            match self.read_more().await? {
                Read::More => {}
                Read::Ended if self.seen.is_empty() => return Err(Stop::Quiet),
                Read::Ended if asked || self.seen.len() >= 3 => {
                    return Err(Stop::Dropped(Dropped::ClientHello));
                }
                Read::Ended => return Ok(Spoken::Plain),
                // The server may be the one to speak first.
                Read::Late if self.seen.is_empty() && !asked => return Ok(Spoken::Plain),
                Read::Late => return Err(Stop::Dropped(Dropped::Timeout)),
            }
        }
    }

    /// Answers what was seen, which is used up by that.
    async fn answer(&mut self, answer: &[u8]) -> Result<(), Stop> {
        self.seen.clear();
        let written = self.accepted.io.write_all(answer).await;
        written.map_err(|_| Stop::Quiet)
    }

    async fn read_more(&mut self) -> Result<Read, Stop> {
        let reading = read(&mut self.accepted.io, self.handle, &mut self.seen);
        match tokio::time::timeout_at(self.until, reading).await {
            Ok(Ok(Some(0))) => Ok(Read::Ended),
            Ok(Ok(Some(_))) => Ok(Read::More),
            Ok(Ok(None) | Err(_)) => Err(Stop::Quiet),
            Err(_) => Ok(Read::Late),
        }
    }

    /// Makes it a connection of a TCP route.
    async fn enter(
        self,
        entry: &Entry,
        hello: Option<ClientHello>,
        asked: bool,
        listener: &Arc<ListenerCell>,
        telemetry: &Telemetry,
    ) -> Greeted {
        let (peer, local) = (self.accepted.peer, self.accepted.local);
        let route = entry.route.clone();
        let (io, first, facts, principal) = match &entry.tls {
            Tls::Terminate(tls) => {
                let accepted = Accepted {
                    io: Transport::rewound(self.seen, self.accepted.io),
                    ..self.accepted
                };
                let done = handshake(accepted, tls, listener, telemetry, self.until).await;
                let Some((io, facts, principal)) = done else {
                    return Greeted::Nothing;
                };
                (io, BytesMut::new(), Some(Arc::new(facts)), principal)
            }
            Tls::None | Tls::Passthrough => (self.accepted.io, self.seen, None, None),
        };
        let info = ConnInfo::accepted(listener.name().clone(), peer, local, facts, principal);
        Greeted::Stream(Box::new(Stream {
            io,
            first,
            info: Arc::new(info),
            sni: hello.and_then(|hello| hello.sni),
            route,
            asks_for_tls: asked && matches!(entry.tls, Tls::Passthrough),
        }))
    }
}

/// Whether these may be the first bytes of a TLS handshake: all that is there of a record's type and version fits.
fn begins_like_tls(seen: &[u8]) -> bool {
    match seen {
        [] | [22] | [22, 3] => true,
        [22, 3, minor, ..] => *minor <= 4,
        _ => false,
    }
}

/// Reads into `seen` once; how many bytes, or `None` when the gateway closes and nothing was said.
async fn read(
    io: &mut Transport,
    handle: &Handle,
    seen: &mut BytesMut,
) -> io::Result<Option<usize>> {
    poll_fn(|task| {
        let mut space = [const { MaybeUninit::<u8>::uninit() }; READ];
        let mut read = ReadBuf::uninit(&mut space);
        match Pin::new(&mut *io).poll_read(task, &mut read) {
            Poll::Pending if seen.is_empty() && handle.poll_closing(task) => Poll::Ready(Ok(None)),
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) => {
                seen.extend_from_slice(read.filled());
                Poll::Ready(Ok(Some(read.filled().len())))
            }
        }
    })
    .await
}

/// Counts and reports a connection that is closed for what it sent, or did not send.
fn drop_connection(accepted: &Accepted, reason: Dropped, telemetry: &Telemetry) {
    let (listener, peer) = (&*telemetry.listener, accepted.peer);
    telemetry.dropped.count(reason);
    let reason = reason.reason();
    tracing::debug!(listener, peer = ?peer, reason, "a connection was dropped");
    if let Some(log) = &telemetry.access_log {
        let mut record = AccessRecord::new(Clock.wall());
        record.transport = Some("TCP");
        record.listener = listener;
        record.client = peer.map(|peer| peer.ip());
        record.peer = peer;
        record.reason = reason;
        record.aborted = true;
        log.log(&record);
    }
    telemetry.observers.emit(&Event::ConnectionRefused {
        listener,
        peer,
        reason,
    });
}
