//! How often the allocator is asked for a request over connections that are kept.
//!
//! Everything the process allocates is counted, so the client and the upstream of these tests use nothing but blocking
//! sockets and arrays: in the steady state they allocate nothing, and what is left is the gateway's.
//!
//! A budget is what was counted when it was set. One that is exceeded is raised on purpose, with a reason in the commit;
//! one that is not reached any more is lowered. What the request to the plain gateway asks for:
//!
//! | times | for |
//! |---|---|
//! | 1 | the record of the exchange, as an entry of the request's extensions |
//! | 1 | the future of the listener's stack |
//! | 1 | the future of the route's chain, up to the socket |
//!
//! An id of a request is one more. Beside these a request over HTTP/2 asks for its task, its stream, its body, the
//! fields that came and their values, `Host`, `Date`, and the bytes of the reply.

#![allow(
    clippy::unwrap_used,
    reason = "a test stops where something unexpected happens"
)]

use std::alloc::System;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Mutex, MutexGuard, PoisonError};

use portcullis::Gateway;
use portcullis::gateway::GatewayHandle;
use portcullis_tests::PATIENCE;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Requests before anything is counted: buffers, known lines and lazily made tables are there afterwards.
const WARM_UP: usize = 200;
/// Requests over which is counted. What happens once in a while is shared by so many that it is rounded away.
const COUNTED: usize = 1_000;

const BODY: [u8; 1024] = [b'x'; 1024];
const GET: &str =
    "GET /orders/7 HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: counter/1\r\nAccept: */*\r\n\r\n";
const POST: &str = "POST /orders HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: counter/1\r\n\
    Content-Type: application/json\r\nContent-Length: 16\r\n\r\n{\"article\":4711}";

#[test]
fn a_get_stays_within_its_budget() {
    let gateway = Counted::start("");
    let mut client = Http1::connect(gateway.addr);
    assert_within(3, gateway.cost(|| client.ask(GET)));
}

#[test]
fn a_get_with_a_request_id_stays_within_its_budget() {
    let gateway = Counted::start("{ type: request-id }");
    let mut client = Http1::connect(gateway.addr);
    assert_within(4, gateway.cost(|| client.ask(GET)));
}

#[test]
fn a_get_through_four_filters_stays_within_its_budget() {
    let gateway = Counted::start(
        "{ type: request-id }, { type: body-limit, max: 1MiB }, \
         { type: headers, request: { set: { x-canary: \"1\" }, remove: [x-debug] } }, \
         { type: headers, response: { add: { x-served-by: gateway } } }",
    );
    let mut client = Http1::connect(gateway.addr);
    assert_within(4, gateway.cost(|| client.ask(GET)));
}

#[test]
fn a_post_stays_within_its_budget() {
    let gateway = Counted::start("");
    let mut client = Http1::connect(gateway.addr);
    assert_within(3, gateway.cost(|| client.ask(POST)));
}

#[test]
fn a_get_over_http2_stays_within_its_budget() {
    let gateway = Counted::start("");
    let mut client = Http2::connect(gateway.addr);
    assert_within(17, gateway.cost(|| client.get()));
}

#[track_caller]
fn assert_within(budget: usize, counted: usize) {
    assert!(
        counted <= budget,
        "a request asks the allocator {counted} times, its budget is {budget}"
    );
}

/// A gateway with one worker and one route to an upstream that answers 1 KiB.
struct Counted {
    addr: SocketAddr,
    runtime: tokio::runtime::Runtime,
    _handle: GatewayHandle,
    _alone: MutexGuard<'static, ()>,
}

impl Counted {
    fn start(filters: &str) -> Self {
        // Where tests share a process they take turns.
        static TURN: Mutex<()> = Mutex::new(());
        let alone = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let yaml = format!(
            "listeners: [{{ name: web, bind: \"127.0.0.1:0\", filters: [{filters}] }}]\n\
             routes: [{{ name: all, backends: [{{ upstream: up }}] }}]\n\
             upstreams: [{{ name: up, endpoints: [\"{}\"] }}]\n",
            upstream()
        );
        let registry = portcullis::registry().build().unwrap();
        let gateway = Gateway::builder(registry)
            .yaml(yaml)
            .workers(1)
            .without_admin()
            .build();
        let gateway = gateway.unwrap_or_else(|error| panic!("{error}"));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let handle = runtime.block_on(gateway.start()).unwrap();
        Self {
            addr: handle.local_addr("web").unwrap(),
            runtime,
            _handle: handle,
            _alone: alone,
        }
    }

    /// How often one call of `ask` makes the gateway allocate in the steady state, as a whole number.
    fn cost(&self, mut ask: impl FnMut() -> bool) -> usize {
        // Discovery and the rest of what is no request's work runs only meanwhile.
        self.runtime.block_on(async {
            let mut answered = 0;
            for _ in 0..10 * WARM_UP {
                answered += usize::from(ask());
                if answered == WARM_UP {
                    return;
                }
                tokio::task::yield_now().await;
            }
            panic!("{answered} of {} requests were answered", 10 * WARM_UP);
        });
        let region = Region::new(ALLOCATOR);
        for _ in 0..COUNTED {
            assert!(ask(), "not answered");
        }
        let change = region.change();
        (change.allocations + change.reallocations + COUNTED / 2) / COUNTED
    }
}

