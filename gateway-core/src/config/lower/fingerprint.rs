//! Whether an object is the same as in another configuration.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use crate::{
    balance::{combine_hashes, stable_hash},
    tls::PemSource,
};

/// Of what was written. Where it was written does not count.
pub(super) fn written(object: &impl Serialize) -> u64 {
    static UNKNOWN: AtomicU64 = AtomicU64::new(0);
    match serde_json::to_vec(object) {
        Ok(bytes) => stable_hash(&bytes),
        // A path that is not UTF-8, which only a program can have made. Never the same is safe: it is rebuilt.
        Err(_) => stable_hash(&UNKNOWN.fetch_add(1, Ordering::Relaxed).to_ne_bytes()),
    }
}

/// Adds a file that a relative path leads to, which depends on where it was written.
pub(super) fn with_pem(print: u64, source: &PemSource) -> u64 {
    match source.path() {
        Some(path) => combine_hashes(print, stable_hash(path.as_os_str().as_encoded_bytes())),
        None => print,
    }
}
