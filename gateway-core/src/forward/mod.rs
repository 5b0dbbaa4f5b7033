//! The end of every route: choosing an upstream and an endpoint, sending, and trying again.

mod attempt;
mod budget;
mod client;
mod outgoing;
mod probe;
mod replay;
mod retry;
mod settings;
mod split;

pub use client::UpstreamClient;
pub use settings::{HashKey, HostPolicy, UpstreamSettings};
pub(crate) use budget::RetryBudget;
pub use retry::{RetryBudgetLimits, RetryOn, RetryPolicy};
pub use split::{Backend, Split};

pub(crate) use attempt::{Forward, SendOnce};
pub(crate) use client::{AttemptCx, AttemptFailure};
pub use attempt::RouteTimeouts;
