//! Reads a TLS ClientHello without consuming or answering it.
//!
//! A listener that peeks at the first bytes of a connection learns here whether they are TLS and, before
//! any handshake, for which server name and protocols: enough to tell TLS from plain text on one port,
//! and to route a connection that is passed through unopened.
//!
//! With Encrypted Client Hello (RFC 9849) what is visible, and returned, is the outer name.

use std::borrow::Cow;
use std::net::IpAddr;

use super::names::dns_name;

/// The longest ClientHello read, in bytes of the handshake message with its header. Real ones have 200 to 2,000
/// (post-quantum key shares included).
pub const MAX_CLIENT_HELLO: usize = 16 * 1024;

/// A size for peek buffers: holds the longest ClientHello in up to 64 records. A connection whose
/// full buffer is still [`Inspection::Partial`] is not worth waiting for.
pub const MAX_PEEK: usize = MAX_CLIENT_HELLO + 64 * RECORD_HEADER;

const RECORD_HEADER: usize = 5;
const HANDSHAKE_HEADER: usize = 4;
/// The longest plain-text record (RFC 8446, section 5.1).
const MAX_RECORD: usize = 1 << 14;
const CONTENT_HANDSHAKE: u8 = 22;
const HANDSHAKE_CLIENT_HELLO: u8 = 1;
const EXTENSION_SERVER_NAME: u16 = 0;
const EXTENSION_ALPN: u16 = 16;

/// What the first bytes of a connection are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inspection {
    /// No ClientHello: another protocol, or a hello that is malformed or longer than [`MAX_CLIENT_HELLO`].
    /// More bytes do not change that.
    NotTls,
    /// A beginning of a ClientHello (or nothing yet): ask again with more bytes.
    Partial,
    /// A complete ClientHello.
    Hello(ClientHello),
}

/// What a client asks for, all of it unverified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientHello {
    /// The server name, lower case, without trailing dot. `None` when the client sent none, or an IP address
    /// (which RFC 6066, section 3, does not permit there).
    pub sni: Option<Box<str>>,
    /// The protocols offered, in the client's order; empty without the extension.
    pub alpn: Vec<Box<[u8]>>,
}

impl ClientHello {
    /// Whether the client offers `protocol`.
    #[must_use]
    pub fn offers(&self, protocol: &[u8]) -> bool {
        self.alpn.iter().any(|offered| &**offered == protocol)
    }
}

/// Looks at the first bytes of a connection.
///
/// The hello may be spread over any number of records. Bytes after it are ignored. The work is linear in the
/// length of `bytes`; one allocation happens for a hello of several records, and one per name found.
#[must_use]
pub fn inspect(bytes: &[u8]) -> Inspection {
    match handshake_message(bytes) {
        Outcome::Wrong => Inspection::NotTls,
        Outcome::Short => Inspection::Partial,
        Outcome::Message(message) => match parse_hello(&message) {
            Some(hello) => Inspection::Hello(hello),
            None => Inspection::NotTls,
        },
    }
}

enum Outcome<'a> {
    Wrong,
    Short,
    /// The body of the ClientHello, without its header.
    Message(Cow<'a, [u8]>),
}

/// Puts the first handshake message together from its records.
fn handshake_message(bytes: &[u8]) -> Outcome<'_> {
    let mut rest = bytes;
    let mut assembled: Cow<'_, [u8]> = Cow::Borrowed(&[]);
    loop {
        let Some((fragment, complete, after)) = next_record(rest) else {
            return Outcome::Wrong;
        };
        if assembled.is_empty() {
            assembled = Cow::Borrowed(fragment);
        } else {
            assembled.to_mut().extend_from_slice(fragment);
        }
        if assembled
            .first()
            .is_some_and(|kind| *kind != HANDSHAKE_CLIENT_HELLO)
        {
            return Outcome::Wrong;
        }
        if let Some(&[_, high, middle, low]) = assembled.first_chunk::<HANDSHAKE_HEADER>() {
            let length = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
            if length > MAX_CLIENT_HELLO - HANDSHAKE_HEADER {
                return Outcome::Wrong;
            }
            let end = HANDSHAKE_HEADER + length;
            if assembled.len() >= end {
                return Outcome::Message(match assembled {
                    Cow::Borrowed(all) => Cow::Borrowed(&all[HANDSHAKE_HEADER..end]),
                    Cow::Owned(all) => Cow::Owned(all[HANDSHAKE_HEADER..end].to_vec()),
                });
            }
        }
        if !complete {
            return Outcome::Short;
        }
        rest = after;
    }
}

