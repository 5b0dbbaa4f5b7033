//! Drawing an index by weight in constant time.

use crate::balance::rng;

/// Walker's alias table, built with Vose's method; uniform weights need no table at all.
#[derive(Debug)]
pub(super) struct Weighted {
    len: usize,
    columns: Box<[Column]>,
}

/// One column: below `threshold` it stands for itself, above for `alias`.
#[derive(Clone, Copy, Debug)]
struct Column {
    threshold: u32,
    alias: u32,
}

impl Weighted {
    pub(super) fn new(weights: &[u32]) -> Self {
        let len = weights.len();
        let uniform = weights.windows(2).all(|pair| pair[0] == pair[1]);
        let columns = if uniform {
            Box::default()
        } else {
            columns(weights)
        };
        Self { len, columns }
    }

    /// The index that `random` (uniform over all of `u64`) stands for; 0 when there are none.
    pub(super) fn index(&self, random: u64) -> usize {
        // the high half chooses a column, the low half tosses its coin
        let index = rng::below(random & !0xffff_ffff, self.len);
        match self.columns.get(index) {
            Some(column) if (random as u32) >= column.threshold => column.alias as usize,
            _ => index,
        }
    }
}

fn columns(weights: &[u32]) -> Box<[Column]> {
    let total: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
    let scale = weights.len() as f64 / total;
    let mut shares: Vec<f64> = weights.iter().map(|w| f64::from(*w) * scale).collect();
    let mut columns: Vec<Column> = (0..weights.len() as u32)
        .map(|index| Column {
            threshold: u32::MAX,
            alias: index,
        })
        .collect();
    let (mut small, mut large): (Vec<usize>, Vec<usize>) =
        (0..weights.len()).partition(|index| shares[*index] < 1.0);
    while let (Some(poor), Some(rich)) = (small.pop(), large.pop()) {
        columns[poor] = Column {
            threshold: (shares[poor] * 4_294_967_296.0) as u32,
            alias: rich as u32,
        };
        shares[rich] -= 1.0 - shares[poor];
        if shares[rich] < 1.0 {
            small.push(rich);
        } else {
            large.push(rich);
        }
    }
    // what rounding leaves over stands for itself
    columns.into_boxed_slice()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn shares_follow_weights(weights in proptest::collection::vec(1_u32..1000, 1..20)) {
            let table = Weighted::new(&weights);
            let total: f64 = weights.iter().map(|w| f64::from(*w)).sum();
            let mut counts = vec![0_u32; weights.len()];
            let draws = 20_000_u64;
            for draw in 0..draws {
                counts[table.index(rng::mix(draw.wrapping_mul(rng::STEP)))] += 1;
            }
            for (count, weight) in counts.iter().zip(&weights) {
                let share = f64::from(*count) / draws as f64;
                let wanted = f64::from(*weight) / total;
                prop_assert!((share - wanted).abs() < 0.02, "{share} instead of {wanted}");
            }
        }
    }
}
