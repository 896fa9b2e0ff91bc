//! How many points an endpoint has, and where they are.

use std::{fmt::Write, ops::Range};

use seawall_core::EndpointId;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::pick::place::Placed;

/// The rule by which points are placed.
#[derive(Clone)]
pub(super) struct Points {
    ring: crate::Ring,
    seed: u64,
}

/// How many points one hash gives in a ketama ring.
const PER_DIGEST: u32 = 4;

impl Points {
    pub(super) fn new(ring: &crate::Ring, seed: u64) -> Self {
        Self { ring: ring.clone(), seed }
    }

    /// How many points each endpoint has.
    ///
    /// Without ketama, an endpoint's own weight alone decides, so that a change of another moves
    /// none of its keys, save where the whole set passes a halving.
    pub(super) fn counts<P: Placed>(&self, endpoints: &[P]) -> Vec<u32> {
        let count = |halvings: u32| {
            let points = u64::from(self.ring.points);
            let share = self.ketama_share(endpoints);
            endpoints.iter().map(move |endpoint| match share {
                None => ((points * u64::from(endpoint.weight())) >> halvings).max(1),
                Some((all, of)) => {
                    let digests = all * u128::from(endpoint.weight()) / of;
                    (digests as u64 >> halvings) * u64::from(PER_DIGEST)
                }
            })
        };
        // At 64 - 16 - 17 bits of points for each of at most 2^32 endpoints, nothing overflows.
        let sum = |halvings| count(halvings).sum::<u64>();
        let max = u64::from(self.ring.max_points);
        let mut halvings = (sum(0) / max).max(1).ilog2();
        while sum(halvings) > max && halvings < u32::BITS {
            halvings += 1;
        }
        count(halvings).map(|count| count as u32).collect()
    }

    /// In a ketama ring, an endpoint has its weight times the first by the second digests.
    fn ketama_share<P: Placed>(&self, endpoints: &[P]) -> Option<(u128, u128)> {
        if !self.ring.ketama {
            return None;
        }
        let weights: u64 = endpoints.iter().map(|endpoint| u64::from(endpoint.weight())).sum();
        let digests = u128::from(self.ring.points / PER_DIGEST) * endpoints.len() as u128;
        Some((digests, u128::from(weights.max(1))))
    }

    /// Where the points with these numbers of an endpoint are.
    pub(super) fn each(&self, id: &EndpointId, numbers: Range<u32>, mut place: impl FnMut(u32)) {
        if self.ring.ketama {
            let mut text = String::new();
            for digest in numbers.start / PER_DIGEST..numbers.end / PER_DIGEST {
                text.clear();
                // Never fails: a string takes whatever it is given.
                let _ = write!(text, "{id}-{digest}");
                for word in md5::compute(&text).0.chunks_exact(4) {
                    place(word.iter().rev().fold(0, |all, byte| all << 8 | u32::from(*byte)));
                }
            }
            return;
        }
        let own = xxh3_64_with_seed(id.as_str().as_bytes(), self.seed);
        for number in numbers {
            place((xxh3_64_with_seed(&u64::from(number).to_le_bytes(), own) >> 32) as u32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Ring,
        pick::place::tests::{Name, names},
    };

    fn counts(ring: &Ring, weights: &[u16]) -> Vec<u32> {
        let name = |(at, weight): (usize, &u16)| Name(format!("{at:06}").into(), *weight);
        let names: Vec<_> = weights.iter().enumerate().map(name).collect();
        Points::new(ring, 0).counts(&names)
    }

    #[test]
    fn points_follow_the_weight_and_halve_as_a_whole() {
        let ring = Ring::new().with_max_points(1024);
        assert_eq!(counts(&ring, &[1, 2, 3]), [160, 320, 480]);
        assert_eq!(counts(&ring, &[1, 2, 4]), [80, 160, 320]);
        assert_eq!(counts(&ring, &[1, u16::MAX]), [1, 639]);
        assert_eq!(counts(&ring, &[]), [0; 0]);
    }

    #[test]
    fn the_largest_set_keeps_to_the_bound_and_leaves_nobody_out() {
        let weights: Vec<u16> =
            (0..100_000).map(|at| if at % 2 == 0 { 1 } else { u16::MAX }).collect();
        let counts = counts(&Ring::new(), &weights);
        assert!(counts.iter().map(|count| u64::from(*count)).sum::<u64>() <= 1 << 22);
        assert!(counts.iter().all(|count| *count > 0));
    }

    #[test]
    fn ketama_gives_forty_digests_on_average() {
        assert_eq!(counts(&Ring::ketama(), &[7; 25]), [160; 25]);
        assert_eq!(counts(&Ring::ketama(), &[1, 3]), [80, 240]);
        assert_eq!(counts(&Ring::ketama(), &[1, 1000]), [0, 316]);
    }

    #[test]
    fn the_points_of_an_id_never_move() {
        let of = |ring: &Ring, seed| {
            let mut points = Vec::new();
            let all = Points::new(ring, seed);
            all.each(names([7])[0].id(), 0..8, |position| points.push(position));
            points
        };
        assert_eq!(of(&Ring::new(), 0), XXH3_POINTS);
        assert_ne!(of(&Ring::new(), 1), XXH3_POINTS);
        assert_eq!(of(&Ring::ketama(), 1), KETAMA_POINTS);
    }

    /// Computed with Python's xxhash and hashlib.
    const XXH3_POINTS: [u32; 8] = [
        1_736_864_636,
        3_969_298_316,
        886_660_282,
        919_787_809,
        2_347_733_086,
        3_827_832_482,
        770_356_994,
        1_492_534_549,
    ];
    const KETAMA_POINTS: [u32; 8] = [
        3_619_328_204,
        32_375_522,
        5_813_006,
        4_118_644_557,
        2_445_147_288,
        1_475_780_023,
        3_472_903_149,
        2_712_418_181,
    ];
}
