//! TLS on both sides.

use rustls_pki_types::ServerName;

use super::{pem, place::Place};
use crate::{
    config::{
        capture::Located,
        diagnostic::{Diagnostics, did_you_mean},
        ir::{CertificatePlan, ClientAuthPlan, ServerTlsPlan, UpstreamTlsPlan},
        raw::{
            ClientAuthMode, Protocol, RawCertificate, RawClientAuth, RawClientTls, RawListener,
            RawServerTls, RawUpstream, TlsVersion as RawTlsVersion,
        },
    },
    tls::{self, TlsVersion, UpstreamRoots, alpn},
};

/// What ALPN may name on a listener, and the version of HTTP it stands for.
const PROTOCOLS: [(&str, Protocol); 2] = [("h2", Protocol::Http2), ("http/1.1", Protocol::Http1)];

pub(super) fn server(
    raw: &RawServerTls,
    listener: &RawListener,
    problems: &mut Diagnostics,
) -> ServerTlsPlan {
    let place = Place::of(&listener.name);
    if raw.certificates.is_empty() {
        problems.push(place.error(
            &["tls", "certificates"],
            "TLS needs at least one certificate",
        ));
    }
    let mut default_seen = false;
    for (position, certificate) in raw.certificates.iter().enumerate() {
        if certificate.default && std::mem::replace(&mut default_seen, true) {
            let keys = ["tls", "certificates", &position.to_string(), "default"];
            problems.push(place.error(&keys, "a listener has at most one default certificate"));
        }
    }
    ServerTlsPlan {
        certificates: raw
            .certificates
            .iter()
            .filter_map(|pair| certificate(pair, listener, problems))
            .collect(),
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
            None => default_alpn(listener.protocol),
        },
    }
}

fn certificate(
    raw: &RawCertificate,
    listener: &RawListener,
    problems: &mut Diagnostics,
) -> Option<CertificatePlan> {
    for host in &raw.hosts {
        if !tls::is_served_name(host) {
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
    Some(CertificatePlan {
        certificate: certificate?,
        key: key?,
        hosts: raw.hosts.iter().map(|host| host.value.clone()).collect(),
        default: raw.default,
        at: raw.cert.at.clone(),
    })
}

fn client_auth(
    raw: &RawClientAuth,
    listener: &RawListener,
    problems: &mut Diagnostics,
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
    problems: &mut Diagnostics,
) -> Vec<Vec<u8>> {
    let names = || PROTOCOLS.iter().map(|(name, _)| *name);
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
        if listener.protocol != Protocol::Auto && listener.protocol != *spoken {
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
    if let ([only], Protocol::Auto) = (list, listener.protocol)
        && only.value == "h2"
    {
        let problem = only.warning("clients that speak only HTTP/1.1 are turned away");
        problems.push(problem.hint("add http/1.1, or say so with `protocol: http2`"));
    }
    list.iter()
        .map(|offered| offered.value.clone().into_bytes())
        .collect()
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
    problems: &mut Diagnostics,
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
        (Some(cert), None) => problems.push(cert.error("`cert` needs `key`")),
        (None, Some(key)) => problems.push(key.error("`key` needs `cert`")),
        _ => {}
    }
    if let Some(name) = &raw.server_name
        && ServerName::try_from(name.as_str()).is_err()
    {
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
        roots: ca.map_or_else(UpstreamRoots::default, UpstreamRoots::only),
        client_certificate: certificate.zip(key),
        server_name: raw.server_name.as_ref().map(|name| name.value.clone()),
        alpn: default_alpn(upstream.protocol),
        insecure_skip_verify: raw.insecure_skip_verify,
    }
}
