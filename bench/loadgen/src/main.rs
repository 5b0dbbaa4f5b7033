//! Load that the usual tools do not make, for the benchmark of this repository.
//!
//! | command | load |
//! |---|---|
//! | `get` | one request; tells everything about the reply, to check a proxy before it is measured |
//! | `handshakes` | a full TLS 1.3 handshake for every request, in a closed loop |
//! | `hold` | many idle connections that made one request each |
//! | `open` | requests at a fixed rate, whatever the replies do; latency from the time a request was due |
//!
//! Results are one line of JSON on standard output. `hold` and `open` first say `ready` and wait for a line on standard
//! input, so that whoever measures can look at the proxy between connecting and loading.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod clock;
mod get;
mod handshakes;
mod hold;
mod http1;
mod http2;
mod open;
mod summary;
mod target;

use std::io::{self, BufRead};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use serde_json::Value;

use crate::target::{Failure, Target};

#[derive(Debug, Parser)]
#[command(about, version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes one request and prints status, body and what TLS agreed on
    Get(Target),
    /// Connects, shakes hands, makes one request and closes, over and over
    Handshakes(handshakes::Settings),
    /// Opens connections that make one request and stay; after a line on standard input they make another
    Hold(hold::Settings),
    /// Makes requests at a fixed rate
    Open(open::Settings),
}

/// Tells whoever started this program that the connections are there, and waits until it says go on.
fn ready() -> io::Result<()> {
    println!("ready");
    match io::stdin().lock().read_line(&mut String::new())? {
        0 => Err(io::Error::other(
            "standard input ended instead of saying go on",
        )),
        _ => Ok(()),
    }
}

/// As many open files as the system lets this process have.
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

fn run(command: Command) -> Result<Value, Failure> {
    // Few steps between two looks at the timer, so that the schedule of `open` is kept.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .event_interval(8)
        .build()?;
    tokio::task::LocalSet::new().block_on(&runtime, async {
        match command {
            Command::Get(target) => get::run(&target).await,
            Command::Handshakes(settings) => handshakes::run(settings).await,
            Command::Hold(settings) => hold::run(settings).await,
            Command::Open(settings) => open::run(settings).await,
        }
    })
}

fn main() -> ExitCode {
    raise_file_limit();
    match run(Arguments::parse().command) {
        Ok(result) => {
            println!("{result}");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("bench-loadgen: {problem}");
            ExitCode::FAILURE
        }
    }
}
