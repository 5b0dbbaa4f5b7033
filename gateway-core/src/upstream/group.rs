//! The upstream itself.

use std::any::Any;
use std::error::Error;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, TryLockError};
use std::time::Duration;

use tokio::sync::watch;

use crate::balance::{Balancer, PickCx, PowerOfTwo};
use crate::clock::{Clock, Instant};
use crate::upstream::attach::Attachments;
use crate::upstream::discovery::{Discovery, DiscoveryError, EndpointUpdate, StaticDiscovery};
use crate::upstream::endpoint::Endpoint;
use crate::upstream::members::Members;
use crate::upstream::outlier::{OutlierConfig, Signal};
use crate::upstream::report::{self, UpstreamReport};
use crate::upstream::slow_start::SlowStart;
use crate::upstream::snapshot::{PanicPolicy, Policy, Snapshot};
use crate::upstream::spec::{EndpointId, EndpointSpec};
use crate::worker::{self, MAX_SHARDS};

/// A named group of endpoints that requests are balanced over.
///
/// Shared by everything that sends requests there, across reloads. See the [module](crate::upstream) for
/// what feeds it.
#[derive(Debug)]
pub struct Upstream {
    name: Arc<str>,
    config_hash: u64,
    discovery: Arc<dyn Discovery>,
    policy: Policy,
    signal: Arc<Signal>,
    members: Mutex<Members>,
    current: RwLock<Arc<Snapshot>>,
    /// The version of `current`; workers compare it with that of their own copy.
    version: AtomicU64,
    slots: [OnceLock<Box<Slot>>; MAX_SHARDS],
    changes: watch::Sender<u64>,
    /// Set once a snapshot holds what discovery said.
    discovered: AtomicBool,
    status: Mutex<Status>,
    attachments: Attachments,
}

/// A worker's copy of the snapshot. Locked by its worker for a pick and by the driver for an exchange, so
/// all but never contended.
#[derive(Debug)]
#[repr(align(128))] // apart from the slots of other workers
struct Slot(Mutex<Arc<Snapshot>>);

/// How discovery is doing.
#[derive(Clone, Debug, Default)]
pub(super) struct Status {
    pub(super) updates: u64,
    pub(super) resubscriptions: u64,
    pub(super) gone: bool,
    pub(super) failing_since: Option<Instant>,
    pub(super) last_error: Option<String>,
}

/// Sets up an [`Upstream`].
#[derive(Debug)]
#[must_use = "nothing exists before `build`"]
pub struct UpstreamBuilder {
    name: Arc<str>,
    config_hash: u64,
    discovery: Arc<dyn Discovery>,
    policy: Policy,
    outlier: Option<OutlierConfig>,
    /// The last snapshot of the upstream it replaces, and whether that was discovered.
    inherited: Option<(Arc<Snapshot>, bool)>,
}

impl UpstreamBuilder {
    /// How to choose among the endpoints. Default: [`PowerOfTwo`].
    pub fn balancer(mut self, balancer: Arc<dyn Balancer>) -> Self {
        self.policy.balancer = balancer;
        self
    }

    /// What to do when too few endpoints are usable. Default: pick among all when none is.
    pub fn panic_policy(mut self, panic: PanicPolicy) -> Self {
        self.policy.panic = panic;
        self
    }

    /// Prefers endpoints of this zone: the others are used when too few of it are usable, as those of a further
    /// [priority](EndpointSpec::priority) are. Default: zones do not matter.
    pub fn zone(mut self, zone: impl Into<Arc<str>>) -> Self {
        self.policy.zone = Some(zone.into());
        self
    }

    /// Gives endpoints that are new or came back their share little by little. Default: at once.
    pub fn slow_start(mut self, slow_start: SlowStart) -> Self {
        self.policy.slow_start = Some(slow_start);
        self
    }

    /// Ejects endpoints whose requests fail. Default: never.
    pub fn outlier(mut self, outlier: OutlierConfig) -> Self {
        self.outlier = Some(outlier);
        self
    }

    /// A hash of the configuration it is built from, by which a reload sees whether it can stay.
    pub fn config_hash(mut self, hash: u64) -> Self {
        self.config_hash = hash;
        self
    }

    /// Starts with the endpoints of `old`, which it replaces: latencies, ejections, health and attachments
    /// carry over to every endpoint that discovery names again.
    pub fn inherit(mut self, old: &Upstream) -> Self {
        let discovered = old.is_discovered();
        self.inherited = Some((old.snapshot(), discovered));
        self
    }

