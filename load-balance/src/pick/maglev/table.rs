//! How Maglev's table is filled.

use seawall_core::EndpointId;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::GONE;
use crate::pick::place::Placed;

/// For each cell, the place of its endpoint among the names.
pub(super) struct Table {
    /// Ordered.
    names: Vec<EndpointId>,
    pub(super) cells: Box<[u32]>,
}

/// Sizes for sets that are told none; the first is the paper's usual one. All are prime.
const SIZES: [u32; 4] = [65_537, 655_373, 5_000_011, 50_000_017];

/// So many cells for each endpoint make shares that differ by 3 percent.
const CELLS_EACH: usize = 32;

/// How many cells the table of so many endpoints has, where this many were asked for.
pub(super) fn cells_for(asked: Option<u32>, endpoints: usize) -> u32 {
    let enough = |cells: &u32| *cells as usize / CELLS_EACH >= endpoints;
    let usual = || SIZES.into_iter().find(enough).unwrap_or(SIZES[SIZES.len() - 1]);
    asked.filter(|cells| *cells as usize >= endpoints).unwrap_or_else(usual)
}

/// Whether a number is prime.
pub(crate) fn is_prime(number: u32) -> bool {
    let mut divisors = (2..).take_while(|divisor| u64::from(*divisor).pow(2) <= number.into());
    number >= 2 && divisors.all(|divisor: u32| !number.is_multiple_of(divisor))
}

/// One endpoint's turns: the cells it prefers, in order, are `next`, `next + skip` and so on, modulo
/// the number of cells.
struct Turns {
    next: u32,
    skip: u32,
    weight: u64,
    /// The sum of the heaviest weight over its turns so far and one more.
    target: u64,
}

impl Table {
    pub(super) fn empty() -> Self {
        Self { names: Vec::new(), cells: Box::default() }
    }

    pub(super) fn new(names: Vec<(EndpointId, u16)>, cells: u32, seed: u64) -> Self {
        let turn = |(id, weight): &(EndpointId, u16)| {
            let hash = |seed| xxh3_64_with_seed(id.as_str().as_bytes(), seed);
            Turns {
                next: (hash(seed) % u64::from(cells)) as u32,
                skip: (hash(!seed) % u64::from(cells - 1)) as u32 + 1,
                weight: u64::from(*weight),
                target: 0,
            }
        };
        let filled = fill(names.iter().map(turn).collect(), cells);
        Self { names: names.into_iter().map(|(id, _)| id).collect(), cells: filled }
    }

    /// For each of its names, the place in the list of an endpoint of that name.
    pub(super) fn places_in<P: Placed>(&self, list: &[P]) -> Vec<u32> {
        let mut at = 0;
        let place = |name: &EndpointId| {
            while list.get(at).is_some_and(|endpoint| endpoint.id() < name) {
                at += 1;
            }
            let found = list.get(at).is_some_and(|endpoint| endpoint.id() == name);
            if found { at as u32 } else { GONE }
        };
        self.names.iter().map(place).collect()
    }
}

