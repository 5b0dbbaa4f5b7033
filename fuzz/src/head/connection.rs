//! Whole connections: what a client gets for its bytes, and what requests they become.

use std::cell::RefCell;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version, header};
use http_body_util::BodyExt;
use portcullis_core::body::Body;
use portcullis_core::error::ErrorClass;
use portcullis_core::http1::{BodyError, BodyFraming, HeadLimits, RequestHead};
use portcullis_core::hygiene::HygieneLayer;
use portcullis_core::settings::HttpSettings;
use portcullis_core::testing::fuzz::serve_http1;
use portcullis_core::upgrade::Upgrade;
use portcullis_core::{GatewayError, Handler, Request, Response, SharedService};
use tower_layer::Layer;

use super::stream::{End, Message};
use super::{clean, replies, requests};
use crate::cut::{Dice, cut};
use crate::script::{Script, State};

/// More than any input has.
const MAX_BODY: usize = 1 << 20;

/// Sends the bytes over a connection, to a service that answers in several ways.
pub(super) fn check(data: &[u8]) {
    let mut dice = Dice::of(data);
    let (expected, end) = requests::read(&[data], &HeadLimits::default());
    // Nothing here ends a tunnel whose client keeps silent.
    let tunnels = expected.iter().any(|message| message.head.upgrade);
    let closes = tunnels || dice.roll(4) > 0;
    let reads = cut(data, &mut dice);
    let met = Arc::new(Mutex::new(Met::new(dice)));
    let service = SharedService::new(InFront {
        met: met.clone(),
        inner: HygieneLayer::default().layer(Behind(met.clone())),
    });
    let written = serve(&reads, closes, service);
    let met = std::mem::take(&mut *met.lock().expect("nothing panicked"));
    same_requests(&met.heads, &expected, &end);

    let broken = matches!(end, End::Body(..));
    for (number, body) in &met.bodies {
        match (body, expected.get(*number)) {
            (Ok((data, trailers)), Some(message)) => {
                assert_eq!(data, &message.body.data);
                assert_eq!(trailers, &message.body.trailers);
            }
            (Ok(_), None) => panic!("a body that broke off counts as whole"),
            (Err(()), Some(_)) => panic!("a whole body was not read"),
            (Err(()), None) => assert!(broken),
        }
    }

    let methods: Vec<&Method> = met.heads.iter().map(|head| &head.method).collect();
    let (replies, tunnel) = replies::read(&written, &methods);
    for (number, reply) in replies.iter().enumerate() {
        let switches = reply.head.status == StatusCode::SWITCHING_PROTOCOLS;
        assert_eq!(reply.head.headers.contains_key(header::UPGRADE), switches);
        if switches {
            // The tunnel leads back, and nothing in it is a request.
            let asked = &expected[number];
            assert!(asked.head.upgrade && met.heads.len() == number + 1);
            assert_eq!(tunnel, data[asked.head_end..]);
            return;
        }
        let echo = met.echoed.contains(&number);
        match (&reply.body, expected.get(number)) {
            (Ok(body), Some(message)) if echo && reply.head.framing != BodyFraming::Empty => {
                assert_eq!(body.data, message.body.data);
            }
            (Ok(_), _) => {}
            // A reply breaks off with the body that it passes on.
            (Err(_), None) if echo && broken => {}
            (Err(fault), _) => panic!("{fault:?}: {}", written.escape_ascii()),
        }
    }
    // One whose body broke off may have nobody left to be answered.
    let gone = matches!(end, End::Body(BodyError::UnexpectedEof, _));
    one_each(&replies, &met.heads, &expected, &end, closes, gone);
}

/// Serves a client that sends this. Gives what it gets.
pub(super) fn serve(reads: &[&[u8]], closes: bool, service: SharedService) -> Vec<u8> {
    let client = Script::new(State {
        pauses: true,
        ..State::saying(reads, closes)
    });
    let peer = format!("{}:1000", clean::PEER);
    let peer = peer.parse().expect("an address");
    let serving = serve_http1(client.transport(), HttpSettings::default(), peer, service);
    on_runtime(serving);
    std::mem::take(&mut client.state().written)
}

/// What a service was asked is what the bytes say, in their order: no body passes for a request.
pub(super) fn same_requests(met: &[Head], expected: &[Message<RequestHead>], end: &End) {
    let broken = matches!(end, End::Body(..));
    assert!(met.len() <= expected.len() + usize::from(broken));
    for (head, expected) in met.iter().zip(expected) {
        let expected = &expected.head;
        assert_eq!(
            (&head.method, &head.uri, &head.headers),
            (&expected.method, &expected.uri, &expected.headers)
        );
        assert_eq!(head.version, expected.version);
    }
}

/// One reply for each request, but perhaps the last whose client is gone, and at most one for what is none.
pub(super) fn one_each(
    replies: &[replies::Reply],
    met: &[Head],
    expected: &[Message<RequestHead>],
    end: &End,
    closes: bool,
    gone: bool,
) {
    for (reply, asked) in replies.iter().zip(met) {
        let old = asked.version == Version::HTTP_10;
        assert!(!old || reply.head.framing != BodyFraming::Chunked);
    }
    let refused = matches!(end, End::Head(_)) || *end == End::InHead && !closes;
    if let Some(last) = replies.get(met.len()) {
        assert!(refused && replies.len() == met.len() + 1 && !last.head.keep_alive);
        assert!(last.head.status.is_client_error() || last.head.status.is_server_error());
    }
    assert!(
        replies.len() >= met.len() || gone && replies.len() + 1 == met.len(),
        "{} replies to {} requests",
        replies.len(),
        met.len()
    );
    let open = replies.last().is_none_or(|last| last.head.keep_alive);
    if open && replies.len() >= met.len() {
        assert!(!refused, "{end:?} was not answered");
        assert_eq!(
            met.len(),
            expected.len() + usize::from(matches!(end, End::Body(..)))
        );
    }
}

