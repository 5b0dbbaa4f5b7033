//! Real programs on the other side.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use serde_json::Value;

use super::{PATIENCE, root, script};

/// A helper in Python that serves; killed when dropped.
pub struct Peer {
    child: Child,
    lines: Receiver<String>,
    port: u16,
}

impl Peer {
    /// Starts a script, which says `{"port": N}` on its first line.
    pub fn start(name: &str, args: &[&str]) -> Self {
        let mut command = Command::new(interpreter());
        command.arg("-u").arg(script(name)).args(args);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python starts");
        let (send, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        let mut peer = Self {
            lines,
            child,
            port: 0,
        };
        let port = peer.line()["port"]
            .as_u64()
            .and_then(|port| u16::try_from(port).ok());
        peer.port = port.unwrap_or_else(|| panic!("{name} says its port"));
        peer
    }

    /// The next line it prints, which is JSON.
    pub fn line(&self) -> Value {
        let line = self.lines.recv_timeout(PATIENCE).expect("a line in time");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a helper in Python that checks something and ends; what it printed.
pub fn python(name: &str, args: &[&str]) -> String {
    let mut command = Command::new(interpreter());
    let output = command
        .arg(script(name))
        .args(args)
        .output()
        .expect("python starts");
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{name} {args:?}\n{out}\n{err}");
    out.into_owned()
}

/// Runs curl; what it printed.
pub fn curl(args: &[&str]) -> Result<String, String> {
    let mut command = Command::new(tool("curl"));
    let output = command
        .args(["--silent", "--show-error", "--max-time", "30"])
        .args(args)
        .output()
        .expect("curl starts");
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// A program that must be installed.
pub fn tool(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    let mut found = folders
        .map(|folder| folder.join(name))
        .filter(|file| file.is_file());
    found.next().unwrap_or_else(|| panic!("{name} is not installed: run scripts/test-deps.sh first, or scripts/test.sh for everything"))
}

fn interpreter() -> PathBuf {
    let venv = std::env::var_os("PORTCULLIS_TEST_VENV")
        .map_or_else(|| root().join("target/test-venv"), PathBuf::from);
    let python = venv.join("bin/python");
    assert!(
        python.is_file(),
        "{} is missing: run scripts/test-deps.sh first, or scripts/test.sh for everything",
        python.display()
    );
    python
}
