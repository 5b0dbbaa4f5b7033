//! The server's side of WebSocket (RFC 6455), as much of it as sending messages back takes.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::header::{SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::{HeaderValue, StatusCode};
use http_body::{Body as HttpBody, Frame};
use portcullis::{Body, ErrorClass, GatewayError, Request};

/// What the accept value is made with (RFC 6455 1.3).
const MAGIC: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Frames longer than this are refused.
const MAX_FRAME: u64 = 16 << 20;

/// The reply that accepts a WebSocket; `None` when the request has no key.
pub(super) fn accept(request: &Request) -> Option<http::Response<()>> {
    let key = request.headers().get(SEC_WEBSOCKET_KEY)?.to_str().ok()?;
    let digest = aws_lc_rs::digest::digest(
        &aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY,
        format!("{key}{MAGIC}").as_bytes(),
    );
    let mut response = http::Response::new(());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(
        SEC_WEBSOCKET_ACCEPT,
        HeaderValue::from_str(&STANDARD.encode(digest.as_ref())).ok()?,
    );
    Some(response)
}

/// Sends every message back, answers pings and the close handshake.
pub(super) struct Echo {
    client: Body,
    received: BytesMut,
    over: bool,
}

impl Echo {
    pub(super) fn new(client: Body) -> Self {
        Self {
            client,
            received: BytesMut::new(),
            over: false,
        }
    }
}

impl HttpBody for Echo {
    type Data = Bytes;
    type Error = GatewayError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, GatewayError>>> {
        let this = &mut *self;
        loop {
            if this.over {
                return Poll::Ready(None);
            }
            match next_frame(&mut this.received) {
                Err(problem) => {
                    this.over = true;
                    let error = GatewayError::new(ErrorClass::BadRequest, problem);
                    return Poll::Ready(Some(Err(error)));
                }
                Ok(Some(frame)) => {
                    this.over = frame.opcode == Opcode::Close;
                    if let Some(reply) = frame.reply() {
                        return Poll::Ready(Some(Ok(Frame::data(reply))));
                    }
                }
                Ok(None) => match ready!(Pin::new(&mut this.client).poll_frame(cx)) {
                    None => this.over = true,
                    Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                    Some(Ok(frame)) => {
                        if let Ok(data) = frame.into_data() {
                            this.received.extend_from_slice(&data);
                        }
                    }
                },
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Opcode {
    Data(u8),
    Close,
    Ping,
    Pong,
}

struct Message {
    /// FIN and the reserved bits, as received: extensions are sent back as they came.
    flags: u8,
    opcode: Opcode,
    payload: BytesMut,
}

impl Message {
    fn reply(self) -> Option<Bytes> {
        let code = match self.opcode {
            Opcode::Data(code) => code,
            Opcode::Close => 8,
            Opcode::Ping => 10,
            Opcode::Pong => return None,
        };
        let mut out = BytesMut::with_capacity(self.payload.len() + 10);
        out.put_u8(self.flags | code);
        match self.payload.len() {
            length @ 0..=125 => out.put_u8(length as u8),
            length @ 126..=0xffff => {
                out.put_u8(126);
                out.put_u16(length as u16);
            }
            length => {
                out.put_u8(127);
                out.put_u64(length as u64);
            }
        }
        out.extend_from_slice(&self.payload);
        Some(out.freeze())
    }
}

/// Takes one whole frame out of `buf`.
fn next_frame(buf: &mut BytesMut) -> Result<Option<Message>, &'static str> {
    let [first, second, ..] = **buf else {
        return Ok(None);
    };
    if second & 0x80 == 0 {
        return Err("reading a WebSocket frame: a client must mask it");
    }
    let mut rest = &buf[2..];
    let length = match second & 0x7f {
        126 if rest.len() >= 2 => u64::from(rest.get_u16()),
        127 if rest.len() >= 8 => rest.get_u64(),
        126 | 127 => return Ok(None),
        length => u64::from(length),
    };
    if length > MAX_FRAME {
        return Err("reading a WebSocket frame: it is longer than 16 MiB");
    }
    let length = length as usize;
    if rest.len() < 4 + length {
        return Ok(None);
    }
    let head = buf.len() - rest.len();
    buf.advance(head);
    let mask = buf.split_to(4);
    let mut payload = buf.split_to(length);
    for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
    Ok(Some(Message {
        flags: first & 0xf0,
        opcode: match first & 0x0f {
            code @ 0..=2 => Opcode::Data(code),
            8 => Opcode::Close,
            9 => Opcode::Ping,
            10 => Opcode::Pong,
            _ => return Err("reading a WebSocket frame: its kind is not known"),
        },
        payload,
    }))
}
