//! Draws by weight in constant time.

use fastrand::Rng;

use super::below;

/// A table from which endpoints are drawn in proportion to their weights.
///
/// # Algorithm
///
/// Vose, "A Linear Algorithm for Generating Random Numbers with a Given Distribution" (1991), in
/// integers: each column holds `total` units, `own` of them its own and the rest its alias's, so
/// that the shares are exact. 100,000 weights of 65,535 stay far below 64 bits.
pub(crate) struct Alias {
    columns: Vec<Column>,
    total: u64,
}

#[derive(Clone, Copy)]
struct Column {
    own: u64,
    alias: u32,
}

impl Alias {
    pub(crate) fn new(weights: impl ExactSizeIterator<Item = u16>) -> Self {
        let len = weights.len() as u64;
        let mut columns: Vec<_> =
            weights.map(|weight| Column { own: u64::from(weight) * len, alias: 0 }).collect();
        let total = columns.iter().map(|column| column.own).sum::<u64>() / len.max(1);
        let (mut small, mut large): (Vec<usize>, Vec<usize>) =
            (0..columns.len()).partition(|&at| columns[at].own < total);
        while let (Some(&giver), Some(taker)) = (large.last(), small.pop()) {
            columns[taker].alias = giver as u32;
            columns[giver].own -= total - columns[taker].own;
            if columns[giver].own < total {
                large.pop();
                small.push(giver);
            }
        }
        Self { columns, total }
    }

    #[inline]
    pub(crate) fn draw(&self, rng: &mut Rng) -> usize {
        let at = below(self.columns.len(), rng);
        let column = self.columns[at];
        let unit = below(self.total as usize, rng) as u64;
        if unit < column.own { at } else { column.alias as usize }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn shares_are_exactly_the_weights(weights in proptest::collection::vec(1..=u16::MAX, 1..50)) {
            let alias = Alias::new(weights.iter().copied());
            let mut shares = vec![0_u64; weights.len()];
            for (at, column) in alias.columns.iter().enumerate() {
                prop_assert!(column.own <= alias.total);
                shares[at] += column.own;
                shares[column.alias as usize] += alias.total - column.own;
            }
            let len = weights.len() as u64;
            let expected: Vec<_> = weights.iter().map(|&weight| u64::from(weight) * len).collect();
            prop_assert_eq!(shares, expected);
        }
    }

    #[test]
    fn the_heaviest_set_does_not_overflow() {
        let weights = (0..100_000).map(|at| if at == 0 { 1 } else { u16::MAX });
        let alias = Alias::new(weights);
        let mut rng = fastrand::Rng::with_seed(1);
        assert!((0..1000).all(|_| alias.draw(&mut rng) < 100_000));
    }
}
