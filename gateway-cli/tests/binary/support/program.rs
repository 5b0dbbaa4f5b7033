//! Any program that serves on a port.

use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Output, Stdio};

use super::eventually;

/// A running program; killed when dropped.
pub struct Program(Child);

impl Program {
    /// Starts it, and waits until it takes connections at `address`.
    pub fn serve(mut command: Command, address: SocketAddr) -> Self {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        let mut program = Self(child);
        eventually("the program to serve", || {
            let ended = program.0.try_wait().expect("a child");
            assert!(ended.is_none(), "the program ended: {ended:?}");
            TcpStream::connect(address).ok()
        });
        program
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a command that ends by itself and must succeed; what it printed.
pub fn succeed(command: &mut Command) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = command.stdin(Stdio::null()).output().expect("it starts");
    let (out, err) = (
        String::from_utf8_lossy(&stdout),
        String::from_utf8_lossy(&stderr),
    );
    assert!(status.success(), "{command:?}\n{out}\n{err}");
    out.into_owned()
}