/// What is there of the next record: its content so far, whether that is all of it, and what follows. `None`
/// when this is no handshake record.
fn next_record(bytes: &[u8]) -> Option<(&[u8], bool, &[u8])> {
    let header = &bytes[..bytes.len().min(RECORD_HEADER)];
    // Versions 3.0 to 3.4: hellos say 3.1 or 3.3, and readers must not insist (RFC 8446, section 5.1).
    let plausible = |(position, byte): (usize, &u8)| match position {
        0 => *byte == CONTENT_HANDSHAKE,
        1 => *byte == 3,
        2 => *byte <= 4,
        _ => true,
    };
    if !header.iter().enumerate().all(plausible) {
        return None;
    }
    let Some(&[_, _, _, high, low]) = bytes.first_chunk::<RECORD_HEADER>() else {
        return Some((&[], false, &[]));
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    // Handshake records must not be empty (RFC 8446, section 5.1), so fragments always make progress.
    if !(1..=MAX_RECORD).contains(&length) {
        return None;
    }
    let body = &bytes[RECORD_HEADER..];
    Some(match body.split_at_checked(length) {
        Some((fragment, after)) => (fragment, true, after),
        None => (body, false, &[]),
    })
}

/// RFC 8446, section 4.1.2, and RFC 5246, section 7.4.1.2.
fn parse_hello(body: &[u8]) -> Option<ClientHello> {
    let mut reader = Reader(body);
    reader.take(2 + 32)?;
    let session_id = reader.vector8()?;
    let cipher_suites = reader.vector16()?;
    let compressions = reader.vector8()?;
    let suites_are_valid = !cipher_suites.is_empty() && cipher_suites.len() % 2 == 0;
    if session_id.len() > 32 || !suites_are_valid || compressions.is_empty() {
        return None;
    }
    let mut hello = ClientHello::default();
    // TLS 1.2 clients may leave out the whole block.
    if reader.is_empty() {
        return Some(hello);
    }
    let mut extensions = Reader(reader.vector16()?);
    if !reader.is_empty() {
        return None;
    }
    // A repeated extension (forbidden by RFC 8446, section 4.2) is refused where the two readings of this
    // router and of the server behind it could differ.
    let (mut has_name, mut has_alpn) = (false, false);
    while !extensions.is_empty() {
        let kind = extensions.u16()?;
        let content = extensions.vector16()?;
        match kind {
            EXTENSION_SERVER_NAME if !has_name => {
                has_name = true;
                hello.sni = server_name(content)?;
            }
            EXTENSION_ALPN if !has_alpn => {
                has_alpn = true;
                hello.alpn = protocols(content)?;
            }
            EXTENSION_SERVER_NAME | EXTENSION_ALPN => return None,
            _ => {}
        }
    }
    Some(hello)
}

/// RFC 6066, section 3. The outer `None` is a malformed extension.
fn server_name(content: &[u8]) -> Option<Option<Box<str>>> {
    let mut reader = Reader(content);
    let mut names = Reader(reader.vector16()?);
    let kind = names.u8()?;
    let name = names.vector16()?;
    // One name of type host_name: no other type was ever defined.
    if kind != 0 || !names.is_empty() || !reader.is_empty() {
        return None;
    }
    let name = std::str::from_utf8(name).ok()?;
    if name.parse::<IpAddr>().is_ok() {
        return Some(None);
    }
    Some(Some(dns_name(name)?.into()))
}

/// RFC 7301, section 3.1.
fn protocols(content: &[u8]) -> Option<Vec<Box<[u8]>>> {
    let mut reader = Reader(content);
    let mut list = Reader(reader.vector16()?);
    if list.is_empty() || !reader.is_empty() {
        return None;
    }
    let mut protocols = Vec::new();
    while !list.is_empty() {
        let protocol = list.vector8()?;
        if protocol.is_empty() {
            return None;
        }
        protocols.push(protocol.into());
    }
    Some(protocols)
}

/// Takes bytes from the front; `None` when too few are left.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn u16(&mut self) -> Option<u16> {
        let bytes = self.take(2)?;
        Some(u16::from_be_bytes(bytes.try_into().ok()?))
    }

    fn vector8(&mut self) -> Option<&'a [u8]> {
        let length = self.u8()?;
        self.take(usize::from(length))
    }

    fn vector16(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }
}

#[cfg(test)]
mod tests;
