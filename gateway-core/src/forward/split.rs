//! Weighted choice between the backends of a route.

use std::sync::Arc;

use super::UpstreamClient;
use crate::balance::PickCx;
use crate::handler::SharedService;

/// A weighted reference from a route to an upstream.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Backend {
    /// Where requests go.
    pub client: Arc<UpstreamClient>,
    /// The share of requests, relative to the other backends of the route. 0 takes none.
    pub weight: u32,
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
            chain: None,
        }
    }
}

/// The backends of a route.
#[derive(Clone, Debug)]
pub struct Split(Choice);

#[derive(Clone, Debug)]
enum Choice {
    /// In place: a route with one backend is read without a second look at memory.
    One(Backend),
    Many {
        backends: Box<[Backend]>,
        total: u64,
    },
}

impl Split {
    /// Splits by the weights of `backends`.
    #[must_use]
    pub fn new(mut backends: Vec<Backend>) -> Self {
        if backends.len() == 1
            && let Some(only) = backends.pop()
        {
            return Self(Choice::One(only));
        }
        Self(Choice::Many {
            total: backends
                .iter()
                .map(|backend| u64::from(backend.weight))
                .sum(),
            backends: backends.into(),
        })
    }

    /// All backends.
    #[must_use]
    pub fn backends(&self) -> &[Backend] {
        match &self.0 {
            Choice::One(only) => std::slice::from_ref(only),
            Choice::Many { backends, .. } => backends,
        }
    }

    /// Chooses a backend; `None` when all weights are 0.
    #[must_use]
    pub fn choose(&self) -> Option<&Backend> {
        let (backends, total) = match &self.0 {
            Choice::One(only) => return (only.weight > 0).then_some(only),
            Choice::Many { backends, total } => (backends, *total),
        };
        let total = usize::try_from(total).ok().filter(|total| *total > 0)?;
        let mut ticket = PickCx::new().random_below(total) as u64;
        backends.iter().find(|backend| {
            let weight = u64::from(backend.weight);
            let hit = ticket < weight;
            ticket = ticket.saturating_sub(weight);
            hit
        })
    }
}

impl Default for Split {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}
