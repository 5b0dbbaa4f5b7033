//! TLS on both sides.

use rustls_pki_types::ServerName;

use super::{findings::Findings, pem, place::Place};
use crate::{
    config::{
        capture::Located,
        diagnostic::did_you_mean,
        ir::{CertificatePlan, ClientAuthPlan, ServerTlsPlan, Unpaired, UpstreamTlsPlan},
        raw::{
            ClientAuthMode, ListenerProtocol, Protocol, RawCertificate, RawClientAuth,
            RawClientTls, RawListener, RawServerTls, RawUpstream, TlsVersion as RawTlsVersion,
        },
    },
    tls::{self, TlsVersion, alpn},
};

/// What ALPN may name on a listener, and the version of HTTP it stands for.
const PROTOCOLS: [(&str, Protocol); 2] = [("h2", Protocol::Http2), ("http/1.1", Protocol::Http1)];

pub(super) fn server(
    raw: &RawServerTls,
    listener: &RawListener,
    problems: &mut Findings<'_>,
) -> ServerTlsPlan {
    let place = Place::of(&listener.name);
    if raw.certificates.is_empty() && !problems.lost(&listener.name, &["tls", "certificates"]) {
        let problem = "TLS needs at least one certificate";
        let problem = place.error(&["tls", "certificates"], problem);
        problems.push(problem.hint("write `certificates: [{ cert: tls.crt, key: tls.key }]`"));
    }
    let mut default_seen = false;
    for (position, certificate) in raw.certificates.iter().enumerate() {
        if certificate.default && std::mem::replace(&mut default_seen, true) {
            let keys = ["tls", "certificates", &position.to_string(), "default"];
            let problem = place.error(&keys, "a listener has at most one default certificate");
            problems.push(problem.hint("leave `default` out of all but one"));
        }
    }
    let mut unpaired = Vec::new();
    ServerTlsPlan {
        certificates: raw
            .certificates
            .iter()
            .filter_map(|pair| certificate(pair, listener, &mut unpaired, problems))
            .collect(),
        unpaired,
        client_auth: raw
            .client_auth
            .as_ref()
            .map_or(ClientAuthPlan::Off, |auth| {
                client_auth(auth, listener, problems)
            }),
        min_version: match raw.min_version {
            RawTlsVersion::V1_2 => TlsVersion::V1_2,
            RawTlsVersion::V1_3 => TlsVersion::V1_3,
        },
        alpn: match &raw.alpn {
            Some(list) => server_alpn(list, listener, problems),
            None => listener.protocol.http().map_or_else(Vec::new, default_alpn),
        },
    }
}

fn certificate(
    raw: &RawCertificate,
    listener: &RawListener,
    unpaired: &mut Vec<Unpaired>,
    problems: &mut Findings<'_>,
) -> Option<CertificatePlan> {
    let mut hosts = Vec::with_capacity(raw.hosts.len());
    for host in &raw.hosts {
        if tls::is_served_name(host) {
            hosts.push(host.value.clone());
        } else {
            let problem = host.error(format!(
                "`{}` is not a name that a certificate can be served for",
                host.value
            ));
            problems.push(
                problem.hint(
                    "write a host, or `*.` and a host; international names in their xn-- form",
                ),
            );
        }
    }
    let owner = format!("listener {}", listener.name.value);
    let certificate = pem::source(&raw.cert, &owner, "certificate", problems);
    let key = pem::source(&raw.key, &owner, "key", problems);
    let (certificate, key) = match (certificate, key) {
        (Some(certificate), Some(key)) => (certificate, key),
        (certificate, key) => {
            unpaired.extend(certificate.map(Unpaired::Certificate));
            unpaired.extend(key.map(Unpaired::Key));
            return None;
        }
    };
    Some(CertificatePlan {
        certificate,
        key,
        hosts,
        default: raw.default,
    })
}

fn client_auth(
    raw: &RawClientAuth,
    listener: &RawListener,
    problems: &mut Findings<'_>,
) -> ClientAuthPlan {
    let place = Place::of(&listener.name);
    let owner = format!("listener {}", listener.name.value);
    let ca = raw
        .ca
        .as_ref()
        .map(|ca| pem::source(ca, &owner, "client authorities", problems));
    match (raw.mode, ca) {
        (ClientAuthMode::Off, None) => ClientAuthPlan::Off,
        (ClientAuthMode::Off, Some(_)) => {
            let problem = "`ca` has no effect while clients are not asked for a certificate";
            problems.push(place.warning(&["tls", "client_auth", "ca"], problem));
            ClientAuthPlan::Off
        }
        (ClientAuthMode::Request, Some(Some(ca))) => ClientAuthPlan::Request(ca),
        (ClientAuthMode::Require, Some(Some(ca))) => ClientAuthPlan::Require(ca),
        // Reported already.
        (_, Some(None)) => ClientAuthPlan::Off,
        (_, None) if problems.lost(&listener.name, &["tls", "client_auth"]) => ClientAuthPlan::Off,
        (_, None) => {
            let problem = place.error(
                &["tls", "client_auth"],
                "certificates of clients cannot be checked without `ca`",
            );
            problems.push(problem.hint("name a PEM file with the authorities that issue them"));
            ClientAuthPlan::Off
        }
    }
}

