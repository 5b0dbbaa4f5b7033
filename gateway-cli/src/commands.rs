//! The commands that do not serve.

use std::path::PathBuf;
use std::process::ExitCode;

use portcullis::Gateway;
use portcullis::admin::ExplainQuery;
use portcullis::config::{load, to_native};
use portcullis::gateway::{EdgeMode, Mode, StartError};
use portcullis::mesh::{InboundMode, OutboundMode};

use crate::args::{ConfigOptions, ConvertOptions, ExplainOptions, Form, ModeName, StackOptions};
use crate::run::{fail, registry};

const BAD_CONFIG: u8 = 1;
const USAGE: u8 = 2;

/// `portcullis check`.
pub(crate) fn check(options: &ConfigOptions) -> ExitCode {
    let (problems, bad) = match compile(&options.config) {
        Ok(gateway) => (gateway.warnings().clone(), false),
        Err(StartError::Config(problems)) => (problems, true),
        Err(error) => return fail(BAD_CONFIG, &portcullis::error::chain(&error)),
    };
    if options.json {
        match serde_json::to_string_pretty(&problems) {
            Ok(text) => println!("{text}"),
            Err(error) => return fail(BAD_CONFIG, &format!("writing JSON: {error}")),
        }
    } else {
        for problem in problems.sorted() {
            eprintln!("{problem}");
        }
        if !bad {
            println!("the configuration is valid");
        }
    }
    if bad {
        ExitCode::from(BAD_CONFIG)
    } else {
        ExitCode::SUCCESS
    }
}

/// `portcullis explain`.
pub(crate) fn explain(options: &ExplainOptions) -> ExitCode {
    let query = match query(options) {
        Ok(query) => query,
        Err(problem) => return fail(USAGE, &problem),
    };
    let gateway = match compile(&options.config) {
        Ok(gateway) => gateway,
        Err(error) => return fail(BAD_CONFIG, &portcullis::error::chain(&error)),
    };
    let explanation = gateway.explain(&query);
    if !options.json {
        print!("{explanation}");
        return ExitCode::SUCCESS;
    }
    match serde_json::to_string_pretty(&explanation) {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => fail(BAD_CONFIG, &format!("writing JSON: {error}")),
    }
}

fn query(options: &ExplainOptions) -> Result<ExplainQuery, String> {
    let mut query = ExplainQuery::new(&options.method, &options.url)?;
    for header in &options.header {
        query.header(header)?;
    }
    if let Some(peer) = &options.peer {
        query.peer(peer)?;
    }
    if let Some(principal) = &options.principal {
        query.principal(principal);
    }
    Ok(query)
}

/// `portcullis convert`.
pub(crate) fn convert(options: &ConvertOptions) -> ExitCode {
    let registry = match registry() {
        Ok(registry) => registry,
        Err(error) => return fail(BAD_CONFIG, &error.to_string()),
    };
    match load(&options.config, &registry) {
        Err(problems) => fail(BAD_CONFIG, &problems.to_string()),
        Ok(loaded) => match options.to {
            Form::Native => match to_native(&loaded.config) {
                Ok(text) => {
                    print!("{text}");
                    ExitCode::SUCCESS
                }
                Err(problems) => fail(BAD_CONFIG, &problems.to_string()),
            },
        },
    }
}

/// `portcullis stack`.
pub(crate) fn stack(options: &StackOptions) -> ExitCode {
    let layers = match options.mode {
        ModeName::Gateway => EdgeMode::default().layers(),
        ModeName::Ingress => portcullis::ingress::IngressMode::default().layers(),
        ModeName::Api => portcullis::api::ApiMode::default().layers(),
        ModeName::MeshInbound => InboundMode::default().layers(),
        ModeName::MeshOutbound => OutboundMode::default().layers(),
    };
    for layer in layers {
        println!("{:<18} {}", layer.name, layer.does);
    }
    ExitCode::SUCCESS
}

/// `portcullis schema`.
pub(crate) fn schema() -> ExitCode {
    let registry = match registry() {
        Ok(registry) => registry,
        Err(error) => return fail(BAD_CONFIG, &error.to_string()),
    };
    match serde_json::to_string_pretty(&registry.schema()) {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => fail(BAD_CONFIG, &format!("writing JSON: {error}")),
    }
}

fn compile(config: &[PathBuf]) -> Result<Gateway, StartError> {
    Gateway::builder(registry()?)
        .workers(1)
        .files(config.iter().cloned())
        .build()
}
