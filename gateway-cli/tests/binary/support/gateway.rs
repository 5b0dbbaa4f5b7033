//! The binary, as a user runs it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::{Response, eventually, get};

const BINARY: &str = env!("CARGO_BIN_EXE_portcullis");

/// Runs a command that ends by itself.
pub fn run<I: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = I>) -> Output {
    let mut command = Command::new(BINARY);
    command.args(args).env("NO_COLOR", "1").stdin(Stdio::null());
    command.output().expect("the binary runs")
}

type Text = Arc<Mutex<String>>;

/// A running gateway; killed when dropped.
pub struct Gateway {
    child: Child,
    folder: TempDir,
    admin: Option<SocketAddr>,
    listeners: BTreeMap<String, String>,
    stdout: Text,
    stderr: Text,
}

impl Gateway {
    /// The embedded default, on ports of the system's choice.
    pub fn embedded() -> Self {
        let listen = [
            "--listen",
            "web=127.0.0.1:0",
            "--listen",
            "websecure=127.0.0.1:0",
        ];
        Self::start(None, &listen)
    }

    /// A written configuration, in YAML. Its admin address is replaced.
    pub fn yaml(text: &str) -> Self {
        Self::start(Some(text), &[])
    }

    /// A written configuration and more flags.
    pub fn start(yaml: Option<&str>, flags: &[&str]) -> Self {
        let admin = ["--admin", "127.0.0.1:0"];
        let admin: &[&str] = if flags.contains(&"--admin") {
            &[]
        } else {
            &admin
        };
        Self::with_flags(yaml, &[flags, admin].concat())
    }

    fn with_flags(yaml: Option<&str>, flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let ready = folder.path().join("ready.json");
        let mut command = Command::new(BINARY);
        command
            .arg("run")
            .arg("--ready-file")
            .arg(&ready)
            .args(flags);
        if let Some(text) = yaml {
            let file = folder.path().join("gateway.yaml");
            std::fs::write(&file, text).expect("the configuration");
            command.arg("-c").arg(file);
        }
        command.current_dir(folder.path()).env("NO_COLOR", "1");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let (stdout, stderr) = (Text::default(), Text::default());
        collect(child.stdout.take().expect("piped"), stdout.clone());
        collect(child.stderr.take().expect("piped"), stderr.clone());
        let facts = eventually("the gateway to be ready", || {
            if let Some(status) = child.try_wait().expect("a child") {
                panic!(
                    "the gateway ended with {status}:\n{}",
                    stderr.lock().unwrap()
                );
            }
            std::fs::read_to_string(&ready).ok()
        });
        let facts: Value = serde_json::from_str(&facts).expect("the ready file is JSON");
        assert_eq!(facts["pid"], child.id());
        Self {
            child,
            folder,
            admin: facts["admin"]
                .as_str()
                .map(|address| address.parse().expect("an address")),
            listeners: serde_json::from_value(facts["listeners"].clone()).expect("addresses"),
            stdout,
            stderr,
        }
    }

    /// Where a listener listens.
    pub fn address(&self, listener: &str) -> SocketAddr {
        let listeners = &self.listeners;
        let address = listeners.get(listener);
        address
            .unwrap_or_else(|| panic!("{listener} in {listeners:?}"))
            .parse()
            .expect("a TCP listener")
    }

    pub fn listeners(&self) -> &BTreeMap<String, String> {
        &self.listeners
    }

    pub fn web(&self) -> SocketAddr {
        self.address("web")
    }

    pub fn admin(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// A page of the admin listener.
    pub fn page(&self, path: &str) -> Response {
        get(self.admin.expect("an admin listener"), path).expect("the admin page")
    }

    pub fn json(&self, path: &str) -> Value {
        let page = self.page(path);
        assert_eq!(page.status, 200, "{}", page.text());
        serde_json::from_str(&page.text()).expect("a page in JSON")
    }

    /// The value of a series, named as in the Prometheus text.
    pub fn metric(&self, series: &str) -> Option<f64> {
        let text = self.page("/metrics").text();
        let mut lines = text.lines();
        lines.find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
    }

    pub fn config_file(&self) -> PathBuf {
        self.folder.path().join("gateway.yaml")
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Replaces the configuration's file as an editor does: written beside it, then renamed.
    pub fn write_config(&self, text: &str) {
        let beside = self.folder.path().join("gateway.yaml~");
        std::fs::write(&beside, text).expect("the configuration");
        std::fs::rename(beside, self.config_file()).expect("the configuration");
    }

    pub fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id())
            .ok()
            .and_then(Pid::from_raw)
            .expect("a process id");
        kill_process(id, signal).expect("the process gets the signal");
    }

    pub fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    /// Lines of the access log so far.
    pub fn log(&self) -> Vec<Value> {
        let text = self.stdout.lock().unwrap().clone();
        let lines = text.lines().filter(|line| line.starts_with('{'));
        lines
            .map(|line| {
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
            })
            .collect()
    }

    /// The line of the access log with this path.
    pub fn logged(&self, path: &str) -> Value {
        eventually(&format!("{path} in the access log"), || {
            self.log().into_iter().find(|line| line["path"] == path)
        })
    }

    /// Memory the process has, in KiB.
    pub fn memory(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// Memory the process had at most, in KiB.
    pub fn peak_memory(&self) -> u64 {
        self.status("VmHWM:")
    }

    fn status(&self, key: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))
            .expect("its status");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(key))
            .unwrap_or_else(|| panic!("no {key}"));
        line.trim()
            .trim_end_matches(" kB")
            .parse()
            .expect("a number")
    }

    /// The names of its threads.
    pub fn threads(&self) -> Vec<String> {
        let tasks =
            std::fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("its threads");
        let names = tasks
            .flatten()
            .filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
        names.map(|name| name.trim().to_owned()).collect()
    }

    /// Waits for the end of the process.
    pub fn ended(&mut self) -> ExitStatus {
        let child = &mut self.child;
        eventually("the gateway to end", || child.try_wait().expect("a child"))
    }

    /// Ends it as an operator does, and says how long it took.
    pub fn stop(&mut self) -> Duration {
        let began = Instant::now();
        self.signal(Signal::TERM);
        let status = self.ended();
        assert_eq!(status.code(), Some(0), "{}", self.stderr());
        began.elapsed()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the gateway's stderr\n{}", self.stderr());
            let log = self.stdout.lock().unwrap();
            let last: Vec<&str> = log.lines().rev().take(10).collect();
            eprintln!(
                "--- the end of its access log, last line first\n{}",
                last.join("\n")
            );
        }
    }
}

/// Reads a pipe to its end, so that the child never waits for it.
fn collect(pipe: impl Read + Send + 'static, into: Text) {
    std::thread::spawn(move || {
        let mut pipe = BufReader::new(pipe);
        let mut line = Vec::new();
        while pipe.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            into.lock()
                .unwrap()
                .push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    });
}
