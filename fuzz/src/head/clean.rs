//! What holds for requests behind the cleaning, and for what upstreams get of them.

use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Uri, header};
use portcullis_core::http1::{BodyFraming, ConnectionDirective, encode_request_head};
use portcullis_core::hygiene::{PathPolicy, normalize};

use super::{plain, requests};

/// Whom the requests come from.
pub(super) const PEER: &str = "192.0.2.7";

/// Looks at a request that was cleaned.
pub(super) fn check(parts: &Parts, upgrades: bool) {
    assert_ne!(parts.method, Method::CONNECT);
    target(&parts.method, &parts.uri);
    fields(&parts.headers, upgrades);
    for name in ["connection", "transfer-encoding"] {
        assert!(!parts.headers.contains_key(name), "`{name}` was kept");
    }
    passes_on(parts);
}

/// A path in its one spelling, and nothing in front of it.
pub(super) fn target(method: &Method, uri: &Uri) {
    assert!(uri.authority().is_none() && uri.scheme().is_none());
    let path = uri.path();
    if path == "*" {
        assert_eq!(*method, Method::OPTIONS);
        return;
    }
    assert!(path.starts_with('/'), "{path}");
    let normal = normalize(path, PathPolicy::default()).expect("the path was accepted");
    assert_eq!(normal, path, "the path has another spelling");
    let lowered = path.to_ascii_lowercase();
    assert!(!path.split('/').any(|part| part == "." || part == ".."));
    assert!(
        !["%2e", "%5c", "%00"]
            .iter()
            .any(|bad| lowered.contains(bad))
    );
}

/// No field is left that was for the gateway alone, and none that the client could forge.
pub(super) fn fields(headers: &HeaderMap, upgrades: bool) {
    for name in ["keep-alive", "proxy-connection", "proxy-authorization"] {
        assert!(!headers.contains_key(name), "`{name}` was kept");
    }
    assert!(upgrades || !headers.contains_key(header::UPGRADE));
    for name in headers.keys() {
        let family = name.as_str().replace('_', "-");
        if family.starts_with("x-forwarded") || family == "forwarded" || family == "x-real-ip" {
            assert_eq!(family, name.as_str(), "another spelling was kept");
            let told = plain::all(headers, name.as_str());
            let hosts = plain::all(headers, "host");
            let expected: &[u8] = match name.as_str() {
                "x-forwarded-for" | "x-real-ip" => PEER.as_bytes(),
                "x-forwarded-proto" => b"http",
                "x-forwarded-host" => hosts.first().copied().unwrap_or_default(),
                other => panic!("`{other}` of a stranger was kept"),
            };
            assert_eq!(told, [expected]);
        }
    }
}

/// The head that an upstream gets is one request, with the same path and fields.
fn passes_on(parts: &Parts) {
    // Without a host the gateway writes an empty one, which only upstreams have to take.
    if !parts.headers.contains_key(header::HOST) {
        return;
    }
    let target = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let mut out = Vec::new();
    encode_request_head(
        &mut out,
        &parts.method,
        target,
        &parts.headers,
        BodyFraming::Length(3),
        ConnectionDirective::KeepAlive,
    )
    .expect("a request that was cleaned can be written");
    let head = requests::parse_alone(&out);
    assert_eq!(head.framing, BodyFraming::Length(3));
    assert_eq!(
        (&head.method, head.uri.to_string()),
        (&parts.method, target.to_owned())
    );
    assert_eq!(passed(&head.headers), passed(&parts.headers));
}

/// Fields without those that the gateway has a say in on the way.
pub(super) fn passed(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    for name in [
        "connection",
        "content-length",
        "http2-settings",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ] {
        headers.remove(name);
    }
    headers
}
