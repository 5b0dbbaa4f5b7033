//! The end of every route: choosing an upstream and an endpoint, sending, and trying again.

mod adaptive;
mod affinity;
mod attempt;
mod budget;
mod channel;
mod client;
mod cookie;
mod hedge;
mod mirror;
mod outgoing;
mod probe;
mod race;
mod replay;
mod retry;
mod settings;
mod split;
mod stream;

pub use adaptive::AdaptiveLimit;
pub use affinity::Sticky;
pub use client::UpstreamClient;
pub use cookie::{CookieSpec, SameSite};
pub use hedge::{HedgeAfter, HedgePolicy};
pub use retry::{RetryBudgetLimits, RetryOn, RetryPolicy};
pub use settings::{HashKey, HostPolicy, UpstreamSettings};
pub use split::{Backend, Split};

pub use attempt::{Announce, RouteTimeouts};

pub(crate) use affinity::Marks;
pub(crate) use attempt::{Forward, SendOnce};
pub(crate) use client::AttemptCx;
pub(crate) use mirror::Mirror;
pub(crate) use stream::StreamError;
