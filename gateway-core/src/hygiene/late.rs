//! Forwarded fields that are written when a request leaves.
//!
//! What a stranger sent of the family is gone by then, so the gateway's own fields are the same for all requests of
//! a connection but for the host. Entering five fields into a map and writing them out again costs more than all
//! other work on the head; a request that nobody looks at gets them as text.

use bytes::Bytes;
use http::header::{Entry, HOST};
use http::{HeaderMap, HeaderValue};

use super::forwarded::{
    X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PORT, X_FORWARDED_PROTO, X_REAL_IP, is_forwarded,
};
use crate::exchange::{ConnInfo, Exchange, ExchangeState};
use crate::handler::Request;

/// What upstreams are told of a connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    /// The peer's address.
    pub(crate) peer: Option<HeaderValue>,
    /// The local port.
    pub(crate) port: Option<HeaderValue>,
    /// Everything that is the same for all requests, as field lines.
    lines: Bytes,
}

impl Told {
    pub(crate) fn new(conn: &ConnInfo) -> Self {
        let peer = conn.peer.map(|peer| peer.ip().to_canonical().to_string());
        let port = conn.local.map(|local| local.port().to_string());
        let mut lines = String::new();
        // One piece of memory for all three.
        let mut line = |name: &str, value: &Option<String>| {
            let value = value.as_ref()?;
            let start = lines.len() + name.len() + 2;
            lines.extend([name, ": ", value, "\r\n"]);
            Some(start..start + value.len())
        };
        let peer_at = line(X_FORWARDED_FOR.as_str(), &peer);
        line(X_REAL_IP.as_str(), &peer);
        let port_at = line(X_FORWARDED_PORT.as_str(), &port);
        line(X_FORWARDED_PROTO.as_str(), &Some(conn.scheme().to_owned()));
        let lines = Bytes::from(lines);
        let value = |at: Option<std::ops::Range<usize>>| {
            at.and_then(|at| HeaderValue::from_maybe_shared(lines.slice(at)).ok())
        };
        Self {
            peer: value(peer_at),
            port: value(port_at),
            lines,
        }
    }
}

/// Field lines for the end of a head.
pub(crate) struct Lines {
    conn: Bytes,
    host: Option<HeaderValue>,
}

impl Lines {
    /// Appends them, each with its line end.
    pub(crate) fn write(&self, dst: &mut Vec<u8>) {
        dst.extend_from_slice(&self.conn);
        if let Some(host) = &self.host {
            dst.extend_from_slice(b"x-forwarded-host: ");
            dst.extend_from_slice(host.as_bytes());
            dst.extend_from_slice(b"\r\n");
        }
    }
}

/// How the fields that were left out get to the upstream.
pub(crate) enum Late {
    /// There are none.
    Nothing,
    /// As text behind the others.
    Lines(Lines),
    /// By [`enter_for_attempt`]: some are there after all.
    Fields,
}

/// How the fields that `headers` lack get to the upstream.
pub(crate) fn late(headers: &HeaderMap, exchange: &Exchange) -> Late {
    let state = exchange.state();
    if !state.forwarded_late {
        return Late::Nothing;
    }
    // Whoever sets such a field is asked to look at them first, but need not.
    if headers.keys().any(|name| is_family(name.as_str())) {
        return Late::Fields;
    }
    Late::Lines(Lines {
        conn: exchange.conn().told().lines.clone(),
        host: state.request.host.clone(),
    })
}

/// Enters the fields that were left out into a request, so that they can be looked at. Those that are there stay.
pub(crate) fn settle(request: &mut Request) {
    let Some(exchange) = request.extensions().get::<Exchange>().cloned() else {
        return;
    };
    settle_for(request.headers_mut(), &exchange);
}

/// As [`settle`], of a request whose record is at hand.
pub(crate) fn settle_for(headers: &mut HeaderMap, exchange: &Exchange) {
    let mut state = exchange.state();
    if std::mem::take(&mut state.forwarded_late) {
        enter(headers, exchange.conn(), &state);
    }
}

/// As [`settle`], for one attempt of several: the request stays as it is.
pub(crate) fn enter_for_attempt(headers: &mut HeaderMap, exchange: &Exchange) {
    let state = exchange.state();
    if state.forwarded_late {
        enter(headers, exchange.conn(), &state);
    }
}

fn enter(headers: &mut HeaderMap, conn: &ConnInfo, state: &ExchangeState) {
    let told = conn.told();
    let host = state.request.host.clone();
    for (name, value) in [
        (X_FORWARDED_FOR, told.peer.clone()),
        (
            X_FORWARDED_PROTO,
            Some(HeaderValue::from_static(conn.scheme())),
        ),
        (
            X_FORWARDED_HOST,
            host.or_else(|| headers.get(HOST).cloned()),
        ),
        (X_FORWARDED_PORT, told.port.clone()),
        (X_REAL_IP, told.peer.clone()),
    ] {
        if let Some(value) = value
            && let Entry::Vacant(vacant) = headers.entry(name)
        {
            vacant.insert(value);
        }
    }
}

fn is_family(name: &str) -> bool {
    // Nearly all names fail the first test.
    name.as_bytes().first() == Some(&b'x') && is_forwarded(name)
}
