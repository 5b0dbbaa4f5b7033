//! Which endpoint gets the next attempt.
//!
//! Choosing is split in two, so that the request path does no more than it must:
//!
//! - a [`Balancer`] is the policy. It is asked for a new picker whenever endpoints come, go, change
//!   weight or change health, off the request path; it may be slow and may allocate.
//! - a [`Picker`] is the frozen result. It is asked once per attempt, is synchronous, takes no lock and
//!   never waits.
//!
//! Health is decided before: an [`EndpointView`] holds only endpoints that may be picked, so no picker has
//! to look at health, at ejection or at a weight of zero. See [`PanicPolicy`](crate::upstream::PanicPolicy)
//! for what the view holds when every endpoint is in trouble.
//!
//! | policy | type | picks |
//! |---|---|---|
//! | `p2c` (default) | [`PowerOfTwo`] | the cheaper of two, by decayed latency and load |
//! | `round-robin` | [`RoundRobin`] | in turn, weights interleaved smoothly |
//! | `least-requests` | [`LeastRequests`] | fewest requests in flight per weight |
//! | `random` | [`Random`] | by weight, blindly |
//! | `ring-hash` | [`RingHash`] | by hash key, few keys move when endpoints change |
//! | `maglev` | [`Maglev`] | by hash key, constant time, evenest shares |
//! | `rendezvous` | [`Rendezvous`] | by hash key, exact shares, looks at every endpoint |
//!
//! Priorities and zones of endpoints come before any of them: see [`UpstreamBuilder::zone`] and
//! [`EndpointSpec::priority`]. A policy is asked for one picker for each level.
//!
//! [`UpstreamBuilder::zone`]: crate::upstream::UpstreamBuilder::zone
//! [`EndpointSpec::priority`]: crate::upstream::EndpointSpec::priority

mod bound;
mod config;
mod context;
mod hash;
#[cfg(any(test, feature = "testing"))]
pub mod law;
mod least_requests;
mod levels;
mod maglev;
mod p2c;
mod random;
mod rendezvous;
mod ring_hash;
pub(crate) mod rng;
mod round_robin;
mod view;
mod weighted;

use std::fmt::Debug;
use std::sync::Arc;

pub use config::{
    BalanceConfig, BoundedLoadConfig, LeastRequestsConfig, MaglevConfig, RingHashConfig,
};
pub use context::PickCx;
pub use hash::{combine_hashes, stable_hash};
pub use least_requests::LeastRequests;
pub use maglev::Maglev;
pub use p2c::PowerOfTwo;
pub use random::Random;
pub use rendezvous::Rendezvous;
pub use ring_hash::RingHash;
pub use round_robin::RoundRobin;
pub use view::EndpointView;

pub(crate) use levels::{LevelPicker, shares};

use crate::upstream::Endpoint;

/// A balancing policy: turns the set of usable endpoints into a [`Picker`].
///
/// Called when the endpoints of an upstream or their health change, by one task at a time per upstream,
/// never on the request path. One value serves one upstream; it may keep state between calls (a cursor,
/// for example) that successive pickers share.
///
/// # Contract
/// - the picker picks only endpoints of the view it was built from;
/// - it returns `None` exactly when that view was empty;
/// - a policy that knows weights gives each endpoint its weight's share while nothing else tells them apart.
///
/// `balance::law` checks all of this for any implementation (feature `testing`).
///
/// # Example
/// ```
/// use std::sync::Arc;
/// use portcullis_core::balance::{Balancer, EndpointView, PickCx, Picker};
/// use portcullis_core::upstream::Endpoint;
///
/// /// Always the first endpoint that was not tried yet: a primary with stand-bys.
/// #[derive(Debug)]
/// struct FirstOf;
///
/// #[derive(Debug)]
/// struct FirstPicker(Vec<Arc<Endpoint>>);
///
/// impl Balancer for FirstOf {
///     fn picker(&self, view: &EndpointView<'_>) -> Arc<dyn Picker> {
///         Arc::new(FirstPicker(view.endpoints().to_vec()))
///     }
/// }
///
/// impl Picker for FirstPicker {
///     fn pick(&self, cx: &PickCx<'_>) -> Option<Arc<Endpoint>> {
///         let fresh = self.0.iter().find(|endpoint| !cx.was_tried(endpoint));
///         fresh.or(self.0.first()).cloned()
///     }
/// }
/// ```
///
/// # Wrong and right
/// Work that depends only on the endpoints belongs into `picker`, not into `pick`:
/// ```
/// # use std::sync::Arc;
/// # use portcullis_core::balance::{EndpointView, PickCx};
/// # use portcullis_core::upstream::Endpoint;
/// # #[derive(Debug)] struct Wrong(Vec<Arc<Endpoint>>);
/// # #[derive(Debug)] struct Right { total: u64, endpoints: Vec<Arc<Endpoint>> }
/// // Wrong: every attempt adds up all weights again.
/// # impl Wrong {
/// fn pick(&self, cx: &PickCx<'_>) -> Option<Arc<Endpoint>> {
///     let total: u64 = self.0.iter().map(|endpoint| u64::from(endpoint.weight())).sum();
///     // ...
/// # let _ = (total, cx); None
/// }
/// # }
/// // Right: the sum is taken once per change of the endpoints.
/// # impl Right {
/// fn build(view: &EndpointView<'_>) -> Right {
///     let total = view.endpoints().iter().map(|endpoint| u64::from(endpoint.weight())).sum();
///     Right { total, endpoints: view.endpoints().to_vec() }
/// }
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a balancing policy",
    label = "this type does not implement `Balancer`",
    note = "implement `Balancer::picker`, which builds an immutable `Picker` from an `EndpointView`",
    note = "policies also need `Debug + Send + Sync + 'static`"
)]
pub trait Balancer: Debug + Send + Sync + 'static {
    /// Builds the picker for `view`.
    fn picker(&self, view: &EndpointView<'_>) -> Arc<dyn Picker>;

    /// The name shown on admin pages; by convention the `type` of the configuration.
    fn name(&self) -> &str {
        "custom"
    }
}

/// Picks one endpoint per attempt. Immutable apart from its own atomics.
///
/// # Contract
/// - synchronous and lock-free: it runs on the request path while the worker holds its own, otherwise
///   unshared, cache slot;
/// - endpoints in [`PickCx::tried`] are avoided while others remain, and picked again when none does: whether
///   a second attempt on the same endpoint makes sense is the retry policy's decision;
/// - `None` means that there is no endpoint at all.
///
/// See [`Balancer`] for an example.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot pick endpoints",
    label = "this type does not implement `Picker`",
    note = "implement `Picker::pick`; it is called once per attempt and must neither block nor lock"
)]
pub trait Picker: Debug + Send + Sync + 'static {
    /// Chooses the endpoint for the attempt that `cx` describes.
    fn pick(&self, cx: &PickCx<'_>) -> Option<Arc<Endpoint>>;
}
