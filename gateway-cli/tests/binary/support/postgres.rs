//! PostgreSQL, with a database of its own.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::geteuid;
use tempfile::TempDir;

use super::program::succeed;
use super::{Program, free_address, tool};

/// Whom the server runs as where the tests run as root, which it refuses.
const NOBODY: u32 = 65_534;

/// A running PostgreSQL that speaks TLS to those who ask; stopped when dropped.
pub struct Postgres {
    pub address: SocketAddr,
    _server: Program,
    _folder: TempDir,
}

impl Postgres {
    pub fn start(certificate: &Path, key: &Path) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        own(folder.path(), 0o700);
        for (from, to) in [(certificate, "server.crt"), (key, "server.key")] {
            std::fs::copy(from, at(to)).expect("a copy");
            own(&at(to), 0o600);
        }
        let data = at("data");
        let init = ["-U", "postgres", "-A", "trust", "--no-sync", "-D"];
        succeed(
            unprivileged(program("initdb"))
                .args(init)
                .arg(&data)
                .current_dir(folder.path()),
        );
        let address = free_address();
        let mut server = unprivileged(program("postgres"));
        server.arg("-D").arg(&data).current_dir(folder.path());
        let settings = [
            format!("port={}", address.port()),
            "listen_addresses=127.0.0.1".to_owned(),
            format!("unix_socket_directories={}", folder.path().display()),
            "fsync=off".to_owned(),
            "ssl=on".to_owned(),
            format!("ssl_cert_file={}", at("server.crt").display()),
            format!("ssl_key_file={}", at("server.key").display()),
        ];
        for setting in settings {
            server.arg("-c").arg(setting);
        }
        Self {
            _server: Program::serve(server, address),
            address,
            _folder: folder,
        }
    }
}

/// Makes the user that the server runs as the owner.
fn own(path: &Path, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("its mode");
    if geteuid().is_root() {
        chown(path, Some(NOBODY), Some(NOBODY)).expect("its owner");
    }
}

fn unprivileged(program: impl AsRef<OsStr>) -> Command {
    if !geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new(tool("setpriv"));
    let id = NOBODY.to_string();
    command
        .args(["--reuid", &id, "--regid", &id, "--clear-groups", "--"])
        .arg(program);
    command
}

/// Debian keeps the programs of each version in a folder of its own.
fn program(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten();
    let mut found = versions
        .filter_map(|version| Some(version.ok()?.path().join("bin").join(name)))
        .filter(|file| file.is_file());
    found.next().unwrap_or_else(|| tool(name))
}
