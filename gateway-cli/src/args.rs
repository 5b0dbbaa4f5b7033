//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

/// One gateway for ingress, APIs and service mesh.
#[derive(Debug, Parser)]
#[command(
    name = "portcullis",
    version,
    about,
    args_conflicts_with_subcommands = true
)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) run: RunOptions,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs the gateway (the default command).
    Run(RunOptions),
    /// Validates a configuration without binding anything.
    Check(ConfigOptions),
    /// Says which listener, route, filters and upstream a request would meet, and why the others lost.
    Explain(ExplainOptions),
    /// Writes a configuration in its native form.
    Convert(ConvertOptions),
    /// Prints the order of layers of a mode.
    Stack(StackOptions),
    /// Prints the JSON Schema of the native configuration, with every registered plugin.
    Schema,
}

#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct RunOptions {
    /// A file or folder with configuration; may be given several times. Without it an embedded default runs.
    #[arg(short, long = "config", value_name = "PATH")]
    pub(crate) config: Vec<PathBuf>,
    /// Binds a listener to another address than the configuration says.
    #[arg(long, value_name = "NAME=ADDR", value_parser = listen)]
    pub(crate) listen: Vec<(String, String)>,
    /// The admin address, or `off`.
    #[arg(long, value_name = "ADDR", value_parser = admin)]
    pub(crate) admin: Option<Admin>,
    /// The number of worker threads. Default: as many as the process may use CPUs.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) workers: Option<u16>,
    /// Writes the bound addresses, as JSON, to this file once the gateway is ready; removed when it stops being so.
    #[arg(long, value_name = "PATH")]
    pub(crate) ready_file: Option<PathBuf>,
    /// Reads the configuration again when its files change.
    #[arg(long)]
    pub(crate) watch: bool,
    /// The order of layers.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) mode: ModeName,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Admin {
    Off,
    At(SocketAddr),
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ConfigOptions {
    /// A file or folder with configuration; may be given several times.
    #[arg(short, long = "config", value_name = "PATH", required = true)]
    pub(crate) config: Vec<PathBuf>,
    /// Prints problems as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ExplainOptions {
    /// A file or folder with configuration; may be given several times.
    #[arg(short, long = "config", value_name = "PATH", required = true)]
    pub(crate) config: Vec<PathBuf>,
    /// The method, for example GET.
    pub(crate) method: String,
    /// The URL, for example http://shop.example/orders.
    pub(crate) url: String,
    /// A request header; may be given several times.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    pub(crate) header: Vec<String>,
    /// The client's address.
    #[arg(long, value_name = "ADDR")]
    pub(crate) peer: Option<String>,
    /// The verified identity of the client, for example spiffe://mesh.example/ns/shop/sa/web.
    #[arg(long, value_name = "ID")]
    pub(crate) principal: Option<String>,
    /// Prints the explanation as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ConvertOptions {
    /// A file or folder with configuration; may be given several times.
    #[arg(short, long = "config", value_name = "PATH", required = true)]
    pub(crate) config: Vec<PathBuf>,
    /// The form to write.
    #[arg(long, value_enum)]
    pub(crate) to: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// The native form, in YAML.
    Native,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct StackOptions {
    /// The mode.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) mode: ModeName,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ModeName {
    /// What all modes share.
    #[default]
    Gateway,
    /// Routing at the edge.
    Ingress,
    /// Managing APIs.
    Api,
    /// In front of a workload.
    MeshInbound,
    /// Between a workload and the services it calls.
    MeshOutbound,
}

fn listen(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(name, address)| (name.to_owned(), address.to_owned()))
        .ok_or_else(|| "write NAME=ADDR, for example web=127.0.0.1:8080".to_owned())
}

fn admin(text: &str) -> Result<Admin, String> {
    if text == "off" {
        return Ok(Admin::Off);
    }
    text.parse()
        .map(Admin::At)
        .map_err(|_| "write ADDRESS:PORT, for example 127.0.0.1:9900, or `off`".to_owned())
}
