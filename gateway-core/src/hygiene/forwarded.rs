//! Who the client is, and what upstreams are told about it.
//!
//! Anything a client can send it can forge. The whole forwarded family is therefore removed from requests
//! of peers that are not trusted proxies, in every spelling that a server might read as the same field.

use std::fmt::Write;
use std::net::IpAddr;

use http::header::{Entry, FORWARDED, HOST};
use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

use crate::exchange::Exchange;

pub(super) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(super) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub(super) const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub(super) const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
pub(super) const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// Addresses of proxies whose word is taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// Trusts peers within `nets`.
    #[must_use]
    pub fn new(nets: Vec<IpNet>) -> Self {
        Self(nets)
    }

    /// These and those.
    pub(crate) fn and(&self, others: &Self) -> Self {
        Self(self.0.iter().chain(&others.0).copied().collect())
    }

    /// Whether a peer is one of them.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|net| net.contains(&address))
    }
}

/// Which forwarded fields upstreams get.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ForwardedPolicy {
    /// `X-Forwarded-For`, `-Proto`, `-Host`, `-Port` and `X-Real-Ip`, as Traefik, Kong and nginx setups expect.
    #[default]
    XForwarded,
    /// `Forwarded` (RFC 7239).
    Rfc7239,
    /// Both.
    Both,
    /// None.
    Off,
}

/// Settles who the client is and rewrites the forwarded fields of a request.
pub(super) fn apply(
    headers: &mut HeaderMap,
    exchange: &Exchange,
    trusted: &TrustedProxies,
    policy: ForwardedPolicy,
    late: bool,
) {
    let conn = exchange.conn();
    let peer = conn.peer.map(|peer| peer.ip().to_canonical());
    let trust = peer.is_some_and(|peer| trusted.contains(peer));
    let mut scheme = conn.scheme();
    if trust {
        if let Some(client) = client_of(headers, trusted) {
            let mut state = exchange.state();
            state.client_ip = Some(client);
            state.client_ip_forwarded = true;
        }
        if let Some(said) = scheme_of(headers) {
            scheme = said;
            exchange.state().scheme = said;
        }
        strip_spellings(headers, |name| !is_known(name));
    } else {
        strip_spellings(headers, |_| true);
    }
    let Some(peer) = peer else { return };
    if late && !trust && policy == ForwardedPolicy::XForwarded {
        exchange.state().forwarded_late = true;
        return;
    }
    if matches!(policy, ForwardedPolicy::XForwarded | ForwardedPolicy::Both) {
        // What a stranger sent of the family is gone: there is nothing to look for.
        let earlier = if trust { earlier(headers, peer) } else { None };
        if let Some(value) = earlier.or_else(|| conn.told().peer.clone()) {
            headers.insert(X_FORWARDED_FOR, value);
        }
        let host = headers.get(HOST).cloned();
        for (name, value) in [
            (X_FORWARDED_PROTO, Some(HeaderValue::from_static(scheme))),
            (X_FORWARDED_HOST, host),
            (X_FORWARDED_PORT, conn.told().port.clone()),
        ] {
            if let Some(value) = value
                && let Entry::Vacant(vacant) = headers.entry(name)
            {
                vacant.insert(value);
            }
        }
        let client = exchange
            .client_ip()
            .map_or(peer, |client| client.to_canonical());
        let value = if client == peer {
            conn.told().peer.clone()
        } else {
            address_value(client)
        };
        if let Some(value) = value {
            headers.insert(X_REAL_IP, value);
        }
    }
    if matches!(policy, ForwardedPolicy::Rfc7239 | ForwardedPolicy::Both) {
        append_forwarded(headers, peer, scheme);
    }
}

/// The client's address as trusted proxies report it: the last entry that is not itself a trusted proxy.
fn client_of(headers: &HeaderMap, trusted: &TrustedProxies) -> Option<IpAddr> {
    let mut chain: Vec<IpAddr> = Vec::new();
    for value in headers.get_all(X_FORWARDED_FOR) {
        for item in value.to_str().ok()?.split(',') {
            chain.push(parse_address(item.trim())?);
        }
    }
    if chain.is_empty() {
        for value in headers.get_all(FORWARDED) {
            for element in value.to_str().ok()?.split(',') {
                let node = element
                    .split(';')
                    .filter_map(|pair| pair.split_once('='))
                    .find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))
                    .map(|(_, node)| node.trim().trim_matches('"'))?;
                chain.push(parse_address(node)?);
            }
        }
    }
    chain
        .iter()
        .rev()
        .find(|address| !trusted.contains(**address))
        .or(chain.first())
        .copied()
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn parse_address(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.to_canonical());
    }
    if let Ok(address) = text.parse::<std::net::SocketAddr>() {
        return Some(address.ip().to_canonical());
    }
    let inner = text.strip_prefix('[')?.strip_suffix(']')?;
    inner
        .parse::<IpAddr>()
        .ok()
        .map(|address| address.to_canonical())
}

fn scheme_of(headers: &HeaderMap) -> Option<&'static str> {
    match headers.get(X_FORWARDED_PROTO)?.as_bytes() {
        b"https" | b"wss" => Some("https"),
        b"http" | b"ws" => Some("http"),
        _ => None,
    }
}

/// Whether a field belongs to the forwarded family in its proper spelling.
fn is_known(name: &str) -> bool {
    !name.contains('_') && is_forwarded(name)
}

pub(super) fn is_forwarded(name: &str) -> bool {
    name == "forwarded" || name == "x-real-ip" || name.starts_with("x-forwarded")
}

