//! Consistent hashing on a ring.

use std::sync::Arc;

use crate::balance::bound::Bound;
use crate::balance::random::RandomPicker;
use crate::balance::{Balancer, EndpointView, PickCx, Picker, combine_hashes, rng};
use crate::upstream::Endpoint;

const DEFAULT_POINTS: u32 = 256;
const MAX_POINTS: u32 = 65_536;
/// Points of all endpoints together; larger sets get fewer points each.
const MAX_RING: usize = 1 << 20;

/// Points that are looked at for an endpoint with room before all endpoints are.
const NEAR: usize = 256;

/// Picks by hash key: each endpoint owns arcs of a ring, and an arc belongs to the next point on it.
///
/// Positions depend only on the endpoint's address and host name, so every gateway instance agrees, also
/// after a restart, and an endpoint that leaves gives away its own keys only. An attempt after a failed one
/// walks on along the ring. Requests without a key are spread at random by weight.
#[derive(Clone, Copy, Debug)]
pub struct RingHash {
    points: u32,
    bound: Option<u32>,
}

impl Default for RingHash {
    fn default() -> Self {
        Self {
            points: DEFAULT_POINTS,
            bound: None,
        }
    }
}

impl RingHash {
    /// A ring on which the heaviest endpoint has `points` points (1 to 65536) and the others in proportion.
    #[must_use]
    pub fn with_points(points: u32) -> Self {
        Self {
            points: points.clamp(1, MAX_POINTS),
            bound: None,
        }
    }

    /// Gives no endpoint more requests in flight than `percent` (at least 100) of the mean by weight; a key whose endpoint
    /// is full goes to the next one that is not.
    #[must_use]
    pub fn bounded(mut self, percent: u32) -> Self {
        self.bound = Some(percent);
        self
    }
}

impl Balancer for RingHash {
    fn picker(&self, view: &EndpointView<'_>) -> Arc<dyn Picker> {
        let affordable = MAX_RING / view.endpoints().len().max(1);
        let points = f64::from(self.points.min(affordable.max(1) as u32));
        // relative to the heaviest, not to the sum: another endpoint's coming or going moves no points
        let heaviest = f64::from(view.weight_max());
        let mut ring = Vec::new();
        for (index, endpoint) in view.endpoints().iter().enumerate() {
            let share = (points * f64::from(endpoint.weight()) / heaviest).round();
            for point in 0..(share as u64).max(1) {
                let position = combine_hashes(endpoint.fingerprint(), point);
                ring.push((position, index as u32));
            }
        }
        // equal positions (all but impossible) are ordered by owner, the same everywhere
        ring.sort_unstable_by_key(|(position, index)| {
            let owner = view.endpoints().get(*index as usize);
            (*position, owner.map(|endpoint| endpoint.fingerprint()))
        });
        Arc::new(RingPicker {
            positions: ring.iter().map(|(position, _)| *position).collect(),
            owners: ring.iter().map(|(_, index)| *index).collect(),
            bound: self.bound.map(|percent| Bound::new(percent, view)),
            random: RandomPicker::new(view),
        })
    }

    fn name(&self) -> &str {
        "ring-hash"
    }
}

#[derive(Debug)]
struct RingPicker {
    /// Sorted; apart from the owners so that the search touches fewer cache lines.
    positions: Box<[u64]>,
    owners: Box<[u32]>,
    bound: Option<Bound>,
    random: RandomPicker,
}

impl Picker for RingPicker {
    fn pick(&self, cx: &PickCx<'_>) -> Option<Arc<Endpoint>> {
        let Some(key) = cx.hash_key else {
            return self.random.pick(cx);
        };
        // callers may pass keys that are not well mixed, such as a counter
        let position = rng::mix(key);
        let start = self.positions.partition_point(|point| *point < position);
        let (before, after) = self.owners.split_at_checked(start)?;
        let mut walk = after
            .iter()
            .chain(before)
            .filter_map(|owner| self.random.endpoints().get(*owner as usize));
        let first = walk.next()?;
        if let Some(bound) = &self.bound {
            let room = bound.room(self.random.endpoints());
            let fits = |endpoint: &&Arc<Endpoint>| !cx.was_tried(endpoint) && room.has(endpoint);
            let mut near = std::iter::once(first).chain(walk.by_ref().take(NEAR));
            let found = near.find(fits);
            // so many points are taken only where a few endpoints own most of them
            let found = found.or_else(|| self.random.endpoints().iter().find(fits));
            if let Some(endpoint) = found {
                return Some(Arc::clone(endpoint));
            }
        }
        if !cx.was_tried(first) {
            return Some(Arc::clone(first));
        }
        let fresh = walk.find(|endpoint| !cx.was_tried(endpoint));
        Some(Arc::clone(fresh.unwrap_or(first)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::law;

    #[test]
    fn keeps_the_laws() {
        law::check_balancer(&|| Arc::new(RingHash::default()));
        law::follows_weights(&RingHash::with_points(1024), 0.15);
        law::is_consistent(&RingHash::default(), 0.0);
        law::check_balancer(&|| Arc::new(RingHash::default().bounded(125)));
        law::bounds_load(&RingHash::default().bounded(125), 1.25);
    }

    #[test]
    fn a_retry_walks_to_the_same_next_endpoint() {
        let endpoints = law::endpoints(&[1, 1, 1, 1]);
        let picker = RingHash::default().picker(&EndpointView::new(&endpoints));
        let first = picker.pick(&PickCx::new().with_hash_key(7)).unwrap();
        let tried = [first.id()];
        let cx = || PickCx::new().with_hash_key(7).with_attempt(1, &tried);
        let second = picker.pick(&cx()).unwrap();
        assert_ne!(first.id(), second.id());
        assert_eq!(picker.pick(&cx()).unwrap().id(), second.id());
    }

    #[test]
    fn very_many_endpoints_do_not_make_a_huge_ring() {
        let endpoints = law::endpoints(&vec![1; 5000]);
        let picker = RingHash::with_points(65_536).picker(&EndpointView::new(&endpoints));
        assert!(picker.pick(&PickCx::new().with_hash_key(1)).is_some());
    }
}
