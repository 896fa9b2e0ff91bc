//! The endpoint with the highest score for a key.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::place::{Fate, Placed, compare};
use crate::HashKey;

/// How many endpoints are asked for a key in the order of their scores.
const PASSES: usize = 16;

pub(crate) struct Rendezvous {
    seed: u64,
    /// The hash of each endpoint's id.
    ids: Vec<u64>,
    /// `None` when all weights are equal.
    weights: Option<Vec<u16>>,
}

impl Rendezvous {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, ids: Vec::new(), weights: None }
    }

    pub(crate) fn after<P: Placed>(&self, old: &[P], new: &[P]) -> Self {
        let mut ids = vec![0; new.len()];
        compare(old, new, |fate| match fate {
            Fate::Kept { old, new } => ids[new] = self.ids[old],
            Fate::Came { new: at } => {
                ids[at] = xxh3_64_with_seed(new[at].id().as_str().as_bytes(), self.seed);
            }
            Fate::Gone { .. } => {}
        });
        let equal = new.windows(2).all(|pair| pair[0].weight() == pair[1].weight());
        let weights = (!equal).then(|| new.iter().map(Placed::weight).collect());
        Self { seed: self.seed, ids, weights }
    }

    /// The best of those that fit. It asks only whoever is better than all before it that do: a few,
    /// however many there are.
    pub(crate) fn best(&self, key: HashKey, mut fits: impl FnMut(usize) -> bool) -> Option<usize> {
        let mut best: Option<(f64, usize)> = None;
        for (at, cost) in self.costs(key).enumerate() {
            if best.is_none_or(|(best, _)| cost < best) && fits(at) {
                best = Some((cost, at));
            }
        }
        best.map(|(_, at)| at)
    }

    /// Asks one after the other, from the best on, and returns the first that takes the key.
    pub(crate) fn find(&self, key: HashKey, mut takes: impl FnMut(usize) -> bool) -> Option<usize> {
        let mut asked = None;
        for _ in 0..PASSES {
            let costs = self.costs(key).enumerate().map(|(at, cost)| (cost, at));
            let left = costs.filter(|next| asked.is_none_or(|asked| *next > asked));
            let next = left.reduce(|a, b| if b < a { b } else { a })?;
            if takes(next.1) {
                return Some(next.1);
            }
            asked = Some(next);
        }
        None
    }

    /// What the key costs at each endpoint.
    fn costs(&self, key: HashKey) -> impl Iterator<Item = f64> {
        let key = key.hash().to_le_bytes();
        let hashes = self.ids.iter().map(move |id| xxh3_64_with_seed(&key, *id));
        hashes.enumerate().map(|(at, hash)| match &self.weights {
            // The least logarithm is that of the highest hash.
            None => (!hash >> 11) as f64,
            Some(weights) => minus_ln(hash) / f64::from(weights[at]),
        })
    }
}

/// -ln of a hash as a number between 0 and 1.
///
/// The standard library's logarithm is the platform's and may differ in its last bit. Additions,
/// multiplications and divisions are exactly rounded everywhere, and the series for the inverse
/// hyperbolic tangent needs no others: ln m = 2 (s + s^3/3 + s^5/5 + ..), s = (m - 1) / (m + 1).
fn minus_ln(hash: u64) -> f64 {
    const SQRT_2: f64 = std::f64::consts::SQRT_2;
    // In the middle of one of 2^52 equal parts, so that neither end is met.
    let unit = ((hash >> 12) as f64 + 0.5) / (1_u64 << 52) as f64;
    let bits = unit.to_bits();
    let mut exponent = (bits >> 52) as i32 - 1023;
    let mut mantissa = f64::from_bits(bits & ((1 << 52) - 1) | 1023 << 52);
    if mantissa > SQRT_2 {
        mantissa /= 2.0;
        exponent += 1;
    }
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let square = s * s;
    // |s| is below 0.172, so that the eleventh term is below one part in 2^53.
    let series = (0..11).rev().fold(0.0, |sum, term| sum * square + 1.0 / f64::from(2 * term + 1));
    -(f64::from(exponent) * std::f64::consts::LN_2 + 2.0 * s * series)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pick::place::tests::{Name, keys, names};

    fn rendezvous(names: &[Name]) -> Rendezvous {
        Rendezvous::new(0).after(&[], names)
    }

    fn owner<'a>(rendezvous: &Rendezvous, names: &'a [Name], key: HashKey) -> &'a Name {
        &names[rendezvous.best(key, |_| true).unwrap()]
    }

    #[test]
    fn the_logarithm_is_that_of_the_platform_but_for_rounding() {
        let hashes =
            keys(10_000).map(HashKey::hash).chain([0, 1, u64::MAX, 1 << 63, (1 << 63) - 1]);
        for hash in hashes {
            let unit = ((hash >> 12) as f64 + 0.5) / (1_u64 << 52) as f64;
            let (own, std) = (minus_ln(hash), -unit.ln());
            assert!(own > 0.0 && (own / std - 1.0).abs() < 1e-14, "{hash}: {own}, {std}");
        }
    }

    #[test]
    fn shares_follow_the_weights() {
        let mut names = names(0..10);
        (0..10).for_each(|at| names[at].1 = at as u16 + 1);
        let rendezvous = rendezvous(&names);
        let mut counts = [0_u32; 10];
        keys(55_000).for_each(|key| counts[rendezvous.best(key, |_| true).unwrap()] += 1);
        for (at, count) in counts.iter().enumerate() {
            let share = 1000.0 * (at + 1) as f64;
            // Five standard deviations.
            assert!((f64::from(*count) - share).abs() < 5.0 * share.sqrt(), "{counts:?}");
        }
    }

    #[test]
    fn only_the_removed_endpoints_keys_move_and_so_with_weights() {
        for weight in [1, 3] {
            let mut all = names(0..30);
            all[5].1 = weight;
            let mut without = all.clone();
            without.remove(11);
            let before = rendezvous(&all);
            let after = before.after(&all, &without);
            for key in keys(10_000) {
                let (old, new) = (owner(&before, &all, key), owner(&after, &without, key));
                assert!(old == new || *old == all[11], "{old:?} to {new:?}");
            }
        }
    }

    #[test]
    fn whoever_does_not_take_it_is_as_good_as_gone() {
        let (all, without) = (names(0..30), names((0..30).filter(|number| *number != 3)));
        let (all_of, without_of) = (rendezvous(&all), rendezvous(&without));
        for key in keys(1000) {
            let mut asked = 0;
            let found = all_of.best(key, |place| {
                asked += 1;
                place != 3
            });
            assert_eq!(&all[found.unwrap()], owner(&without_of, &without, key));
            assert!(asked < 20, "asked {asked}");
        }
    }

    #[test]
    fn those_that_are_asked_in_turn_are_the_best_of_those_that_are_left() {
        let mut all = names(0..10);
        all[3].1 = 4;
        let rendezvous = rendezvous(&all);
        for key in keys(200) {
            let mut row = Vec::new();
            assert_eq!(
                rendezvous.find(key, |at| {
                    row.push(at);
                    false
                }),
                None
            );
            assert_eq!(row.len(), 10);
            for (nth, at) in row.iter().enumerate() {
                let left = rendezvous.best(key, |at| !row[..nth].contains(&at));
                assert_eq!(left, Some(*at));
            }
        }
    }
}
