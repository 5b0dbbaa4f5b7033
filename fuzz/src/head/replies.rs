//! What a client gets.

use bytes::BytesMut;
use http::{Method, StatusCode, header};
use portcullis_core::http1::{HeadLimits, ResponseHead, ScanState, parse_response};

use super::stream::{Body, End, Wire};

/// A reply.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) head: ResponseHead,
    /// Or how it broke off; then it is the last.
    pub(super) body: Result<Body, End>,
}

/// Reads what was written to a client that sent requests with these methods, and then perhaps something that is none.
/// Behind 101 the rest is that of the tunnel.
pub(super) fn read(written: &[u8], methods: &[&Method]) -> (Vec<Reply>, Vec<u8>) {
    let limits = HeadLimits::default();
    let pieces = [written];
    let mut wire = Wire::new(&pieces);
    wire.read();
    let mut replies: Vec<Reply> = Vec::new();
    while !wire.buf.is_empty() {
        if let Some(last) = replies.last() {
            assert!(
                last.head.keep_alive && last.body.is_ok(),
                "more is written behind the last reply: {}",
                written.escape_ascii()
            );
        }
        let method = methods.get(replies.len());
        let Some(head) = final_head(&mut wire.buf, method.unwrap_or(&&Method::GET), &limits) else {
            break;
        };
        assert!(head.headers.contains_key(header::DATE));
        for name in ["keep-alive", "proxy-connection", "te"] {
            assert!(!head.headers.contains_key(name), "a reply has `{name}`");
        }
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            let tunnel = wire.buf.to_vec();
            let body = Ok(Body::default());
            replies.push(Reply { head, body });
            return (replies, tunnel);
        }
        let body = wire.body(head.framing, &limits);
        replies.push(Reply { head, body });
    }
    (replies, Vec::new())
}

/// Reads a head behind any interim ones, if there is one: a client that is gone may get no more than those.
fn final_head(buf: &mut BytesMut, method: &Method, limits: &HeadLimits) -> Option<ResponseHead> {
    while !buf.is_empty() {
        let head = parse_response(buf, &mut ScanState::default(), method, limits)
            .expect("a reply is well-formed")
            .expect("a reply is whole");
        if !head.status.is_informational() || head.status == StatusCode::SWITCHING_PROTOCOLS {
            return Some(head);
        }
    }
    None
}
