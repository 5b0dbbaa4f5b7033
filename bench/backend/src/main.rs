//! The server behind the proxies of the benchmark: as cheap as a server can be, so that it is not what limits them.
//!
//! ```text
//! bench-backend [THREADS]
//! ```
//!
//! It listens on a free port of the loopback interface, says `listening ADDRESS`, and answers until it is killed:
//!
//! | request line | reply |
//! |---|---|
//! | `GET /anything HTTP/1.1` | 200 with 1,024 bytes |
//! | `GET /anything?echo HTTP/1.1` | 200 with the request's head as it arrived |
//! | `GET /anything?stats HTTP/1.1` | 200 with what was counted, as JSON; is not counted itself |
//!
//! Anything else, a body included, is counted as malformed and ends the connection. Pipelined requests are fine.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod reply;
mod worker;

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::reply::Counters;
use crate::worker::Worker;

/// Accepts connections and deals them out evenly: a hash over few connections would load one thread more.
fn serve(threads: usize) -> io::Result<()> {
    raise_file_limit();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    println!("listening {}", listener.local_addr()?);
    let counters = Arc::new(Counters::default());
    let mut inboxes = Vec::new();
    for _ in 0..threads.max(1) {
        let (worker, inbox) = Worker::new(Arc::clone(&counters))?;
        std::thread::Builder::new()
            .name("worker".into())
            .spawn(move || worker.run())?;
        inboxes.push(inbox);
    }
    loop {
        for inbox in &inboxes {
            let (stream, _) = listener.accept()?;
            counters.connections.fetch_add(1, Ordering::Relaxed);
            inbox.send(stream)?;
        }
    }
}

/// As many open files as the system lets this process have; with fewer it serves fewer connections.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            ..limit
        },
    );
}

fn main() -> ExitCode {
    let threads = match std::env::args().nth(1).map(|word| word.parse()) {
        None => 2,
        Some(Ok(threads)) => threads,
        Some(Err(problem)) => {
            eprintln!("usage: bench-backend [THREADS]: {problem}");
            return ExitCode::from(2);
        }
    };
    match serve(threads) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("bench-backend: {problem}");
            ExitCode::FAILURE
        }
    }
}