/// A body with its trailers, or that it broke off.
type Outcome = Result<(Vec<u8>, Option<HeaderMap>), ()>;

/// What a service was asked.
#[derive(Debug, Default)]
pub(super) struct Met {
    pub(super) heads: Vec<Head>,
    /// Which requests' bodies were read, and what came of it.
    bodies: Vec<(usize, Outcome)>,
    /// Which requests were answered with their own bodies.
    echoed: Vec<usize>,
    dice: Option<Dice>,
}

#[derive(Debug)]
pub(super) struct Head {
    pub(super) method: Method,
    uri: Uri,
    version: Version,
    headers: HeaderMap,
}

impl Met {
    fn new(dice: Dice) -> Self {
        Self {
            dice: Some(dice),
            ..Self::default()
        }
    }

    fn roll(&mut self, sides: usize) -> usize {
        self.dice.as_mut().map_or(0, |dice| dice.roll(sides))
    }
}

/// Writes requests down as they come in.
pub(super) struct InFront<H> {
    pub(super) met: Arc<Mutex<Met>>,
    pub(super) inner: H,
}

impl<H: Handler> Handler for InFront<H> {
    async fn handle(&self, request: Request) -> Result<Response, GatewayError> {
        self.met.lock().expect("nothing panicked").heads.push(Head {
            method: request.method().clone(),
            uri: request.uri().clone(),
            version: request.version(),
            headers: request.headers().clone(),
        });
        self.inner.handle(request).await
    }
}

/// Looks at requests that were cleaned, and answers them.
struct Behind(Arc<Mutex<Met>>);

impl Handler for Behind {
    async fn handle(&self, request: Request) -> Result<Response, GatewayError> {
        let tunnel = Upgrade::of(&request).cloned();
        let (parts, body) = request.into_parts();
        clean::check(&parts, tunnel.is_some());
        let (number, reads, answers) = {
            let mut met = self.0.lock().expect("nothing panicked");
            (met.heads.len() - 1, met.roll(4), met.roll(8))
        };
        if let Some(tunnel) = tunnel {
            // Only one that is open is read from.
            let mut response = Response::new(body);
            if reads > 1 {
                *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
                let protocol = tunnel.protocol().clone();
                response.headers_mut().insert(header::UPGRADE, protocol);
            }
            return Ok(response);
        }
        match reads {
            0 => drop(body),
            1 => {
                self.0.lock().expect("nothing panicked").echoed.push(number);
                return Ok(Response::new(body));
            }
            _ => {
                let whole = body.collect(MAX_BODY).await;
                let failed = whole.is_err();
                let noted = whole
                    .map(|whole| (whole.data.to_vec(), whole.trailers))
                    .map_err(|_| ());
                let mut met = self.0.lock().expect("nothing panicked");
                met.bodies.push((number, noted));
                if failed {
                    return Err(GatewayError::new(ErrorClass::BadRequest, "reading a body"));
                }
            }
        }
        answer(answers)
    }
}

/// Replies of all kinds.
fn answer(kind: usize) -> Result<Response, GatewayError> {
    let text = Bytes::from_static(b"HTTP/1.1 200 OK\r\n\r\n");
    let mut response = Response::new(match kind {
        0 => Body::empty(),
        1 => Body::with_trailers(text, {
            let mut trailers = HeaderMap::new();
            trailers.insert("x-sum", HeaderValue::from_static("1"));
            trailers
        }),
        // Nobody knows its length.
        2 => Body::new(Body::from(text).map_frame(|frame| frame).boxed_unsync()),
        _ => Body::from(text),
    });
    match kind {
        1 => {
            let name = HeaderValue::from_static("x-sum");
            response.headers_mut().insert(header::TRAILER, name);
        }
        3 => *response.status_mut() = StatusCode::NO_CONTENT,
        4 => *response.status_mut() = StatusCode::NOT_MODIFIED,
        5 => return Err(GatewayError::new(ErrorClass::Overloaded, "answering")),
        6 => {
            // What a filter must not be able to do.
            for (name, value) in [
                (header::CONTENT_LENGTH, "5"),
                (header::TRANSFER_ENCODING, "chunked"),
                (header::CONNECTION, "upgrade"),
            ] {
                let value = HeaderValue::from_static(value);
                response.headers_mut().append(name, value);
            }
        }
        _ => {}
    }
    Ok(response)
}

/// Runs a future on the runtime of this thread. Its time passes as soon as nothing else is left to do.
fn on_runtime<T>(future: impl Future<Output = T>) -> T {
    thread_local! {
        static RUNTIME: RefCell<tokio::runtime::Runtime> = RefCell::new(
            tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .expect("a runtime starts"),
        );
    }
    RUNTIME.with_borrow(|runtime| runtime.block_on(future))
}
