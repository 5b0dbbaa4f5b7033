//! Choosing the route of a TCP connection.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::route::TcpRoute;
use crate::config::ir::TcpMatch;
use crate::route::HostPattern;
use crate::tls::ServerTls;
use crate::tls::client_hello::ClientHello;

/// A route as one listener has it.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) route: Arc<TcpRoute>,
    pub(crate) matches: TcpMatch,
    pub(crate) priority: i64,
    pub(crate) tls: Tls,
    pub(crate) starttls: bool,
}

/// What becomes of TLS.
#[derive(Clone, Debug)]
pub(crate) enum Tls {
    /// The route is for connections without it.
    None,
    Passthrough,
    Terminate(Arc<ServerTls>),
}

/// The TCP routes of a listener, and what of its HTTP has a say in the choice.
#[derive(Debug, Default)]
pub(crate) struct TcpTable {
    /// In the order of the configuration.
    entries: Box<[Entry]>,
    plain: Box<[usize]>,
    /// Those that name the server.
    named: HashMap<Box<str>, Vec<usize>>,
    /// Those of TLS with a pattern that is no single name, or without one.
    patterns: Box<[usize]>,
    /// The hosts that HTTPS routes name; `None` when the listener has no HTTPS.
    https: Option<Https>,
    /// The listener has HTTP without TLS.
    http: bool,
    waits: bool,
    starttls: bool,
}

/// The hosts that the HTTPS routes of a listener name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Https {
    pub(crate) hosts: Vec<HostPattern>,
    /// Some route takes every host.
    pub(crate) any: bool,
}

/// What a connection is served by.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Choice<'t> {
    Tcp(&'t Entry),
    Http,
    Nothing,
}

/// How well a route names the server; the larger the better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Named {
    Any,
    Regex,
    /// A wildcard with so many bytes behind its star.
    Below(usize),
    Exactly,
}

impl TcpTable {
    /// `https` and `http`: what the listener has beside TCP routes.
    pub(crate) fn new(entries: Vec<Entry>, https: Option<Https>, http: bool) -> Self {
        let is_plain = |entry: &Entry| matches!(entry.tls, Tls::None);
        let mut table = Self {
            plain: positions(&entries, is_plain),
            waits: https.is_some() || !entries.iter().all(is_plain),
            starttls: entries.iter().any(|entry| entry.starttls),
            https,
            http,
            ..Self::default()
        };
        let mut patterns = Vec::new();
        for (position, entry) in entries
            .iter()
            .enumerate()
            .filter(|(_, entry)| !is_plain(entry))
        {
            let mut other = entry.matches.sni.is_empty();
            for pattern in &entry.matches.sni {
                match pattern.as_exact() {
                    Some(name) => table.named.entry(name.into()).or_default().push(position),
                    None => other = true,
                }
            }
            if other {
                patterns.push(position);
            }
        }
        table.patterns = patterns.into();
        table.entries = entries.into();
        table
    }

    /// Whether the choice depends on what the client sends first. Otherwise nobody waits for that, because the server
    /// may be the one who speaks first.
    pub(crate) fn waits(&self) -> bool {
        self.waits
    }

    /// Whether clients may ask for TLS within PostgreSQL's protocol.
    pub(crate) fn has_starttls(&self) -> bool {
        self.starttls
    }

