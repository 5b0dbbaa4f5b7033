//! Receiving datagrams and dealing them out to sessions.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;

use super::accept::AcceptCx;
use crate::clock::{Clock, Instant};
use crate::exchange::ConnInfo;
use crate::gateway::Telemetry;
use crate::l4::udp::{BUFFER, DatagramDrop, Session, Sessions, UdpService};
use crate::observe::AccessRecord;
use crate::spawn::spawn;

/// How often a socket that takes no new sessions looks whether the old ones are over.
const TICK: Duration = Duration::from_millis(100);
/// At most one dropped datagram in this time is logged for each reason; all are counted.
const LOG_EVERY: Duration = Duration::from_secs(1);

/// One socket of a UDP listener.
struct Receiver {
    cx: AcceptCx,
    socket: Arc<UdpSocket>,
    sessions: Arc<Sessions>,
    local: Option<SocketAddr>,
    logged: [Option<Instant>; DatagramDrop::ALL.len()],
}

/// Receives until the listener is stopped and its sessions are over.
pub(super) async fn receive(socket: UdpSocket, cx: AcceptCx) {
    let mut stopped = cx.stopped.clone();
    let mut receiver = Receiver {
        local: socket.local_addr().ok(),
        socket: Arc::new(socket),
        sessions: Arc::default(),
        logged: [None; DatagramDrop::ALL.len()],
        cx,
    };
    let mut space = vec![0; BUFFER].into_boxed_slice();
    let mut open = true;
    loop {
        tokio::select! {
            received = receiver.socket.recv_from(&mut space) => {
                // An error belongs to a datagram that was sent before.
                if let Ok((length, client)) = received {
                    receiver.take(client, &space[..length], open);
                }
            }
            _ = stopped.wait_for(|stopped| *stopped), if open => open = false,
            () = tokio::time::sleep(TICK), if !open => {}
        }
        if !open && receiver.sessions.is_empty() {
            return;
        }
    }
}

impl Receiver {
    fn take(&mut self, client: SocketAddr, datagram: &[u8], open: bool) {
        let session = match self.sessions.find(client) {
            Some(session) => Ok(session),
            None if open => self.begin(client, datagram.len()),
            None => return,
        };
        if let Err(reason) = session.and_then(|session| session.send(datagram)) {
            self.dropped(client, reason);
        }
    }

    fn begin(&mut self, client: SocketAddr, length: usize) -> Result<Arc<Session>, DatagramDrop> {
        let entry = self.cx.cell.current();
        let service = entry.layer4.as_ref().and_then(|layer4| layer4.udp.clone());
        let service = service.ok_or(DatagramDrop::NoRoute)?;
        let route = service.route.as_ref().ok_or(DatagramDrop::NoRoute)?;
        if length > route.max_datagram {
            return Err(DatagramDrop::Oversized);
        }
        let room = route.room.try_enter().ok_or(DatagramDrop::Sessions)?;
        let places = self.cx.door.enter_now(Some(client.ip()));
        let places = places.map_err(|refusal| {
            entry.telemetry.refused.count(refusal);
            DatagramDrop::Refused
        })?;
        let session = Session::open(route, client)?;
        let telemetry: Arc<Telemetry> = entry.telemetry.clone();
        let info = ConnInfo::accepted(
            self.cx.cell.name().clone(),
            Some(client),
            self.local,
            None,
            None,
        );
        let connection = self.cx.connections.enter();
        let (listener, sessions) = (self.socket.clone(), self.sessions.clone());
        let running = session.clone();
        sessions.insert(client, session.clone());
        spawn(async move {
            let handle = connection.handle.clone();
            running
                .run(client, listener, sessions, info, telemetry, service, handle)
                .await;
            drop((connection, places, room));
        });
        Ok(session)
    }

    /// Counts a datagram that was dropped, and logs some.
    fn dropped(&mut self, client: SocketAddr, reason: DatagramDrop) {
        let entry = self.cx.cell.current();
        let udp = entry
            .layer4
            .as_ref()
            .and_then(|layer4| layer4.udp.as_deref());
        if let Some(UdpService { drops, .. }) = udp {
            drops.count(reason);
        }
        let now = Clock.now();
        let last = &mut self.logged[reason as usize];
        if last.is_some_and(|last| now < last + LOG_EVERY) {
            return;
        }
        *last = Some(now);
        let telemetry = &entry.telemetry;
        let reason = reason.reason();
        tracing::debug!(listener = %telemetry.listener, %client, reason, "a datagram was dropped");
        if let Some(log) = &telemetry.access_log {
            let mut record = AccessRecord::new(Clock.wall());
            record.transport = Some("UDP");
            record.listener = &telemetry.listener;
            record.client = Some(client.ip());
            record.peer = Some(client);
            record.reason = reason;
            record.aborted = true;
            log.log(&record);
        }
    }
}
