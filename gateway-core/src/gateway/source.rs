//! Where a configuration comes from, and what the command line says over it.

use std::path::PathBuf;

use crate::config::raw::RawConfig;
use crate::config::values::BindAddress;
use crate::config::{Diagnostic, Diagnostics, load};
use crate::registry::Registry;

/// The source of configurations, read again at each reload.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) origin: Origin,
    /// Listeners that are bound elsewhere: name and address.
    pub(crate) listen: Vec<(String, String)>,
}

/// The place configurations are read from.
#[derive(Clone, Debug)]
pub(crate) enum Origin {
    /// A value of the program.
    Fixed(Box<RawConfig>),
    /// Files and folders.
    Files(Vec<PathBuf>),
}

impl Source {
    /// Reads the configuration as it is now.
    pub(crate) fn read(&self, registry: &Registry) -> Result<Read, Diagnostics> {
        let (mut raw, mut problems, watch) = match &self.origin {
            Origin::Fixed(raw) => ((**raw).clone(), Diagnostics::default(), Vec::new()),
            Origin::Files(paths) => {
                let loaded = load(paths, registry)?;
                (loaded.config, loaded.warnings, loaded.watch)
            }
        };
        for (name, address) in &self.listen {
            let Ok(bind) = address.parse::<BindAddress>() else {
                problems.push(
                    Diagnostic::error(format!(
                        "reading the address `{address}` for listener `{name}`"
                    ))
                    .hint("write ADDRESS:PORT, such as 127.0.0.1:8080, or unix:PATH"),
                );
                continue;
            };
            match raw
                .listeners
                .iter_mut()
                .find(|listener| *listener.name == **name)
            {
                Some(listener) => listener.bind = bind.into(),
                None => problems.push(
                    Diagnostic::error(format!(
                        "there is no listener called `{name}` to bind elsewhere"
                    ))
                    .hint(format!(
                        "known: {}",
                        raw.listeners
                            .iter()
                            .map(|listener| listener.name.as_str())
                            .collect::<Vec<_>>()
                            .join(", ")
                    )),
                ),
            }
        }
        if problems.has_errors() {
            return Err(problems);
        }
        Ok(Read {
            config: raw,
            warnings: problems,
            watch,
        })
    }
}

/// A configuration that was read.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) config: RawConfig,
    pub(crate) warnings: Diagnostics,
    /// Files and folders it came from.
    pub(crate) watch: Vec<PathBuf>,
}
