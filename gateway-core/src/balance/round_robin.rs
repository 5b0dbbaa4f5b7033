//! In turn, weights interleaved.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::balance::{Balancer, EndpointView, PickCx, Picker};
use crate::upstream::Endpoint;

/// The longest schedule that is laid out; larger sums of weights are scaled down to it.
const MAX_SCHEDULE: u64 = 16_384;

/// Picks in turn. An endpoint of weight 3 comes up three times per round, spread evenly over it.
///
/// The schedule is laid out when the endpoints change, so that a pick is one atomic addition. There is one
/// cursor for all workers: a client that sees every response also sees the exact order. The cursor lives in
/// this value and survives changes of the endpoints.
#[derive(Debug, Default)]
pub struct RoundRobin {
    cursor: Arc<Cursor>,
}

/// Apart from its neighbours, because every worker writes it.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Cursor(AtomicUsize);

impl Balancer for RoundRobin {
    fn picker(&self, view: &EndpointView<'_>) -> Arc<dyn Picker> {
        Arc::new(RoundRobinPicker {
            schedule: schedule(view),
            endpoints: view.endpoints().into(),
            cursor: Arc::clone(&self.cursor),
        })
    }

    fn name(&self) -> &str {
        "round-robin"
    }
}

#[derive(Debug)]
struct RoundRobinPicker {
    /// Indexes into `endpoints`, one round.
    schedule: Box<[u32]>,
    endpoints: Box<[Arc<Endpoint>]>,
    cursor: Arc<Cursor>,
}

impl Picker for RoundRobinPicker {
    fn pick(&self, cx: &PickCx<'_>) -> Option<Arc<Endpoint>> {
        if self.schedule.is_empty() {
            return None;
        }
        // A further attempt takes no turn: else every request of a pair of endpoints, one of them broken,
        // would begin with the broken one.
        let turn = if cx.attempt == 0 {
            self.cursor.0.fetch_add(1, Ordering::Relaxed)
        } else {
            self.cursor.0.load(Ordering::Relaxed)
        };
        let turn = turn % self.schedule.len();
        let (before, after) = self.schedule.split_at_checked(turn)?;
        let mut round = after
            .iter()
            .chain(before)
            .filter_map(|index| self.endpoints.get(*index as usize));
        let first = round.next()?;
        if !cx.was_tried(first) {
            return Some(Arc::clone(first));
        }
        let fresh = round.find(|endpoint| !cx.was_tried(endpoint));
        Some(Arc::clone(fresh.unwrap_or(first)))
    }
}

/// Orders all turns of a round by when they are due: turn k of weight w at (k + phase) / w. Endpoints of equal
/// weight have their phases spread evenly, so that they do not come up in a bunch.
fn schedule(view: &EndpointView<'_>) -> Box<[u32]> {
    let divisor = view.weight_divisor();
    let reduced = view.weights().map(|weight| u64::from(weight / divisor));
    let total: u64 = reduced.clone().sum();
    let shrink = total.div_ceil(MAX_SCHEDULE).max(1);
    let weights: Vec<u64> = reduced.map(|weight| (weight / shrink).max(1)).collect();
    let mut alike: HashMap<u64, u32> = HashMap::new();
    for weight in &weights {
        *alike.entry(*weight).or_default() += 1;
    }
    let mut seen: HashMap<u64, u32> = HashMap::new();
    let mut turns = Vec::new();
    for (index, weight) in weights.iter().enumerate() {
        let rank = seen.entry(*weight).or_default();
        let others = alike.get(weight).copied().unwrap_or(1);
        let phase = (f64::from(*rank) + 0.5) / f64::from(others);
        *rank += 1;
        for turn in 0..*weight {
            turns.push(((turn as f64 + phase) / *weight as f64, index as u32));
        }
    }
    turns.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    turns.into_iter().map(|(_, index)| index).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::law;

    fn order(weights: &[u32], picks: usize) -> Vec<usize> {
        let endpoints = law::endpoints(weights);
        let picker = RoundRobin::default().picker(&EndpointView::new(&endpoints));
        let position =
            |picked: &Arc<Endpoint>| endpoints.iter().position(|e| e.id() == picked.id());
        (0..picks)
            .map(|_| position(&picker.pick(&PickCx::new()).unwrap()).unwrap())
            .collect()
    }

    #[test]
    fn equal_weights_alternate_in_order() {
        assert_eq!(order(&[100, 100, 100], 6), [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn a_heavy_endpoint_is_spread_over_the_round() {
        assert_eq!(order(&[4, 2], 6), [0, 1, 0, 0, 1, 0]);
        assert_eq!(order(&[2, 2, 1], 5), [0, 1, 2, 0, 1]);
        assert_eq!(order(&[5, 1, 1], 7), [0, 1, 0, 0, 0, 2, 0]);
    }

    #[test]
    fn the_cursor_survives_a_change_of_endpoints() {
        let endpoints = law::endpoints(&[1, 1]);
        let balancer = RoundRobin::default();
        let first = balancer
            .picker(&EndpointView::new(&endpoints))
            .pick(&PickCx::new());
        let second = balancer
            .picker(&EndpointView::new(&endpoints))
            .pick(&PickCx::new());
        assert_ne!(first.unwrap().id(), second.unwrap().id());
    }

    #[test]
    fn huge_weights_do_not_lay_out_huge_schedules() {
        let endpoints = law::endpoints(&[u32::MAX, u32::MAX - 1, 1]);
        let laid_out = schedule(&EndpointView::new(&endpoints));
        assert!(laid_out.len() as u64 <= MAX_SCHEDULE + 3);
        assert!(laid_out.contains(&2), "the lightest still gets a turn");
    }

    #[test]
    fn keeps_the_laws() {
        law::check_balancer(&|| Arc::new(RoundRobin::default()));
        law::follows_weights(&RoundRobin::default(), 0.01);
        law::draws_by_weight(&RoundRobin::default());
    }
}
