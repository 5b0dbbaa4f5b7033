//! What the fuzz targets check: one function for each, which takes any bytes and panics when a promise is broken.
//!
//! | target | what the bytes are | promises |
//! |---|---|---|
//! | [`head`] | what a client or an upstream sends | heads and bodies mean the same however they are cut into reads, what is accepted is unambiguous, and comes back when it is written again |
//! | [`detect`] | the first bytes of a connection, an authority, forwarded fields | answers come at once and do not change with more bytes; nobody forges who they are |
//! | [`rules`] | routes and requests as text, or a rule as a tree | the index finds what a search through all routes finds; rules mean what they say; paths have one spelling |
//! | [`config`] | a configuration | reading ends, every mistake has a place, what is written reads back |

mod config;
mod cut;
mod detect;
mod head;
mod rules;
mod script;

pub use config::config;
pub use detect::detect;
pub use head::head;
pub use rules::rules;