/// Removes fields of the family, underscores read as hyphens (as CGI-like servers do), that `unwanted` names.
fn strip_spellings(headers: &mut HeaderMap, unwanted: impl Fn(&str) -> bool) {
    let mut found: Vec<HeaderName> = Vec::new();
    for name in headers.keys() {
        let text = name.as_str();
        // Nearly all names fail the first test; nothing is allocated for them.
        if !matches!(text.as_bytes().first(), Some(b'x' | b'f')) {
            continue;
        }
        let family = if text.contains('_') {
            is_forwarded(&text.replace('_', "-"))
        } else {
            is_forwarded(text)
        };
        if family && unwanted(text) {
            found.push(name.clone());
        }
    }
    for name in found {
        headers.remove(name);
    }
}

/// What trusted proxies said of the way so far, and the peer behind it; `None` when they said nothing.
fn earlier(headers: &HeaderMap, peer: IpAddr) -> Option<HeaderValue> {
    let earlier: Vec<&[u8]> = headers
        .get_all(X_FORWARDED_FOR)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if earlier.is_empty() {
        return None;
    }
    let mut joined = earlier.join(&b", "[..]);
    joined.extend_from_slice(b", ");
    joined.extend_from_slice(peer.to_string().as_bytes());
    HeaderValue::from_maybe_shared(bytes::Bytes::from(joined)).ok()
}

fn address_value(address: IpAddr) -> Option<HeaderValue> {
    HeaderValue::from_maybe_shared(bytes::Bytes::from(address.to_string())).ok()
}

fn append_forwarded(headers: &mut HeaderMap, peer: IpAddr, scheme: &str) {
    let mut element = String::new();
    let written = match peer {
        IpAddr::V4(address) => write!(element, "for={address};proto={scheme}"),
        IpAddr::V6(address) => write!(element, "for=\"[{address}]\";proto={scheme}"),
    };
    if written.is_err() {
        return;
    }
    if let Some(host) = headers.get(HOST).and_then(|host| host.to_str().ok())
        && !host.contains(['"', '\\'])
    {
        element.push_str(";host=\"");
        element.push_str(host);
        element.push('"');
    }
    if let Ok(value) = HeaderValue::from_maybe_shared(bytes::Bytes::from(element)) {
        headers.append(FORWARDED, value);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::exchange::ConnInfo;

    fn run(peer: &str, trusted: &[&str], fields: &[(&str, &str)]) -> (HeaderMap, Exchange) {
        let conn = ConnInfo::from_peer(peer.parse().unwrap());
        let exchange = Exchange::new(Arc::new(conn));
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        let trusted = TrustedProxies::new(trusted.iter().map(|net| net.parse().unwrap()).collect());
        apply(
            &mut headers,
            &exchange,
            &trusted,
            ForwardedPolicy::XForwarded,
            false,
        );
        (headers, exchange)
    }

    #[test]
    fn a_stranger_cannot_forge_who_it_is() {
        let (headers, exchange) = run(
            "192.0.2.7:1000",
            &["10.0.0.0/8"],
            &[
                ("x-forwarded-for", "127.0.0.1"),
                ("x_forwarded_for", "127.0.0.1"),
                ("X-Forwarded_Proto", "https"),
                ("forwarded", "for=127.0.0.1"),
                ("x-real-ip", "127.0.0.1"),
                ("x-forwarded-client-cert", "By=me"),
                ("x-forwarded-prefix", "/admin"),
                ("x-other", "kept"),
            ],
        );
        assert_eq!(headers["x-forwarded-for"], "192.0.2.7");
        assert_eq!(headers["x-forwarded-proto"], "http");
        assert_eq!(headers["x-real-ip"], "192.0.2.7");
        assert_eq!(headers["x-other"], "kept");
        for gone in [
            "x_forwarded_for",
            "forwarded",
            "x-forwarded-client-cert",
            "x-forwarded-prefix",
        ] {
            assert!(!headers.contains_key(gone), "{gone}");
        }
        assert_eq!(exchange.client_ip(), Some("192.0.2.7".parse().unwrap()));
    }

    #[test]
    fn a_trusted_proxy_tells_who_the_client_is() {
        let (headers, exchange) = run(
            "10.0.0.1:1000",
            &["10.0.0.0/8"],
            &[
                ("x-forwarded-for", "6.6.6.6, 192.0.2.7"),
                ("x-forwarded-for", "10.1.1.1"),
                ("x-forwarded-proto", "https"),
                ("x_forwarded_proto", "http"),
            ],
        );
        assert_eq!(exchange.client_ip(), Some("192.0.2.7".parse().unwrap()));
        assert_eq!(
            headers["x-forwarded-for"],
            "6.6.6.6, 192.0.2.7, 10.1.1.1, 10.0.0.1"
        );
        assert_eq!(headers["x-forwarded-proto"], "https");
        assert_eq!(headers["x-real-ip"], "192.0.2.7");
        assert!(!headers.contains_key("x_forwarded_proto"));
    }

    #[test]
    fn nonsense_from_a_trusted_proxy_leaves_its_own_address() {
        let (_, exchange) = run(
            "10.0.0.1:1000",
            &["10.0.0.0/8"],
            &[("x-forwarded-for", "unknown, 192.0.2.7")],
        );
        assert_eq!(exchange.client_ip(), Some("10.0.0.1".parse().unwrap()));
    }

    #[test]
    fn reads_addresses_with_ports_and_brackets() {
        for (text, expected) in [
            ("192.0.2.1:80", Some("192.0.2.1")),
            ("[2001:db8::1]:80", Some("2001:db8::1")),
            ("[2001:db8::1]", Some("2001:db8::1")),
            ("::ffff:192.0.2.1", Some("192.0.2.1")),
            ("host", None),
        ] {
            assert_eq!(
                parse_address(text),
                expected.map(|address| address.parse().unwrap()),
                "{text}"
            );
        }
    }
}