/// Lets endpoints take turns, each the first free one of the cells that it prefers, until all cells
/// are taken.
fn fill(mut turns: Vec<Turns>, cells: u32) -> Box<[u32]> {
    if turns.is_empty() {
        return Box::default();
    }
    let heaviest = turns.iter().map(|turns| turns.weight).max().unwrap_or(1);
    let mut filled = vec![GONE; cells as usize].into_boxed_slice();
    // One bit per cell: of a large table, they still fit a near cache.
    let mut taken = vec![0_u64; (cells as usize).div_ceil(64)];
    let mut left = cells;
    let mut round = 0;
    loop {
        round += 1;
        for (place, turns) in turns.iter_mut().enumerate() {
            if round * turns.weight < turns.target {
                continue;
            }
            turns.target += heaviest;
            let cell = loop {
                let cell = turns.next;
                let step = u64::from(cell) + u64::from(turns.skip);
                turns.next =
                    if step >= u64::from(cells) { step - u64::from(cells) } else { step } as u32;
                let (word, bit) = (&mut taken[cell as usize / 64], 1 << (cell % 64));
                if *word & bit == 0 {
                    *word |= bit;
                    break cell;
                }
            };
            filled[cell as usize] = place as u32;
            left -= 1;
            if left == 0 {
                return filled;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(next: u32, skip: u32) -> Turns {
        Turns { next, skip, weight: 1, target: 0 }
    }

    /// Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer" (NSDI 2016),
    /// section 3.4.
    #[test]
    fn the_example_of_the_paper() {
        // Table 1: of 7 cells, B0 has offset 3 and skip 4, B1 0 and 2, B2 3 and 1.
        let all = fill(vec![turns(3, 4), turns(0, 2), turns(3, 1)], 7);
        assert_eq!(*all, [1, 0, 1, 0, 2, 2, 0]);
        // After B1 is removed.
        let without = fill(vec![turns(3, 4), turns(3, 1)], 7);
        assert_eq!(*without, [0, 0, 0, 0, 1, 1, 1]);
    }

    fn names(count: usize, weight: impl Fn(usize) -> u16) -> Vec<(EndpointId, u16)> {
        (0..count).map(|at| (format!("e{at:06}").into(), weight(at))).collect()
    }

    fn counts(table: &Table) -> Vec<u32> {
        let mut counts = vec![0; table.names.len()];
        table.cells.iter().for_each(|place| counts[*place as usize] += 1);
        counts
    }

    #[test]
    fn equals_have_equal_shares_to_one_cell() {
        for count in [1, 3, 100, 1000] {
            let counts = counts(&Table::new(names(count, |_| 7), 65_537, 0));
            let low = 65_537 / count as u32;
            assert!(counts.iter().all(|found| (low..=low + 1).contains(found)), "of {count}");
        }
    }

    #[test]
    fn shares_follow_the_weights() {
        let counts = counts(&Table::new(names(50, |at| at as u16 % 5 + 1), 65_537, 0));
        for (at, count) in counts.iter().enumerate() {
            let share = 65_537.0 * (at % 5 + 1) as f64 / 150.0;
            assert!((f64::from(*count) - share).abs() < 3.0, "{count} of {share}");
        }
    }

    #[test]
    fn when_one_of_a_thousand_leaves_hardly_any_other_cell_changes() {
        let all = names(1000, |_| 1);
        let mut without = all.clone();
        without.remove(500);
        let (before, after) = (Table::new(all, 65_537, 0), Table::new(without, 65_537, 0));
        let name = |table: &Table, cell: usize| table.names[table.cells[cell] as usize].clone();
        let changed = |cell: &usize| {
            let old = name(&before, *cell);
            old.as_str() != "e000500" && old != name(&after, *cell)
        };
        let changed = (0..65_537).filter(changed).count();
        // The paper's figure 12 has about one percent at 65,537 cells for 1,000 backends.
        assert!(changed < 65_537 / 50, "{changed} cells changed their endpoint");
    }

    #[test]
    fn every_size_is_prime_and_large_enough() {
        assert!(SIZES.into_iter().all(is_prime));
        let primes: Vec<_> = (0..30).filter(|number| is_prime(*number)).collect();
        assert_eq!(primes, [2, 3, 5, 7, 11, 13, 17, 19, 23, 29]);
        assert!(!is_prime(65_536) && !is_prime(65_537 * 3) && is_prime(4_294_967_291));
        assert_eq!(cells_for(None, 1), 65_537);
        assert_eq!(cells_for(None, 2048), 65_537);
        assert_eq!(cells_for(None, 2049), 655_373);
        assert_eq!(cells_for(None, 100_000), 5_000_011);
        assert_eq!(cells_for(Some(7), 7), 7);
        assert_eq!(cells_for(Some(7), 8), 65_537);
    }

    #[test]
    fn a_weight_of_one_beside_the_heaviest_has_its_cell() {
        let counts = counts(&Table::new(names(2, |at| [1, u16::MAX][at]), 655_373, 0));
        assert!((8..=12).contains(&counts[0]), "{counts:?}");
    }
}
