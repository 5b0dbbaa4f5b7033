//! Whether an object is the same as in another configuration.

use serde::Serialize;

use crate::{
    balance::{combine_hashes, stable_hash},
    tls::PemSource,
};

/// Of what was written. Where it was written does not count.
pub(super) fn written(object: &impl Serialize) -> u64 {
    // Keys that are no text and paths that are not UTF-8 cannot be written. A program may make the latter:
    // then all such objects look alike, and look the same as each other only if nothing else differs.
    match serde_json::to_vec(object) {
        Ok(bytes) => stable_hash(&bytes),
        Err(_) => 0,
    }
}

/// Adds a file that a relative path leads to, which depends on where it was written.
pub(super) fn with_pem(print: u64, source: &PemSource) -> u64 {
    match source.path() {
        Some(path) => combine_hashes(print, stable_hash(path.as_os_str().as_encoded_bytes())),
        None => print,
    }
}
