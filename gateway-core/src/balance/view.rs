//! The endpoints a policy may choose from.

use std::sync::Arc;

use crate::balance::PickCx;
use crate::upstream::Endpoint;

/// The endpoints a [`Balancer`](crate::balance::Balancer) builds its picker from.
///
/// They are distinct, have a weight above zero, and keep their order between calls as far as discovery keeps
/// it. Endpoints that are unhealthy or ejected are already left out.
#[derive(Clone, Copy, Debug)]
pub struct EndpointView<'a> {
    endpoints: &'a [Arc<Endpoint>],
    /// Instead of the endpoints' own, in their order.
    weights: Option<&'a [u32]>,
}

impl<'a> EndpointView<'a> {
    /// A view of `endpoints`, which must be distinct and of weights above zero.
    #[must_use]
    pub fn new(endpoints: &'a [Arc<Endpoint>]) -> Self {
        Self {
            endpoints,
            weights: None,
        }
    }

    /// The same endpoints with other weights for now, in their order and above zero.
    #[must_use]
    pub fn with_weights(mut self, weights: &'a [u32]) -> Self {
        self.weights = (weights.len() == self.endpoints.len()).then_some(weights);
        self
    }

    /// The weights to share requests by, in the order of the endpoints. An endpoint that starts slowly has less here than
    /// [`Endpoint::weight`]; policies that hash keep to the latter, so that keys do not move meanwhile.
    pub fn weights(&self) -> impl Iterator<Item = u32> + Clone + use<'a> {
        let (endpoints, weights) = (self.endpoints, self.weights);
        endpoints.iter().enumerate().map(move |(index, endpoint)| {
            let for_now = weights.and_then(|weights| weights.get(index));
            for_now.copied().unwrap_or(endpoint.weight())
        })
    }

    /// The endpoints to choose from.
    #[must_use]
    pub fn endpoints(&self) -> &'a [Arc<Endpoint>] {
        self.endpoints
    }

    /// Whether there is nothing to choose from.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.endpoints.is_empty()
    }

    /// The greatest common divisor of all weights; 1 when there are none.
    pub(crate) fn weight_divisor(&self) -> u32 {
        let divisor = self.weights().fold(0, gcd);
        divisor.max(1)
    }

    /// The largest weight of the endpoints' own; 1 when there are none.
    pub(crate) fn weight_max(&self) -> u32 {
        let weights = self.endpoints.iter().map(|endpoint| endpoint.weight());
        weights.max().unwrap_or(1).max(1)
    }
}

/// The first endpoint from `start` on (wrapping) that was not tried, or the one at `start`.
pub(super) fn untried_from(
    endpoints: &[Arc<Endpoint>],
    start: usize,
    cx: &PickCx<'_>,
) -> Option<Arc<Endpoint>> {
    let (before, after) = endpoints.split_at_checked(start)?;
    let mut ring = after.iter().chain(before);
    ring.find(|endpoint| !cx.was_tried(endpoint))
        .or(after.first())
        .cloned()
}

fn gcd(mut a: u32, mut b: u32) -> u32 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
