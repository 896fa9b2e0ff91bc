//! With which probability a call is refused. Pure: chance is an argument.

use fastrand::Rng;

/// How many times what is accepted may be sent, in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Multiplier(pub(super) u32);

const THOUSAND: u64 = 1_000;

/// `against` in `of` calls are refused. Integers, so that the edge is where it is on paper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Odds {
    against: u64,
    of: u64,
}

impl Odds {
    /// `max(0, (requests − k · accepts) / (requests + padding))`.
    pub(super) fn new(requests: u64, accepts: u64, k: Multiplier, padding: u32) -> Self {
        let allowed = u64::from(k.0).saturating_mul(accepts);
        Self {
            against: requests.saturating_mul(THOUSAND).saturating_sub(allowed),
            of: requests.saturating_add(padding.into()).saturating_mul(THOUSAND),
        }
    }

    /// Whether this call is refused. Draws only where it may be.
    pub(super) fn refuse(self, rng: impl FnOnce() -> Rng) -> bool {
        self.against > 0 && rng().u64(0..self.of) < self.against
    }

    /// From 0 to 1.
    pub(super) fn probability(self) -> f64 {
        if self.against == 0 { 0.0 } else { self.against as f64 / self.of as f64 }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TWO: Multiplier = Multiplier(2_000);

    #[test]
    fn it_begins_exactly_where_more_than_k_times_the_accepts_were_asked_for() {
        assert_eq!(Odds::new(0, 0, TWO, 1).probability(), 0.0);
        assert_eq!(Odds::new(100, 50, TWO, 1).probability(), 0.0);
        assert_eq!(Odds::new(101, 50, TWO, 1).probability(), 1.0 / 102.0);
        assert_eq!(Odds::new(1, 0, TWO, 1).probability(), 0.5);
        assert_eq!(Odds::new(1, 0, TWO, 9).probability(), 0.1);
    }

    #[test]
    fn some_calls_always_pass() {
        let odds = Odds::new(u64::MAX, 0, TWO, 1);
        assert!(odds.probability() <= 1.0);
        let odds = Odds::new(99, 0, TWO, 1);
        let mut rng = fastrand::Rng::with_seed(1);
        let passed = (0..100_000).filter(|_| !odds.refuse(|| rng.fork())).count();
        assert!((900..1_100).contains(&passed), "{passed} of 100,000, at one in a hundred");
    }

    proptest! {
        #[test]
        fn it_is_the_formula(
            requests in 0..1_u64 << 32, share in 0.0..1.0_f64, k in 1_001..1_000_000_u32, padding in 1..100_u32,
        ) {
            let accepts = (requests as f64 * share) as u64;
            let odds = Odds::new(requests, accepts, Multiplier(k), padding);
            let k = f64::from(k) / 1_000.0;
            let formula = (requests as f64 - k * accepts as f64) / (requests as f64 + f64::from(padding));
            prop_assert!((odds.probability() - formula.max(0.0)).abs() < 1e-9);
        }
    }
}
