//! The access log: one line for every request, also for those that were cut off.
//!
//! The worker formats the line into a buffer of its own and goes on; a thread of the log's own writes
//! whole buffers. A buffer is handed over when it holds 32 KiB or when the writer asks for it, five
//! times a second. When the destination does not keep up, buffers are dropped and their lines counted in
//! `portcullis_access_log_dropped_total`; a request never waits for the log.
//!
//! # JSON
//!
//! One object per line. Fields that are not known are left out; durations are seconds.
//!
//! | field | |
//! |---|---|
//! | `time` | when the request began, RFC 3339, UTC, milliseconds |
//! | `listener`, `client`, `peer`, `principal` | who asked: the client as trusted forwarding headers tell it, the other end of the connection, the authenticated identity |
//! | `method`, `scheme`, `host`, `path`, `query`, `protocol` | what was asked; `query` only when configured |
//! | `status`, `reason`, `aborted` | what came of it; status 0 when the request ended before a reply |
//! | `route`, `upstream`, `endpoint`, `attempts`, `retried` | who answered |
//! | `bytes_in`, `bytes_out` | body bytes read from and written to the client |
//! | `duration`, `upstream_first_byte`, `upstream_duration` | seconds |
//! | `request_id`, `trace_id`, `user_agent`, `sni`, `tls_version` | |
//!
//! # Text
//!
//! The combined format that log tools know, then `key="value"` pairs; `-` for what is not known and
//! always for the referrer, which is not logged:
//!
//! ```text
//! 192.0.2.7 - alice [02/Jan/2026:03:04:05 +0000] "GET /orders HTTP/1.1" 200 512 "-" "curl/8" listener="web" host="shop.example" reason="ok" route="orders" upstream="orders-v1" endpoint="10.0.0.1:8080" attempts=1 bytes_in=0 duration=0.001204 request_id="r1" trace_id="4bf9..."
//! ```
//!
//! Whatever a client can write is escaped: a quote, a backslash, a control character or a character that
//! reorders text never reaches the file as it is. No header value but the user agent and the request id
//! is logged.

mod civil;
mod escape;
mod json;
mod queue;
mod record;
mod sink;
mod text;
mod writer;

pub use record::AccessRecord;
pub use writer::AccessLog;

#[cfg(test)]
mod tests;
