//! The first bytes of a connection, and who the client says it is.

mod forwarded;
mod hello;
mod names;

use bytes::Bytes;
use portcullis_core::testing::fuzz::{FirstBytes, first_bytes};
use portcullis_core::tls::client_hello::{Inspection, MAX_PEEK, inspect};

use crate::cut::{Dice, cut};
use crate::script::{Script, State};

/// What an HTTP/2 client sends first (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The first byte says what the rest is: `@` an authority, `=` an address and forwarded fields, `~` what a ClientHello
/// is made of. Anything else is what a connection begins with.
pub fn detect(data: &[u8]) {
    match data.split_first() {
        Some((b'@', rest)) => names::check(rest),
        Some((b'=', rest)) => forwarded::check(rest),
        Some((b'~', rest)) => hello::check(rest),
        _ => {
            plain(data);
            tls(data);
        }
    }
}

/// The protocol is known with the first byte that tells, and nothing that was read is lost.
fn plain(data: &[u8]) {
    let reads = cut(data, &mut Dice::of(data));
    let common = PREFACE.iter().zip(data).take_while(|(a, b)| a == b).count();
    let decided = common < data.len().min(PREFACE.len()) || common == PREFACE.len();
    // The bytes that have been read when the one that tells is among them.
    let mut seen = Vec::new();
    for read in &reads {
        if decided && seen.len() > common.min(PREFACE.len() - 1) {
            break;
        }
        seen.extend_from_slice(read);
    }
    let seen = Bytes::from(seen);
    for closes in [false, true] {
        let expected = match (decided, closes) {
            (true, _) if common == PREFACE.len() => FirstBytes::Http2(seen.clone()),
            (true, _) => FirstBytes::Http1(seen.clone()),
            (false, false) => FirstBytes::Undecided(seen.clone()),
            (false, true) if data.is_empty() => FirstBytes::Nothing,
            (false, true) => FirstBytes::Http1(seen.clone()),
        };
        let client = Script::new(State::saying(&reads, closes));
        assert_eq!(first_bytes(client.transport()), expected);
    }
}

/// Beginnings longer than this are looked at in steps.
const SHORT: usize = 600;

/// The answer does not change with more bytes, and comes before the buffer is full.
pub(crate) fn tls(data: &[u8]) -> Inspection {
    let last = inspect(data);
    let step = 1 + data.len() / SHORT;
    let mut decided: Option<Inspection> = None;
    for length in (0..data.len()).step_by(step) {
        let found = inspect(&data[..length]);
        match (&decided, found) {
            (None, Inspection::Partial) => {
                assert!(length < MAX_PEEK, "a full buffer tells nothing")
            }
            (None, found) => decided = Some(found),
            (Some(before), found) => assert_eq!(*before, found, "another answer with more bytes"),
        }
    }
    if let Some(before) = decided {
        assert_eq!(before, last, "another answer with more bytes");
    }
    if let Inspection::Hello(hello) = &last {
        if let Some(name) = &hello.sni {
            names::assert_dns(name);
        }
        assert!(hello.alpn.iter().all(|name| !name.is_empty()));
    }
    last
}
