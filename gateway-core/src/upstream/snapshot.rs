//! What the request path sees of an upstream.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::balance::{Balancer, EndpointView, LevelPicker, PickCx, Picker, Random, shares};
use crate::clock::Instant;
use crate::upstream::endpoint::Endpoint;
use crate::upstream::slow_start::SlowStart;

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

/// How pickers are built from endpoints.
#[derive(Debug)]
pub(super) struct Policy {
    pub(super) balancer: Arc<dyn Balancer>,
    pub(super) panic: PanicPolicy,
    /// The zone whose endpoints are preferred.
    pub(super) zone: Option<Arc<str>>,
    pub(super) slow_start: Option<SlowStart>,
}

/// Endpoints that are picked from alike.
#[derive(Debug, Default)]
struct Level {
    usable: Vec<Arc<Endpoint>>,
    all: Vec<Arc<Endpoint>>,
}

impl Snapshot {
    pub(super) fn build(
        version: u64,
        endpoints: &[Arc<Endpoint>],
        policy: &Policy,
        now: Instant,
    ) -> Self {
        let mut levels: BTreeMap<(u32, bool), Level> = BTreeMap::new();
        for endpoint in endpoints.iter().filter(|endpoint| endpoint.weight() > 0) {
            let level = levels.entry(policy.level(endpoint)).or_default();
            level.all.push(Arc::clone(endpoint));
            if endpoint.stats().is_available(now) {
                level.usable.push(Arc::clone(endpoint));
            }
        }
        let usable: usize = levels.values().map(|level| level.usable.len()).sum();
        let all = levels.values().map(|level| level.all.len()).sum();
        let mut plan = Plan::new(policy, now);
        if levels.len() > 1 && usable > 0 {
            plan.levels(levels.into_values());
        } else {
            // with nothing usable anywhere, the order of levels helps nobody
            plan.in_panic = policy.panic.applies(usable, all);
            let panic = plan.in_panic;
            let list = levels.into_values();
            let list = list.flat_map(|level| if panic { level.all } else { level.usable });
            plan.add(1.0, &list.collect::<Vec<_>>());
        }
        let mut keeping: Vec<_> = endpoints
            .iter()
            .filter(|endpoint| plan.in_panic || endpoint.stats().is_available(now))
            .cloned()
            .collect();
        keeping.sort_by_key(|endpoint| endpoint.fingerprint());
        let ejections = endpoints
            .iter()
            .filter_map(|e| e.stats().ejected_until(now));
        Self {
            version,
            endpoints: endpoints.into(),
            candidates: plan.candidates,
            keeping: keeping.into(),
            healthy: usable > 0,
            in_panic: plan.in_panic,
            expires: ejections.chain(plan.changes).min(),
            picker: plan.picker(),
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

    /// When the first ejection ends or a weight changes, after which the snapshot is out of date.
    pub(super) fn expires(&self) -> Option<Instant> {
        self.expires
    }
}

/// The pickers of a snapshot that is being built.
struct Plan<'p> {
    policy: &'p Policy,
    now: Instant,
    pickers: Vec<(f64, Arc<dyn Picker>)>,
    candidates: usize,
    in_panic: bool,
    /// When weights change that are not yet what they will be.
    changes: Option<Instant>,
}

impl<'p> Plan<'p> {
    fn new(policy: &'p Policy, now: Instant) -> Self {
        Self {
            policy,
            now,
            pickers: Vec::new(),
            candidates: 0,
            in_panic: false,
            changes: None,
        }
    }

    /// Levels of which at least one has a usable endpoint, the preferred ones first.
    fn levels(&mut self, levels: impl Iterator<Item = Level>) {
        let levels: Vec<Level> = levels.collect();
        let counts: Vec<(usize, usize)> = levels
            .iter()
            .map(|level| (level.usable.len(), level.all.len()))
            .collect();
        let (shares, stretched) = shares(&counts);
        for (level, share) in levels.iter().zip(shares) {
            let (usable, all) = (level.usable.len(), level.all.len());
            // while the other levels can take over there is no need to panic
            let panic = stretched && usable > 0 && self.policy.panic.applies(usable, all);
            self.in_panic |= panic;
            self.add(share, if panic { &level.all } else { &level.usable });
        }
    }

    fn add(&mut self, share: f64, endpoints: &[Arc<Endpoint>]) {
        let ramp = self
            .policy
            .slow_start
            .map(|slow| slow.ramp(endpoints, self.now));
        let mut view = EndpointView::new(endpoints);
        if let Some(ramp) = &ramp {
            self.changes = self.changes.into_iter().chain(ramp.changes).min();
            if let Some(weights) = &ramp.weights {
                view = view.with_weights(weights);
            }
        }
        self.candidates += endpoints.len();
        self.pickers
            .push((share, build_picker(&*self.policy.balancer, &view)));
    }

    fn picker(self) -> Arc<dyn Picker> {
        let Self {
            mut pickers,
            policy,
            ..
        } = self;
        match (pickers.len(), pickers.pop()) {
            (1, Some((_, only))) => only,
            (_, Some(last)) => {
                pickers.push(last);
                Arc::new(LevelPicker::new(pickers))
            }
            (_, None) => build_picker(&*policy.balancer, &EndpointView::new(&[])),
        }
    }
}

impl Policy {
    /// The priority of an endpoint, and whether it is in another zone than is preferred.
    fn level(&self, endpoint: &Endpoint) -> (u32, bool) {
        let spec = endpoint.spec();
        let far = self.zone.is_some() && self.zone != spec.zone;
        (spec.priority, far)
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
