//! Rationing after a recovery, at run time.
//!
//! # Orderings
//!
//! Relaxed throughout. A ramp is set up under the machine's lock before the word with its flag is
//! published (Release), so whoever sees the flag sees the ramp; a share that is a moment old rations
//! a moment longer.

use std::sync::atomic::Ordering::Relaxed;

use seawall_core::Instant;

use crate::{
    Ratio,
    config::{Growth, Ramp},
    sync::{AtomicU32, AtomicU64},
};

#[derive(Debug)]
pub(crate) struct Rationing {
    started: AtomicU64,
    /// Zero when the share grows with successes.
    duration_nanos: AtomicU64,
    /// The share at the start, or now where it grows with successes.
    share: AtomicU32,
    step: AtomicU32,
    /// Shares added up; a call passes when the sum crosses a whole.
    sum: AtomicU64,
}

const WHOLE: u32 = Ratio::ONE.millionths();

impl Rationing {
    pub(crate) fn new() -> Self {
        Self {
            started: AtomicU64::new(0),
            duration_nanos: AtomicU64::new(0),
            share: AtomicU32::new(WHOLE),
            step: AtomicU32::new(0),
            sum: AtomicU64::new(0),
        }
    }

    pub(crate) fn start(&self, ramp: Ramp, now: Instant) {
        let (duration, step) = match ramp.growth {
            Growth::Linear(time) => (u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), 0),
            Growth::Additive(step) => (0, step.millionths()),
        };
        self.started.store(now.as_nanos(), Relaxed);
        self.duration_nanos.store(duration, Relaxed);
        self.share.store(ramp.initial.millionths(), Relaxed);
        self.step.store(step, Relaxed);
        // The first call passes.
        self.sum.store(u64::from(WHOLE) - 1, Relaxed);
    }

    /// The share of calls that pass at `now`, in millionths.
    pub(crate) fn share(&self, now: Instant) -> u32 {
        let (share, duration) = (self.share.load(Relaxed), self.duration_nanos.load(Relaxed));
        if duration == 0 {
            return share.min(WHOLE);
        }
        let passed = now.as_nanos().saturating_sub(self.started.load(Relaxed)).min(duration);
        let rest = u128::from(WHOLE.saturating_sub(share));
        share + (rest * u128::from(passed) / u128::from(duration)) as u32
    }

    /// Whether the next call passes at this share.
    pub(crate) fn admits(&self, share: u32) -> bool {
        let before = self.sum.fetch_add(share.into(), Relaxed) % u64::from(WHOLE);
        before + u64::from(share) >= WHOLE.into()
    }

    /// A call succeeded.
    pub(crate) fn grow(&self) {
        let step = self.step.load(Relaxed);
        if step != 0 {
            let grown = |share: u32| Some(share.saturating_add(step).min(WHOLE));
            // `grown` always answers, so that the update cannot fail.
            let _ = self.share.fetch_update(Relaxed, Relaxed, grown);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::ORIGIN.saturating_add(Duration::from_secs(seconds))
    }

    #[test]
    fn a_linear_ramp_grows_with_time_to_the_whole() {
        let rationing = Rationing::new();
        rationing.start(Ramp::linear(Duration::from_secs(9)), at(10));
        let shares: Vec<_> = [0, 10, 11, 14, 19, 99].map(|s| rationing.share(at(s)) / 1000).into();
        assert_eq!(shares, [100, 100, 200, 500, 1000, 1000]);
    }

    #[test]
    fn the_share_that_passes_is_spread_evenly_and_begins_with_the_first_call() {
        let rationing = Rationing::new();
        rationing.start(Ramp::linear(Duration::from_secs(9)), at(0));
        let passed: Vec<_> = (0..12).map(|_| rationing.admits(250_000)).collect();
        let every_fourth: Vec<_> = (0..12).map(|n| n % 4 == 0).collect();
        assert_eq!(passed, every_fourth);
        assert!((0..5).all(|_| rationing.admits(WHOLE)));
    }

    #[test]
    fn an_additive_ramp_grows_with_successes() {
        let rationing = Rationing::new();
        rationing.start(Ramp::additive(Ratio::new(0.3).unwrap()), at(0));
        let mut shares = Vec::new();
        for _ in 0..5 {
            shares.push(rationing.share(at(1_000)) / 1000);
            rationing.grow();
        }
        assert_eq!(shares, [100, 400, 700, 1000, 1000]);
    }
}
