//! Endpoints in levels: the first takes all while it can.

use std::sync::Arc;

use crate::balance::{PickCx, Picker, combine_hashes, rng};
use crate::upstream::Endpoint;

/// A level counts as whole while so many times its usable endpoints are as many as all of them: one that has lost less
/// than 29 % of its endpoints still takes everything.
const OVERPROVISIONING: f64 = 1.4;
/// Keeps the hash that chooses a level apart from the one that chooses in it.
const LEVEL: u64 = 0x6c65_7665_6c73;

/// How much of the requests levels of so many (usable, all) endpoints take, first come first: sums to 1, or to 0 when no
/// endpoint is usable. And whether they had to be stretched to do so, because all levels together are too weak.
pub(crate) fn shares(counts: &[(usize, usize)]) -> (Vec<f64>, bool) {
    let mut left = 1.0_f64;
    let mut shares: Vec<f64> = counts
        .iter()
        .map(|(usable, all)| {
            let capacity = *usable as f64 / (*all).max(1) as f64 * OVERPROVISIONING;
            let share = capacity.min(left);
            left -= share;
            share
        })
        .collect();
    let total: f64 = shares.iter().sum();
    let stretched = left > 1e-9;
    if stretched && total > 0.0 {
        for share in &mut shares {
            *share /= total;
        }
    }
    (shares, stretched)
}

/// Chooses a level by share, by the hash key if there is one, and an endpoint of it by the policy.
#[derive(Debug)]
pub(crate) struct LevelPicker {
    levels: Box<[Level]>,
}

#[derive(Debug)]
struct Level {
    /// Random numbers below this choose it, or one before it.
    below: f64,
    picker: Arc<dyn Picker>,
}

impl LevelPicker {
    /// Levels with their shares, which sum to 1.
    pub(crate) fn new(levels: impl IntoIterator<Item = (f64, Arc<dyn Picker>)>) -> Self {
        let mut below = 0.0;
        let levels = levels.into_iter().map(|(share, picker)| {
            below += share;
            Level { below, picker }
        });
        Self {
            levels: levels.collect(),
        }
    }
}

impl Picker for LevelPicker {
    fn pick(&self, cx: &PickCx<'_>) -> Option<Arc<Endpoint>> {
        let random = match cx.hash_key {
            Some(key) => combine_hashes(key, LEVEL),
            None => cx.random(),
        };
        let point = rng::fraction(random);
        let chosen = self.levels.iter().find(|level| point < level.below);
        let picked = chosen.and_then(|level| level.picker.pick(cx));
        match picked {
            Some(endpoint) if !cx.was_tried(&endpoint) => Some(endpoint),
            picked => {
                let mut others = self.levels.iter().filter_map(|level| level.picker.pick(cx));
                let fresh = others.find(|endpoint| !cx.was_tried(endpoint));
                fresh
                    .or(picked)
                    .or_else(|| self.levels.iter().find_map(|level| level.picker.pick(cx)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_takes_all_until_too_few_of_it_are_left() {
        let close = |counts: &[(usize, usize)], expected: &[f64]| {
            let (shares, _) = shares(counts);
            let near = shares
                .iter()
                .zip(expected)
                .all(|(a, b)| (a - b).abs() < 1e-9);
            assert!(near, "{counts:?}: {shares:?}, not {expected:?}");
        };
        close(&[(10, 10), (10, 10)], &[1.0, 0.0]);
        close(&[(8, 10), (10, 10)], &[1.0, 0.0]);
        close(&[(5, 10), (10, 10)], &[0.7, 0.3]);
        close(&[(0, 10), (10, 10)], &[0.0, 1.0]);
        close(&[(5, 10), (1, 10), (9, 10)], &[0.7, 0.14, 0.16]);
        close(&[(2, 10), (2, 10)], &[0.5, 0.5]);
        close(&[(0, 10), (0, 10)], &[0.0, 0.0]);
    }

    #[test]
    fn levels_that_are_too_weak_together_are_stretched() {
        assert!(!shares(&[(5, 10), (10, 10)]).1);
        assert!(shares(&[(2, 10), (2, 10)]).1);
    }
}
