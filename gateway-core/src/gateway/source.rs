//! Where a configuration comes from, and what the command line says over it.

use std::path::PathBuf;

use crate::config::raw::RawConfig;
use crate::config::values::BindAddress;
use crate::config::{Diagnostic, Format, Reading, read_files, read_text};
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
    /// A text of the program: its name in messages, and what it says.
    Text(String, String, Format),
    /// Files and folders.
    Files(Vec<PathBuf>),
}

impl Source {
    /// Reads the configuration as it is now; what is wrong is among what it gives.
    pub(crate) fn read(&self, registry: &Registry) -> Reading {
        let mut reading = match &self.origin {
            Origin::Fixed(raw) => Reading::from((**raw).clone()),
            Origin::Text(name, text, format) => read_text(name, text, *format),
            Origin::Files(paths) => read_files(paths, registry),
        };
        for (name, address) in &self.listen {
            if let Some(problem) = listen_elsewhere(&mut reading, name, address) {
                reading.problems.push(problem);
            }
        }
        reading
    }
}

/// Binds a listener to another address than was written; what is wrong with that, if something is.
fn listen_elsewhere(reading: &mut Reading, name: &str, address: &str) -> Option<Diagnostic> {
    let Ok(bind) = address.parse::<BindAddress>() else {
        let problem = format!("reading the address `{address}` for listener `{name}`");
        let hint = "write ADDRESS:PORT, such as 127.0.0.1:8080, or unix:PATH";
        return Some(Diagnostic::error(problem).hint(hint));
    };
    let listeners = &mut reading.config.listeners;
    if let Some(listener) = listeners
        .iter_mut()
        .find(|listener| *listener.name == *name)
    {
        listener.bind = bind.into();
        return None;
    }
    if reading.damage.is_short("listeners") {
        // It may be one that could not be read.
        return None;
    }
    let known: Vec<_> = listeners
        .iter()
        .map(|listener| listener.name.as_str())
        .collect();
    let problem = format!("there is no listener called `{name}` to bind elsewhere");
    Some(Diagnostic::error(problem).hint(format!("known: {}", known.join(", "))))
}
