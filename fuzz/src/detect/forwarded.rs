//! Who the client is, by its address and by what proxies say.

use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use http::{HeaderMap, HeaderName, HeaderValue};
use portcullis_core::body::Body;
use portcullis_core::exchange::{ConnInfo, Exchange};
use portcullis_core::hygiene::{ForwardedPolicy, HygieneLayer, TrustedProxies};
use portcullis_core::{GatewayError, Handler, Request, Response};
use tower_layer::Layer;

/// The first line is the peer's address, the others are fields. Everything in 10.0.0.0/8 and fd00::/8 is trusted.
pub(super) fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let mut lines = text.lines();
    let Some(peer) = lines.next().and_then(|line| line.parse::<IpAddr>().ok()) else {
        return;
    };
    let mut headers = HeaderMap::new();
    for line in lines {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        if let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(name.as_bytes()),
            HeaderValue::from_str(value.trim_matches([' ', '\t'])),
        ) {
            headers.append(name, value);
        }
    }
    for policy in [
        ForwardedPolicy::XForwarded,
        ForwardedPolicy::Rfc7239,
        ForwardedPolicy::Both,
        ForwardedPolicy::Off,
    ] {
        settle(peer, &headers, policy);
    }
}

fn trusted() -> TrustedProxies {
    let nets = ["10.0.0.0/8", "fd00::/8"];
    TrustedProxies::new(nets.iter().filter_map(|net| net.parse().ok()).collect())
}

fn settle(peer: IpAddr, sent: &HeaderMap, policy: ForwardedPolicy) {
    let mut layer = HygieneLayer::default();
    layer.trusted = trusted();
    layer.forwarded = policy;
    let seen = Arc::new(Mutex::new(None));
    let handler = layer.layer(Keeps(seen.clone()));

    let conn = Arc::new(ConnInfo::from_peer(SocketAddr::new(peer, 1000)));
    let exchange = Exchange::new(conn);
    let mut request = Request::new(Body::empty());
    request.headers_mut().clone_from(sent);
    request.extensions_mut().insert(exchange.clone());
    let answer = pin!(handler.handle(request));
    let mut task = Context::from_waker(Waker::noop());
    let Poll::Ready(answer) = answer.poll(&mut task) else {
        panic!("cleaning waits for something");
    };
    let status = answer.expect("errors are rendered").status();
    let Some(got) = seen.lock().expect("nothing panicked").take() else {
        panic!("the request was refused with {status}");
    };

    let peer = peer.to_canonical();
    let client = exchange.client_ip().expect("there is an address");
    let trusts = trusted().contains(peer);
    let said = chain(sent);
    let expected = match said {
        Some(chain) if trusts => {
            let stranger = chain
                .iter()
                .rev()
                .find(|address| !trusted().contains(**address));
            stranger.or(chain.first()).copied().unwrap_or(peer)
        }
        _ => peer,
    };
    assert_eq!(
        client.to_canonical(),
        expected,
        "the client is somebody else"
    );

    for name in got.keys() {
        let family = name.as_str().replace('_', "-");
        if family.starts_with("x-forwarded") || family == "forwarded" || family == "x-real-ip" {
            assert_eq!(family, name.as_str(), "another spelling was kept");
        }
    }
    let own = matches!(policy, ForwardedPolicy::XForwarded | ForwardedPolicy::Both);
    let peer = peer.to_string();
    let told: Vec<_> = got.get_all("x-forwarded-for").iter().collect();
    if own {
        let [told] = told[..] else {
            panic!("{} values of `x-forwarded-for`", told.len());
        };
        let last = told.as_bytes().rsplit(|byte| *byte == b',').next();
        assert_eq!(last.map(<[u8]>::trim_ascii), Some(peer.as_bytes()));
        assert_eq!(got["x-real-ip"].as_bytes(), expected.to_string().as_bytes());
        if !trusts {
            assert_eq!(told.as_bytes(), peer.as_bytes());
        }
    } else if !trusts {
        assert!(told.is_empty() && !got.contains_key("x-real-ip"));
    }
    let elements = got.get_all("forwarded").iter().count();
    if !trusts {
        let adds = matches!(policy, ForwardedPolicy::Rfc7239 | ForwardedPolicy::Both);
        assert_eq!(elements, usize::from(adds));
    }
}

/// The addresses that proxies wrote down, the client's first; `None` when there are none, or one is no address.
fn chain(headers: &HeaderMap) -> Option<Vec<IpAddr>> {
    let mut chain = Vec::new();
    for value in headers.get_all("x-forwarded-for") {
        for item in value.to_str().ok()?.split(',') {
            chain.push(address(item.trim())?);
        }
    }
    if chain.is_empty() {
        for value in headers.get_all("forwarded") {
            for element in value.to_str().ok()?.split(',') {
                let node = element.split(';').find_map(|pair| {
                    let (name, node) = pair.split_once('=')?;
                    let meant = name.trim().eq_ignore_ascii_case("for");
                    meant.then(|| node.trim().trim_matches('"'))
                });
                chain.push(address(node?)?);
            }
        }
    }
    (!chain.is_empty()).then_some(chain)
}

fn address(text: &str) -> Option<IpAddr> {
    let bracketed = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let address = text
        .parse::<IpAddr>()
        .or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip()))
        .ok()
        .or_else(|| bracketed?.parse().ok())?;
    Some(address.to_canonical())
}

/// Remembers the fields of a request.
struct Keeps(Arc<Mutex<Option<HeaderMap>>>);

impl Handler for Keeps {
    async fn handle(&self, request: Request) -> Result<Response, GatewayError> {
        *self.0.lock().expect("nothing panicked") = Some(request.headers().clone());
        Ok(Response::new(Body::empty()))
    }
}
