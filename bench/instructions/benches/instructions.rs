//! Instructions of what every request passes through, counted by callgrind.

#![allow(missing_docs, unused_qualifications, reason = "of what macros make")]
#![allow(
    clippy::unwrap_used,
    reason = "a bench stops where something unexpected happens"
)]

mod http1;

use gungraun::{Callgrind, LibraryBenchmarkConfig, main};
use http1::heads;

main!(
    config = LibraryBenchmarkConfig::default().tool(Callgrind::with_args(["--cache-sim=no"])),
    library_benchmark_groups = [heads]
);
