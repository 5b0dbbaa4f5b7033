//! The HTTP/2 connections of one worker to one endpoint.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use crate::clock::Instant;
use crate::proto::h2::Sender;

/// Connections that are multiplexed; nearly always one.
#[derive(Debug, Default)]
pub(crate) struct Http2Slot {
    senders: Vec<Kept>,
    /// HTTP/2 was spoken before, so it is worth waiting for a connection that is being made.
    spoken: bool,
    connecting: Arc<Mutex<()>>,
}

#[derive(Debug)]
struct Kept {
    sender: Sender,
    /// How often it had been used when that was last looked at, and since when that has not changed.
    seen: usize,
    since: Instant,
}

impl Http2Slot {
    /// A connection with room for another stream, if there is one.
    pub(crate) fn sender(&mut self) -> Option<Sender> {
        self.senders.retain(|kept| kept.sender.is_open());
        let with_room = self.senders.iter().find(|kept| kept.sender.has_room());
        with_room.map(|kept| kept.sender.clone())
    }

    /// Of the connections on which the endpoint permits another stream, the one with the fewest.
    pub(crate) fn least_used(&mut self) -> Option<Sender> {
        self.senders.retain(|kept| kept.sender.is_open());
        let open = self.senders.iter().filter(|kept| kept.sender.takes_more());
        let least = open.min_by_key(|kept| kept.sender.streams());
        least.map(|kept| kept.sender.clone())
    }

    /// Streams that the endpoint permits on one connection, if there is one that tells.
    pub(crate) fn limit(&self) -> Option<usize> {
        self.senders.iter().map(|kept| kept.sender.limit()).min()
    }

    /// Keeps a connection for further requests.
    pub(crate) fn keep(&mut self, sender: Sender, now: Instant) {
        self.spoken = true;
        self.senders.push(Kept {
            seen: sender.opened(),
            since: now,
            sender,
        });
    }

    /// Whether the endpoint has spoken HTTP/2 before.
    pub(crate) fn is_spoken(&self) -> bool {
        self.spoken
    }

    /// Held by the request that makes a connection, so that a burst of them makes one.
    pub(crate) fn connecting(&self) -> Arc<Mutex<()>> {
        self.connecting.clone()
    }

    /// Takes out connections that broke or that nobody has used for `idle`.
    pub(crate) fn reap(&mut self, now: Instant, idle: Duration) -> Vec<Sender> {
        let taken = self.senders.extract_if(.., |kept| {
            let opened = kept.sender.opened();
            if opened != kept.seen || kept.sender.streams() > 0 {
                kept.seen = opened;
                kept.since = now;
            }
            !kept.sender.is_open() || now.saturating_duration_since(kept.since) >= idle
        });
        taken.map(|kept| kept.sender).collect()
    }
}
