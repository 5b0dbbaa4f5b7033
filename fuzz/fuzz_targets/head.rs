//! Fuzz target: see [`portcullis_fuzz::head`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| portcullis_fuzz::head(data));
