//! The HTTP/2 connections of one worker to one endpoint.

use crate::proto::h2::Sender;

/// Connections that are multiplexed; nearly always one.
#[derive(Debug, Default)]
pub(crate) struct Http2Slot {
    senders: Vec<Sender>,
}

impl Http2Slot {
    /// A connection with room for another stream, if there is one.
    pub(crate) fn sender(&mut self) -> Option<Sender> {
        self.senders.retain(Sender::is_open);
        self.senders.iter().find(|sender| sender.has_room()).cloned()
    }

    /// Keeps a connection for further requests.
    pub(crate) fn keep(&mut self, sender: Sender) {
        self.senders.push(sender);
    }
}