/// Answers every request, on one connection after the other, until the process ends.
fn upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let mut reply = b"HTTP/1.1 200 OK\r\nServer: counted\r\nContent-Type: text/plain\r\nContent-Length: 1024\r\n\r\n".to_vec();
    reply.extend_from_slice(&BODY);
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            stream.set_nodelay(true).unwrap();
            let mut message = Message::new();
            while message.read(&mut stream) {
                if stream.write_all(&reply).is_err() {
                    break;
                }
            }
        }
    });
    addr
}

/// Room for one message of HTTP/1 with a counted body.
struct Message {
    bytes: [u8; 4096],
    len: usize,
}

impl Message {
    fn new() -> Self {
        Self {
            bytes: [0; 4096],
            len: 0,
        }
    }

    /// Reads the next message in place of the last; false at the end of the stream.
    fn read(&mut self, stream: &mut TcpStream) -> bool {
        self.len = 0;
        loop {
            match stream.read(&mut self.bytes[self.len..]) {
                Ok(0) | Err(_) => return false,
                Ok(read) => self.len += read,
            }
            if let Some(length) = self.length() {
                assert!(self.len <= length, "more than one message");
                if self.len == length {
                    return true;
                }
            }
        }
    }

    /// How long the message is, once its head is there.
    fn length(&self) -> Option<usize> {
        let bytes = &self.bytes[..self.len];
        let head = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
        let lines = bytes[..head].split(|&byte| byte == b'\n');
        let mut body = 0;
        for line in lines {
            if line.len() > 15 && line[..15].eq_ignore_ascii_case(b"content-length:") {
                let digits = std::str::from_utf8(&line[15..]).unwrap();
                body = digits.trim().parse().unwrap();
            }
        }
        Some(head + body)
    }
}

struct Http1 {
    stream: TcpStream,
    reply: Message,
}

impl Http1 {
    fn connect(addr: SocketAddr) -> Self {
        Self {
            stream: connect(addr),
            reply: Message::new(),
        }
    }

    /// Whether the upstream answered.
    fn ask(&mut self, request: &str) -> bool {
        self.stream.write_all(request.as_bytes()).unwrap();
        let more = self.reply.read(&mut self.stream);
        assert!(more, "the gateway closed the connection");
        self.reply.bytes.starts_with(b"HTTP/1.1 200 ")
    }
}

fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// A client of HTTP/2 that knows as much of it as one GET needs.
struct Http2 {
    stream: TcpStream,
    next: u32,
}

const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

impl Http2 {
    fn connect(addr: SocketAddr) -> Self {
        let mut stream = connect(addr);
        stream
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .unwrap();
        stream
            .write_all(&[0, 0, 0, SETTINGS, 0, 0, 0, 0, 0])
            .unwrap();
        // The connection's window is larger than all replies together (RFC 9113 section 6.9).
        stream
            .write_all(&[0, 0, 4, 8, 0, 0, 0, 0, 0, 0x7f, 0, 0, 0])
            .unwrap();
        Self { stream, next: 1 }
    }

    /// Whether the upstream answered.
    fn get(&mut self) -> bool {
        let id = self.next;
        self.next += 2;
        // GET, http, `/`, and authority, `user-agent` and `accept` as literals that are not remembered (RFC 7541
        // section 6.2.2).
        const FIELDS: &[u8] =
            b"\x82\x86\x84\x01\x0cshop.example\x0f\x2b\x09counter/1\x0f\x04\x03*/*";
        let mut frame = [0; 9 + FIELDS.len()];
        frame[2] = FIELDS.len() as u8;
        frame[3] = HEADERS;
        frame[4] = END_STREAM | END_HEADERS;
        frame[5..9].copy_from_slice(&id.to_be_bytes());
        frame[9..].copy_from_slice(FIELDS);
        self.stream.write_all(&frame).unwrap();
        let (mut good, mut received) = (false, 0);
        loop {
            let mut head = [0; 9];
            self.stream.read_exact(&mut head).unwrap();
            let length =
                usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
            let mut payload = [0; 16 * 1024];
            self.stream.read_exact(&mut payload[..length]).unwrap();
            match (head[3], head[4]) {
                (SETTINGS, 0) => self
                    .stream
                    .write_all(&[0, 0, 0, SETTINGS, ACK, 0, 0, 0, 0])
                    .unwrap(),
                (GOAWAY, _) => panic!("the gateway closed the connection"),
                // `:status: 200` is one byte (RFC 7541 appendix A).
                (HEADERS, _) => good = payload[0] == 0x88,
                (0, _) => received += length,
                _ => continue,
            }
            if head[3] < 2 && head[4] & END_STREAM != 0 {
                return good && received == BODY.len();
            }
        }
    }
}
