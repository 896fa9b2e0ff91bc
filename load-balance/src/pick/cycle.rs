//! Whose turn it is.

/// The largest set that follows nginx's sequence, and the longest cycle of it that is laid out.
const SMOOTH: usize = 64;
const LONGEST: u64 = 4096;

/// Turns by weight. Each endpoint has as many in a cycle as its weight, divided by what all weights
/// share.
pub(crate) enum Cycle {
    /// All weights are equal.
    Equal(u64),
    /// nginx's smooth weighted round robin.
    Smooth(Vec<u8>),
    Stride(Stride),
}

/// Walks the units of weight, laid out endpoint after endpoint, in steps that share no divisor with
/// their number, so that each is met once per cycle.
///
/// # Algorithm
///
/// Steps of about the golden section spread what they visit evenly (Weyl 1916; Knuth, "The Art of
/// Computer Programming", volume 3, section 6.4, calls it Fibonacci hashing). A unit's endpoint is
/// found with a guide table (Chen and Asau, "On Generating Random Variates from an Empirical
/// Distribution", 1974): in a step or two on average.
pub(crate) struct Stride {
    /// For each endpoint, the units up to and including its own.
    ends: Vec<u64>,
    /// For each of as many equal parts as there are endpoints, the endpoint of its first unit.
    guide: Vec<u32>,
    step: u64,
}

impl Cycle {
    pub(crate) fn new(weights: impl ExactSizeIterator<Item = u16> + Clone) -> Self {
        let shared = weights.clone().map(u64::from).fold(0, divisor).max(1);
        let units = weights.clone().map(|weight| u64::from(weight) / shared);
        let total: u64 = units.clone().sum();
        let len = weights.len();
        if total == len as u64 {
            Self::Equal(total)
        } else if len <= SMOOTH && total <= LONGEST {
            Self::Smooth(smooth(&units.collect::<Vec<_>>(), total))
        } else {
            Self::Stride(Stride::new(units, total))
        }
    }

    /// The endpoint at this place of the endless row of cycles.
    #[inline]
    pub(crate) fn at(&self, place: u64) -> usize {
        match self {
            Self::Equal(len) => remainder(place, *len) as usize,
            Self::Smooth(row) => usize::from(row[remainder(place, row.len() as u64) as usize]),
            Self::Stride(stride) => stride.at(place),
        }
    }
}

/// In 32 bits where they suffice, which divides several times as fast.
#[inline]
fn remainder(place: u64, of: u64) -> u64 {
    match (u32::try_from(place), u32::try_from(of)) {
        (Ok(place), Ok(of)) => u64::from(place % of),
        _ => place % of,
    }
}

/// One cycle of nginx's smooth weighted round robin: at each turn everybody gains its weight, and
/// the first of those who have most pays the total.
fn smooth(units: &[u64], total: u64) -> Vec<u8> {
    let mut credit = vec![0_i64; units.len()];
    let turn = |_| {
        let mut best = 0;
        for (at, unit) in units.iter().enumerate() {
            credit[at] += *unit as i64;
            if credit[at] > credit[best] {
                best = at;
            }
        }
        credit[best] -= total as i64;
        best as u8
    };
    (0..total).map(turn).collect()
}

impl Stride {
    fn new(units: impl ExactSizeIterator<Item = u64>, total: u64) -> Self {
        let len = units.len();
        let mut sum = 0;
        let ends: Vec<u64> = units
            .map(|unit| {
                sum += unit;
                sum
            })
            .collect();
        let mut at = 0;
        let guide = (0..len)
            .map(|part| {
                let first = first_unit(part, len, total);
                while ends[at] <= first {
                    at += 1;
                }
                at as u32
            })
            .collect();
        Self { ends, guide, step: step(total) }
    }

    fn at(&self, place: u64) -> usize {
        let total = self.ends.last().copied().unwrap_or(1);
        let unit = match (u32::try_from(place % total), u32::try_from(self.step)) {
            (Ok(place), Ok(step)) => u64::from(place) * u64::from(step) % total,
            _ => (u128::from(place % total) * u128::from(self.step) % u128::from(total)) as u64,
        };
        let part = (u128::from(unit) * self.guide.len() as u128 / u128::from(total)) as usize;
        let from = self.guide[part] as usize;
        from + self.ends[from..].iter().take_while(|end| **end <= unit).count()
    }
}

/// The first unit of a part.
fn first_unit(part: usize, parts: usize, total: u64) -> u64 {
    (part as u128 * u128::from(total)).div_ceil(parts as u128) as u64
}

/// About the golden section of `total`, without a divisor in common with it.
fn step(total: u64) -> u64 {
    let mut step = ((total as f64 * 0.618_033_988_749_894_9) as u64).max(1);
    while divisor(step, total) != 1 {
        step += 1;
    }
    step
}

/// The greatest common one.
fn divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn small_sets_follow_the_sequence_that_nginx_publishes() {
        // The message of nginx's commit "Upstream: smooth weighted round-robin balancing" (May
        // 2012) gives a, b, c with weights 5, 1, 1 as an example.
        let cycle = Cycle::new([5, 1, 1].into_iter());
        let row: String = (0..14).map(|place| ["a", "b", "c"][cycle.at(place)]).collect();
        assert_eq!(row, "aabacaaaabacaa");
    }

    #[test]
    fn equal_weights_take_turns_whatever_the_weight() {
        for weight in [1, 7, u16::MAX] {
            let cycle = Cycle::new([weight; 100].into_iter());
            assert!((0..300).all(|place| cycle.at(place) as u64 == place % 100));
        }
    }

    fn counts(cycle: &Cycle, len: usize, from: u64, turns: u64) -> Vec<u64> {
        let mut counts = vec![0; len];
        (from..from + turns).for_each(|place| counts[cycle.at(place)] += 1);
        counts
    }

    proptest! {
        #[test]
        fn each_cycle_gives_exactly_the_weights(
            weights in prop_oneof![
                proptest::collection::vec(1..100_u16, 1..10),
                proptest::collection::vec(1..100_u16, 65..90),
                proptest::collection::vec(4000..5000_u16, 2..5),
            ],
            from in prop_oneof![0..1000_u64, (1_u64 << 40)..(1 << 41)],
        ) {
            let cycle = Cycle::new(weights.iter().copied());
            let shared = weights.iter().map(|weight| u64::from(*weight)).fold(0, divisor);
            let expected: Vec<_> =
                weights.iter().map(|weight| u64::from(*weight) / shared).collect();
            let total = expected.iter().sum();
            prop_assert_eq!(counts(&cycle, weights.len(), from, total), expected);
        }
    }

    #[test]
    fn a_stride_spreads_the_turns_of_each_endpoint() {
        let weights: Vec<u16> = (0..100).map(|at| 1 + at % 5).collect();
        let cycle = Cycle::new(weights.iter().copied());
        assert!(matches!(cycle, Cycle::Stride(_)));
        // In any tenth of a cycle each has its share, give or take two.
        let tenth = counts(&cycle, 100, 12_345, 30);
        for (at, count) in tenth.iter().enumerate() {
            let share = f64::from(weights[at]) / 10.0;
            assert!((*count as f64 - share).abs() <= 2.0, "{count} of {share}");
        }
    }

    #[test]
    fn the_heaviest_set_does_not_overflow() {
        let weights = (0..100_000).map(|at| if at == 7 { 1 } else { u16::MAX });
        let cycle = Cycle::new(weights);
        assert!((u64::MAX - 1000..u64::MAX).all(|place| cycle.at(place) < 100_000));
    }
}
