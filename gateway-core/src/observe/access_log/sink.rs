//! Where the lines go.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::observe::config::LogTarget;

/// How long to wait before a descriptor that would block is tried again.
const RETRY: Duration = Duration::from_millis(5);

pub(super) struct Sink {
    out: Box<dyn Write + Send>,
    /// Set when `out` is a file that can be opened anew.
    path: Option<PathBuf>,
    /// The last write failed; used to report a change and not every failure.
    failing: bool,
}

impl Sink {
    pub(super) fn open(target: &LogTarget) -> io::Result<Self> {
        Ok(match target {
            LogTarget::Stdout => Self::new(stdout()?),
            LogTarget::Stderr => Self::new(stderr()?),
            LogTarget::File(path) => Self {
                path: Some(path.clone()),
                ..Self::new(Box::new(append(path)?))
            },
        })
    }

    pub(super) fn new(out: Box<dyn Write + Send>) -> Self {
        Self {
            out,
            path: None,
            failing: false,
        }
    }

    /// Opens the file of that name anew; keeps the old one when that fails.
    pub(super) fn reopen(&mut self) {
        let Some(path) = &self.path else { return };
        match append(path) {
            Ok(file) => self.out = Box::new(file),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "cannot reopen the access log, going on with the old file");
            }
        }
    }

    /// Writes all of `bytes`; says `false` when they are lost. While the destination would block it is
    /// tried again until `give_up` says otherwise.
    pub(super) fn write(&mut self, bytes: &[u8], give_up: impl Fn() -> bool) -> bool {
        match write_all(&mut *self.out, bytes, give_up) {
            Ok(()) => {
                if std::mem::take(&mut self.failing) {
                    tracing::info!("access log is written again");
                }
                true
            }
            Err(error) => {
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(%error, "cannot write the access log, dropping lines");
                }
                false
            }
        }
    }
}

fn write_all(out: &mut dyn Write, mut bytes: &[u8], give_up: impl Fn() -> bool) -> io::Result<()> {
    while !bytes.is_empty() {
        match out.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // A terminal or pipe that somebody else made non-blocking.
            Err(error) if error.kind() == ErrorKind::WouldBlock && !give_up() => {
                std::thread::sleep(RETRY);
            }
            Err(error) => return Err(error),
        }
    }
    out.flush()
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// Whether a destination can probably be opened, without creating anything.
pub(super) fn check(target: &LogTarget) -> io::Result<()> {
    let LogTarget::File(path) = target else {
        return Ok(());
    };
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    match std::fs::metadata(path) {
        Ok(found) if found.is_file() || found.is_dir() => {
            OpenOptions::new().append(true).open(path).map(drop)
        }
        // A pipe or a device: opening one may wait, or be noticed.
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            std::fs::metadata(folder.unwrap_or(Path::new("."))).map(drop)
        }
        Err(error) => Err(error),
    }
}

// The handles of the standard library buffer by line and lock; a duplicate of the descriptor does
// neither.

#[cfg(unix)]
fn stdout() -> io::Result<Box<dyn Write + Send>> {
    use std::os::fd::AsFd as _;
    let descriptor = io::stdout().as_fd().try_clone_to_owned()?;
    Ok(Box::new(File::from(descriptor)))
}

#[cfg(unix)]
fn stderr() -> io::Result<Box<dyn Write + Send>> {
    use std::os::fd::AsFd as _;
    let descriptor = io::stderr().as_fd().try_clone_to_owned()?;
    Ok(Box::new(File::from(descriptor)))
}

#[cfg(not(unix))]
fn stdout() -> io::Result<Box<dyn Write + Send>> {
    Ok(Box::new(io::stdout()))
}

#[cfg(not(unix))]
fn stderr() -> io::Result<Box<dyn Write + Send>> {
    Ok(Box::new(io::stderr()))
}
