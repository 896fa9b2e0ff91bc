//! Exact numbers of outcomes, for those who want them.

use std::sync::atomic::Ordering::Relaxed;

use seawall_core::Outcome;

use crate::sync::{Apart, AtomicU64};

/// How many calls ended how since the breaker was built.
///
/// Exact when no call is in flight; [`CircuitBreakerBuilder::count_outcomes`] turns it on.
///
/// [`CircuitBreakerBuilder::count_outcomes`]: crate::CircuitBreakerBuilder::count_outcomes
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Totals {
    /// Calls that succeeded.
    pub successes: u64,
    /// Calls that failed, with those whose drop or panic counted as failure.
    pub failures: u64,
    /// Calls that said nothing, with those whose drop did not count.
    pub ignored: u64,
    /// Calls that were refused; in shadow mode, that would have been.
    pub rejected: u64,
}

/// Each on its own cache line, so that a failure does not wait for a success.
#[derive(Debug)]
pub(crate) struct Counters {
    successes: Apart<AtomicU64>,
    failures: Apart<AtomicU64>,
    ignored: Apart<AtomicU64>,
    rejected: Apart<AtomicU64>,
}

impl Counters {
    pub(crate) fn new() -> Self {
        let zero = || Apart(AtomicU64::new(0));
        Self { successes: zero(), failures: zero(), ignored: zero(), rejected: zero() }
    }

    pub(crate) fn ended(&self, outcome: Outcome) {
        let counter = match outcome {
            Outcome::Success => &self.successes,
            Outcome::Failure => &self.failures,
            _ => &self.ignored,
        };
        // Relaxed: nothing else is read on the strength of it.
        counter.fetch_add(1, Relaxed);
    }

    pub(crate) fn rejected(&self) {
        // Relaxed: as above.
        self.rejected.fetch_add(1, Relaxed);
    }

    pub(crate) fn read(&self) -> Totals {
        Totals {
            successes: self.successes.load(Relaxed),
            failures: self.failures.load(Relaxed),
            ignored: self.ignored.load(Relaxed),
            rejected: self.rejected.load(Relaxed),
        }
    }
}
