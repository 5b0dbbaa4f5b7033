//! Files and folders to one configuration.

use std::{
    collections::{BTreeSet, HashSet},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    damage::Damage,
    diagnostic::{Diagnostic, Diagnostics, Location},
    merge::{Whole, merge},
    node::{Document, Format},
    raw::RawConfig,
};
use crate::registry::Registry;

/// Deepest nesting of folders that is followed.
const MAX_FOLDER_DEPTH: usize = 16;

/// What files and folders say together.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Loaded {
    /// The configuration, still to be [lowered](super::lower).
    pub config: RawConfig,
    /// What a watcher has to watch: the files that were read and the folders that were looked through.
    pub watch: Vec<PathBuf>,
    /// What is probably not as meant.
    pub warnings: Diagnostics,
}

/// Reads files and folders, whichever dialects they are written in.
///
/// A folder stands for the `.yaml`, `.yml`, `.toml` and `.json` files in it and in the folders below, in the
/// order of their names. What is hidden (its name begins with a dot) is left out, such as the `..data` folder
/// of a mounted ConfigMap, whose files are reached through their links. Links are followed, and a file
/// counts once however it is reached.
///
/// Lists of several documents are joined; anything else may be given by one document only.
///
/// # Errors
/// Everything that is wrong with any of the files. The warnings are among it.
pub fn load(paths: &[PathBuf], registry: &Registry) -> Result<Loaded, Diagnostics> {
    let reading = read_files(paths, registry);
    if reading.problems.has_errors() {
        return Err(reading.problems);
    }
    Ok(Loaded {
        config: reading.config,
        watch: reading.watch,
        warnings: reading.problems,
    })
}

/// What could be read, whatever is wrong: later stages look for mistakes in the rest.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    /// Without what was wrong.
    pub(crate) config: RawConfig,
    /// What it lacks for that.
    pub(crate) damage: Damage,
    /// As in [`Loaded`].
    pub(crate) watch: Vec<PathBuf>,
    /// Everything that is wrong so far. Only without errors is the configuration to be used.
    pub(crate) problems: Diagnostics,
}

/// What a program made lacks nothing.
impl From<RawConfig> for Reading {
    fn from(config: RawConfig) -> Self {
        Self {
            config,
            ..Self::default()
        }
    }
}

/// As [`load`], but gives what is left when there are mistakes.
pub(crate) fn read_files(paths: &[PathBuf], registry: &Registry) -> Reading {
    let mut walk = Walk::default();
    for path in paths {
        walk.named(path);
    }
    let mut problems = walk.problems;
    let mut unread = problems.has_errors();
    let mut documents = Vec::new();
    for file in &walk.files {
        let parsed = Document::load_rest(file);
        documents.extend(parsed.documents);
        problems.extend(parsed.problems);
        unread |= parsed.cut_short;
    }
    let Whole { config, mut damage } = merge(&documents, Some(registry), &mut problems);
    if unread {
        damage.set_incomplete();
    }
    Reading {
        config,
        damage,
        watch: walk.watch.into_iter().collect(),
        problems,
    }
}

/// As [`parse_native`], but gives what is left when there are mistakes.
pub(crate) fn read_text(name: &str, text: &str, format: Format) -> Reading {
    let mut parsed = Document::parse_rest(name, text, format);
    let Whole { config, mut damage } = merge(&parsed.documents, None, &mut parsed.problems);
    if parsed.cut_short {
        damage.set_incomplete();
    }
    Reading {
        config,
        damage,
        watch: Vec::new(),
        problems: parsed.problems,
    }
}

/// Turns documents that were read already into one configuration; as [`load`] without the files.
///
/// What is wrong goes to `problems`, warnings included; `None` when there were errors.
pub fn translate(
    documents: &[Document],
    registry: &Registry,
    problems: &mut Diagnostics,
) -> Option<RawConfig> {
    let mut found = Diagnostics::new();
    let whole = merge(documents, Some(registry), &mut found);
    let usable = !found.has_errors();
    problems.extend(found);
    usable.then_some(whole.config)
}

/// Reads a text in the native form. `name` is only used in locations.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse_native(name: &str, text: &str, format: Format) -> Result<RawConfig, Diagnostics> {
    let reading = read_text(name, text, format);
    if reading.problems.has_errors() {
        return Err(reading.problems);
    }
    Ok(reading.config)
}

/// Finds the files.
#[derive(Default)]
struct Walk {
    files: Vec<PathBuf>,
    watch: BTreeSet<PathBuf>,
    /// Where files and folders really are.
    seen: HashSet<PathBuf>,
    problems: Diagnostics,
}

impl Walk {
    /// A path that somebody named: it has to be there, whatever it is called.
    fn named(&mut self, path: &Path) {
        match fs::metadata(path) {
            Ok(found) if found.is_dir() => {
                let before = self.files.len();
                if self.folder(path, 1) && self.files.len() == before {
                    let problem = Diagnostic::warning("no configuration file in this folder");
                    let hint = "files are called .yaml, .yml, .toml or .json";
                    self.problems.push(problem.at(whole(path)).hint(hint));
                }
            }
            Ok(_) => {
                self.file(path);
            }
            Err(error) => self.unreadable(path, &error),
        }
    }

    /// Whether it was looked at now, and not before.
    fn folder(&mut self, path: &Path, depth: usize) -> bool {
        if depth > MAX_FOLDER_DEPTH {
            let message = format!("folders are nested more than {MAX_FOLDER_DEPTH} deep");
            self.problems
                .push(Diagnostic::error(message).at(whole(path)));
            return false;
        }
        if !self.is_new(path) {
            return false;
        }
        self.watch.insert(path.to_owned());
        let names = fs::read_dir(path).and_then(|entries| {
            entries
                .map(|entry| Ok(entry?.file_name()))
                .collect::<io::Result<Vec<_>>>()
        });
        let mut names = match names {
            Ok(names) => names,
            Err(error) => {
                self.unreadable(path, &error);
                return false;
            }
        };
        names.sort_unstable();
        names.retain(|name| !name.as_encoded_bytes().starts_with(b"."));
        for name in names {
            let below = path.join(name);
            match fs::metadata(&below) {
                Ok(found) if found.is_dir() => {
                    self.folder(&below, depth + 1);
                }
                Ok(found) if found.is_file() && Format::from_path(&below).is_some() => {
                    self.file(&below);
                }
                Ok(_) => {}
                // A link that leads nowhere, or a file that has just gone.
                Err(error)
                    if error.kind() == io::ErrorKind::NotFound
                        && Format::from_path(&below).is_none() => {}
                Err(error) => self.unreadable(&below, &error),
            }
        }
        true
    }

    fn file(&mut self, path: &Path) {
        if self.is_new(path) {
            self.watch.insert(path.to_owned());
            self.files.push(path.to_owned());
        }
    }

    fn is_new(&mut self, path: &Path) -> bool {
        self.seen
            .insert(fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()))
    }

    fn unreadable(&mut self, path: &Path, error: &io::Error) {
        let message = format!("cannot be read: {error}");
        self.problems
            .push(Diagnostic::error(message).at(whole(path)));
    }
}

fn whole(path: &Path) -> Location {
    Location::new(Arc::from(path.display().to_string()), 0, 0)
}

#[cfg(test)]
mod tests;
