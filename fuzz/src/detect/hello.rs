//! ClientHellos, made rather than found: random bytes do not get past their lengths.

use std::io::Cursor;

use arbitrary::{Result, Unstructured};
use portcullis_core::tls::client_hello::{Inspection, MAX_CLIENT_HELLO, inspect};
use rustls::server::Acceptor;

use super::tls;

/// Builds a hello, cuts it into records, perhaps damages it, and asks for what is in it.
pub(super) fn check(data: &[u8]) {
    let mut source = Unstructured::new(data);
    // Unstructured runs dry instead of failing, but for ranges that are empty.
    let _ = build(&mut source);
}

fn build(source: &mut Unstructured<'_>) -> Result<()> {
    let name = name(source)?;
    let protocols: Vec<Vec<u8>> = (0..source.int_in_range(0..=3)?)
        .map(|_| Ok(bytes_of(source, 12)?.to_vec()))
        .collect::<Result<_>>()?;
    let message = message(source, &name, &protocols)?;
    let mut wire = records(source, &message)?;
    let damage = source.int_in_range(0..=3)?;
    for _ in 0..damage {
        let at = source.choose_index(wire.len())?;
        wire[at] = source.arbitrary()?;
    }
    wire.extend_from_slice(bytes_of(source, 8)?);
    let found = tls(&wire);
    like_rustls(&wire, &found);
    if damage > 0 || message.len() > MAX_CLIENT_HELLO {
        return Ok(());
    }
    let valid = protocols.iter().all(|name| !name.is_empty());
    let host = std::str::from_utf8(&name).unwrap_or("?");
    match found {
        Inspection::Hello(hello) => {
            assert!(valid);
            let offered: Vec<&[u8]> = hello.alpn.iter().map(|name| &**name).collect();
            assert_eq!(offered, protocols);
            let shown = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
            if let Some(sni) = hello.sni {
                assert_eq!(*sni, *shown);
            } else {
                assert!(host.is_empty() || host.parse::<std::net::IpAddr>().is_ok());
            }
        }
        Inspection::NotTls => assert!(!valid || !is_usual(host), "a usual hello was refused"),
        Inspection::Partial => panic!("a whole hello is not enough"),
    }
    Ok(())
}

/// The server behind a router must not see another name or protocol than the router.
fn like_rustls(wire: &[u8], found: &Inspection) {
    let mut acceptor = Acceptor::default();
    let mut rest = Cursor::new(wire);
    let accepted = loop {
        match acceptor.read_tls(&mut rest) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        match acceptor.accept() {
            Ok(Some(accepted)) => break accepted,
            Ok(None) => {}
            Err(_) => return,
        }
    };
    let theirs = accepted.client_hello();
    let Inspection::Hello(ours) = found else {
        // Refusing what a server would take is safe.
        return;
    };
    assert_eq!(ours.sni.as_deref(), theirs.server_name());
    let offered: Vec<&[u8]> = theirs.alpn().into_iter().flatten().collect();
    assert!(ours.alpn.iter().map(|name| &**name).eq(offered));
}

fn is_usual(host: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty() && label.len() < 64 && label.bytes().all(|byte| byte.is_ascii_lowercase())
    };
    host.is_empty() || host.len() < 250 && host.split('.').all(label)
}

fn name(source: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    Ok(match source.int_in_range(0..=4)? {
        0 => Vec::new(),
        1 => b"Shop.Example.".to_vec(),
        2 => b"192.0.2.1".to_vec(),
        3 => bytes_of(source, 255)?.to_vec(),
        _ => {
            let letters = bytes_of(source, 24)?.iter();
            letters
                .map(|byte| {
                    if byte % 9 == 0 {
                        b'.'
                    } else {
                        b'a' + byte % 26
                    }
                })
                .collect()
        }
    })
}

fn bytes_of<'u>(source: &mut Unstructured<'u>, most: usize) -> Result<&'u [u8]> {
    let length = source.int_in_range(0..=most)?.min(source.len());
    source.bytes(length)
}

/// RFC 8446, section 4.1.2.
fn message(source: &mut Unstructured<'_>, name: &[u8], protocols: &[Vec<u8>]) -> Result<Vec<u8>> {
    let mut body = vec![3, 3];
    body.extend_from_slice(&[7; 32]);
    body.extend(vector8(&vec![1; source.int_in_range(0..=32)?]));
    body.extend(vector16(&[0x13, 0x01, 0x13, 0x02, 0xc0, 0x2f]));
    body.extend(vector8(&[0]));
    let mut extensions = vec![
        // Versions, groups and signatures, without which no server goes on.
        extension(43, &[4, 3, 4, 3, 3]),
        extension(10, &vector16(&[0, 29])),
        extension(13, &vector16(&[4, 3, 8, 4])),
        extension(51, &vector16(&[&[0, 29][..], &vector16(&[9; 32])].concat())),
    ];
    if !name.is_empty() {
        let entry = [&[0][..], &vector16(name)].concat();
        extensions.push(extension(0, &vector16(&entry)));
    }
    if !protocols.is_empty() {
        let list: Vec<u8> = protocols.iter().flat_map(|name| vector8(name)).collect();
        extensions.push(extension(16, &vector16(&list)));
    }
    for _ in 0..source.int_in_range(0..=2)? {
        let kind = 1000 + source.int_in_range(0..=20_000)?;
        extensions.push(extension(kind, bytes_of(source, 40)?));
    }
    let shift = source.choose_index(extensions.len())?;
    extensions.rotate_left(shift);
    body.extend(vector16(&extensions.concat()));
    let length = u32::try_from(body.len()).unwrap_or(0).to_be_bytes();
    Ok([&[1][..], &length[1..], &body].concat())
}

fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &vector16(content)].concat()
}

fn vector8(content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len()).unwrap_or(0);
    [&[length][..], content].concat()
}

fn vector16(content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap_or(0);
    [&length.to_be_bytes()[..], content].concat()
}

/// The message in one record or several.
fn records(source: &mut Unstructured<'_>, message: &[u8]) -> Result<Vec<u8>> {
    let size = source.int_in_range(1..=message.len())?;
    let mut wire = Vec::new();
    for part in message.chunks(size) {
        wire.extend_from_slice(&[22, 3, 1]);
        wire.extend(vector16(part));
    }
    debug_assert!(inspect(&[]) == Inspection::Partial);
    Ok(wire)
}
