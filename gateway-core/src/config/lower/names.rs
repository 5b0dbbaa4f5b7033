//! Names, and references to them.

use std::collections::HashMap;

use super::findings::Findings;

use crate::config::{
    capture::Located,
    diagnostic::{Diagnostic, did_you_mean},
    raw::RawConfig,
};

/// Most names that a hint lists.
const MOST_LISTED: usize = 10;
/// After this many problems nobody reads hints that cost a comparison with every name.
const MOST_HINTS: usize = 100;

/// The names of one kind of object.
pub(super) struct Table<'r> {
    kind: &'static str,
    positions: HashMap<&'r str, usize>,
    order: Vec<&'r str>,
    /// Whether there may be more.
    short: bool,
}

/// The names that others refer to.
pub(super) struct Names<'r> {
    pub(super) listeners: Table<'r>,
    pub(super) upstreams: Table<'r>,
}

impl<'r> Names<'r> {
    /// Collects all names; the second use of one is a mistake.
    pub(super) fn of(raw: &'r RawConfig, problems: &mut Findings<'_>) -> Self {
        Table::of(
            "tcp_route",
            raw.tcp_routes.iter().map(|route| &route.name),
            problems,
        );
        Table::of(
            "udp_route",
            raw.udp_routes.iter().map(|route| &route.name),
            problems,
        );
        Table::of(
            "route",
            raw.routes.iter().map(|route| &route.name),
            problems,
        );
        Self {
            listeners: Table::of("listener", raw.listeners.iter().map(|l| &l.name), problems),
            upstreams: Table::of("upstream", raw.upstreams.iter().map(|u| &u.name), problems),
        }
    }
}

impl<'r> Table<'r> {
    fn of(
        kind: &'static str,
        names: impl Iterator<Item = &'r Located<String>>,
        problems: &mut Findings<'_>,
    ) -> Self {
        let mut first: HashMap<&str, &Located<String>> = HashMap::new();
        let mut table = Self {
            kind,
            positions: HashMap::new(),
            order: Vec::new(),
            short: problems.is_short(&format!("{kind}s")),
        };
        for (position, name) in names.enumerate() {
            if name.is_missing() {
                table.short = true;
                continue;
            }
            // Written twice, say.
            table.short |= problems.lost(name, &["name"]);
            if name.is_empty() {
                problems.push(name.error(format!("the name of a {kind} must not be empty")));
                continue;
            }
            if let Some(other) = first.get(name.as_str()) {
                let problem = name.error(format!("another {kind} is called `{}`", name.value));
                problems.push(elsewhere(problem, other));
                continue;
            }
            first.insert(name, name);
            table.positions.insert(name, position);
            table.order.push(name);
        }
        table
    }

    /// The position of the object that a name refers to. That there is none is reported, unless it may be among
    /// what could not be read.
    pub(super) fn find(
        &self,
        name: &Located<String>,
        problems: &mut Findings<'_>,
    ) -> Option<usize> {
        let position = self.positions.get(name.as_str()).copied();
        if position.is_none() && !self.short && !name.is_missing() {
            let problem = name.error(format!("no {} is called `{}`", self.kind, name.value));
            problems.push(if problems.len() < MOST_HINTS {
                self.suggest(problem, name)
            } else {
                problem
            });
        }
        position
    }

    /// The position, without a report: for references that were judged already.
    pub(super) fn position(&self, name: &str) -> Option<usize> {
        self.positions.get(name).copied()
    }

    fn suggest(&self, problem: Diagnostic, name: &str) -> Diagnostic {
        let kind = self.kind;
        match (
            did_you_mean(name, self.order.iter().copied()),
            self.order.len(),
        ) {
            (Some(near), _) => problem.hint(format!("did you mean `{near}`?")),
            (None, 0) => problem.hint(format!("there are no {kind}s")),
            (None, 1..=MOST_LISTED) => problem.hint(format!("{kind}s: {}", self.order.join(", "))),
            (None, _) => problem,
        }
    }
}

/// How a message about an object calls it.
pub(super) fn called(kind: &str, name: &Located<String>) -> String {
    if name.is_missing() {
        format!("this {kind}")
    } else {
        format!("the {kind} `{}`", name.value)
    }
}

/// Names the place of the object that was there first, when it is known.
pub(super) fn elsewhere<T>(problem: Diagnostic, other: &Located<T>) -> Diagnostic {
    if other.at.is_known() {
        problem.hint(format!("the other one is at {}", other.at))
    } else {
        problem
    }
}
