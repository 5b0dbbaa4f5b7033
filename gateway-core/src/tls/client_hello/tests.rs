use std::sync::Arc;

use proptest::prelude::*;
use rustls::{ClientConnection, RootCertStore};
use rustls_pki_types::ServerName;

use super::*;
use crate::tls::provider;

/// A hello as rustls sends it.
fn real_hello(name: &str, alpn: &[&[u8]]) -> Vec<u8> {
    let mut config = rustls::ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut bytes = Vec::new();
    connection.write_tls(&mut bytes).unwrap();
    bytes
}

/// Wraps a handshake message into records of the given lengths, the rest into a last one.
fn records(message: &[u8], lengths: &[usize]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = message;
    for length in lengths.iter().copied().chain([MAX_RECORD]) {
        let (fragment, after) = rest.split_at(length.min(rest.len()));
        if !fragment.is_empty() {
            out.extend([22, 3, 1]);
            out.extend((fragment.len() as u16).to_be_bytes());
            out.extend(fragment);
        }
        rest = after;
    }
    out
}

fn vector16(content: &[u8]) -> Vec<u8> {
    let mut out = (content.len() as u16).to_be_bytes().to_vec();
    out.extend(content);
    out
}

/// A minimal hello with the given extensions, in one record.
fn hello_with(extensions: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (kind, content) in extensions {
        block.extend(kind.to_be_bytes());
        block.extend(vector16(content));
    }
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0x13, 0x01, 1, 0]);
    body.extend(vector16(&block));
    message(&body)
}

fn message(body: &[u8]) -> Vec<u8> {
    let mut message = vec![1];
    message.extend(&(body.len() as u32).to_be_bytes()[1..]);
    message.extend(body);
    records(&message, &[])
}

fn sni(name: &[u8]) -> (u16, Vec<u8>) {
    let mut entry = vec![0];
    entry.extend(vector16(name));
    (0, vector16(&entry))
}

fn sni_of(bytes: &[u8]) -> Option<Option<String>> {
    match inspect(bytes) {
        Inspection::Hello(hello) => Some(hello.sni.map(String::from)),
        _ => None,
    }
}

#[test]
fn a_real_hello_gives_name_and_protocols() {
    let bytes = real_hello("Shop.Example", &[b"h2", b"http/1.1"]);
    let Inspection::Hello(hello) = inspect(&bytes) else {
        panic!("not recognised");
    };
    assert_eq!(hello.sni.as_deref(), Some("shop.example"));
    assert!(hello.offers(b"h2") && hello.offers(b"http/1.1") && !hello.offers(b"h3"));
    assert_eq!(sni_of(&real_hello("10.0.0.1", &[])), Some(None));
}

#[test]
fn every_prefix_asks_for_more() {
    let bytes = real_hello("shop.example", &[b"h2"]);
    for length in 0..bytes.len() {
        assert_eq!(inspect(&bytes[..length]), Inspection::Partial, "{length}");
    }
    let mut followed = bytes.clone();
    followed.extend(b"\x17\x03\x03 anything");
    assert_eq!(inspect(&followed), inspect(&bytes));
}

#[test]
fn other_protocols_are_told_from_their_first_bytes() {
    let others: [&[u8]; 9] = [
        b"G",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"SSH-2.0-x\r\n",
        b"\x00",
        b"\x16\x02",
        b"\x16\x03\x05",
        b"\x17\x03\x03\x00\x01",
        b"\x16\x03\x01\x00\x00",
        b"\x16\x03\x01\x00\x04\x02",
    ];
    for bytes in others {
        assert_eq!(inspect(bytes), Inspection::NotTls, "{bytes:?}");
    }
}

