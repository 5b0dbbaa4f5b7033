//! Instructions of what every request passes through, counted by callgrind.
//!
//! A bench makes what it needs and repeats its work a few times before it counts once: lines of heads that were seen
//! before are known then, and buffers are kept. Nothing here waits or uses a socket, and what draws random numbers
//! has a fixed seed where it may have one, so the counts hardly differ between runs.

#![allow(missing_docs, unused_qualifications, reason = "of what macros make")]
#![allow(
    clippy::unwrap_used,
    reason = "a bench stops where something unexpected happens"
)]

mod balancers;
mod filters;
mod gateway;
mod http1;
mod memory;
mod routing;

use balancers::picks;
use filters::chains;
use gateway::requests;
use gungraun::{Callgrind, LibraryBenchmarkConfig, main};
use http1::heads;
use routing::routes;

main!(
    config = LibraryBenchmarkConfig::default().tool(Callgrind::with_args(["--cache-sim=no"])),
    library_benchmark_groups = [routes, heads, chains, picks, requests]
);
