//! Consistent hashing with a lookup table.
//!
//! After Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016,
//! section 3.4, with turns given out by weight.

use std::sync::Arc;

use crate::balance::bound::Bound;
use crate::balance::random::RandomPicker;
use crate::balance::view::untried_from;
use crate::balance::{Balancer, EndpointView, PickCx, Picker, combine_hashes, rng};
use crate::upstream::Endpoint;

const DEFAULT_SIZE: u32 = 65_537;
const MAX_SIZE: u32 = 5_000_011;
/// Slots an endpoint should have at least, so that shares stay even.
const SLOTS_PER_ENDPOINT: u32 = 100;
/// Rehashes of a key whose endpoint was tried before the search turns linear.
const REHASHES: u64 = 4;

/// Picks by hash key from a table that every endpoint fills in its own order.
///
/// A pick is one multiplication and one load. Shares are more even than on a ring of the same size; when an
/// endpoint leaves, a few keys of the others move too. Requests without a key are spread at random by
/// weight.
#[derive(Clone, Copy, Debug)]
pub struct Maglev {
    size: u32,
    bound: Option<u32>,
}

impl Default for Maglev {
    fn default() -> Self {
        Self {
            size: DEFAULT_SIZE,
            bound: None,
        }
    }
}

impl Maglev {
    /// A table of at least `size` slots: the next prime, at most 5000011, and grown for more than
    /// `size / 100` endpoints.
    #[must_use]
    pub fn with_size(size: u32) -> Self {
        Self {
            size: next_prime(size),
            bound: None,
        }
    }

    /// Gives no endpoint more requests in flight than `percent` (at least 100) of the mean by weight; a key whose endpoint
    /// is full goes to another one that is not, always in the same order.
    #[must_use]
    pub fn bounded(mut self, percent: u32) -> Self {
        self.bound = Some(percent);
        self
    }

    fn table(self, view: &EndpointView<'_>) -> Box<[u32]> {
        let endpoints = view.endpoints();
        if endpoints.is_empty() {
            return Box::default();
        }
        let wanted = (endpoints.len() as u32).saturating_mul(SLOTS_PER_ENDPOINT);
        let size = if wanted > self.size {
            next_prime(wanted)
        } else {
            self.size
        };
        let mut rows: Vec<Row> = endpoints.iter().map(|e| Row::new(e, size)).collect();
        // turns by the order of fingerprints: the table must not depend on the order of discovery
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_unstable_by_key(|index| rows[*index].fingerprint);
        let heaviest = f64::from(view.weight_max());
        let mut table = vec![u32::MAX; size as usize];
        let mut filled = 0;
        while filled < table.len() {
            for index in order.iter().copied() {
                let row = &mut rows[index];
                row.credit += row.weight / heaviest;
                if row.credit < 1.0 {
                    continue;
                }
                row.credit -= 1.0;
                let slot = row.next_free(&table);
                table[slot] = index as u32;
                filled += 1;
                if filled == table.len() {
                    break;
                }
            }
        }
        table.into_boxed_slice()
    }
}

impl Balancer for Maglev {
    fn picker(&self, view: &EndpointView<'_>) -> Arc<dyn Picker> {
        Arc::new(MaglevPicker {
            table: self.table(view),
            bound: self.bound.map(|percent| Bound::new(percent, view)),
            random: RandomPicker::new(view),
        })
    }

    fn name(&self) -> &str {
        "maglev"
    }
}

/// An endpoint's walk over the table: offset, offset + skip, offset + 2 skip, ...
#[derive(Debug)]
struct Row {
    fingerprint: u64,
    weight: f64,
    credit: f64,
    at: u64,
    skip: u64,
    size: u64,
}

impl Row {
    fn new(endpoint: &Endpoint, size: u32) -> Self {
        let size = u64::from(size);
        let fingerprint = endpoint.fingerprint();
        Self {
            fingerprint,
            weight: f64::from(endpoint.weight()),
            credit: 0.0,
            at: combine_hashes(fingerprint, 1) % size,
            // the size is prime, so any skip visits every slot
            skip: combine_hashes(fingerprint, 2) % (size - 1) + 1,
            size,
        }
    }

    /// The next slot of the walk that nobody has. There must be one.
    fn next_free(&mut self, table: &[u32]) -> usize {
        loop {
            let slot = self.at as usize;
            self.at = (self.at + self.skip) % self.size;
            if table[slot] == u32::MAX {
                return slot;
            }
        }
    }
}