#[test]
fn the_length_is_bounded() {
    let too_long = [22, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfd];
    assert_eq!(inspect(&too_long), Inspection::NotTls);
    let longest = [22, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfc];
    assert_eq!(inspect(&longest), Inspection::Partial);
    let record_too_long = [22, 3, 1, 0x40, 1];
    assert_eq!(inspect(&record_too_long), Inspection::NotTls);
    let padding = (21, vec![0; MAX_CLIENT_HELLO - 4 - 2 - 32 - 7 - 2 - 4]);
    let full = hello_with(&[padding]);
    assert_eq!(full.len(), RECORD_HEADER + MAX_CLIENT_HELLO);
    assert_eq!(sni_of(&full), Some(None));
    let one_by_64 = records(&full[RECORD_HEADER..], &[256; 64]);
    assert!(one_by_64.len() <= MAX_PEEK);
    assert_eq!(sni_of(&one_by_64), Some(None));
}

#[test]
fn names_are_normalised_or_refused() {
    assert_eq!(sni_of(&hello_with(&[])), Some(None));
    assert_eq!(
        sni_of(&hello_with(&[sni(b"A.b.")])),
        Some(Some("a.b".to_owned()))
    );
    for address in [b"10.0.0.1".as_slice(), b"::1"] {
        assert_eq!(sni_of(&hello_with(&[sni(address)])), Some(None));
    }
    let two_names = {
        let mut entries = vec![0];
        entries.extend(vector16(b"a"));
        entries.push(0);
        entries.extend(vector16(b"b"));
        (0, vector16(&entries))
    };
    let wrong: [&[(u16, Vec<u8>)]; 9] = [
        &[sni(b"")],
        &[sni(b"a b")],
        &[sni(b"\xff")],
        &[sni(b"a\0.example")],
        &[(0, vec![])],
        &[(0, vector16(&[1, 0, 1, b'a']))],
        &[two_names],
        &[sni(b"a"), sni(b"a")],
        &[(16, vector16(&[0]))],
    ];
    for extensions in wrong {
        assert_eq!(
            inspect(&hello_with(extensions)),
            Inspection::NotTls,
            "{extensions:?}"
        );
    }
}

#[test]
fn a_hello_without_an_extension_block_is_one() {
    let mut body = vec![3, 3];
    body.extend([0; 32]);
    body.extend([0, 0, 2, 0, 0x2f, 1, 0]);
    assert_eq!(sni_of(&message(&body)), Some(None));
    body.push(0);
    assert_eq!(inspect(&message(&body)), Inspection::NotTls);
}

proptest! {
    #[test]
    fn fragments_change_nothing(lengths in prop::collection::vec(1usize..400, 0..40)) {
        let whole = hello_with(&[sni(b"shop.example"), (21, vec![0; 3000]), (16, vector16(b"\x02h2"))]);
        let split = records(&whole[RECORD_HEADER..], &lengths);
        prop_assert_eq!(inspect(&split), inspect(&whole));
        for cut in [1, split.len() / 3, split.len() / 2, split.len() - 1] {
            prop_assert_eq!(inspect(&split[..cut]), Inspection::Partial);
        }
    }

    #[test]
    fn noise_is_survived(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = inspect(&bytes);
        let _ = inspect(&message(&bytes));
        let _ = parse_hello(&bytes);
    }

    #[test]
    fn damage_is_survived(position in 0usize..200, byte in any::<u8>(), cut in 0usize..200) {
        let mut bytes = hello_with(&[sni(b"shop.example"), (16, vector16(b"\x02h2\x08http/1.1"))]);
        let length = bytes.len();
        bytes[position % length] = byte;
        let _ = inspect(&bytes);
        let _ = inspect(&bytes[..cut % length]);
    }

    /// More bytes never take an answer back.
    #[test]
    fn answers_are_stable(bytes in prop::collection::vec(any::<u8>(), 0..80), cut in 0usize..80) {
        let bytes = message(&bytes);
        let early = inspect(&bytes[..cut.min(bytes.len())]);
        if early != Inspection::Partial {
            prop_assert_eq!(early, inspect(&bytes));
        }
    }
}
