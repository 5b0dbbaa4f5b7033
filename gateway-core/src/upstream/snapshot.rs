//! What the request path sees of an upstream.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::balance::{Balancer, EndpointView, PickCx, Picker, Random};
use crate::clock::Instant;
use crate::upstream::endpoint::Endpoint;

/// Whether to pick among endpoints that are unhealthy or ejected when too few others are left.
///
/// Checks can be wrong about many endpoints at once (a bad health path, a dependency all of them share), and
/// sending everything to the last one or two usable endpoints takes those down as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PanicPolicy {
    /// Pick among all endpoints when none is usable, or less than this part of them (0 to 100 per cent).
    /// With the default of 0 only when none is.
    BelowPercent(u8),
    /// Never: refuse requests when no endpoint is usable.
    Never,
}

impl Default for PanicPolicy {
    fn default() -> Self {
        Self::BelowPercent(0)
    }
}

impl PanicPolicy {
    fn applies(self, usable: usize, all: usize) -> bool {
        match self {
            Self::BelowPercent(percent) => {
                all > 0 && (usable == 0 || usable * 100 < usize::from(percent) * all)
            }
            Self::Never => false,
        }
    }
}

/// The endpoints of an upstream at one time, and the picker built from them. Immutable.
#[derive(Debug)]
pub struct Snapshot {
    version: u64,
    endpoints: Box<[Arc<Endpoint>]>,
    /// How many the picker chooses from.
    candidates: usize,
    /// Those that keep the clients they have, by fingerprint: the same, and those of weight 0.
    keeping: Box<[Arc<Endpoint>]>,
    picker: Arc<dyn Picker>,
    healthy: bool,
    in_panic: bool,
    expires: Option<Instant>,
}

impl Snapshot {
    pub(super) fn build(
        version: u64,
        endpoints: &[Arc<Endpoint>],
        balancer: &dyn Balancer,
        panic: PanicPolicy,
        now: Instant,
    ) -> Self {
        let weighted = || endpoints.iter().filter(|endpoint| endpoint.weight() > 0);
        let usable: Vec<_> = weighted()
            .filter(|endpoint| endpoint.stats().is_available(now))
            .cloned()
            .collect();
        let healthy = !usable.is_empty();
        let in_panic = panic.applies(usable.len(), weighted().count());
        let candidates = if in_panic {
            weighted().cloned().collect()
        } else {
            usable
        };
        let mut keeping: Vec<_> = endpoints
            .iter()
            .filter(|endpoint| in_panic || endpoint.stats().is_available(now))
            .cloned()
            .collect();
        keeping.sort_by_key(|endpoint| endpoint.fingerprint());
        let picker = build_picker(balancer, &EndpointView::new(&candidates));
        let ejections = endpoints
            .iter()
            .filter_map(|e| e.stats().ejected_until(now));
        Self {
            version,
            endpoints: endpoints.into(),
            candidates: candidates.len(),
            keeping: keeping.into(),
            picker,
            healthy,
            in_panic,
            expires: ejections.min(),
        }
    }

    /// Grows by one with every change.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// All endpoints, usable or not, in the order of discovery.
    #[must_use]
    pub fn endpoints(&self) -> &[Arc<Endpoint>] {
        &self.endpoints
    }

    /// How many endpoints are picked from.
    #[must_use]
    pub fn candidate_count(&self) -> usize {
        self.candidates
    }

    /// Whether health is ignored because too few endpoints are usable.
    #[must_use]
    pub fn in_panic(&self) -> bool {
        self.in_panic
    }

    /// Whether an endpoint may be picked on its own merits, not only because all are in trouble.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.healthy
    }

    /// Chooses the endpoint for an attempt; `None` when there is none.
    #[must_use]
    pub fn pick(&self, cx: &PickCx<'_>) -> Option<Arc<Endpoint>> {
        self.picker.pick(cx)
    }

    /// The endpoint with this fingerprint, if it may be picked. One of weight 0 keeps the clients it has.
    #[must_use]
    pub fn pinned(&self, fingerprint: u64) -> Option<Arc<Endpoint>> {
        let found = self
            .keeping
            .binary_search_by_key(&fingerprint, |endpoint| endpoint.fingerprint());
        self.keeping.get(found.ok()?).cloned()
    }

    /// When the first ejection ends, after which the snapshot is out of date.
    pub(super) fn expires(&self) -> Option<Instant> {
        self.expires
    }
}

/// Policies are users' code: one that panics must not take the driver with it.
fn build_picker(balancer: &dyn Balancer, view: &EndpointView<'_>) -> Arc<dyn Picker> {
    catch_unwind(AssertUnwindSafe(|| balancer.picker(view))).unwrap_or_else(|_| {
        tracing::error!(
            balancer = balancer.name(),
            "balancing policy panicked; picking at random until the next change"
        );
        Random.picker(view)
    })
}