    /// For a connection without TLS: routes come before HTTP.
    pub(crate) fn plain(&self, peer: Option<SocketAddr>, local: Option<SocketAddr>) -> Choice<'_> {
        let found = self
            .plain
            .iter()
            .filter_map(|position| self.entries.get(*position))
            .filter(|entry| fits(&entry.matches, peer, local))
            // The first of the best.
            .rev()
            .max_by_key(|entry| (entry.priority, conditions(&entry.matches)));
        match found {
            Some(entry) => Choice::Tcp(entry),
            None if self.http => Choice::Http,
            None => Choice::Nothing,
        }
    }

    /// For a connection that begins with a ClientHello: HTTPS routes that name the server, TCP routes that do, any HTTPS
    /// route, any TCP route. With `asked` the client asked for TLS within another protocol.
    pub(crate) fn tls(
        &self,
        hello: &ClientHello,
        peer: Option<SocketAddr>,
        local: Option<SocketAddr>,
        asked: bool,
    ) -> Choice<'_> {
        let sni = hello.sni.as_deref();
        let https = self.https.as_ref().filter(|_| !asked);
        if let (Some(https), Some(sni)) = (https, sni)
            && https.hosts.iter().any(|host| host.matches(sni))
        {
            return Choice::Http;
        }
        let found = self.best(hello, peer, local, asked);
        match (found, https) {
            (Some((entry, named)), _) if named > Named::Any => Choice::Tcp(entry),
            (_, Some(https)) if https.any => Choice::Http,
            (Some((entry, _)), _) => Choice::Tcp(entry),
            (None, Some(_)) => Choice::Http,
            (None, None) if self.http && !asked => Choice::Http,
            (None, None) => Choice::Nothing,
        }
    }

    fn best(
        &self,
        hello: &ClientHello,
        peer: Option<SocketAddr>,
        local: Option<SocketAddr>,
        asked: bool,
    ) -> Option<(&Entry, Named)> {
        let sni = hello.sni.as_deref();
        let named = sni
            .and_then(|sni| self.named.get(sni))
            .into_iter()
            .flatten();
        let exactly = named.map(|position| (*position, Named::Exactly));
        let others = self.patterns.iter().filter_map(|position| {
            let entry = self.entries.get(*position)?;
            Some((*position, names(&entry.matches.sni, sni)?))
        });
        let (position, named) = exactly
            .chain(others)
            .filter(|(position, _)| {
                self.entries.get(*position).is_some_and(|entry| {
                    (!asked || entry.starttls)
                        && fits(&entry.matches, peer, local)
                        && offers(&entry.matches, hello)
                })
            })
            .max_by_key(|(position, named)| {
                let entry = &self.entries[*position];
                let earlier = std::cmp::Reverse(*position);
                (entry.priority, *named, conditions(&entry.matches), earlier)
            })?;
        Some((self.entries.get(position)?, named))
    }
}

fn positions(entries: &[Entry], wanted: impl Fn(&Entry) -> bool) -> Box<[usize]> {
    let all = entries.iter().enumerate();
    all.filter(|(_, entry)| wanted(entry))
        .map(|(position, _)| position)
        .collect()
}

/// How the patterns of a route name the server, leaving out single names; `None` when they do not.
fn names(patterns: &[HostPattern], sni: Option<&str>) -> Option<Named> {
    if patterns.is_empty() {
        return Some(Named::Any);
    }
    let hits = patterns.iter().filter_map(|pattern| {
        if pattern.is_any() {
            return Some(Named::Any);
        }
        if !pattern.matches(sni?) {
            return None;
        }
        Some(match (pattern.as_exact(), pattern.wildcard_suffix()) {
            (Some(_), _) => Named::Exactly,
            (None, Some(suffix)) => Named::Below(suffix.len()),
            (None, None) => Named::Regex,
        })
    });
    hits.max()
}

fn fits(matches: &TcpMatch, peer: Option<SocketAddr>, local: Option<SocketAddr>) -> bool {
    let in_networks = |ip: IpAddr| {
        let ip = ip.to_canonical();
        matches
            .client_ip
            .iter()
            .any(|network| network.contains(&ip))
    };
    // What cannot be told is not what was asked for.
    let client = matches.client_ip.is_empty() || peer.is_some_and(|peer| in_networks(peer.ip()));
    let port = matches.ports.is_empty()
        || local.is_some_and(|local| matches.ports.contains(&local.port()));
    client && port
}

fn offers(matches: &TcpMatch, hello: &ClientHello) -> bool {
    let mut wanted = matches.alpn.iter();
    matches.alpn.is_empty() || wanted.any(|protocol| hello.offers(protocol))
}

/// Between equals the one that asks for more.
fn conditions(matches: &TcpMatch) -> usize {
    [
        matches.alpn.is_empty(),
        matches.client_ip.is_empty(),
        matches.ports.is_empty(),
    ]
    .into_iter()
    .filter(|empty| !empty)
    .count()
}

#[cfg(test)]
mod tests;