    /// Builds the upstream. It has the endpoints that discovery knows without waiting; the others come once
    /// it is driven.
    #[must_use]
    pub fn build(self) -> Arc<Upstream> {
        let signal = Arc::new(Signal::new(self.outlier));
        let mut members = Members::default();
        let mut status = Status::default();
        let mut discovered = false;
        if let Some((old, was_discovered)) = self.inherited {
            members.adopt(old.endpoints(), &signal);
            discovered = was_discovered;
        }
        if let Some(specs) = self.discovery.initial() {
            members.apply(EndpointUpdate::Replace(specs), &signal);
            status.updates = 1;
            discovered = true;
        }
        let (now, version) = (Clock.now(), 1);
        signal.retain(members.list().len(), |_| true);
        let first = Snapshot::build(version, members.list(), &self.policy, now);
        Arc::new(Upstream {
            name: self.name,
            config_hash: self.config_hash,
            discovery: self.discovery,
            policy: self.policy,
            signal,
            members: Mutex::new(members),
            current: RwLock::new(Arc::new(first)),
            version: AtomicU64::new(version),
            slots: [const { OnceLock::new() }; MAX_SHARDS],
            changes: watch::Sender::new(version),
            discovered: AtomicBool::new(discovered),
            status: Mutex::new(status),
            attachments: Attachments::default(),
        })
    }
}

impl Upstream {
    /// Sets up an upstream with this name, whose endpoints come from `discovery`.
    pub fn builder(name: impl Into<Arc<str>>, discovery: Arc<dyn Discovery>) -> UpstreamBuilder {
        UpstreamBuilder {
            name: name.into(),
            config_hash: 0,
            discovery,
            policy: Policy {
                balancer: Arc::new(PowerOfTwo),
                panic: PanicPolicy::default(),
                zone: None,
                slow_start: None,
            },
            outlier: None,
            inherited: None,
        }
    }

    /// An upstream with a fixed list of endpoints and defaults for the rest.
    #[must_use]
    pub fn fixed(
        name: impl Into<Arc<str>>,
        endpoints: impl IntoIterator<Item = EndpointSpec>,
    ) -> Arc<Self> {
        Self::builder(name, Arc::new(StaticDiscovery::new(endpoints))).build()
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The hash given to [`UpstreamBuilder::config_hash`].
    #[must_use]
    pub fn config_hash(&self) -> u64 {
        self.config_hash
    }

    /// Chooses the endpoint for an attempt; `None` when there is none to choose from.
    #[must_use]
    pub fn pick(&self, cx: &PickCx<'_>) -> Option<Arc<Endpoint>> {
        self.read(|snapshot| snapshot.pick(cx))
    }

    /// The endpoint with this [fingerprint](Endpoint::fingerprint) if it may be picked, for clients that
    /// are pinned to one. One of weight 0 keeps the clients it has.
    #[must_use]
    pub fn pinned(&self, fingerprint: u64) -> Option<Arc<Endpoint>> {
        self.read(|snapshot| snapshot.pinned(fingerprint))
    }

    /// Whether an endpoint may be picked on its own merits, not only because all are in trouble.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.read(Snapshot::is_healthy)
    }

    /// The current endpoints and picker, for what happens off the request path.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The endpoint with this id, if it is still one of this upstream.
    #[must_use]
    pub fn endpoint(&self, id: EndpointId) -> Option<Arc<Endpoint>> {
        let snapshot = self.snapshot();
        snapshot
            .endpoints()
            .iter()
            .find(|endpoint| endpoint.id() == id)
            .cloned()
    }

    /// The `T` attached to it, made by `init` on first use. See [`Attachments`].
    pub fn attached<T: Any + Send + Sync>(&self, init: impl Fn() -> T) -> &T {
        self.attachments.find_or_init(init)
    }

    /// Whether its endpoints are known, even if there are none.
    #[must_use]
    pub fn is_discovered(&self) -> bool {
        self.discovered.load(Ordering::Acquire)
    }

    /// Waits until its endpoints are known.
    ///
    /// # Cancel safety
    /// May be dropped and called again.
    pub async fn discovered(&self) {
        let mut changes = self.changes();
        while !self.is_discovered() {
            // cannot fail: the sender lives in `self`
            let _ = changes.changed().await;
        }
    }