#[derive(Debug)]
struct MaglevPicker {
    table: Box<[u32]>,
    bound: Option<Bound>,
    random: RandomPicker,
}

impl MaglevPicker {
    fn at(&self, hash: u64) -> Option<&Arc<Endpoint>> {
        let owner = self.table.get(rng::below(hash, self.table.len()))?;
        self.random.endpoints().get(*owner as usize)
    }
}

impl Picker for MaglevPicker {
    fn pick(&self, cx: &PickCx<'_>) -> Option<Arc<Endpoint>> {
        let Some(key) = cx.hash_key else {
            return self.random.pick(cx);
        };
        let mut hash = rng::mix(key);
        let room = self.bound.as_ref().map(|b| b.room(self.random.endpoints()));
        let fits = |endpoint: &Arc<Endpoint>| {
            !cx.was_tried(endpoint) && room.is_none_or(|room| room.has(endpoint))
        };
        let first = self.at(hash)?;
        if fits(first) {
            return Some(Arc::clone(first));
        }
        for round in 0..REHASHES {
            hash = combine_hashes(hash, round);
            let endpoint = self.at(hash)?;
            if fits(endpoint) {
                return Some(Arc::clone(endpoint));
            }
        }
        if room.is_some() {
            let endpoints = self.random.endpoints();
            let (before, after) = endpoints.split_at(rng::below(hash, endpoints.len()));
            if let Some(endpoint) = after.iter().chain(before).find(|endpoint| fits(endpoint)) {
                return Some(Arc::clone(endpoint));
            }
            if !cx.was_tried(first) {
                return Some(Arc::clone(first));
            }
        }
        let endpoints = self.random.endpoints();
        untried_from(endpoints, rng::below(hash, endpoints.len()), cx)
    }
}

/// The smallest prime from `size` on, between 3 and 5000011.
fn next_prime(size: u32) -> u32 {
    let size = size.clamp(3, MAX_SIZE);
    // MAX_SIZE is itself prime, so the search ends
    (size..=MAX_SIZE).find(|n| is_prime(*n)).unwrap_or(MAX_SIZE)
}

fn is_prime(number: u32) -> bool {
    let root = f64::from(number).sqrt() as u32;
    number > 1 && (2..=root).all(|divisor| !number.is_multiple_of(divisor))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::law;

    #[test]
    fn table_sizes_become_prime() {
        assert_eq!(next_prime(0), 3);
        assert_eq!(next_prime(65_537), 65_537);
        assert_eq!(next_prime(1000), 1009);
        assert_eq!(next_prime(u32::MAX), MAX_SIZE);
        assert!(is_prime(MAX_SIZE));
    }

    #[test]
    fn shares_of_the_table_follow_weights_closely() {
        let endpoints = law::endpoints(&[1, 2, 5]);
        let table = Maglev::default().table(&EndpointView::new(&endpoints));
        for (index, weight) in [1.0, 2.0, 5.0].into_iter().enumerate() {
            let slots = table.iter().filter(|owner| **owner == index as u32).count();
            let share = slots as f64 / table.len() as f64;
            assert!((share - weight / 8.0).abs() < 0.001, "{share}");
        }
    }

    #[test]
    fn the_table_does_not_depend_on_the_order_of_discovery() {
        let mut endpoints = law::endpoints(&[1, 2, 3]);
        let keys = |picker: Arc<dyn Picker>| -> Vec<_> {
            (0..200)
                .map(|key| picker.pick(&PickCx::new().with_hash_key(key)).unwrap().id())
                .collect()
        };
        let before = keys(Maglev::default().picker(&EndpointView::new(&endpoints)));
        endpoints.reverse();
        let after = keys(Maglev::default().picker(&EndpointView::new(&endpoints)));
        assert_eq!(before, after);
    }

    #[test]
    fn keeps_the_laws() {
        law::check_balancer(&|| Arc::new(Maglev::default()));
        law::follows_weights(&Maglev::default(), 0.05);
        law::draws_by_weight(&Maglev::default());
        law::is_consistent(&Maglev::default(), 0.02);
        law::check_balancer(&|| Arc::new(Maglev::default().bounded(125)));
        law::bounds_load(&Maglev::default().bounded(125), 1.25);
    }
}
