//! Doors for the benches that count instructions (`bench/instructions`): no interface for users.

pub use crate::http1;
