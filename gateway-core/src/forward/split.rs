//! Weighted choice between the backends of a route.

use std::sync::Arc;

use http::HeaderMap;

use super::UpstreamClient;
use super::affinity::{Marks, Sticky};
use crate::balance::{PickCx, combine_hashes, stable_hash};
use crate::exchange::Exchange;
use crate::handler::SharedService;

/// A weighted reference from a route to an upstream.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Backend {
    /// Where requests go.
    pub client: Arc<UpstreamClient>,
    /// The share of requests, relative to the other backends of the route. 0 takes none.
    pub weight: u32,
    /// Backends of a higher number are used only while those of lower ones have no healthy endpoint.
    pub priority: u32,
    /// The backend's own chain, when it has filters.
    pub chain: Option<SharedService>,
}

impl Backend {
    /// A backend without filters.
    #[must_use]
    pub fn new(client: Arc<UpstreamClient>, weight: u32) -> Self {
        Self {
            client,
            weight,
            priority: 0,
            chain: None,
        }
    }

    fn is_healthy(&self) -> bool {
        self.weight > 0 && self.client.upstream().is_healthy()
    }
}

/// The backends of a route.
#[derive(Clone, Debug)]
pub struct Split(Choice);

#[derive(Clone, Debug)]
enum Choice {
    /// In place: a route with one backend is read without a second look at memory.
    One(Backend),
    /// By weight alone.
    Weights {
        backends: Box<[Backend]>,
        total: u64,
    },
    /// By where the client was, and by health.
    Rules(Box<Rules>),
}

/// A split for which weights are not all.
#[derive(Clone, Debug)]
struct Rules {
    backends: Box<[Backend]>,
    /// What tokens name the backends by, in their order.
    fingerprints: Box<[u64]>,
    sticky: Option<Sticky>,
    /// The backends differ in priority.
    leveled: bool,
}

impl Split {
    /// Splits by priorities and weights of `backends`.
    #[must_use]
    pub fn new(backends: Vec<Backend>) -> Self {
        Self::build(backends, None)
    }

    /// As [`new`](Self::new), and keeps each client on its backend while that has healthy endpoints.
    #[must_use]
    pub fn sticky(backends: Vec<Backend>, sticky: Sticky) -> Self {
        Self::build(backends, Some(sticky))
    }

    fn build(mut backends: Vec<Backend>, sticky: Option<Sticky>) -> Self {
        if backends.len() == 1
            && let Some(only) = backends.pop()
        {
            return Self(Choice::One(only));
        }
        let leveled = backends
            .windows(2)
            .any(|pair| pair[0].priority != pair[1].priority);
        if leveled || sticky.is_some() {
            return Self(Choice::Rules(Box::new(Rules {
                fingerprints: fingerprints(&backends),
                backends: backends.into(),
                sticky,
                leveled,
            })));
        }
        Self(Choice::Weights {
            total: total(&backends),
            backends: backends.into(),
        })
    }

    /// All backends.
    #[must_use]
    pub fn backends(&self) -> &[Backend] {
        match &self.0 {
            Choice::One(only) => std::slice::from_ref(only),
            Choice::Weights { backends, .. } => backends,
            Choice::Rules(rules) => &rules.backends,
        }
    }

    /// Whether replies may have to tell the client which backend it was on.
    pub(super) fn marks(&self) -> bool {
        matches!(&self.0, Choice::Rules(rules) if rules.sticky.is_some())
    }

    /// Chooses a backend for a request with these fields; `None` when all weights are 0.
    pub(crate) fn choose(&self, headers: &HeaderMap, exchange: &Exchange) -> Option<&Backend> {
        match &self.0 {
            Choice::One(only) => (only.weight > 0).then_some(only),
            Choice::Weights { backends, total } => {
                draw(backends.iter().map(|backend| (backend, backend)), *total)
            }
            Choice::Rules(rules) => rules.choose(headers, exchange),
        }
    }
}

impl Default for Split {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl Rules {
    fn choose(&self, headers: &HeaderMap, exchange: &Exchange) -> Option<&Backend> {
        let level = self.level();
        let Some(sticky) = &self.sticky else {
            return Some(self.any(level)?.0);
        };
        Marks::of(&mut exchange.state()).backend = None;
        let pin = sticky.pin(headers);
        let pinned = pin.and_then(|pin| {
            let position = self.fingerprints.iter().position(|own| *own == pin.to)?;
            let backend = self.backends.get(position)?;
            let stays =
                level.is_some_and(|level| backend.priority == level) && backend.is_healthy();
            stays.then_some((pin, backend))
        });
        let (backend, mark) = match pinned {
            Some((pin, backend)) => (backend, sticky.renew(pin)),
            None => {
                let (backend, fingerprint) = self.any(level)?;
                (backend, sticky.issue(fingerprint))
            }
        };
        if mark.is_some() {
            Marks::of(&mut exchange.state()).backend = mark;
        }
        Some(backend)
    }

    /// The first priority that has a healthy backend, if there is one.
    fn level(&self) -> Option<u32> {
        let healthy = self.backends.iter().filter(|backend| backend.is_healthy());
        healthy.map(|backend| backend.priority).min()
    }

    /// Draws among the healthy backends of a level; without health to go by, among all of the first level.
    fn any(&self, level: Option<u32>) -> Option<(&Backend, u64)> {
        let weighted = || {
            let all = self.backends.iter().zip(&self.fingerprints);
            all.filter(|(backend, _)| backend.weight > 0)
        };
        let first = || weighted().map(|(backend, _)| backend.priority).min();
        let (level, by_health) = match level {
            // A split without levels gives each backend its share, so that a broken one shows.
            Some(level) => (level, self.leveled || self.sticky.is_some()),
            None => (first()?, false),
        };
        let candidates = || {
            weighted().filter(move |(backend, _)| {
                backend.priority == level && (!by_health || backend.is_healthy())
            })
        };
        let total = candidates().map(|(backend, _)| u64::from(backend.weight));
        let pairs = candidates().map(|(backend, print)| (backend, (backend, *print)));
        // health may have changed between the two passes: then the last one counts
        draw(pairs, total.sum()).or_else(|| {
            let (backend, print) = weighted().next()?;
            Some((backend, *print))
        })
    }
}

fn total(backends: &[Backend]) -> u64 {
    let weights = backends.iter().map(|backend| u64::from(backend.weight));
    weights.sum()
}

/// Draws by weight. `total` is the sum of all weights.
fn draw<'b, T>(backends: impl Iterator<Item = (&'b Backend, T)>, total: u64) -> Option<T> {
    if total == 0 {
        return None;
    }
    let random = PickCx::new().random();
    let mut ticket = ((u128::from(random) * u128::from(total)) >> 64) as u64;
    for (backend, chosen) in backends {
        let weight = u64::from(backend.weight);
        if ticket < weight {
            return Some(chosen);
        }
        ticket -= weight;
    }
    None
}

/// By the names of the upstreams; of several backends with one upstream, by how many came before.
fn fingerprints(backends: &[Backend]) -> Box<[u64]> {
    let name = |backend: &Backend| backend.client.upstream().name().clone();
    let print = |(position, backend): (usize, &Backend)| {
        let own = name(backend);
        let before = backends.iter().take(position);
        let alike = before.filter(|other| name(other) == own).count() as u64;
        combine_hashes(stable_hash(own.as_bytes()), alike)
    };
    backends.iter().enumerate().map(print).collect()
}

#[cfg(test)]
mod tests;
