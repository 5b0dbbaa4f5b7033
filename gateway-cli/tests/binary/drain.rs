//! SIGTERM: told to everybody, waited for, bounded.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::{Client, Gateway, PATIENCE, eventually, get};

/// An upstream that holds its answer until it is told to go on.
struct Held {
    address: SocketAddr,
    asked: Receiver<()>,
    go_on: Sender<()>,
}

impl Held {
    fn start() -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let ((ask, asked), (go_on, told)) = (channel(), channel());
        std::thread::spawn(move || {
            let (mut stream, _) = socket.accept().unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            while lines
                .next()
                .is_some_and(|line| line.is_ok_and(|line| !line.is_empty()))
            {}
            ask.send(()).unwrap();
            if told.recv().is_ok() {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nheld");
            }
        });
        Self {
            address,
            asked,
            go_on,
        }
    }

    fn configuration(&self, drain: &str) -> String {
        format!(
            "listeners: [{{ name: web, bind: '127.0.0.1:0' }}]\n\
             routes:\n\
             - {{ name: held, match: {{ path: /held }}, backends: [{{ upstream: held }}] }}\n\
             - {{ name: quick, filters: [{{ type: respond, body: quick }}] }}\n\
             upstreams: [{{ name: held, endpoints: ['{}'] }}]\n\
             access_log: {{ path: stdout }}\n\
             limits: {{ drain: {drain} }}\n",
            self.address
        )
    }
}

const PING: u8 = 6;
const GOAWAY: u8 = 7;

/// An HTTP/2 connection without a request; reads frames.
struct Http2(TcpStream);

impl Http2 {
    fn connect(address: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
            .unwrap();
        let mut this = Self(stream);
        assert_eq!(this.frame().unwrap(), 4, "the settings of the server");
        this
    }

    /// The kind of the next frame.
    fn frame(&mut self) -> io::Result<u8> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head)?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        self.0.read_exact(&mut payload)?;
        // The server asks whether its GOAWAY has arrived.
        if head[3] == PING && head[4] == 0 {
            head[4] = 1;
            self.0.write_all(&[&head, &*payload].concat())?;
        }
        Ok(head[3])
    }
}

#[test]
fn sigterm_lets_requests_in_flight_finish_and_tells_everybody_else() {
    let held = Held::start();
    let mut gateway = Gateway::yaml(&held.configuration("20s"));
    let web = gateway.web();
    let mut idle = Client::connect(web).unwrap();
    assert_eq!(idle.get("/").unwrap().text(), "quick");
    let mut fresh = Client::connect(web).unwrap();
    let mut http2 = Http2::connect(web);
    let mut busy = Client::connect(web).unwrap();
    busy.begin("GET", "/held", &[], b"").unwrap();
    held.asked.recv_timeout(PATIENCE).unwrap();

    let began = Instant::now();
    gateway.signal(Signal::TERM);
    assert!(idle.closed(), "an idle connection is closed at once");
    assert!(fresh.closed(), "so is one without a request");
    let frames: Vec<u8> = std::iter::from_fn(|| http2.frame().ok()).collect();
    assert!(frames.contains(&GOAWAY), "{frames:?}");
    assert!(began.elapsed() < Duration::from_secs(10));
    let readiness = gateway.page("/readyz");
    assert_eq!(readiness.status, 503, "{}", readiness.text());
    assert_eq!(gateway.page("/livez").status, 200);
    eventually("new connections to be refused", || {
        get(web, "/").is_err().then_some(())
    });
    assert!(!gateway.folder().join("ready.json").exists());

    held.go_on.send(()).unwrap();
    let (status, headers) = busy.head().unwrap();
    assert_eq!(status, 200);
    assert!(
        headers.contains(&("connection".to_owned(), "close".to_owned())),
        "{headers:?}"
    );
    let mut body = String::new();
    busy.stream.read_to_string(&mut body).unwrap();
    assert_eq!(body, "held");
    assert_eq!(gateway.ended().code(), Some(0), "{}", gateway.stderr());
    assert!(
        began.elapsed() < Duration::from_secs(15),
        "nothing was left to wait for"
    );
    assert_eq!(
        gateway.logged("/held")["status"],
        200,
        "the log is written out"
    );
}

#[test]
fn a_drain_is_bounded() {
    let held = Held::start();
    let mut gateway = Gateway::yaml(&held.configuration("300ms"));
    let mut busy = Client::connect(gateway.web()).unwrap();
    busy.begin("GET", "/held", &[], b"").unwrap();
    held.asked.recv_timeout(PATIENCE).unwrap();
    let took = gateway.stop();
    assert!(
        took >= Duration::from_millis(300) && took < Duration::from_secs(5),
        "{took:?}"
    );
    assert!(
        gateway.stderr().contains("the drain time is over"),
        "{}",
        gateway.stderr()
    );
    assert_eq!(gateway.logged("/held")["aborted"], true);
}

#[test]
fn a_second_signal_ends_the_process_at_once() {
    let held = Held::start();
    let mut gateway = Gateway::yaml(&held.configuration("1h"));
    let mut busy = Client::connect(gateway.web()).unwrap();
    busy.begin("GET", "/held", &[], b"").unwrap();
    held.asked.recv_timeout(PATIENCE).unwrap();
    gateway.signal(Signal::INT);
    eventually("the drain to begin", || {
        gateway.stderr().contains("draining").then_some(())
    });
    assert_eq!(gateway.page("/readyz").status, 503);
    gateway.signal(Signal::INT);
    assert_eq!(gateway.ended().code(), Some(0), "{}", gateway.stderr());
}

#[test]
fn an_idle_gateway_ends_soon() {
    let mut gateway = Gateway::embedded();
    let mut client = Client::connect(gateway.web()).unwrap();
    client.get("/").unwrap();
    let took = gateway.stop();
    // The client keeps its side open, so the gateway waits a moment for it to read.
    assert!(took < Duration::from_secs(8), "{took:?}");
}
