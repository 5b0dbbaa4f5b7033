//! The end of every route: choosing an upstream and an endpoint, sending, and trying again.

mod attempt;
mod budget;
mod channel;
mod client;
mod outgoing;
mod probe;
mod replay;
mod retry;
mod settings;
mod split;

pub use client::UpstreamClient;
pub use retry::{RetryBudgetLimits, RetryOn, RetryPolicy};
pub use settings::{HashKey, HostPolicy, UpstreamSettings};
pub use split::{Backend, Split};

pub use attempt::{Announce, RouteTimeouts};
pub(crate) use attempt::{Forward, SendOnce};
pub(crate) use client::AttemptCx;
