//! More work than memory: refused in time, and taken again afterwards.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::support::{Client, Gateway, PATIENCE, eventually};

/// What the gateway may take beyond what it has when it starts.
const ROOM: u64 = 48 * 1024 * 1024;
/// How far it may go beyond its limit: what comes in between two looks at the memory, on a busy machine.
const SLACK: u64 = 16 * 1024 * 1024;
/// Between two uploads, so that this is not more.
const PACE: Duration = Duration::from_millis(3);
/// Nobody needs more attempts to use the room up.
const MOST: usize = 1500;

/// A gateway with a limit of its memory, and sockets of its own.
struct Limited {
    gateway: Gateway,
    sockets: TempDir,
    /// In bytes.
    limit: u64,
}

impl Limited {
    fn start() -> Self {
        let sockets = tempfile::tempdir().unwrap();
        deaf_upstream(&sockets.path().join("upstream.sock"));
        let gateway = Gateway::yaml(&configuration(sockets.path(), None));
        let limit = gateway.memory() * 1024 + ROOM;
        gateway.write_config(&configuration(sockets.path(), Some(limit)));
        gateway.signal(Signal::HUP);
        eventually("the limit", || {
            let shown = gateway.metric("portcullis_memory_limit_bytes")?;
            (shown == limit as f64).then_some(())
        });
        let this = Self {
            gateway,
            sockets,
            limit,
        };
        assert_eq!(this.pressure(), 0.0);
        assert_eq!(this.gateway.page("/readyz").status, 200);
        this
    }

    fn upload(&self) -> Upload {
        let mut stream = UnixStream::connect(self.sockets.path().join("slow.sock")).unwrap();
        let head = "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 1000000000\r\n\r\n";
        // One that is refused is closed already.
        let _ = stream.write_all(head.as_bytes());
        stream.set_nonblocking(true).unwrap();
        Upload(stream)
    }

    /// 1 when connections are refused, 2 when requests are.
    fn pressure(&self) -> f64 {
        let pressure = self.gateway.metric("portcullis_memory_pressure");
        pressure.expect("the pressure among the metrics")
    }

    fn assert_stayed_within(&self) {
        let peak = self.gateway.peak_memory() * 1024;
        assert!(
            peak < self.limit + SLACK,
            "{peak} bytes at most, with a limit of {}",
            self.limit
        );
    }

    /// Once the load is gone everybody is welcome again, whatever the allocator keeps.
    fn assert_recovers(&self) {
        let began = Instant::now();
        eventually("room", || {
            let mut client = Client::connect(self.gateway.web()).ok()?;
            let reply = client.get("/").ok()?;
            (reply.status == 200).then_some(())
        });
        assert!(began.elapsed() < Duration::from_secs(10));
        assert_eq!(self.pressure(), 0.0);
        assert_eq!(self.gateway.page("/readyz").status, 200);
    }
}

// Unix sockets, because the buffers that the kernel has for those of TCP grow.
fn configuration(sockets: &Path, limit: Option<u64>) -> String {
    let limit = limit.map_or_else(String::new, |limit| {
        format!("limits: {{ memory: {limit} }}\n")
    });
    let sockets = sockets.display();
    format!(
        "{limit}\
         listeners:\n\
         - {{ name: web, bind: '127.0.0.1:0' }}\n\
         - {{ name: slow, bind: 'unix:{sockets}/slow.sock' }}\n\
         routes:\n\
         - {{ name: quick, listeners: [web], filters: [{{ type: respond, body: quick }}] }}\n\
         - {{ name: slow, listeners: [slow], backends: [{{ upstream: slow }}] }}\n\
         upstreams: [{{ name: slow, endpoints: ['unix:{sockets}/upstream.sock'] }}]\n\
         access_log: {{ path: stdout }}\n"
    )
}

/// Takes connections and reads nothing from them.
fn deaf_upstream(socket: &Path) {
    let socket = UnixListener::bind(socket).unwrap();
    std::thread::spawn(move || {
        let mut held = Vec::new();
        while let Ok((stream, _)) = socket.accept() {
            held.push(stream);
        }
    });
}

/// An upload that the upstream does not read.
struct Upload(UnixStream);

impl Upload {
    /// Sends as much as goes.
    fn pump(&mut self) {
        while self.0.write(&[0; 64 * 1024]).is_ok_and(|sent| sent > 0) {}
    }

    /// Whether the gateway has answered or closed.
    fn is_over(&mut self) -> bool {
        !matches!(self.0.read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
    }
}

#[test]
fn connections_are_refused_while_memory_is_short_and_taken_again_afterwards() {
    let limited = Limited::start();
    let mut good = Client::connect(limited.gateway.web()).unwrap();
    let mut idle = TcpStream::connect(limited.gateway.web()).unwrap();
    idle.set_read_timeout(Some(PATIENCE)).unwrap();
    idle.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .unwrap();
    let mut open: Vec<Upload> = Vec::new();
    let (mut refused, mut served_in_spite) = (0, 0);
    for _ in 0..MOST {
        open.push(limited.upload());
        open.iter_mut().rev().take(4).for_each(Upload::pump);
        let before = open.len();
        open.retain_mut(|upload| !upload.is_over());
        refused += before - open.len();
        std::thread::sleep(PACE);
        // Requests on connections that are open, and not idle for long, are served meanwhile.
        let served = good.get("/").unwrap().status == 200;
        served_in_spite += usize::from(served && refused > 0);
        if refused >= 20 {
            break;
        }
    }
    assert!(refused > 0, "{} uploads and none refused", open.len());
    assert!(limited.pressure() >= 1.0);
    assert!(served_in_spite > 0 || limited.pressure() > 1.0);
    let series = r#"portcullis_connections_refused_total{listener="slow",reason="memory"}"#;
    assert!(
        limited
            .gateway
            .metric(series)
            .is_some_and(|count| count > 0.0)
    );
    limited.assert_stayed_within();
    // Those that are idle are not kept.
    assert!(good.closed());
    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).unwrap();

    drop(open);
    limited.assert_recovers();
    limited.assert_stayed_within();
}

#[test]
fn requests_are_refused_when_memory_is_nearly_used_up() {
    let limited = Limited::start();
    let mut good = Client::connect(limited.gateway.web()).unwrap();
    // They are let in all of them, as they use little so far.
    let mut uploads: Vec<Upload> = (0..400).map(|_| limited.upload()).collect();
    let mut refusal = None;
    for upload in &mut uploads {
        for _ in 0..3 {
            upload.pump();
            std::thread::sleep(PACE / 3);
        }
        let reply = good.get("/").unwrap();
        if reply.status != 200 {
            refusal = Some(reply);
            break;
        }
    }
    let refusal = refusal.expect("a refusal");
    assert_eq!(
        (refusal.status, refusal.header("retry-after")),
        (503, Some("1"))
    );
    eventually("the refusal in the log", || {
        let log = limited.gateway.log();
        log.iter().find(|line| line["reason"] == "memory").cloned()
    });
    assert_eq!(limited.pressure(), 2.0);
    assert_eq!(limited.gateway.page("/readyz").status, 503);
    assert_eq!(limited.gateway.page("/livez").status, 200);
    let series = r#"portcullis_requests_refused_total{listener="web",reason="memory"}"#;
    assert!(
        limited
            .gateway
            .metric(series)
            .is_some_and(|count| count > 0.0)
    );
    limited.assert_stayed_within();

    drop(uploads);
    limited.assert_recovers();
}