    /// Reports the version of the snapshot whenever it changes; closed when the upstream is dropped.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// How long discovery has been failing, if it is. The endpoints may be out of date by as much.
    #[must_use]
    pub fn stale_for(&self) -> Option<Duration> {
        self.status().failing_since.map(|since| Clock.since(since))
    }

    /// Applies a change of its endpoints, as the driver does with what discovery reports.
    pub fn apply(&self, update: EndpointUpdate) {
        if self.absorb(update) {
            self.refresh();
            if self.snapshot().expires().is_some() {
                // the driver waits for the time it knew of before
                self.signal.notify();
            }
        }
    }

    /// Builds the picker anew from current endpoints and health, as the driver does when health changes.
    ///
    /// Endpoints are picked by their health as of the last call: an upstream that nobody drives never skips
    /// an unhealthy one.
    pub fn refresh(&self) {
        // held to the end, so that versions and snapshots come in the same order
        let members = self.lock_members();
        let list = members.list();
        self.signal.retain(list.len(), |id| {
            list.iter().any(|endpoint| endpoint.id() == id)
        });
        let version = self.version.load(Ordering::Relaxed) + 1;
        let next = Snapshot::build(version, list, &self.policy, Clock.now());
        let next = Arc::new(next);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&next);
        self.version.store(version, Ordering::Release);
        // idle workers must not keep removed endpoints and their connections alive
        for slot in self.slots.iter().filter_map(OnceLock::get) {
            *slot.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&next);
        }
        // after the exchange, so that whoever waited for it finds the endpoints
        if self.lock_status().updates > 0 {
            self.discovered.store(true, Ordering::Release);
        }
        self.changes.send_replace(version);
    }

    /// What the admin page shows.
    #[must_use]
    pub fn report(&self) -> UpstreamReport {
        let snapshot = self.snapshot();
        UpstreamReport {
            name: Arc::clone(&self.name),
            balancer: self.policy.balancer.name().to_owned(),
            discovered: self.is_discovered(),
            panic: snapshot.in_panic(),
            discovery: report::discovery(&self.status()),
            endpoints: report::endpoints(&snapshot),
        }
    }

    pub(super) fn discovery(&self) -> &Arc<dyn Discovery> {
        &self.discovery
    }

    pub(super) fn signal(&self) -> &Arc<Signal> {
        &self.signal
    }

    /// Applies `update` without building a picker; says whether one has to be built.
    pub(super) fn absorb(&self, update: EndpointUpdate) -> bool {
        let gone = update == EndpointUpdate::Gone;
        let changed = self.lock_members().apply(update, &self.signal);
        let mut status = self.lock_status();
        status.gone = gone;
        status.failing_since = None;
        status.updates += 1;
        // the first update is news even when it is empty: somebody may wait for it
        changed || status.updates == 1
    }

    pub(super) fn discovery_failed(&self, error: &DiscoveryError) {
        let text = describe(error);
        tracing::warn!(upstream = %self.name, error = %text, "discovery failed; keeping the last endpoints");
        let mut status = self.lock_status();
        status.last_error = Some(text);
        status.failing_since.get_or_insert_with(|| Clock.now());
    }

    pub(super) fn discovery_ended(&self, why: &str) {
        tracing::warn!(upstream = %self.name, why, "discovery stream ended; keeping the last endpoints");
        let mut status = self.lock_status();
        status.resubscriptions += 1;
        status.last_error = Some(why.to_owned());
        status.failing_since.get_or_insert_with(|| Clock.now());
    }

    /// Runs `read` on the current snapshot without touching memory that other workers write.
    fn read<R>(&self, read: impl FnOnce(&Snapshot) -> R) -> R {
        let Some(slot) = self.slots.get(worker::index()) else {
            return read(&self.snapshot());
        };
        let slot = slot.get_or_init(|| Box::new(Slot(Mutex::new(self.snapshot()))));
        let mut copy = match slot.0.try_lock() {
            Ok(copy) => copy,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // the driver, or another thread that is no worker: do not wait for it
            Err(TryLockError::WouldBlock) => return read(&self.snapshot()),
        };
        // only stale when the slot was made while the driver went over the slots
        if copy.version() != self.version.load(Ordering::Acquire) {
            *copy = self.snapshot();
        }
        read(&copy)
    }

    fn status(&self) -> Status {
        self.lock_status().clone()
    }

    fn lock_status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_members(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        // wakes the driver, which then finds the upstream gone
        self.signal.notify();
    }
}

/// An error with its causes, on one line.
fn describe(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests;
