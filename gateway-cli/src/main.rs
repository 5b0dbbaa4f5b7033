//! The stock gateway binary.

mod args;
mod commands;
mod embedded;
mod ready;
mod run;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let args = args::Args::parse();
    match args.command {
        None => run::run(args.run),
        Some(args::Command::Run(options)) => run::run(options),
        Some(args::Command::Check(options)) => commands::check(&options),
        Some(args::Command::Explain(options)) => commands::explain(&options),
        Some(args::Command::Convert(options)) => commands::convert(&options),
        Some(args::Command::Stack(options)) => commands::stack(&options),
        Some(args::Command::Schema) => commands::schema(),
    }
}
