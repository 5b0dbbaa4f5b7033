//! What must be true of every request and reply, whatever the route: hop-by-hop fields removed,
//! forwarded fields trustworthy, the path in one spelling.

mod forwarded;
mod hop;
mod late;
mod layer;
mod path;

pub use forwarded::{ForwardedPolicy, TrustedProxies};
pub use layer::{Hygiene, HygieneLayer};
pub use path::{PathError, PathPolicy, normalize};

pub(crate) use hop::{accepts_trailers, strip_request, strip_response};
pub(crate) use late::{Late, Lines, Told, enter_for_attempt, late, settle, settle_for};
pub(crate) use layer::note;
