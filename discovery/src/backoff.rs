//! How long to wait before the next attempt.
//!
//! # Algorithm
//!
//! Exponential backoff with full jitter (M. Brooker, "Exponential Backoff And Jitter", AWS
//! Architecture Blog, 2015): uniform between zero and a ceiling that doubles with every failure in
//! a row, so that clients that lost the same server at once do not return to it at once.

use std::time::Duration;

/// The ceiling after the first failure, and after many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Backoff {
    pub(crate) first: Duration,
    pub(crate) most: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_millis(100), most: Duration::from_secs(10) }
    }
}

impl Backoff {
    /// The longest wait after `failures` in a row.
    pub(crate) fn ceiling(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        self.first.saturating_mul(1 << doublings).min(self.most)
    }

    /// The wait after `failures` in a row.
    pub(crate) fn wait(&self, failures: u32, rng: &mut fastrand::Rng) -> Duration {
        self.ceiling(failures).mul_f64(rng.f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ceiling_doubles_up_to_its_own() {
        let backoff = Backoff::default();
        let millis = |failures| backoff.ceiling(failures).as_millis();
        assert_eq!([1, 2, 3, 7].map(millis), [100, 200, 400, 6_400]);
        assert_eq!([8, 32, u32::MAX].map(millis), [10_000, 10_000, 10_000]);
    }

    #[test]
    fn waits_spread_over_all_below_the_ceiling() {
        let (backoff, mut rng) = (Backoff::default(), fastrand::Rng::with_seed(7));
        let waits: Vec<_> = (0..1_000).map(|_| backoff.wait(4, &mut rng)).collect();
        let ceiling = Duration::from_millis(800);
        assert!(waits.iter().all(|wait| *wait <= ceiling), "{:?}", waits.iter().max());
        let low = waits.iter().filter(|wait| **wait < ceiling / 2).count();
        assert!((400..600).contains(&low), "{low} of 1000 in the lower half");
    }
}
