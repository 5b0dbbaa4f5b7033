//! `portcullis run`.

use std::process::ExitCode;

use portcullis::config::Diagnostics;
use portcullis::gateway::{GatewayBuilder, StartError};
use portcullis::mesh::{InboundMode, OutboundMode};
use portcullis::{Gateway, Registry};

use crate::args::{Admin, ModeName, RunOptions};
use crate::embedded;
use crate::ready::{self, ReadyFile};

/// Exit codes, as documented in the manual.
const BAD_CONFIG: u8 = 1;
const CANNOT_BIND: u8 = 3;

pub(crate) fn run(options: RunOptions) -> ExitCode {
    start_log();
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return fail(CANNOT_BIND, &format!("starting the runtime: {error}")),
    };
    runtime.block_on(async {
        match serve(options).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(Failed::Start(error @ (StartError::Config(_) | StartError::Registry(_)))) => {
                fail(BAD_CONFIG, &error.to_string())
            }
            Err(Failed::Start(error)) => fail(CANNOT_BIND, &portcullis::error::chain(&error)),
            Err(Failed::Ready(error)) => fail(CANNOT_BIND, &portcullis::error::chain(&error)),
        }
    })
}

/// Why the gateway does not run.
enum Failed {
    Start(StartError),
    Ready(ready::WriteError),
}

impl From<StartError> for Failed {
    fn from(error: StartError) -> Self {
        Self::Start(error)
    }
}

async fn serve(options: RunOptions) -> Result<(), Failed> {
    let embedded = options.config.is_empty();
    let mut builder = Gateway::builder(registry()?);
    let echo = if embedded {
        let echo = embedded::Echo::start().await?;
        builder = builder.config(echo.configuration()?);
        Some(echo)
    } else {
        builder = builder.files(options.config.clone()).watch(options.watch);
        None
    };
    let gateway = configure(builder, &options).build()?;
    warn(gateway.warnings());
    let handle = gateway.start().await?;
    // Whoever sees that the gateway is ready may send signals.
    let told = handle.until_signalled();
    if let Some(echo) = &echo {
        echo.greet(&handle);
    }
    tracing::info!(
        generation = handle.process().generation(),
        admin = ?handle.admin_addr(),
        "the gateway is ready"
    );
    let ready = match &options.ready_file {
        None => None,
        Some(path) => Some(ReadyFile::write(path, &handle).map_err(Failed::Ready)?),
    };
    told.await;
    tracing::info!("draining; a second signal ends the process at once");
    drop(ready);
    handle.shutdown_unless_signalled().await;
    if let Some(echo) = echo {
        echo.stop().await;
    }
    Ok(())
}

/// The stock registry.
pub(crate) fn registry() -> Result<Registry, StartError> {
    Ok(portcullis::registry().build()?)
}

fn configure(mut builder: GatewayBuilder, options: &RunOptions) -> GatewayBuilder {
    for (name, address) in &options.listen {
        builder = builder.listen(name, address);
    }
    builder = match options.admin {
        None => builder,
        Some(Admin::Off) => builder.without_admin(),
        Some(Admin::At(address)) => builder.admin(address),
    };
    if let Some(workers) = options.workers {
        builder = builder.workers(workers.into());
    }
    with_mode(builder, options.mode)
}

/// Sets the order of layers.
pub(crate) fn with_mode(builder: GatewayBuilder, mode: ModeName) -> GatewayBuilder {
    match mode {
        ModeName::Gateway => builder,
        ModeName::Ingress => builder.mode(portcullis::ingress::IngressMode::default()),
        ModeName::Api => builder.mode(portcullis::api::ApiMode::default()),
        ModeName::MeshInbound => builder.mode(InboundMode::default()),
        ModeName::MeshOutbound => builder.mode(OutboundMode::default()),
    }
}

fn warn(warnings: &Diagnostics) {
    for warning in warnings.iter() {
        tracing::warn!("{warning}");
    }
}

pub(crate) fn fail(code: u8, message: &str) -> ExitCode {
    eprintln!("{}", message.trim_end());
    ExitCode::from(code)
}

fn start_log() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("PORTCULLIS_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .init();
}