fn server_alpn(
    list: &[Located<String>],
    listener: &RawListener,
    problems: &mut Findings<'_>,
) -> Vec<Vec<u8>> {
    let names = || PROTOCOLS.iter().map(|(name, _)| *name);
    let mut lowered = Vec::with_capacity(list.len());
    for offered in list {
        let known = PROTOCOLS.iter().find(|(name, _)| *name == offered.value);
        let Some((name, spoken)) = known else {
            let problem = offered.error(format!(
                "no listener speaks the protocol `{}`",
                offered.value
            ));
            problems.push(match did_you_mean(offered, names()) {
                Some(near) => problem.hint(format!("did you mean `{near}`?")),
                None => problem.hint("protocols: h2, http/1.1"),
            });
            continue;
        };
        lowered.push(name.as_bytes().to_vec());
        let Some(protocol) = listener.protocol.http() else {
            let problem = offered.error("the listener speaks no HTTP, so it offers no protocols");
            problems.push(
                problem.hint("leave `alpn` out; a TCP route offers what its `match.alpn` names"),
            );
            continue;
        };
        if protocol != Protocol::Auto && protocol != *spoken {
            let other = if *spoken == Protocol::Http1 {
                "HTTP/2"
            } else {
                "HTTP/1.1"
            };
            let problem = offered.error(format!(
                "`{name}` is offered, but the listener speaks only {other}"
            ));
            problems.push(problem.hint("change `protocol`, or leave `alpn` out"));
        }
    }
    if let ([only], ListenerProtocol::Auto) = (list, listener.protocol)
        && only.value == "h2"
        && !problems.lost_any(&listener.name, &["protocol", "tls"])
    {
        let problem = only.warning("clients that speak only HTTP/1.1 are turned away");
        problems.push(problem.hint("add http/1.1, or say so with `protocol: http2`"));
    }
    lowered
}

fn default_alpn(protocol: Protocol) -> Vec<Vec<u8>> {
    match protocol {
        Protocol::Auto => vec![alpn::H2.to_vec(), alpn::HTTP_1_1.to_vec()],
        Protocol::Http1 => vec![alpn::HTTP_1_1.to_vec()],
        Protocol::Http2 => vec![alpn::H2.to_vec()],
    }
}

pub(super) fn upstream(
    raw: &RawClientTls,
    upstream: &RawUpstream,
    problems: &mut Findings<'_>,
) -> UpstreamTlsPlan {
    let place = Place::of(&upstream.name);
    let owner = format!("upstream {}", upstream.name.value);
    let mut read = |source: &Option<Located<_>>, what| {
        source
            .as_ref()
            .and_then(|source| pem::source(source, &owner, what, problems))
    };
    let ca = read(&raw.ca, "authorities");
    let certificate = read(&raw.cert, "certificate");
    let key = read(&raw.key, "key");
    match (&raw.cert, &raw.key) {
        (Some(cert), None) if !problems.lost(&upstream.name, &["tls", "key"]) => {
            let problem = cert.error("`cert` needs `key`");
            problems.push(problem.hint("name the PEM file with its private key"));
        }
        (None, Some(key)) if !problems.lost(&upstream.name, &["tls", "cert"]) => {
            let problem = key.error("`key` needs `cert`");
            problems.push(problem.hint("name the PEM file with its certificate"));
        }
        _ => {}
    }
    let is_name = |name: &&Located<String>| ServerName::try_from(name.as_str()).is_ok();
    let server_name = raw.server_name.as_ref().filter(is_name);
    if let (Some(name), None) = (&raw.server_name, server_name) {
        problems.push(name.error(format!(
            "`{}` is neither a host name nor an IP address",
            name.value
        )));
    }
    if raw.insecure_skip_verify {
        let problem = place.warning(
            &["tls", "insecure_skip_verify"],
            format!(
                "anyone on the way to `{}` can read and change the traffic",
                upstream.name.value
            ),
        );
        problems.push(problem.hint("name the authority that issues its certificates with `ca`"));
    }
    UpstreamTlsPlan {
        ca,
        certificate,
        key,
        server_name: server_name.map(|name| name.value.clone()),
        alpn: default_alpn(upstream.protocol),
        insecure_skip_verify: raw.insecure_skip_verify,
    }
}
