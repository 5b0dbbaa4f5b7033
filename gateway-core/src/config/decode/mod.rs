//! Trees into typed values, reporting every mistake in one go.
//!
//! Serde stops at the first error. [`decode`] therefore runs in rounds: a round that fails says which node is
//! wrong, that node is reported and left out, and the next round looks at the rest, until a round succeeds
//! or nothing is left. What only follows from a node that was left out is not reported. What is left then is
//! a value too ([`recover`]): later stages look for mistakes of their own in it.
//!
//! Types that serde buffers lose their places and get one message for the whole value: avoid
//! `#[serde(flatten)]`, `#[serde(untagged)]` and `#[serde(tag = ...)]` in configuration types. A struct, an
//! externally tagged enum, or a visitor with `visit_str` and `visit_map` keeps them.

mod access;
mod de;
mod rounds;

#[cfg(test)]
mod tests;

pub use rounds::{MAX_MISTAKES, decode};

pub(super) use access::EnumChoice;
pub(super) use de::{CAPTURED, LOCATED, NodeDe, Pending, take_pending};
pub(super) use rounds::{Recovered, Session, decode_hiding, recover};
