//! The file that says where a gateway listens, for whoever started it on ports of the system's choice.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use portcullis::gateway::GatewayHandle;

/// A file that could not be written.
#[derive(Debug)]
pub(crate) struct WriteError {
    path: PathBuf,
    source: io::Error,
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "writing the ready file {}", self.path.display())
    }
}

impl std::error::Error for WriteError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// Exists while the gateway is ready.
pub(crate) struct ReadyFile(PathBuf);

impl ReadyFile {
    /// Writes process id, admin address and the addresses of the listeners. The file appears whole.
    pub(crate) fn write(path: &Path, gateway: &GatewayHandle) -> Result<Self, WriteError> {
        let text = serde_json::json!({
            "pid": std::process::id(),
            "admin": gateway.admin_addr().map(|address| address.to_string()),
            "listeners": gateway.bound(),
        });
        let mut half = path.as_os_str().to_owned();
        half.push(".tmp");
        std::fs::write(&half, format!("{text}\n"))
            .and_then(|()| std::fs::rename(&half, path))
            .map(|()| Self(path.to_owned()))
            .map_err(|source| WriteError {
                path: path.to_owned(),
                source,
            })
    }
}

impl Drop for ReadyFile {
    fn drop(&mut self) {
        // Somebody may have removed it already.
        let _ = std::fs::remove_file(&self.0);
    }
}
