//! The PROXY protocol, versions 1 and 2, both ways.
//!
//! The specification is HAProxy's `proxy-protocol.txt`. The crate `proxy-header` reads and writes the fields; how long
//! a header may be, and what counts as the beginning of one, is decided here.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use proxy_header::{Error, ParseConfig, ProxiedAddress, ProxyHeader};

use crate::config::raw::ProxyVersion;

/// What a header of version 1 begins with.
const V1: &[u8] = b"PROXY ";
/// The longest line of version 1, its end included.
const V1_MAX: usize = 107;
/// What a header of version 2 begins with.
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// The signature, version and command, family, and length.
const V2_FIXED: usize = 16;
/// The longest header of version 2. Real ones have some hundred bytes, a certificate's name included.
const V2_MAX: usize = 4096;

/// What the first bytes of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// Something else. More bytes do not change that.
    Absent,
    /// The beginning of a header, or nothing yet.
    Partial,
    /// It begins like a header and is none.
    Malformed,
    /// A header of so many bytes.
    Header(usize, Option<Addresses>),
}

/// Who is connected to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Addresses {
    pub(crate) source: SocketAddr,
    pub(crate) destination: SocketAddr,
}

/// Looks for a header. Pure; the work is bounded by the longest header.
pub(crate) fn read(bytes: &[u8]) -> Told {
    let begins = |signature: &[u8]| {
        let known = bytes.len().min(signature.len());
        bytes[..known] == signature[..known]
    };
    if bytes.is_empty() {
        return Told::Partial;
    }
    let header = if begins(V1) {
        let line = &bytes[..bytes.len().min(V1_MAX)];
        match line.iter().position(|byte| *byte == b'\n') {
            Some(end) => &line[..=end],
            None if line.len() == V1_MAX => return Told::Malformed,
            None => return Told::Partial,
        }
    } else if begins(V2) {
        let Some(&[.., high, low]) = bytes.first_chunk::<V2_FIXED>() else {
            return Told::Partial;
        };
        let length = V2_FIXED + usize::from(u16::from_be_bytes([high, low]));
        if length > V2_MAX {
            return Told::Malformed;
        }
        match bytes.get(..length) {
            Some(header) => header,
            None => return Told::Partial,
        }
    } else {
        return Told::Absent;
    };
    match ProxyHeader::parse(header, ParseConfig::default()) {
        Ok((told, length)) if length == header.len() => {
            let addresses = told.proxied_address().map(|address| Addresses {
                source: address.source,
                destination: address.destination,
            });
            Told::Header(length, addresses)
        }
        // It is as long as it says, so what is missing is a fault.
        Ok(_) | Err(_) => Told::Malformed,
    }
}

/// Writes the header that tells an endpoint of a connection; of one between sockets without addresses, that it is
/// such.
pub(crate) fn write(
    version: ProxyVersion,
    source: Option<SocketAddr>,
    destination: Option<SocketAddr>,
) -> Vec<u8> {
    let header = match source.zip(destination) {
        Some((source, destination)) => {
            let (source, destination) = same_family(source, destination);
            ProxyHeader::with_address(ProxiedAddress::stream(source, destination))
        }
        None => ProxyHeader::with_local(),
    };
    let mut bytes = Vec::with_capacity(V1_MAX);
    let written = match version {
        ProxyVersion::V1 => header.encode_v1(&mut bytes),
        ProxyVersion::V2 => header.encode_v2(&mut bytes),
    };
    // Cannot fail: both addresses are of one family and there are no further fields.
    if let Err(Error::AddressFamilyMismatch | Error::HeaderTooBig) = written {
        bytes.clear();
    }
    bytes
}

/// A header has two addresses of one kind. A socket for both families shows those of IPv4 as IPv6.
fn same_family(source: SocketAddr, destination: SocketAddr) -> (SocketAddr, SocketAddr) {
    let plain = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    let (source, destination) = (plain(source), plain(destination));
    if source.is_ipv4() == destination.is_ipv4() {
        return (source, destination);
    }
    let wide = |address: SocketAddr| {
        let ip: Ipv6Addr = match address.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        SocketAddr::new(ip.into(), address.port())
    };
    (wide(source), wide(destination))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn v4(text: &str) -> Option<SocketAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn what_is_written_is_read_and_every_beginning_of_it_is_partial() {
        let pairs = [
            ("192.0.2.1:1000", "198.51.100.2:443"),
            ("[2001:db8::1]:1000", "[2001:db8::2]:443"),
            ("[::ffff:192.0.2.1]:1000", "198.51.100.2:443"),
        ];
        for version in [ProxyVersion::V1, ProxyVersion::V2] {
            for (source, destination) in pairs {
                let header = write(version, v4(source), v4(destination));
                let Told::Header(length, Some(told)) = read(&header) else {
                    panic!("{version:?} {source}");
                };
                assert_eq!(length, header.len());
                let (source, destination): (SocketAddr, SocketAddr) =
                    (source.parse().unwrap(), destination.parse().unwrap());
                assert_eq!(told.source.ip(), source.ip().to_canonical());
                assert_eq!(told.destination, destination);
                for end in 0..header.len() {
                    assert_eq!(read(&header[..end]), Told::Partial, "{version:?} {end}");
                }
            }
            let local = write(version, None, None);
            assert_eq!(read(&local), Told::Header(local.len(), None));
        }
    }

    #[test]
    fn addresses_of_two_families_are_told_as_ipv6() {
        let header = write(ProxyVersion::V2, v4("192.0.2.1:1"), v4("[2001:db8::2]:443"));
        let Told::Header(_, Some(told)) = read(&header) else {
            panic!("no header");
        };
        assert_eq!(told.source, "[::ffff:192.0.2.1]:1".parse().unwrap());
    }

    #[test]
    fn what_follows_a_header_is_left_alone() {
        let told = read(b"PROXY TCP4 192.0.2.1 198.51.100.2 1 2\r\nGET / HTTP/1.1\r\n");
        assert!(matches!(told, Told::Header(39, Some(_))), "{told:?}");
    }

    #[test]
    fn headers_that_are_wrong_are_told_from_other_protocols() {
        let malformed: [&[u8]; 6] = [
            b"PROXY TCP4 192.0.2.1 198.51.100.2 1 99999\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.2 1 2\n",
            b"PROXY TCP9 192.0.2.1 198.51.100.2 1 2\r\n",
            b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c192019811002",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x04aaaa",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
        ];
        for bytes in malformed {
            assert_eq!(read(bytes), Told::Malformed, "{:?}", bytes.escape_ascii());
        }
        let long = [b"PROXY UNKNOWN ".as_slice(), &[b'a'; 200]].concat();
        assert_eq!(read(&long), Told::Malformed);
        let others: [&[u8]; 4] = [
            b"GET / HTTP/1.1\r\n",
            b"PROXYX",
            b"\r\n\r\nGET",
            b"\x16\x03\x01",
        ];
        for bytes in others {
            assert_eq!(read(bytes), Told::Absent, "{:?}", bytes.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged_alike_whatever_follows(
            start in prop_oneof![Just(V1.to_vec()), Just(V2.to_vec()), Just(Vec::new())],
            tail in proptest::collection::vec(any::<u8>(), 0..300),
            more in proptest::collection::vec(any::<u8>(), 0..50),
        ) {
            let bytes = [start, tail].concat();
            let told = read(&bytes);
            if told != Told::Partial {
                prop_assert_eq!(read(&[bytes, more].concat()), told);
            }
        }
    }
}
