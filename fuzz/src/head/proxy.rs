//! From a client to an upstream and back. Both may send anything.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Method, StatusCode, header};
use portcullis_core::SharedService;
use portcullis_core::connect::{ConnectCx, ConnectError, Connected, Connector};
use portcullis_core::handler::BoxFuture;
use portcullis_core::http1::{HeadLimits, RequestHead};
use portcullis_core::testing::fuzz::forwarding;
use portcullis_core::upstream::Endpoint;

use super::connection::{InFront, Met, one_each, same_requests, serve};
use super::stream::{End, Message};
use super::{clean, plain, replies, requests};
use crate::cut::{Dice, cut};
use crate::script::{Script, State};

/// What stands between the bytes of a client and each of the upstream's answers.
const SEPARATOR: &[u8] = b"\n=\n";

/// The bytes of the client, and what an upstream says when it is asked for the first, second and third time; then it
/// says the last again. An answer of nothing closes the connection.
pub(super) fn split(data: &[u8]) -> (&[u8], Vec<&[u8]>) {
    let mut parts = Vec::new();
    let mut rest = data;
    while let Some(at) = rest
        .windows(SEPARATOR.len())
        .position(|part| part == SEPARATOR)
    {
        parts.push(&rest[..at]);
        rest = &rest[at + SEPARATOR.len()..];
    }
    if parts.is_empty() {
        return (rest, parts);
    }
    parts.push(rest);
    let client = parts.remove(0);
    (client, parts)
}

/// Forwards what the client asks to an upstream that answers with these.
pub(super) fn check(data: &[u8], answers: &[&[u8]]) {
    let mut dice = Dice::of(data);
    let limits = HeadLimits::default();
    let (expected, end) = requests::read(&[data], &limits);
    let closes = dice.roll(4) == 0;
    let reads = cut(data, &mut dice);
    let upstream = Arc::new(Scripted {
        answers: Arc::new(Mutex::new(Said {
            left: answers.iter().map(|answer| answer.to_vec()).collect(),
            dice,
        })),
        connections: Mutex::default(),
    });
    let met = Arc::new(Mutex::new(Met::default()));
    let service = SharedService::new(InFront {
        met: met.clone(),
        inner: forwarding(upstream.clone()),
    });
    let written = serve(&reads, closes, service);
    let met = std::mem::take(&mut *met.lock().expect("nothing panicked"));
    same_requests(&met.heads, &expected, &end);

    let methods: Vec<&Method> = met.heads.iter().map(|head| &head.method).collect();
    let (replies, _) = replies::read(&written, &methods);
    for (number, reply) in replies.iter().enumerate() {
        if reply.head.status == StatusCode::SWITCHING_PROTOCOLS {
            assert!(expected[number].head.upgrade && met.heads.len() == number + 1);
        }
    }
    let switched = replies
        .last()
        .is_some_and(|last| last.head.status == StatusCode::SWITCHING_PROTOCOLS);
    let broke = replies.last().is_some_and(|last| last.body.is_err());
    if !switched && !broke {
        // Who closes while waiting for a reply is gone.
        let gone = closes || matches!(end, End::Body(..));
        one_each(&replies, &met.heads, &expected, &end, closes, gone);
    }
    for connection in &*upstream.connections.lock().expect("nothing panicked") {
        let received = std::mem::take(&mut connection.state().written);
        got(&received, &expected);
    }
}

/// What an upstream gets are requests that the client sent, each as it was meant, and nothing else.
fn got(received: &[u8], expected: &[Message<RequestHead>]) {
    // As written, heads are longer than as they came.
    let limits = HeadLimits {
        max_head_bytes: usize::MAX,
        max_headers: usize::MAX >> 16,
        ..HeadLimits::default()
    };
    let (messages, end) = requests::read(&[received], &limits);
    let mut tunnel = false;
    for message in &messages {
        let head = &message.head;
        clean::target(&head.method, &head.uri);
        clean::fields(&head.headers, head.upgrade);
        for name in ["x-forwarded-for", "x-forwarded-proto", "x-real-ip"] {
            assert_eq!(plain::all(&head.headers, name).len(), 1, "{name}");
        }
        let meant = expected.iter().any(|sent| {
            let same_host = head.headers.get(header::HOST) == sent.head.headers.get(header::HOST);
            head.method == sent.head.method
                && (same_host || sent.head.uri.authority().is_some())
                && message.body == sent.body
        });
        // Behind the head of a tunnel stands what is no request.
        tunnel |= head.upgrade;
        assert!(meant || tunnel, "nobody asked {head:?}");
        if tunnel {
            return;
        }
    }
    // A request of HTTP/1.0 has an empty host, if it has none.
    let hostless = matches!(
        end,
        End::Head(portcullis_core::http1::HeadError::InvalidHost)
    );
    let known = |sent: &Message<RequestHead>| sent.head.headers.contains_key(header::HOST);
    assert!(
        !matches!(end, End::Head(_)) || hostless && !expected.iter().all(known),
        "{end:?}: {}",
        received.escape_ascii()
    );
}

/// Makes connections to an upstream that says what it was told to.
struct Scripted {
    answers: Arc<Mutex<Said>>,
    connections: Mutex<Vec<Script>>,
}

struct Said {
    left: VecDeque<Vec<u8>>,
    dice: Dice,
}

impl Said {
    fn next(&mut self) -> Option<Vec<Bytes>> {
        let answer = match self.left.len() {
            0 => return None,
            1 => self.left.front().cloned()?,
            _ => self.left.pop_front()?,
        };
        let reads = cut(&answer, &mut self.dice);
        let reads: Vec<_> = reads.into_iter().map(Bytes::copy_from_slice).collect();
        (!reads.is_empty()).then_some(reads)
    }
}

impl std::fmt::Debug for Scripted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Scripted")
    }
}

impl Connector for Scripted {
    fn connect<'a>(
        &'a self,
        _: &'a Endpoint,
        _: ConnectCx<'a>,
    ) -> BoxFuture<'a, Result<Connected, ConnectError>> {
        let answers = self.answers.clone();
        let script = Script::new(State {
            pauses: true,
            answers: Some(Box::new(move || {
                answers.lock().expect("nothing panicked").next()
            })),
            ..State::default()
        });
        let transport = script.transport();
        self.connections
            .lock()
            .expect("nothing panicked")
            .push(script);
        Box::pin(async { Ok(Connected::new(transport)) })
    }
}
