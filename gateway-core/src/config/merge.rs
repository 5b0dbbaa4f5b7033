//! Several documents, whichever dialects they are written in, to one configuration.

use std::sync::Arc;

use super::{
    decode::decode,
    diagnostic::{Diagnostic, Diagnostics, Location, did_you_mean},
    node::{Document, Kind},
    raw::RawConfig,
};
use crate::registry::{Dialect, Registry};

/// The keys of a native document that hold lists, which documents add to.
const LISTS: [&str; 3] = ["listeners", "routes", "upstreams"];
/// The keys that one document may have.
const SINGLES: [&str; 6] = [
    "admin",
    "access_log",
    "tracing",
    "metrics",
    "defaults",
    "limits",
];

/// A configuration and what it came from.
struct Part<'d> {
    config: RawConfig,
    /// The document, when the configuration is native.
    native: Option<&'d Document>,
    /// The first document.
    file: &'d Arc<str>,
}

/// Decodes, translates and joins. Without a registry only the native form is known.
pub(super) fn merge(
    documents: &[Document],
    registry: Option<&Registry>,
    problems: &mut Diagnostics,
) -> Option<RawConfig> {
    let mut found = Diagnostics::new();
    let parts = parts(documents, registry, &mut found);
    let mut whole = RawConfig::default();
    let mut origins: Vec<(&'static str, Location)> = Vec::new();
    for part in parts {
        for key in SINGLES {
            let Some(place) = part.place_of(key) else {
                continue;
            };
            match origins.iter().find(|(known, _)| *known == key) {
                Some((_, first)) => {
                    let problem = Diagnostic::error(format!("`{key}` is given twice"))
                        .at(place)
                        .path(key);
                    found.push(problem.hint(format!("the other one is at {first}")));
                }
                None => origins.push((key, place)),
            }
        }
        part.add_to(&mut whole);
    }
    let usable = !found.has_errors();
    problems.extend(found);
    usable.then_some(whole)
}

/// In the order in which each document, or the first one of each dialect, was given.
fn parts<'d>(
    documents: &'d [Document],
    registry: Option<&Registry>,
    problems: &mut Diagnostics,
) -> Vec<Part<'d>> {
    enum Group<'d, 'r> {
        Native(&'d Document),
        Foreign(&'r Arc<dyn Dialect>, Vec<Document>, &'d Arc<str>),
    }
    let mut groups: Vec<Group<'d, '_>> = Vec::new();
    for document in documents {
        let Some(dialect) = registry.and_then(|registry| registry.dialect_of(document)) else {
            if is_native(document) {
                groups.push(Group::Native(document));
            } else {
                problems.push(unknown(document, registry));
            }
            continue;
        };
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
        Group::Native(document) => Some(Part {
            config: decode(document.root(), problems)?,
            native: Some(document),
            file: document.file(),
        }),
        Group::Foreign(dialect, list, file) => Some(Part {
            config: dialect.translate(&list, problems),
            native: None,
            file,
        }),
    });
    parts.collect()
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

impl Part<'_> {
    /// Where something that only one document may have was given, if it was.
    fn place_of(&self, key: &str) -> Option<Location> {
        let written =
            |document: &Document| document.root().get(key).map(|node| node.key_location());
        match self.native {
            Some(document) => written(document),
            None => self
                .has(key)
                .then(|| Location::new(Arc::clone(self.file), 0, 0)),
        }
    }

    fn has(&self, key: &str) -> bool {
        let (own, unset) = (&self.config, RawConfig::default());
        match key {
            "admin" => own.admin != unset.admin,
            "access_log" => own.access_log.is_some(),
            "tracing" => own.tracing.is_some(),
            "metrics" => own.metrics != unset.metrics,
            "defaults" => own.defaults != unset.defaults,
            _ => own.limits != unset.limits,
        }
    }

    fn add_to(self, whole: &mut RawConfig) {
        let given = |key| self.place_of(key).is_some();
        let [admin, access_log, tracing, metrics, defaults, limits] = SINGLES.map(given);
        let RawConfig {
            listeners,
            routes,
            upstreams,
            ..
        } = self.config;
        whole.listeners.extend(listeners);
        whole.routes.extend(routes);
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
    }
}
