//! Sockets and what is refused at the door, as they are written.

use std::{num::NonZeroU32, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{config::units::TimeSpan, socket::TcpKeepalive};

/// What becomes of a connection that is one too many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum WhenFull {
    /// It waits until another one is closed, those behind it in the queue of the system.
    #[default]
    Wait,
    /// It is answered with 503 and closed; with TLS it is just closed.
    Refuse,
}

/// How the system finds out that the other end of a TCP connection is gone without a word: its host was switched
/// off, or a firewall forgot the connection.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "TcpKeepalive")]
#[non_exhaustive]
pub struct RawTcpKeepalive {
    /// Silence after which the first probe is sent. `0s`: no probes. Default: `60s`.
    pub idle: TimeSpan,
    /// Time between two probes. Default: `15s`.
    pub interval: TimeSpan,
    /// Probes without an answer after which the connection is broken. Default: 4.
    pub probes: NonZeroU32,
    /// How long data that was sent may stay without acknowledgement, or without room at the other end (`TCP_USER_TIMEOUT`,
    /// Linux only), and then also how long probes may stay without an answer. `0s`: as long as the system likes, often a
    /// quarter of an hour. Default: for clients as long as all probes take, unless `write_idle` is longer; then, and
    /// for endpoints, `0s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_timeout: Option<TimeSpan>,
}

impl Default for RawTcpKeepalive {
    fn default() -> Self {
        let TcpKeepalive {
            idle,
            interval,
            probes,
            ..
        } = TcpKeepalive::default();
        Self {
            idle: idle.unwrap_or(Duration::ZERO).into(),
            interval: interval.into(),
            probes: NonZeroU32::new(probes).unwrap_or(NonZeroU32::MIN),
            user_timeout: None,
        }
    }
}
