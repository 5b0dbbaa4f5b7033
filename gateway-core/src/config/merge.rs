//! Several documents, whichever dialects they are written in, to one configuration.

use std::sync::Arc;

use super::{
    damage::Damage,
    decode::{Recovered, recover},
    diagnostic::{Diagnostic, Diagnostics, Location, did_you_mean},
    node::{Document, Kind},
    raw::RawConfig,
};
use crate::registry::{Dialect, Registry};

/// The keys of a native document that hold lists, which documents add to.
const LISTS: [&str; 5] = [
    "listeners",
    "routes",
    "tcp_routes",
    "udp_routes",
    "upstreams",
];
/// The keys that one document may have.
const SINGLES: [&str; 7] = [
    "admin",
    "access_log",
    "tracing",
    "metrics",
    "defaults",
    "limits",
    "zone",
];

/// What documents say together.
#[derive(Debug, Default)]
pub(super) struct Whole {
    /// Without what was wrong.
    pub(super) config: RawConfig,
    /// What it lacks for that.
    pub(super) damage: Damage,
}

/// A configuration and what it came from.
struct Part {
    config: RawConfig,
    /// What it has of the keys that only one document may have, and where.
    given: Vec<(&'static str, Location)>,
}

/// Decodes, translates and joins. Without a registry only the native form is known.
pub(super) fn merge(
    documents: &[Document],
    registry: Option<&Registry>,
    problems: &mut Diagnostics,
) -> Whole {
    let mut whole = Whole::default();
    let parts = parts(documents, registry, &mut whole.damage, problems);
    let mut origins: Vec<(&'static str, Location)> = Vec::new();
    for part in parts {
        for (key, place) in &part.given {
            match origins.iter().find(|(known, _)| known == key) {
                Some((_, first)) => {
                    let problem = Diagnostic::error(format!("`{key}` is given twice"))
                        .at(place.clone())
                        .path(*key);
                    problems.push(problem.hint(format!("the other one is at {first}")));
                }
                None => origins.push((key, place.clone())),
            }
        }
        part.add_to(&mut whole.config);
    }
    whole
}

/// In the order in which each document, or the first one of each dialect, was given.
fn parts(
    documents: &[Document],
    registry: Option<&Registry>,
    damage: &mut Damage,
    problems: &mut Diagnostics,
) -> Vec<Part> {
    enum Group<'d, 'r> {
        Native(&'d Document),
        Foreign(&'r Arc<dyn Dialect>, Vec<Document>, &'d Arc<str>),
    }
    let mut groups: Vec<Group<'_, '_>> = Vec::new();
    for document in documents {
        let Some(dialect) = registry.and_then(|registry| registry.dialect_of(document)) else {
            if is_native(document) {
                groups.push(Group::Native(document));
            } else {
                problems.push(unknown(document, registry));
                damage.set_incomplete();
            }
            continue;
        };
        if !document.flaws().is_empty() {
            // A dialect does not know of flaws.
            damage.set_incomplete();
            continue;
        }
        let same = groups.iter_mut().find_map(|group| match group {
            Group::Foreign(known, list, _) if known.name() == dialect.name() => Some(list),
            _ => None,
        });
        match same {
            Some(list) => list.push(document.clone()),
            None => groups.push(Group::Foreign(
                dialect,
                vec![document.clone()],
                document.file(),
            )),
        }
    }
    let parts = groups.into_iter().filter_map(|group| match group {
        Group::Native(document) => native(document, damage, problems),
        Group::Foreign(dialect, list, file) => {
            let mut found = Diagnostics::new();
            let config = dialect.translate(&list, &mut found);
            if found.has_errors() {
                // Nobody knows what was left out.
                damage.set_incomplete();
            }
            problems.extend(found);
            Some(foreign(config, file))
        }
    });
    parts.collect()
}

fn native(document: &Document, damage: &mut Damage, problems: &mut Diagnostics) -> Option<Part> {
    let Recovered { value, lost, .. } = recover::<RawConfig>(document.root(), None, problems);
    let Some(config) = value else {
        damage.set_incomplete();
        return None;
    };
    let place = |key| Some((key, lost.get(document.root(), key)?.key_location()));
    let given = SINGLES.into_iter().filter_map(place).collect();
    damage.add(document, lost);
    Some(Part { config, given })
}

/// A translated configuration has the sections that it says something in.
fn foreign(own: RawConfig, file: &Arc<str>) -> Part {
    let unset = RawConfig::default();
    let has = [
        own.admin != unset.admin,
        own.access_log.is_some(),
        own.tracing.is_some(),
        own.metrics != unset.metrics,
        own.defaults != unset.defaults,
        own.limits != unset.limits,
        own.zone.is_some(),
    ];
    let place = || Location::new(Arc::clone(file), 0, 0);
    let given = SINGLES.into_iter().zip(has).filter(|(_, has)| *has);
    Part {
        given: given.map(|(key, _)| (key, place())).collect(),
        config: own,
    }
}

/// Whether a document is meant to be native: it has one of the keys, or one that is probably misspelled, or
/// nothing at all.
fn is_native(document: &Document) -> bool {
    let keys = || LISTS.iter().chain(&SINGLES).copied();
    let root = document.root();
    let mut meant = root.entries().map(|(key, _)| key);
    let empty = matches!(root.kind(), Kind::Map | Kind::Null) && root.entries().len() == 0;
    empty
        || keys().any(|key| root.has_key(key))
        || meant.any(|key| did_you_mean(key, keys()).is_some())
}

fn unknown(document: &Document, registry: Option<&Registry>) -> Diagnostic {
    let root = document.root();
    let found = match root.kind() {
        Kind::Map => {
            let keys: Vec<_> = root
                .entries()
                .take(5)
                .map(|(key, _)| format!("`{key}`"))
                .collect();
            let more = if root.entries().len() > keys.len() {
                ", ..."
            } else {
                ""
            };
            format!("the keys {}{more}", keys.join(", "))
        }
        Kind::Seq => "a list".to_owned(),
        Kind::String => "a text".to_owned(),
        Kind::Null => "nothing".to_owned(),
        Kind::Bool | Kind::Int | Kind::Float => "a single value".to_owned(),
    };
    let problem = Diagnostic::error(format!(
        "no known kind of configuration has {found} at its top"
    ));
    let others = registry.map(Registry::dialects).unwrap_or_default();
    let others: String = others.iter().map(|name| format!(", {name}")).collect();
    problem
        .at(root.location())
        .hint(format!("known: native ({}){others}", LISTS.join(", ")))
}

impl Part {
    fn add_to(self, whole: &mut RawConfig) {
        let given = |key| self.given.iter().any(|(given, _)| *given == key);
        let [admin, access_log, tracing, metrics, defaults, limits, zone] = SINGLES.map(given);
        let RawConfig {
            listeners,
            routes,
            tcp_routes,
            udp_routes,
            upstreams,
            ..
        } = self.config;
        whole.listeners.extend(listeners);
        whole.routes.extend(routes);
        whole.tcp_routes.extend(tcp_routes);
        whole.udp_routes.extend(udp_routes);
        whole.upstreams.extend(upstreams);
        if admin {
            whole.admin = self.config.admin;
        }
        if access_log {
            whole.access_log = self.config.access_log;
        }
        if tracing {
            whole.tracing = self.config.tracing;
        }
        if metrics {
            whole.metrics = self.config.metrics;
        }
        if defaults {
            whole.defaults = self.config.defaults;
        }
        if limits {
            whole.limits = self.config.limits;
        }
        if zone {
            whole.zone = self.config.zone;
        }
    }
}
